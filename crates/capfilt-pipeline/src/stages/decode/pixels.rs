//! Pictures of an earlier run, made ready for the models.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};

use super::{Decode, DecodeRows};
use crate::operator::{Operator, RowWork, for_each_row};
use crate::row::{image_at, with_pixels};

/// The operator that decodes stored pictures for the models: they were checked when they came, and
/// stay as they are.
#[derive(Debug)]
pub(crate) struct PixelRows(DecodeRows);

impl PixelRows {
    /// For pictures that a stage with these options stored, and models that read these sizes.
    pub(crate) fn new(options: &Decode, sizes: Vec<u32>) -> Self {
        Self(DecodeRows {
            stage: String::new(),
            options: Decode {
                resize: None,
                ..options.clone()
            },
            sizes,
        })
    }
}

impl Operator for PixelRows {
    const NAME: &'static str = "PixelsExec";

    fn describe(&self) -> String {
        format!("sizes={:?}", self.0.sizes)
    }

    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        with_pixels(input, &self.0.sizes)
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        _: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = self.schema(&input.schema());
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let work = Pixels {
            rows: self,
            schema: Arc::clone(&schema),
            threads,
        };
        for_each_row(work, schema, input)
    }
}

struct Pixels {
    rows: Arc<PixelRows>,
    schema: SchemaRef,
    threads: usize,
}

impl RowWork for Pixels {
    /// The picture at each of the models' sizes.
    type Answer = Vec<Vec<u8>>;

    fn in_flight(&self) -> usize {
        self.threads + 1
    }

    fn ask(&self, row: &RecordBatch) -> Result<Option<BoxFuture<'static, Result<Self::Answer>>>> {
        let row = row.clone();
        let rows = Arc::clone(&self.rows);
        let work = move || -> Result<Self::Answer> {
            let bytes = image_at(&row, 0)?.unwrap_or_default();
            let (picture, _) = rows.0.decode(bytes).map_err(|error| {
                DataFusionError::Internal(format!("a stored picture cannot be decoded: {error}"))
            })?;
            Ok(rows.0.resized(&picture))
        };
        Ok(Some(
            async move {
                SpawnedTask::spawn_blocking(work)
                    .join()
                    .await
                    .map_err(|error| DataFusionError::External(Box::new(error)))?
            }
            .boxed(),
        ))
    }

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Self::Answer>>) -> Result<RecordBatch> {
        let mut arrays = rows.columns().to_vec();
        for index in 0..self.rows.0.sizes.len() {
            let pixels = answers
                .iter()
                .map(|answer| answer.as_ref()?.get(index).map(Vec::as_slice));
            arrays.push(Arc::new(pixels.collect::<BinaryArray>()) as ArrayRef);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}
