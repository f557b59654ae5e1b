//! What an evaluation found, as JSON and as lines for people.

use std::collections::BTreeMap;

use capfilt_eval::Curve;
use serde::Serialize;

use crate::curve::thinned;

/// What an evaluation found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Digest of the package.
    pub(crate) model: String,
    /// The device that computed.
    pub(crate) device: String,
    /// Files that were read.
    pub(crate) shards: usize,
    /// Rows of them.
    pub(crate) rows: u64,
    /// Rows without a picture, a text, or the truth that they should have.
    pub(crate) incomplete: u64,
    /// Pictures and texts behind the numbers.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// The numbers.
    pub(crate) metrics: Metrics,
}

/// What took part.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Distinct pictures.
    pub(crate) pictures: usize,
    /// Their texts.
    pub(crate) texts: usize,
    /// Pictures that cannot be used.
    pub(crate) unusable: u64,
}

/// The numbers that were asked for; shares are from 0 to 1, CIDEr-D from 0 to 10.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Metrics {
    /// BLEU-1 to BLEU-4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bleu: Option<[f64; 4]>,
    /// ROUGE-L.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rouge_l: Option<f64>,
    /// CIDEr-D.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cider_d: Option<f64>,
    /// Recall by similarity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recall: Option<RecallNumbers>,
    /// Recall of the most similar, ranked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recall_reranked: Option<RecallNumbers>,
    /// Zero-shot classification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zero_shot: Option<ZeroShotNumbers>,
    /// Decisions where the truth is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<FilterNumbers>,
}

/// Recall@K both ways.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RecallNumbers {
    #[serde(flatten)]
    pub(crate) ways: BothWays,
    /// How many of the most similar were ranked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) candidates: Option<usize>,
}

/// Recall by K.
#[derive(Debug, Default, Serialize)]
pub(crate) struct BothWays {
    /// Pictures that find one of their texts.
    pub(crate) image_to_text: BTreeMap<usize, f64>,
    /// Texts that find their picture.
    pub(crate) text_to_image: BTreeMap<usize, f64>,
}

/// How many pictures find their class.
#[derive(Debug, Serialize)]
pub(crate) struct ZeroShotNumbers {
    pub(crate) classes: usize,
    /// Prompts per class.
    pub(crate) templates: usize,
    /// Accuracy.
    pub(crate) top_1: Option<f64>,
    /// The share of pictures whose class is among the first five.
    pub(crate) top_5: Option<f64>,
}

/// How well a score tells right from wrong. What is undefined is null.
#[derive(Debug, Serialize)]
pub(crate) struct FilterNumbers {
    /// `match` or `similarity`.
    pub(crate) by: &'static str,
    /// Scores above it are kept.
    pub(crate) threshold: f64,
    /// Texts that belong to their pictures.
    pub(crate) right: u64,
    /// Texts that do not.
    pub(crate) wrong: u64,
    /// Right texts that are kept.
    pub(crate) right_kept: u64,
    /// Wrong texts that are kept.
    pub(crate) wrong_kept: u64,
    /// Area under the ROC curve.
    pub(crate) auc: Option<f64>,
    /// Average precision.
    pub(crate) average_precision: Option<f64>,
    /// Of what is kept.
    pub(crate) precision: Option<f64>,
    /// Of what is right.
    pub(crate) recall: Option<f64>,
    /// Harmonic mean of both.
    pub(crate) f1: Option<f64>,
    /// The ROC curve: shares of the wrong and of the right texts that are kept, at thresholds from the
    /// highest score to the lowest. Of more points than [`ROC_POINTS`], those at equal steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roc: Vec<(f64, f64)>,
    /// The same for all right texts against the wrong ones of one group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) groups: BTreeMap<String, Self>,
}

/// Points of a ROC curve that are told.
const ROC_POINTS: usize = 100;

impl FilterNumbers {
    /// With the ROC curve.
    pub(crate) fn with_roc(mut self, curve: &Curve) -> Self {
        let points = curve.roc().unwrap_or_default();
        self.roc = thinned(&points, ROC_POINTS).copied().collect();
        self
    }

    pub(crate) fn new(by: &'static str, threshold: f64, curve: &Curve) -> Self {
        let decisions = curve.decisions(threshold);
        Self {
            by,
            threshold,
            right: curve.positives(),
            wrong: curve.negatives(),
            right_kept: decisions.true_positives,
            wrong_kept: decisions.false_positives,
            auc: curve.auc(),
            average_precision: curve.average_precision(),
            precision: decisions.precision(),
            recall: decisions.recall(),
            f1: decisions.f1(),
            roc: Vec::new(),
            groups: BTreeMap::new(),
        }
    }

    fn rows(&self, name: &str) -> Vec<(String, Option<f64>)> {
        let rows = [
            ("AUC", self.auc),
            ("average precision", self.average_precision),
            ("precision", self.precision),
            ("recall", self.recall),
            ("F1", self.f1),
        ];
        rows.map(|(label, value)| (format!("{name}{label}"), value))
            .into()
    }
}

impl Report {
    /// The table.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} pictures, {} texts, from {} rows of {} files",
            self.counts.pictures, self.counts.texts, self.rows, self.shards
        )];
        if self.incomplete > 0 {
            lines.push(format!(
                "{} rows have no picture or no text and are left out",
                self.incomplete
            ));
        }
        if self.counts.unusable > 0 {
            lines.push(format!(
                "{} pictures cannot be decoded and are left out",
                self.counts.unusable
            ));
        }
        lines.extend(self.metrics.rows().into_iter().map(|(label, value)| {
            let value = value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.4}"));
            format!("{label:<36}{value:>10}")
        }));
        lines
    }
}

impl Metrics {
    fn rows(&self) -> Vec<(String, Option<f64>)> {
        let mut rows = Vec::new();
        for (n, bleu) in (1..).zip(self.bleu.into_iter().flatten()) {
            rows.push((format!("BLEU-{n}"), Some(bleu)));
        }
        for (label, value) in [("ROUGE-L", self.rouge_l), ("CIDEr-D", self.cider_d)] {
            rows.extend(value.map(|value| (label.to_owned(), Some(value))));
        }
        for (recall, how) in [(&self.recall, ""), (&self.recall_reranked, ", re-ranked")] {
            let Some(recall) = recall else { continue };
            let ways = [
                ("image to text", &recall.ways.image_to_text),
                ("text to image", &recall.ways.text_to_image),
            ];
            for (way, recalls) in ways {
                for (k, value) in recalls {
                    rows.push((format!("{way} R@{k}{how}"), Some(*value)));
                }
            }
        }
        if let Some(zero_shot) = &self.zero_shot {
            rows.push(("zero-shot top-1".to_owned(), zero_shot.top_1));
            rows.push(("zero-shot top-5".to_owned(), zero_shot.top_5));
        }
        if let Some(filter) = &self.filter {
            rows.extend(filter.rows(""));
            for (group, numbers) in &filter.groups {
                rows.extend(numbers.rows(&format!("{group}: ")));
            }
        }
        rows
    }
}
