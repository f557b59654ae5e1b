use proptest::prelude::*;

use super::*;

#[test]
fn the_largest_weight_of_every_column_uses_the_whole_range() {
    let quantised = quantise(&[1.0, -0.5, -2.0, 0.25], 2);
    assert_eq!(quantised.weights, [32, -64, -64, 32]);
    assert_eq!(quantised.scales, [2.0 / 64.0, 0.5 / 64.0]);
}

#[test]
fn a_column_of_zeros_stays_zero() {
    let quantised = quantise(&[0.0, 1.0, 0.0, 3.0], 2);
    assert_eq!(quantised.weights, [0, 21, 0, 64]);
    assert!(quantised.scales[0].is_finite());
}

#[test]
fn two_products_of_the_largest_values_fit_sixteen_bits() {
    assert!(255.0 * LARGEST_WEIGHT * 2.0 <= f32::from(i16::MAX));
}

#[test]
fn transposition_puts_layers_side_by_side() {
    let mut target = vec![0.0; 2 * 5];
    transpose_into(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &mut target, 5, 0);
    transpose_into(&[7.0, 8.0, 9.0, 10.0], 2, &mut target, 5, 3);
    assert_eq!(target, [1.0, 3.0, 5.0, 7.0, 9.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
}

proptest! {
    #[test]
    fn quantised_weights_are_within_half_a_step(
        values in proptest::collection::vec(-10.0_f32..10.0, 12),
    ) {
        let quantised = quantise(&values, 3);
        for (index, (value, weight)) in values.iter().zip(&quantised.weights).enumerate() {
            let scale = quantised.scales[index % 3];
            prop_assert!((value - f32::from(*weight) * scale).abs() <= 0.5001 * scale);
        }
    }
}
