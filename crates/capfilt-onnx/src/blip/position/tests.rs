use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    from: usize,
    to: usize,
    table: Vec<f32>,
    expected: Vec<f32>,
}

#[test]
fn resized_tables_equal_those_of_pytorch() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../fixtures/position.json")).unwrap();
    assert!(cases.len() >= 4);
    for case in cases {
        let got = resize(&case.table, 3, case.from, case.to);
        assert_eq!(got.len(), case.expected.len());
        for (got, expected) in got.iter().zip(&case.expected) {
            assert!(
                (got - expected).abs() < 1e-5,
                "{got} {expected} at {} to {}",
                case.from,
                case.to
            );
        }
    }
}

#[test]
fn a_table_of_the_same_size_stays_as_it_is() {
    let table: Vec<f32> = (0_u8..20).map(f32::from).collect();
    assert_eq!(resize(&table, 4, 2, 2), table);
}

#[test]
fn the_cubic_kernel_has_the_published_weights() {
    for (t, expected) in [
        (
            0.25,
            [-0.105_468_75, 0.878_906_25, 0.261_718_75, -0.035_156_25],
        ),
        (0.5, [-0.093_75, 0.593_75, 0.593_75, -0.093_75_f32]),
    ] {
        let weights = [outer(t + 1.0), inner(t), inner(1.0 - t), outer(2.0 - t)];
        assert!(
            weights
                .iter()
                .zip(&expected)
                .all(|(got, expected)| (got - expected).abs() < 1e-7)
        );
    }
}
