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
pub(crate) fn resize(table: &[f32], width: usize, from: usize, to: usize) -> Vec<f32> {
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

/// For every output place, the four input places that it is made of with their weights.
fn taps(from: usize, to: usize) -> Vec<[(usize, f32); 4]> {
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
            weights.map(|weight| {
                let clamped = usize::try_from(index).unwrap_or(0).min(from - 1);
                index += 1;
                (clamped, weight)
            })
        })
        .collect()
}

/// Cubic kernel for |x| <= 1: (a+2)|x|³ - (a+3)|x|² + 1.
fn inner(x: f32) -> f32 {
    ((SHARPNESS + 2.0) * x - (SHARPNESS + 3.0)) * x * x + 1.0
}

/// Cubic kernel for 1 < |x| < 2: a|x|³ - 5a|x|² + 8a|x| - 4a.
fn outer(x: f32) -> f32 {
    ((SHARPNESS * x - 5.0 * SHARPNESS) * x + 8.0 * SHARPNESS) * x - 4.0 * SHARPNESS
}
