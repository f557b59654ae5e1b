//! How well a score tells what belongs together from what does not, where the truth is known.

/// Decisions by one threshold, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Decisions {
    /// Kept, rightly.
    pub true_positives: u64,
    /// Kept, wrongly.
    pub false_positives: u64,
    /// Removed, rightly.
    pub true_negatives: u64,
    /// Removed, wrongly.
    pub false_negatives: u64,
}

impl Decisions {
    /// The share of what was kept that is right; `None` when nothing was kept.
    pub fn precision(&self) -> Option<f64> {
        share(
            self.true_positives,
            self.true_positives + self.false_positives,
        )
    }

    /// The share of what is right that was kept; `None` when nothing is right.
    pub fn recall(&self) -> Option<f64> {
        share(
            self.true_positives,
            self.true_positives + self.false_negatives,
        )
    }

    /// Harmonic mean of precision and recall, `2 TP / (2 TP + FP + FN)`; `None` when nothing was
    /// kept and nothing is right.
    pub fn f1(&self) -> Option<f64> {
        let twice = 2 * self.true_positives;
        share(twice, twice + self.false_positives + self.false_negatives)
    }
}

/// One point of the curves: what is decided when scores from `threshold` on are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The lowest score that is kept.
    pub threshold: f64,
    /// What is right among what is kept.
    pub true_positives: u64,
    /// What is wrong among what is kept.
    pub false_positives: u64,
}

/// A score that is no number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("score {index} is not a number")]
pub struct NotANumber {
    /// Which of the scores.
    pub index: usize,
}

/// Scores and truths, ready for every threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    points: Vec<Point>,
    positives: u64,
    negatives: u64,
}

impl Curve {
    /// Takes a score and the truth for each thing that was judged.
    pub fn new(judged: &[(f64, bool)]) -> Result<Self, NotANumber> {
        if let Some(index) = judged.iter().position(|(score, _)| score.is_nan()) {
            return Err(NotANumber { index });
        }
        let mut falling = judged.to_vec();
        falling.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut points = Vec::new();
        let (mut positives, mut negatives) = (0, 0);
        #[expect(clippy::float_cmp, reason = "equal scores share a threshold")]
        for equal in falling.chunk_by(|(a, _), (b, _)| a == b) {
            let right = equal.iter().filter(|(_, truth)| *truth).count() as u64;
            positives += right;
            negatives += equal.len() as u64 - right;
            points.push(Point {
                threshold: equal[0].0,
                true_positives: positives,
                false_positives: negatives,
            });
        }
        Ok(Self {
            points,
            positives,
            negatives,
        })
    }

    /// How much of it is right.
    pub fn positives(&self) -> u64 {
        self.positives
    }

    /// How much of it is wrong.
    pub fn negatives(&self) -> u64 {
        self.negatives
    }

    /// A point for each distinct score, highest first.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The ROC curve: false-positive rate and true-positive rate, from (0, 0) to (1, 1), a point
    /// for each distinct score. `None` unless something is right and something is wrong.
    ///
    /// Equal to scikit-learn's `roc_curve(.., drop_intermediate=False)`.
    pub fn roc(&self) -> Option<Vec<(f64, f64)>> {
        let rates = |false_positives, true_positives| {
            Some((
                share(false_positives, self.negatives)?,
                share(true_positives, self.positives)?,
            ))
        };
        let points = self.points.iter();
        std::iter::once(rates(0, 0))
            .chain(points.map(|point| rates(point.false_positives, point.true_positives)))
            .collect()
    }

    /// The area under the ROC curve: the probability that something right has a higher score than
    /// something wrong, equal scores counting half. `None` unless there is something of both.
    ///
    /// Equal to scikit-learn's `roc_auc_score`.
    pub fn auc(&self) -> Option<f64> {
        let roc = self.roc()?;
        let trapezoids = roc.windows(2).map(|ends| {
            let ((x, y), (next_x, next_y)) = (ends[0], ends[1]);
            (next_x - x) * (y + next_y) / 2.0
        });
        Some(trapezoids.sum())
    }

    /// Average precision `Σ (R_i - R_(i-1)) P_i` over the thresholds, highest first; `None` when
    /// nothing is right.
    ///
    /// Equal to scikit-learn's `average_precision_score`.
    pub fn average_precision(&self) -> Option<f64> {
        let mut before = 0;
        let mut sum = 0.0;
        for point in &self.points {
            let kept = point.true_positives + point.false_positives;
            let gained = share(point.true_positives - before, self.positives)?;
            sum += gained * share(point.true_positives, kept)?;
            before = point.true_positives;
        }
        (self.positives > 0).then_some(sum)
    }

    /// What is decided when scores above `threshold` are kept, as `[keep]` does.
    pub fn decisions(&self, threshold: f64) -> Decisions {
        let above = self
            .points
            .partition_point(|point| point.threshold > threshold);
        let (kept_right, kept_wrong) = match above.checked_sub(1).map(|last| self.points[last]) {
            Some(point) => (point.true_positives, point.false_positives),
            None => (0, 0),
        };
        Decisions {
            true_positives: kept_right,
            false_positives: kept_wrong,
            true_negatives: self.negatives - kept_wrong,
            false_negatives: self.positives - kept_right,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests;
