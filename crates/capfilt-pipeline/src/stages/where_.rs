//! Drop rows that do not meet a condition. NULL drops.
//!
//! The row stays in `scored` with the reason `where`; later stages step over it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use capfilt_data::Reject;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{Stream, StreamExt};

use crate::expression::{Condition, visible_batch};
use crate::operator::Operator;
use crate::row::{Rejection, is_rejected, reject};

/// The operator of a `where` stage.
#[derive(Debug)]
pub(crate) struct Where {
    pub(crate) stage: String,
    pub(crate) condition: Condition,
}

impl Where {
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let met = self
            .condition
            .met(&visible_batch(batch, self.condition.schema())?)?;
        let rejections = met
            .into_iter()
            .enumerate()
            .map(|(row, met)| {
                let drops = !met && !is_rejected(batch, row)?;
                Ok(drops.then(|| Rejection::new(Reject::Where, self.condition.sql().to_owned())))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(reject(batch, &self.stage, &rejections)?)
    }
}

impl Operator for Where {
    const NAME: &'static str = "WhereExec";

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
