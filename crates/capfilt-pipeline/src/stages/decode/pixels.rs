//! Pictures of an earlier run, made ready for the models and for the search for duplicates.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{SchemaRef, UInt64Type};
use capfilt_data::columns;
use capfilt_image::Square;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::Stream;

use super::{Decode, DecodeRows, Hashes, listed};
use crate::at_once::processors;
use crate::operator::{Asked, Operator, RowWork, for_each_row};
use crate::row::{Place, column, image_at, replace, with_pixels};
use crate::shelf::blocking;

/// The operator that decodes stored pictures for later stages: they were checked when they came, and
/// stay as they are.
#[derive(Debug)]
pub(crate) struct PixelRows(DecodeRows);

impl PixelRows {
    /// For pictures that a stage with these options stored, models that see these squares, and with
    /// hashes of those that have none, if they are needed.
    pub(crate) fn new(options: &Decode, squares: Vec<Square>, hashes: bool) -> Self {
        Self(DecodeRows {
            stage: String::new(),
            options: Decode {
                resize: None,
                ..options.clone()
            },
            squares,
            hashes,
        })
    }
}

impl Operator for PixelRows {
    const NAME: &'static str = "PixelsExec";

    fn describe(&self) -> String {
        format!("sizes=[{}]", listed(&self.0.squares))
    }

    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        with_pixels(input, &self.0.squares)
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        _: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = self.schema(&input.schema());
        let work = Pixels {
            rows: self,
            schema: Arc::clone(&schema),
        };
        for_each_row(work, schema, input)
    }
}

struct Pixels {
    rows: Arc<PixelRows>,
    schema: SchemaRef,
}

impl RowWork for Pixels {
    /// The picture as each of the models sees it, and its hashes.
    type Answer = (Vec<Vec<u8>>, Option<Hashes>);

    fn in_flight(&self) -> usize {
        processors() + 1
    }

    fn ask(&self, row: &Place) -> Result<Asked<Self::Answer>> {
        let hashes = self.rows.0.hashes && column(row.batch(), columns::SHA256)?.is_null(row.row());
        if self.rows.0.squares.is_empty() && !hashes {
            return Ok(Asked::Nothing);
        }
        let row = row.clone();
        let rows = Arc::clone(&self.rows);
        let work = move || -> Result<Self::Answer> {
            let bytes = image_at(row.batch(), row.row())?.unwrap_or_default();
            let (picture, _) = rows.0.decode(bytes).map_err(|error| {
                DataFusionError::Internal(format!("a stored picture cannot be decoded: {error}"))
            })?;
            let hashes = hashes.then(|| Hashes::of(bytes, &picture));
            Ok((rows.0.resized(&picture), hashes))
        };
        Ok(Asked::work(async move { blocking(work).await? }))
    }

    fn bytes((pixels, _): &Self::Answer) -> usize {
        pixels.iter().map(Vec::len).sum()
    }

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Self::Answer>>) -> Result<RecordBatch> {
        let rows = self.with_hashes(rows, &answers)?;
        let mut arrays = rows.columns().to_vec();
        for index in 0..self.rows.0.squares.len() {
            let pixels = answers
                .iter()
                .map(|answer| answer.as_ref()?.0.get(index).map(Vec::as_slice));
            arrays.push(Arc::new(pixels.collect::<BinaryArray>()) as ArrayRef);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

impl Pixels {
    /// `rows` with the hashes that they lacked.
    fn with_hashes(
        &self,
        rows: &RecordBatch,
        answers: &[Option<<Self as RowWork>::Answer>],
    ) -> Result<RecordBatch> {
        if !self.rows.0.hashes {
            return Ok(rows.clone());
        }
        let digests = column(rows, columns::SHA256)?.as_binary::<i32>();
        let perceptual = column(rows, columns::PERCEPTUAL_HASH)?.as_primitive::<UInt64Type>();
        let all: Vec<Option<Hashes>> = (0..rows.num_rows())
            .map(|row| {
                let known = || {
                    let sha256 = digests.is_valid(row).then(|| digests.value(row))?;
                    Some(Hashes {
                        sha256: sha256.try_into().ok()?,
                        perceptual: perceptual.is_valid(row).then(|| perceptual.value(row)),
                    })
                };
                answers[row]
                    .as_ref()
                    .and_then(|(_, new)| *new)
                    .or_else(known)
            })
            .collect();
        Ok(replace(rows, Hashes::columns(&all))?)
    }
}
