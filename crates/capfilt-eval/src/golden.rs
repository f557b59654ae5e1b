//! The reference numbers of `tests/golden`; the scripts there made them.

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct CaptionNumbers {
    pub(crate) captions: Extract,
    pub(crate) written: Written,
    pub(crate) vectors: Vectors,
}

#[derive(Deserialize)]
pub(crate) struct Extract {
    pub(crate) texts: Vec<Vec<String>>,
    pub(crate) tokens: Vec<String>,
    pub(crate) ptb: Scores,
    pub(crate) plain: Scores,
}

#[derive(Deserialize)]
pub(crate) struct Written {
    pub(crate) texts: Vec<String>,
    pub(crate) tokens: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Vectors {
    pub(crate) texts: Vec<(String, Vec<String>)>,
    pub(crate) scores: Scores,
}

#[derive(Deserialize)]
pub(crate) struct Scores {
    pub(crate) bleu: [f64; 4],
    pub(crate) rouge_l: f64,
    pub(crate) rouge_l_each: Vec<f64>,
    pub(crate) cider_d: f64,
    pub(crate) cider_d_each: Vec<f64>,
}

/// `captions.py`: pycocoevalcap.
pub(crate) fn captions() -> CaptionNumbers {
    serde_json::from_str(include_str!("../../../tests/golden/captions.json")).unwrap()
}

#[derive(Deserialize)]
pub(crate) struct MetricNumbers {
    pub(crate) at: [usize; 3],
    pub(crate) candidates: usize,
    pub(crate) picture_of: Vec<usize>,
    pub(crate) pictures: Vec<Vec<f32>>,
    pub(crate) texts: Vec<Vec<f32>>,
    pub(crate) second: Vec<Vec<f32>>,
    pub(crate) fine: Recalls,
    pub(crate) coarse: Recalls,
    pub(crate) zero_shot: ZeroShot,
    pub(crate) filter: Judged,
    pub(crate) filter_coarse: Judged,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Recalls {
    pub(crate) of_pictures: [f64; 3],
    pub(crate) of_texts: [f64; 3],
    pub(crate) again_of_pictures: [f64; 3],
    pub(crate) again_of_texts: [f64; 3],
}

#[derive(Deserialize)]
pub(crate) struct ZeroShot {
    pub(crate) prompts: Vec<Vec<Vec<f32>>>,
    pub(crate) pictures: Vec<Vec<f32>>,
    pub(crate) labels: Vec<usize>,
    pub(crate) classes: Vec<Vec<f64>>,
    pub(crate) top: [f64; 2],
}

#[derive(Deserialize)]
pub(crate) struct Judged {
    pub(crate) scores: Vec<f64>,
    pub(crate) truth: Vec<bool>,
    pub(crate) roc: Vec<(f64, f64)>,
    pub(crate) thresholds: Vec<f64>,
    pub(crate) auc: f64,
    pub(crate) average_precision: f64,
    pub(crate) decisions: Vec<Decided>,
}

#[derive(Deserialize)]
pub(crate) struct Decided {
    pub(crate) threshold: f64,
    pub(crate) precision: Option<f64>,
    pub(crate) recall: Option<f64>,
    pub(crate) f1: Option<f64>,
}

/// `metrics.py`: NumPy and scikit-learn.
pub(crate) fn metrics() -> MetricNumbers {
    serde_json::from_str(include_str!("../../../tests/golden/metrics.json")).unwrap()
}

/// Holds a number against the expected one, to a few units in the last place.
#[track_caller]
pub(crate) fn assert_equal(got: f64, expected: f64) {
    let error = (got - expected).abs();
    assert!(
        error <= 1e-12 * expected.abs(),
        "{got} instead of {expected}"
    );
}
