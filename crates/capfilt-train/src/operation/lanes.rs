//! Arithmetic that the compiler makes vectors of: nothing branches, and sums run in lanes.

/// Numbers that are added side by side.
const LANES: usize = 8;

/// Σ f(a, b) over the pairs of two slices of equal length. The order of additions is always the same.
#[inline]
pub(super) fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (a, last_a) = a.as_chunks::<LANES>();
    let (b, last_b) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f(a, b);
        }
    }
    let rest: f32 = last_a.iter().zip(last_b).map(|(&a, &b)| f(a, b)).sum();
    sums.iter().sum::<f32>() + rest
}

/// The largest number, -∞ if there is none.
#[inline]
pub(super) fn most(values: &[f32]) -> f32 {
    let (chunks, last) = values.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (most, &value) in most.iter_mut().zip(chunk) {
            *most = if value > *most { value } else { *most };
        }
    }
    let all = most.iter().chain(last);
    all.fold(f32::NEG_INFINITY, |most, &value| most.max(value))
}

/// exp(-u) for u ≥ 0: 2ⁿ·exp(r) with n the nearest whole number to -u/ln 2.
#[inline]
pub(super) fn exp_of_negative(u: f32) -> f32 {
    // Adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let u = u.min(87.0);
    let shifted = ROUND - u * std::f32::consts::LOG2_E;
    let n = shifted - ROUND;
    // ln 2 in two parts, of which n times the first is exact.
    let r = (-u - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p =
        ((((1.0 / 720.0 * r + 1.0 / 120.0) * r + 1.0 / 24.0) * r + 1.0 / 6.0) * r + 0.5) * r * r
            + r
            + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    p * f32::from_bits(exponent)
}

/// exp(-u) for u ≥ 0, and no number where u is none or infinite.
#[inline]
pub(super) fn falling(u: f32) -> f32 {
    exp_of_negative(u) + 0.0 * u
}
