//! Drop web texts that do not meet a condition. NULL drops.
//!
//! Only the text goes: the row stays in, and its picture is still captioned. A row without web
//! text is left as it is.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use capfilt_data::candidate::candidates_array;
use capfilt_data::{Source, columns};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{Stream, StreamExt};

use crate::expression::{Condition, visible_batch};
use crate::operator::Operator;
use crate::row::{self, is_rejected, replace, text_at, texts};

/// The operator of a `where-text` stage.
#[derive(Debug)]
pub(crate) struct WhereText {
    pub(crate) stage: String,
    pub(crate) condition: Condition,
}

impl WhereText {
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let met = self
            .condition
            .met(&visible_batch(batch, self.condition.schema())?)?;
        let mut candidates = row::candidates(batch)?;
        let before = texts(batch, columns::TEXT_DROPPED_BY)?;
        let mut dropped_by: Vec<Option<String>> = (0..batch.num_rows())
            .map(|row| text_at(before, row).map(str::to_owned))
            .collect();
        for (row, met) in met.into_iter().enumerate() {
            if met || is_rejected(batch, row)? {
                continue;
            }
            let had = candidates[row].len();
            candidates[row].retain(|candidate| candidate.source == Source::Synthetic);
            if candidates[row].len() < had {
                dropped_by[row] = Some(self.stage.clone());
            }
        }
        let candidates: ArrayRef = Arc::new(candidates_array(&candidates)?);
        let dropped_by: ArrayRef = Arc::new(StringArray::from(dropped_by));
        Ok(replace(
            batch,
            vec![
                (columns::CANDIDATES, candidates),
                (columns::TEXT_DROPPED_BY, dropped_by),
            ],
        )?)
    }
}

impl Operator for WhereText {
    const NAME: &'static str = "WhereTextExec";

    fn describe(&self) -> String {
        self.condition.sql().to_owned()
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        _: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        input.map(move |batch| self.apply(&batch?))
    }
}
