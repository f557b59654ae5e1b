//! What can be wrong with data.

use capfilt_data::{ColumnError, FooterError, Location, ShardsError};

use super::sample::Unusable;

/// Data that cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No data is named.
    #[error("there is no data: name at least one `[[data]]` with its `shards`")]
    NoSources,
    /// The shards cannot be found.
    #[error(transparent)]
    Shards(#[from] ShardsError),
    /// A shard cannot be read.
    #[error(transparent)]
    Shard(#[from] FooterError),
    /// A column does not exist.
    #[error(
        "`{shard}` has no column `{column}` for `columns.{option}`; it has {}", 
        exist.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    MissingColumn {
        /// What it is for.
        option: &'static str,
        /// The column.
        column: String,
        /// The file.
        shard: Location,
        /// The columns that there are.
        exist: Vec<String>,
    },
    /// A column has a type or values that cannot be used.
    #[error("cannot use the column `{column}` of `{shard}` for `columns.{option}`")]
    Column {
        /// What it is for.
        option: &'static str,
        /// The column.
        column: String,
        /// The file.
        shard: Location,
        /// What is wrong with it.
        #[source]
        source: ColumnError,
    },
    /// The shards have no rows.
    #[error("the data of `{shards}` is empty: its {files} files have no row")]
    Empty {
        /// What was asked for.
        shards: String,
        /// How many files there are.
        files: usize,
    },
    /// An option has a value that makes no sense.
    #[error("`{option}` is {got}, expected {expected}")]
    Option {
        /// Its name.
        option: String,
        /// Its value.
        got: String,
        /// What would do.
        expected: &'static str,
    },
    /// A batch has more samples than an epoch.
    #[error(
        "a batch of {batch} is larger than the data, which has {samples} samples an epoch; make the batch smaller or take more data"
    )]
    Batch {
        /// Samples of a batch.
        batch: usize,
        /// Samples of an epoch.
        samples: u64,
    },
    /// Too many pictures cannot be used.
    #[error(
        "{unusable} of {seen} pictures cannot be used, more than `most-corrupt` = {most} allows; the first: {}",
        listed(first)
    )]
    Corrupt {
        /// Samples without a picture or a text.
        unusable: u64,
        /// Samples looked at.
        seen: u64,
        /// The largest share allowed.
        most: f64,
        /// Some of them.
        first: Vec<Unusable>,
    },
    /// A position in other data.
    #[error(
        "the checkpoint was made with other data, or another seed, `sampling` or `shuffle-buffer`: go on with those, or start anew"
    )]
    Moved,
    /// A thread ended early.
    #[error("a thread of the data loader ended unexpectedly; this is an error of capfilt")]
    Worker,
}

fn listed(all: &[Unusable]) -> String {
    let lines = all
        .iter()
        .map(|one| format!("`{}` ({})", one.id, one.reason));
    lines.collect::<Vec<_>>().join(", ")
}
