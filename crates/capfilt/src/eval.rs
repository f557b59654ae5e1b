//! Evaluates a model package on pictures and texts.
//!
//! The rows of the shards are read once for what they say ([`data`]), then the pictures once for
//! each kind of metric: captions against the texts ([`captions`]), pictures and texts that look for
//! each other or are judged ([`matches`]), and pictures that look for their classes ([`zero_shot`]).
//! What comes of it is a [`report`].

mod captions;
mod data;
mod late;
mod matches;
mod report;
mod zero_shot;

use capfilt_data::{ColumnError, FooterError, Location};
use clap::ValueEnum;

pub(crate) use captions::caption_scores;
pub(crate) use data::{Columns, Data};
pub(crate) use matches::{filter_numbers, recalls};
pub(crate) use report::{Counts, Metrics, Report};
pub(crate) use zero_shot::zero_shot;

/// What can be computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Metric {
    /// BLEU-1 to BLEU-4 of captions.
    Bleu,
    /// ROUGE-L of captions.
    RougeL,
    /// CIDEr-D of captions.
    CiderD,
    /// Recall@K by similarity, both ways.
    Recall,
    /// Recall@K of the most similar, ranked again by the matching head.
    RecallReranked,
    /// Zero-shot classification; the texts are the names of the classes.
    ZeroShot,
    /// Precision, recall, F1 and the areas under the curves, where the truth is known.
    Filter,
}

impl Metric {
    /// Whether it is about captions that the model writes.
    pub(crate) fn is_of_captions(self) -> bool {
        matches!(self, Self::Bleu | Self::RougeL | Self::CiderD)
    }
}

/// Why data cannot be evaluated on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvalError {
    /// A glob that finds nothing.
    #[error("`--data {glob}` finds no file")]
    NoShards {
        /// The glob.
        glob: String,
    },
    /// A file that cannot be read.
    #[error(transparent)]
    Shard(#[from] FooterError),
    /// A column that is not there.
    #[error(
        "`{shard}` has no column `{column}` for `--{option}`; it has {}",
        exist.join(", ")
    )]
    MissingColumn {
        /// The option that names it.
        option: &'static str,
        /// The column.
        column: String,
        /// The file.
        shard: Location,
        /// The columns that are there.
        exist: Vec<String>,
    },
    /// A column of a type that will not do.
    #[error("column `{column}` of `{shard}` cannot be used for `--{option}`")]
    Column {
        /// The option that names it.
        option: &'static str,
        /// The column.
        column: String,
        /// The file.
        shard: Location,
        /// What is wrong.
        source: ColumnError,
    },
    /// A metric that the package has no model for.
    #[error(
        "`--metrics {metric}` needs a {needed}; the package is for {got} only",
        metric = name(*metric)
    )]
    Task {
        /// The metric.
        metric: Metric,
        /// The task that it needs.
        needed: &'static str,
        /// The tasks of the package.
        got: String,
    },
    /// Matching without what matches.
    #[error(
        "`{option}` needs a BLIP filter: packages of CLIP, CoCa and FILIP have no matching head"
    )]
    NoMatchingHead {
        /// What was asked for.
        option: &'static str,
    },
    /// The filter metric without the truth.
    #[error("`--metrics filter` needs `--truth COLUMN`: which texts belong to their pictures")]
    NoTruth,
    /// Prompts whose features have no direction.
    #[error("the prompts of class `{class}` cancel out: give other `--template`s")]
    NoClass {
        /// The class.
        class: String,
    },
    /// Nothing can be compared.
    #[error(
        "no picture can be used: of {rows} rows, {incomplete} have no picture or no text and {unusable} pictures \
         cannot be decoded"
    )]
    Nothing {
        /// Rows of the data.
        rows: u64,
        /// Rows without picture or text.
        incomplete: u64,
        /// Pictures that cannot be used.
        unusable: u64,
    },
    /// Features of a model that are no numbers.
    #[error(transparent)]
    Similarity(#[from] capfilt_eval::SimilarityError),
    /// Pictures and texts that are no pairs.
    #[error(transparent)]
    Pairs(#[from] capfilt_eval::PairsError),
    /// A score that is no number.
    #[error(transparent)]
    NotANumber(#[from] capfilt_eval::NotANumber),
    /// A caption without references.
    #[error(transparent)]
    NoReferences(#[from] capfilt_eval::NoReferences),
}

impl EvalError {
    /// Whether the command line is wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoTruth | Self::NoMatchingHead { .. } | Self::Task { .. }
        )
    }
}

/// The metric as it is typed.
fn name(metric: Metric) -> String {
    let value = metric.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}
