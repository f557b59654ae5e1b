//! The row on its way: `scored`'s columns, its number, and pictures ready for the models.
//!
//! Every operator takes and gives the same columns, so that a stage only replaces what it learnt.
//! Hidden columns begin with a dot and never reach a file:
//!
//! ```text
//! .row | id url text image width height fetch candidates reject detail stage text_dropped_by sha256 perceptual_hash | passed through | .pixels.384
//! ```

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StructArray, UInt64Array,
};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use capfilt_data::candidate::read_candidates;
use capfilt_data::read::plain_array;
use capfilt_data::{Candidate, Reject, columns};
use capfilt_image::Square;
use datafusion::error::DataFusionError;

/// The row's number within its shard, counted from 0.
pub(crate) const ROW: &str = ".row";

/// Rows that operators hand on at once: few, because pictures ride along.
pub(crate) const BATCH_ROWS: usize = 16;
/// Rows that go together as long as their pictures are small: what a batch costs, its rows share.
const SMALL_ROWS: usize = 4 * BATCH_ROWS;
/// Bytes of pictures from which on a batch has no more than [`BATCH_ROWS`].
const SMALL_BYTES: usize = 1 << 20;

/// Whether a batch with so many rows, and so many bytes of pictures, takes another row.
pub(crate) const fn has_room(rows: usize, bytes: usize) -> bool {
    rows < BATCH_ROWS || (rows < SMALL_ROWS && bytes < SMALL_BYTES)
}

/// A row where it lies. Thousands may wait like that: one that is cut out of its batch has arrays of
/// its own for every column, a few kilobytes, and holds the same buffers.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    batch: Arc<RecordBatch>,
    row: usize,
}

impl Place {
    /// Every row of `batch`, in order.
    pub(crate) fn all(batch: RecordBatch) -> impl Iterator<Item = Self> {
        let batch = Arc::new(batch);
        (0..batch.num_rows()).map(move |row| Self {
            batch: Arc::clone(&batch),
            row,
        })
    }

    /// The batch in which the row lies.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Where it lies there.
    pub(crate) const fn row(&self) -> usize {
        self.row
    }

    /// Bytes of the row's pictures, encoded and ready for the models.
    pub(crate) fn picture_bytes(&self) -> Result<usize, ArrowError> {
        let encoded = image_at(&self.batch, self.row)?.map_or(0, <[u8]>::len);
        let fields = self.batch.schema_ref().fields().iter();
        let hidden = fields.zip(self.batch.columns()).map(|(field, column)| {
            let pixels = column.as_binary_opt::<i32>();
            let pixels = pixels.filter(|_| is_pixels(field.name()));
            pixels.map_or(0, |pixels| pixels.value(self.row).len())
        });
        Ok(encoded + hidden.sum::<usize>())
    }

    /// The row cut out.
    pub(crate) fn cut(&self) -> RecordBatch {
        self.batch.slice(self.row, 1)
    }
}

/// The rows at `places` as one batch; there is at least one.
pub(crate) fn gather(places: &[Place]) -> Result<RecordBatch, ArrowError> {
    // Neighbours of one batch, in order, are a part of it: their pictures are not copied.
    if let Some(first) = places.first()
        && places.iter().enumerate().all(|(at, place)| {
            Arc::ptr_eq(&place.batch, &first.batch) && place.row == first.row + at
        })
    {
        return Ok(first.batch.slice(first.row, places.len()));
    }
    let batches: Vec<&RecordBatch> = places.iter().map(|place| &*place.batch).collect();
    let picks: Vec<(usize, usize)> = places
        .iter()
        .enumerate()
        .map(|(at, place)| (at, place.row))
        .collect();
    interleave_record_batch(&batches, &picks)
}

/// Name of the hidden column with RGB pictures brought to `square`.
pub(crate) fn pixels_name(square: Square) -> String {
    format!(".pixels.{square}")
}

/// Columns of a row whose shard passes `passed` through, before any picture is decoded.
pub(crate) fn schema(passed: &[FieldRef]) -> SchemaRef {
    let scored = columns::scored(passed);
    let row = Arc::new(Field::new(ROW, DataType::UInt64, false));
    let fields: Vec<FieldRef> = std::iter::once(row)
        .chain(scored.fields().iter().cloned())
        .collect();
    Arc::new(Schema::new_with_metadata(fields, scored.metadata().clone()))
}

/// `schema` with a column of pictures for each square.
pub(crate) fn with_pixels(schema: &SchemaRef, squares: &[Square]) -> SchemaRef {
    let hidden = squares
        .iter()
        .map(|square| Arc::new(Field::new(pixels_name(*square), DataType::Binary, true)));
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().chain(hidden).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// `schema` without columns of pictures for the models.
pub(crate) fn without_pixels(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .filter(|field| !is_pixels(field.name()))
        .cloned()
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn is_pixels(name: &str) -> bool {
    name.starts_with(".pixels.")
}

/// The columns of `schema` from `batch`, which has at least those. What only the fields inside of a column
/// say may differ: other versions say less.
pub(crate) fn project(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            plain_array(column(batch, field.name())?, field.data_type())
                .map_err(|error| ArrowError::ExternalError(Box::new(error)))
        })
        .collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// A column that is there by construction.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("there is no column `{name}`")))
}

/// A string column of ours.
pub(crate) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    column(batch, name)?
        .as_string_opt::<i32>()
        .ok_or_else(|| ArrowError::SchemaError(format!("the column `{name}` is no text")))
}

/// The text at `row`, if there is one.
pub(crate) fn text_at(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// The candidates of each row.
pub(crate) fn candidates(batch: &RecordBatch) -> Result<Vec<Vec<Candidate>>, DataFusionError> {
    read_candidates(column(batch, columns::CANDIDATES)?)
        .map_err(|error| DataFusionError::External(Box::new(error)))
}

/// The rows' numbers.
pub(crate) fn numbers(batch: &RecordBatch) -> Result<&UInt64Array, ArrowError> {
    column(batch, ROW)?
        .as_primitive_opt::<UInt64Type>()
        .ok_or_else(|| ArrowError::SchemaError("rows have no numbers".to_owned()))
}

/// The encoded picture at `row`, if there is one.
pub(crate) fn image_at(batch: &RecordBatch, row: usize) -> Result<Option<&[u8]>, ArrowError> {
    let image = image(batch)?;
    let bytes = image.column(0).as_binary::<i32>();
    Ok((image.is_valid(row) && bytes.is_valid(row)).then(|| bytes.value(row)))
}

fn image(batch: &RecordBatch) -> Result<&StructArray, ArrowError> {
    column(batch, columns::IMAGE)?
        .as_struct_opt()
        .ok_or_else(|| ArrowError::SchemaError("the column `image` is no struct".to_owned()))
}

/// The `image` column with other bytes and the paths it has; null where there are no bytes.
pub(crate) fn image_with_bytes(
    batch: &RecordBatch,
    bytes: BinaryArray,
) -> Result<ArrayRef, ArrowError> {
    let path = Arc::clone(image(batch)?.column(1));
    let nulls = bytes.nulls().cloned();
    let columns: Vec<ArrayRef> = vec![Arc::new(bytes), path];
    Ok(Arc::new(StructArray::try_new(
        columns::image_fields(),
        columns,
        nulls,
    )?))
}

/// Whether the row at `row` has left.
pub(crate) fn is_rejected(batch: &RecordBatch, row: usize) -> Result<bool, ArrowError> {
    Ok(column(batch, columns::REJECT)?.is_valid(row))
}

/// `batch` with other columns under the names they have.
pub(crate) fn replace(
    batch: &RecordBatch,
    replacements: Vec<(&str, ArrayRef)>,
) -> Result<RecordBatch, ArrowError> {
    let mut arrays = batch.columns().to_vec();
    for (name, array) in replacements {
        arrays[batch.schema_ref().index_of(name)?] = array;
    }
    RecordBatch::try_new(batch.schema(), arrays)
}

/// Why one row leaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rejection {
    pub(crate) reason: Reject,
    pub(crate) detail: Option<String>,
}

impl Rejection {
    /// A rejection with what happened in words.
    pub(crate) fn new(reason: Reject, detail: impl Into<Option<String>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// `batch` where the rows that have a rejection leave at `stage`; the others are as they were.
pub(crate) fn reject(
    batch: &RecordBatch,
    stage: &str,
    rejections: &[Option<Rejection>],
) -> Result<RecordBatch, ArrowError> {
    if rejections.iter().all(Option::is_none) {
        return Ok(batch.clone());
    }
    let overlay = |name: &str, new: &dyn Fn(&Rejection) -> Option<String>| {
        let old = texts(batch, name)?;
        let merged: StringArray = rejections
            .iter()
            .enumerate()
            .map(|(row, rejection)| match rejection {
                Some(rejection) => new(rejection),
                None => text_at(old, row).map(str::to_owned),
            })
            .collect();
        Ok::<ArrayRef, ArrowError>(Arc::new(merged))
    };
    let reasons = overlay(columns::REJECT, &|one| Some(one.reason.as_str().to_owned()))?;
    let details = overlay(columns::DETAIL, &|one| one.detail.clone())?;
    let stages = overlay(columns::STAGE, &|_| Some(stage.to_owned()))?;
    replace(
        batch,
        vec![
            (columns::REJECT, reasons),
            (columns::DETAIL, details),
            (columns::STAGE, stages),
        ],
    )
}
