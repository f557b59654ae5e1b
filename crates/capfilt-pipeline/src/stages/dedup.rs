//! Remove pictures that are there more than once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{Stream, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duplicates::Distance;
use crate::operator::Operator;
use crate::row::{Rejection, is_rejected, numbers, reject};

/// Which pictures count as duplicates. Of those that match, the first stays: pictures of evaluation
/// sets before those that earlier runs kept, and those before this run's.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Dedup {
    /// In how many of their 64 bits the perceptual hashes of duplicates may differ, 0 to 3. Pictures
    /// whose bytes are the same are duplicates anyway.
    pub distance: Distance,
    /// Globs of Parquet files with pictures of evaluation sets, relative to the pipeline file: what
    /// resembles one of those is removed, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
}

impl Dedup {
    /// The options that change results, besides what is in the evaluation sets.
    pub(crate) fn what_counts(&self) -> Self {
        Self {
            against: Vec::new(),
            ..self.clone()
        }
    }
}

/// Which rows of one piece are removed as duplicates, by the row's number. They are found over all
/// pieces before any goes on; rows that nobody looked for stay.
pub(crate) type Duplicates = HashMap<u64, Rejection>;

/// The operator of a `dedup` stage.
#[derive(Debug)]
pub(crate) struct DedupRows {
    pub(crate) stage: String,
}

impl DedupRows {
    fn apply(&self, batch: &RecordBatch, duplicates: &Duplicates) -> Result<RecordBatch> {
        let numbers = numbers(batch)?.values().iter();
        let rejections = numbers
            .enumerate()
            .map(|(row, number)| {
                let is_out = is_rejected(batch, row)?;
                Ok(duplicates.get(number).filter(|_| !is_out).cloned())
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(reject(batch, &self.stage, &rejections)?)
    }
}

impl Operator for DedupRows {
    const NAME: &'static str = "DedupExec";

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let duplicates = context.session_config().get_extension::<Duplicates>();
        let duplicates = duplicates.unwrap_or_default();
        input.map(move |batch| self.apply(&batch?, &duplicates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Dedup, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn everything_has_a_default() {
        let dedup = parsed("").unwrap();
        assert_eq!(dedup.distance, Distance::LARGEST);
        assert_eq!(dedup.against, Vec::<String>::new());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "distance = 2\nagainst = [\"eval/coco/*.parquet\"]\n";
        let dedup = parsed(text).unwrap();
        assert_eq!(dedup.distance.bits(), 2);
        assert_eq!(toml::to_string(&dedup).unwrap(), text);
    }

    #[test]
    fn a_distance_that_bands_cannot_find_is_refused() {
        let error = parsed("distance = 4").unwrap_err();
        assert!(
            error.contains("4 bits is too large; expected 0 to 3"),
            "{error}"
        );
        assert!(parsed("distance = -1").is_err());
        let error = parsed("distances = 3").unwrap_err();
        assert!(error.contains("unknown field `distances`"), "{error}");
    }
}
