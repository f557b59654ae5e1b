//! The `[keep]` step: which candidates become captions, decided from what is stored.
//!
//! Each candidate is judged on its own. Texts that people wrote for the picture are never removed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use capfilt_data::footer::hex_digest;
use capfilt_data::{Candidate, Kind, Reject, Source};
use datafusion::error::Result;

use crate::error::PipelineErrorKind;
use crate::expression::{Bounds, Condition};
use crate::file::KeepTable;
use crate::load::value;
use crate::stages::{Stage, Verb};

/// Name of the step in `rejected.stage`.
pub(crate) const STEP: &str = "keep";

/// Columns that a condition may name besides the scorers.
const OWN: [&str; 4] = ["text", "source", "by", "log_prob"];

/// Scores lie between these; those of a match are not below 0.
const LEAST: f64 = -1.0;
const MOST: f64 = 1.0;

/// Which captions are kept.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// All of them.
    All,
    /// None of them.
    None,
    /// Those whose score by `scorer` is above `above`.
    Threshold {
        /// Name of the stage.
        scorer: String,
        /// The bound.
        above: f64,
    },
    /// Those that meet a condition.
    Where {
        /// The condition.
        condition: Condition,
        /// What each of its columns stands for.
        scorers: Vec<Scorer>,
    },
}

/// What a name in a condition stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Scorer {
    name: String,
    stage: Option<String>,
    kind: Option<Kind>,
}

impl Scorer {
    fn of(&self, candidate: &Candidate) -> Option<f32> {
        let fits = |score: &&capfilt_data::Score| {
            self.stage.as_ref().is_none_or(|stage| score.by == *stage)
                && self.kind.is_none_or(|kind| score.kind == kind)
        };
        candidate.scores.iter().find(fits).map(|score| score.value)
    }
}

/// What became of a candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It is a caption.
    Kept,
    /// It is removed, and why.
    Removed(Reject, String),
}

impl Rule {
    /// The rule of `table` for a pipeline with `stages`.
    pub(crate) fn check(
        table: Option<&KeepTable>,
        stages: &[Stage],
    ) -> std::result::Result<Self, PipelineErrorKind> {
        let scorers: Vec<&str> = stages
            .iter()
            .filter(|stage| matches!(stage.verb, Verb::Score(_)))
            .map(|stage| stage.name.as_str())
            .collect();
        let Some(table) = table else {
            return Ok(Self::All);
        };
        match (table.threshold, &table.where_) {
            (None, None) => Err(value(
                "keep",
                "it is empty; expected `threshold` or `where`",
            )),
            (Some(_), Some(_)) => Err(value(
                "keep",
                "it has both `threshold` and `where`; expected one of them",
            )),
            (Some(above), None) => match scorers.as_slice() {
                _ if !above.is_finite() => Err(value("keep.threshold", "it is not a number")),
                [scorer] => Ok(Self::Threshold {
                    scorer: (*scorer).to_owned(),
                    above,
                }),
                [] => Err(value("keep.threshold", "there is no `score` stage")),
                _ => Err(value(
                    "keep.threshold",
                    format!(
                        "there are several scorers; name them, like `where = \"{} > {above}\"`",
                        scorers.join(&format!(" > {above} and "))
                    ),
                )),
            },
            (None, Some(sql)) => Self::condition(sql, &scorers),
        }
    }

    fn condition(sql: &str, stages: &[&str]) -> std::result::Result<Self, PipelineErrorKind> {
        let mut scorers: Vec<Scorer> = stages
            .iter()
            .map(|stage| Scorer {
                name: (*stage).to_owned(),
                stage: Some((*stage).to_owned()),
                kind: None,
            })
            .collect();
        // A kind is a name too, where it can only be of the one scorer.
        if stages.len() == 1 {
            for kind in [Kind::Match, Kind::Similarity] {
                if !stages.contains(&kind.as_str()) {
                    let name = kind.as_str().to_owned();
                    scorers.push(Scorer {
                        name,
                        stage: None,
                        kind: Some(kind),
                    });
                }
            }
        }
        scorers.retain(|scorer| !OWN.contains(&scorer.name.as_str()));
        let scores = scorers
            .iter()
            .map(|scorer| (scorer.name.as_str(), DataType::Float32));
        let own = OWN.iter().map(|name| {
            (
                *name,
                if *name == "log_prob" {
                    DataType::Float32
                } else {
                    DataType::Utf8
                },
            )
        });
        let fields: Vec<FieldRef> = scores
            .chain(own)
            .map(|(name, kind)| Arc::new(Field::new(name, kind, true)))
            .collect();
        let condition = Condition::plan(sql, Arc::new(Schema::new(fields))).map_err(|source| {
            PipelineErrorKind::Expression {
                stage: STEP.to_owned(),
                source,
            }
        })?;
        Ok(Self::Where { condition, scorers })
    }

    /// Identifies the rule: equal rules decide alike.
    pub(crate) fn digest(&self) -> String {
        let text = match self {
            Self::All => "all".to_owned(),
            Self::None => "none".to_owned(),
            Self::Threshold { scorer, above } => format!("{scorer:?} > {above:?}"),
            Self::Where { condition, .. } => format!("where {}", condition.sql()),
        };
        hex_digest(text.as_bytes())
    }

    /// What of the rule is hardly meant, in words.
    pub(crate) fn doubt(&self) -> Option<String> {
        match self {
            Self::Threshold { scorer, above } if *above >= MOST => Some(format!(
                "`keep.threshold` is {above}, and no score of `{scorer}` is above {MOST}: nothing will be kept"
            )),
            Self::Threshold { scorer, above } if *above < LEAST => Some(format!(
                "`keep.threshold` is {above}, and all scores of `{scorer}` are from {LEAST} to {MOST}: \
                 everything that was scored will be kept"
            )),
            Self::All | Self::None | Self::Threshold { .. } => None,
            Self::Where { condition, scorers } => {
                let scores = scorers.iter().map(|scorer| Bounds {
                    column: &scorer.name,
                    least: match scorer.kind {
                        Some(Kind::Match) => 0.0,
                        Some(Kind::Similarity) | None => LEAST,
                    },
                    most: MOST,
                });
                let log_prob = Bounds {
                    column: "log_prob",
                    least: f64::from(f32::MIN),
                    most: 0.0,
                };
                let bounds: Vec<Bounds<'_>> = scores.chain([log_prob]).collect();
                (!condition.can_be_met(&bounds)).then(|| {
                    format!(
                        "`keep.where`: no caption can meet `{}`, since a match is from 0 to {MOST} and a \
                         similarity from {LEAST} to {MOST}: nothing will be kept",
                        condition.sql()
                    )
                })
            }
        }
    }

    /// The rule in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::All => "everything".to_owned(),
            Self::None => "nothing".to_owned(),
            Self::Threshold { scorer, above } => format!("{scorer} > {above}"),
            Self::Where { condition, .. } => condition.sql().to_owned(),
        }
    }

    /// A verdict for each of `candidates`.
    pub(crate) fn decide(&self, candidates: &[&Candidate]) -> Result<Vec<Verdict>> {
        let judged = match self {
            Self::All => vec![Verdict::Kept; candidates.len()],
            Self::None => vec![Verdict::Removed(Reject::NotKept, String::new()); candidates.len()],
            Self::Threshold { scorer, above } => candidates
                .iter()
                .map(|candidate| {
                    let score = candidate.scores.iter().find(|score| score.by == *scorer);
                    match score.map(|score| score.value) {
                        Some(score) if f64::from(score) > *above => Verdict::Kept,
                        Some(score) => Verdict::Removed(
                            Reject::BelowThreshold,
                            format!("{scorer} is {score:.4}, expected more than {above}"),
                        ),
                        None => Verdict::Removed(
                            Reject::BelowThreshold,
                            format!("{scorer} did not score it"),
                        ),
                    }
                })
                .collect(),
            Self::Where { condition, scorers } => {
                let met = condition.met(&batch(condition, scorers, candidates)?)?;
                met.into_iter()
                    .map(|met| {
                        if met {
                            Verdict::Kept
                        } else {
                            Verdict::Removed(Reject::NotKept, condition.sql().to_owned())
                        }
                    })
                    .collect()
            }
        };
        let verdicts = candidates.iter().zip(judged).map(|(candidate, verdict)| {
            match candidate.source {
                Source::Human => Verdict::Kept,
                // No trainer learns from a caption without words, whatever the filter says of it.
                Source::Synthetic if candidate.text.trim().is_empty() => {
                    Verdict::Removed(Reject::NoWords, String::new())
                }
                Source::Synthetic | Source::Web => verdict,
            }
        });
        Ok(verdicts.collect())
    }
}

fn batch(
    condition: &Condition,
    scorers: &[Scorer],
    candidates: &[&Candidate],
) -> Result<RecordBatch> {
    let scores = scorers.iter().map(|scorer| {
        let values = candidates.iter().map(|candidate| scorer.of(candidate));
        Arc::new(values.collect::<Float32Array>()) as ArrayRef
    });
    let texts = |get: &dyn Fn(&Candidate) -> Option<String>| {
        let texts: StringArray = candidates.iter().map(|candidate| get(candidate)).collect();
        Arc::new(texts) as ArrayRef
    };
    let log_probs: Float32Array = candidates
        .iter()
        .map(|candidate| candidate.log_prob)
        .collect();
    let own = [
        texts(&|candidate| Some(candidate.text.clone())),
        texts(&|candidate| Some(candidate.source.as_str().to_owned())),
        texts(&|candidate| candidate.by.clone()),
        Arc::new(log_probs) as ArrayRef,
    ];
    let columns: Vec<ArrayRef> = scores.chain(own).collect();
    Ok(RecordBatch::try_new(
        Arc::clone(condition.schema()),
        columns,
    )?)
}

#[cfg(test)]
mod tests;
