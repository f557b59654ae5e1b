//! Resizing a learned position table to another grid of patches.

#[cfg(test)]
mod tests;

/// Sharpness of the cubic kernel that the checkpoints were resized with (a = -0.75).
const SHARPNESS: f32 = -0.75;

/// Position table for a grid of `to` · `to` patches from one for `from` · `from` patches.
///
/// Row 0 (the class token) is kept. The others are a picture of `from` · `from` points of `width`
/// features, resized by cubic convolution: centres aligned (not corners), no antialiasing, borders
/// repeated. Every output point is the sum of 4 · 4 neighbours, weighted by k(x)·k(y).
pub fn resize(table: &[f32], width: usize, from: usize, to: usize) -> Vec<f32> {
    resize_by(taps, table, width, from, to)
}

/// The same as `open_clip` does it: with the kernel a = -0.5, which is stretched where the grid gets
/// smaller, and without what lies beyond the border.
pub fn resize_smoothly(table: &[f32], width: usize, from: usize, to: usize) -> Vec<f32> {
    resize_by(smooth_taps, table, width, from, to)
}

/// For every output place, the input places that it is made of with their weights.
type Taps = Vec<Vec<(usize, f32)>>;

fn resize_by(
    taps: fn(usize, usize) -> Taps,
    table: &[f32],
    width: usize,
    from: usize,
    to: usize,
) -> Vec<f32> {
    if from == to {
        return table.to_vec();
    }
    let (class, grid) = table.split_at(width);
    let axis = taps(from, to);
    let mut resized = class.to_vec();
    resized.reserve(to * to * width);
    for vertical in &axis {
        for horizontal in &axis {
            let start = resized.len();
            resized.resize(start + width, 0.0);
            let point = &mut resized[start..];
            for &(y, y_weight) in vertical {
                let mut line = vec![0.0; width];
                for &(x, x_weight) in horizontal {
                    let source = &grid[(y * from + x) * width..][..width];
                    for (sum, value) in line.iter_mut().zip(source) {
                        *sum += x_weight * value;
                    }
                }
                for (sum, value) in point.iter_mut().zip(&line) {
                    *sum += y_weight * value;
                }
            }
        }
    }
    resized
}

fn taps(from: usize, to: usize) -> Taps {
    #[expect(
        clippy::cast_precision_loss,
        reason = "grids are far below 2^24 points"
    )]
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|place| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "grids are far below 2^24 points"
            )]
            let centre = scale * (place as f32 + 0.5) - 0.5;
            let floor = centre.floor();
            let t = centre - floor;
            let weights = [outer(t + 1.0), inner(t), inner(1.0 - t), outer(2.0 - t)];
            #[expect(clippy::cast_possible_truncation, reason = "a small whole number")]
            let first = floor as i64 - 1;
            let mut index = first;
            let clamped = weights.map(|weight| {
                let clamped = usize::try_from(index).unwrap_or(0).min(from - 1);
                index += 1;
                (clamped, weight)
            });
            clamped.to_vec()
        })
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "grids are far below 2^24 points"
)]
fn smooth_taps(from: usize, to: usize) -> Taps {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    (0..to)
        .map(|place| {
            let centre = scale * (place as f64 + 0.5);
            let weights: Vec<(usize, f64)> = (0..from)
                .map(|at| (at, cubic((at as f64 + 0.5 - centre) / stretch)))
                .filter(|(_, weight)| *weight != 0.0)
                .collect();
            let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
            #[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
            let share = |(at, weight): (usize, f64)| (at, (weight / sum) as f32);
            weights.into_iter().map(share).collect()
        })
        .collect()
}

/// Cubic kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Cubic kernel for |x| <= 1: (a+2)|x|³ - (a+3)|x|² + 1.
fn inner(x: f32) -> f32 {
    ((SHARPNESS + 2.0) * x - (SHARPNESS + 3.0)) * x * x + 1.0
}

/// Cubic kernel for 1 < |x| < 2: a|x|³ - 5a|x|² + 8a|x| - 4a.
fn outer(x: f32) -> f32 {
    ((SHARPNESS * x - 5.0 * SHARPNESS) * x + 8.0 * SHARPNESS) * x - 4.0 * SHARPNESS
}
