use proptest::prelude::*;

use super::*;
use crate::golden::{self, Judged, assert_equal};

fn curve(judged: &Judged) -> Curve {
    let judged: Vec<(f64, bool)> = judged
        .scores
        .iter()
        .copied()
        .zip(judged.truth.iter().copied())
        .collect();
    Curve::new(&judged).unwrap()
}

#[track_caller]
fn assert_same(got: Option<f64>, expected: Option<f64>) {
    assert_eq!(got.is_some(), expected.is_some());
    if let (Some(got), Some(expected)) = (got, expected) {
        assert_equal(got, expected);
    }
}

#[test]
fn numbers_are_those_of_scikit_learn() {
    let golden = golden::metrics();
    for judged in [golden.filter, golden.filter_coarse] {
        let curve = curve(&judged);
        assert_equal(curve.auc().unwrap(), judged.auc);
        assert_equal(curve.average_precision().unwrap(), judged.average_precision);
        let roc = curve.roc().unwrap();
        assert_eq!(roc.len(), judged.roc.len());
        for (got, expected) in roc.into_iter().zip(judged.roc) {
            assert_equal(got.0, expected.0);
            assert_equal(got.1, expected.1);
        }
        let thresholds = curve.points().iter().map(|point| point.threshold);
        assert_eq!(thresholds.collect::<Vec<_>>(), judged.thresholds);
        for expected in judged.decisions {
            let decisions = curve.decisions(expected.threshold);
            assert_same(decisions.precision(), expected.precision);
            assert_same(decisions.recall(), expected.recall);
            assert_same(decisions.f1(), expected.f1);
        }
    }
}

#[test]
fn what_is_undefined_is_none() {
    let none = Curve::new(&[]).unwrap();
    assert_eq!((none.auc(), none.average_precision()), (None, None));
    let all_right = Curve::new(&[(0.5, true), (0.7, true)]).unwrap();
    assert_eq!(all_right.auc(), None);
    assert_eq!(all_right.average_precision(), Some(1.0));
    let decisions = all_right.decisions(0.7);
    assert_eq!(decisions.precision(), None);
    assert_eq!(decisions.recall(), Some(0.0));
    assert_eq!(decisions.f1(), Some(0.0));
    let got = Curve::new(&[(0.5, true), (f64::NAN, false)]);
    assert_eq!(got, Err(NotANumber { index: 1 }));
}

#[test]
fn zeros_of_both_signs_are_one_score() {
    let curve = Curve::new(&[(0.0, true), (-0.0, false), (0.0, false)]).unwrap();
    assert_eq!(curve.points().len(), 1);
    assert_eq!(curve.auc(), Some(0.5));
}

proptest! {
    #[test]
    fn the_area_is_the_probability_of_the_right_order(
        judged in prop::collection::vec(((0_u8..9).prop_map(f64::from), any::<bool>()), 0..60)
    ) {
        let curve = Curve::new(&judged).unwrap();
        let of = |wanted| judged.iter().filter(move |(_, truth)| *truth == wanted);
        let (mut right, mut pairs) = (0.0, 0.0);
        for (positive, _) in of(true) {
            for (negative, _) in of(false) {
                pairs += 1.0;
                right += match positive.total_cmp(negative) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        match curve.auc() {
            Some(auc) => prop_assert!((auc - right / pairs).abs() < 1e-12),
            None => prop_assert!(pairs < 0.5),
        }
        for threshold in [-1.0, 3.0, 8.0] {
            let decisions = curve.decisions(threshold);
            let kept = |wanted| of(wanted).filter(|(score, _)| *score > threshold).count() as u64;
            prop_assert_eq!(decisions.true_positives, kept(true));
            prop_assert_eq!(decisions.false_positives, kept(false));
            prop_assert_eq!(decisions.true_positives + decisions.false_negatives, curve.positives());
            prop_assert_eq!(decisions.true_negatives + decisions.false_positives, curve.negatives());
        }
    }
}
