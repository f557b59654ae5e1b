//! Check that the bytes are a picture worth having, and make it ready for the models.
//!
//! A picture is decoded once. What the models of later stages read, the picture at their input
//! sizes, goes along in hidden columns: 8-bit RGB, a fraction of the picture itself.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int32Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use capfilt_data::{Reject, columns};
use capfilt_image::{Alpha, DecodeError, DecodeOptions, Orientation};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::operator::{Operator, RowWork, for_each_row};
use crate::row::{
    Rejection, image_at, image_with_bytes, pixels_name, reject, replace, with_pixels,
};

/// How pictures are decoded.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Decode {
    /// The most pixels that a picture may declare, like `"64 MP"`.
    pub max_pixels: Pixels,
    /// The least pixels that the shorter side must have.
    pub min_side: u32,
    /// What to do with the orientation that a camera wrote into the file.
    pub orientation: Orientation,
    /// What to do with transparency.
    pub alpha: Alpha,
}

/// A number of pixels, written like `"64 MP"` or `"250000"`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pixels(pub u64);

/// A text that is no number of pixels.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{got}` is not a number of pixels; write it like \"64 MP\" or \"250000\"")]
pub struct PixelsError {
    got: String,
}

impl Default for Pixels {
    fn default() -> Self {
        Self(DecodeOptions::default().max_pixels)
    }
}

impl FromStr for Pixels {
    type Err = PixelsError;

    fn from_str(text: &str) -> std::result::Result<Self, PixelsError> {
        let (number, factor) = match text.trim().strip_suffix("MP") {
            Some(number) => (number.trim_end(), 1_000_000),
            None => (text.trim(), 1),
        };
        let pixels = number
            .parse()
            .ok()
            .and_then(|number: u64| number.checked_mul(factor));
        pixels
            .filter(|pixels| *pixels > 0)
            .map(Self)
            .ok_or_else(|| PixelsError {
                got: text.to_owned(),
            })
    }
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000_000) {
            write!(f, "{} MP", self.0 / 1_000_000)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl TryFrom<String> for Pixels {
    type Error = PixelsError;

    fn try_from(text: String) -> std::result::Result<Self, PixelsError> {
        text.parse()
    }
}

impl From<Pixels> for String {
    fn from(pixels: Pixels) -> Self {
        pixels.to_string()
    }
}

impl JsonSchema for Pixels {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Pixels".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^\\s*[0-9]+\\s*(MP)?\\s*$",
            "description": "A number of pixels, like \"64 MP\"."
        })
    }
}

/// The operator of a `decode` stage.
#[derive(Clone, Debug)]
pub(crate) struct DecodeRows {
    pub(crate) stage: String,
    pub(crate) options: Decode,
    /// Input sizes of the models of later stages, each once.
    pub(crate) sizes: Vec<u32>,
}

impl Operator for DecodeRows {
    const NAME: &'static str = "DecodeExec";

    fn describe(&self) -> String {
        format!(
            "max-pixels={}, sizes={:?}",
            self.options.max_pixels, self.sizes
        )
    }

    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        with_pixels(input, &self.sizes)
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        _: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = self.schema(&input.schema());
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let work = Decoding {
            decode: self,
            schema: Arc::clone(&schema),
            threads,
        };
        for_each_row(work, schema, input)
    }
}

struct Decoding {
    decode: Arc<DecodeRows>,
    schema: SchemaRef,
    threads: usize,
}

/// A picture that was looked at.
struct Answer {
    /// `(width, height)` where they are known.
    sides: Option<(i32, i32)>,
    /// The picture at each of the models' sizes.
    pixels: Vec<Vec<u8>>,
    /// Why it is not worth having.
    rejection: Option<Rejection>,
    /// Whether the bytes are a picture at all.
    is_picture: bool,
}

impl RowWork for Decoding {
    type Answer = Answer;

    fn in_flight(&self) -> usize {
        self.threads + 1
    }

    fn ask(&self, row: &RecordBatch) -> Result<Option<BoxFuture<'static, Result<Answer>>>> {
        let row = row.clone();
        let decode = Arc::clone(&self.decode);
        let work = move || -> Result<Answer> {
            Ok(image_at(&row, 0)?.map_or_else(missing, |bytes| decode.look_at(bytes)))
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

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Answer>>) -> Result<RecordBatch> {
        let side = |get: fn((i32, i32)) -> i32| -> ArrayRef {
            let sides = answers.iter().map(|answer| answer.as_ref()?.sides.map(get));
            Arc::new(sides.collect::<Int32Array>())
        };
        let bytes = answers
            .iter()
            .enumerate()
            .map(|(row, answer)| match answer {
                Some(answer) if !answer.is_picture => Ok(None),
                _ => image_at(rows, row),
            })
            .collect::<std::result::Result<Vec<Option<&[u8]>>, _>>()?;
        let image = image_with_bytes(rows, BinaryArray::from(bytes))?;
        let learnt = replace(
            rows,
            vec![
                (columns::IMAGE, image),
                (columns::WIDTH, side(|(width, _)| width)),
                (columns::HEIGHT, side(|(_, height)| height)),
            ],
        )?;
        let rejections: Vec<_> = answers
            .iter()
            .map(|answer| answer.as_ref()?.rejection.clone())
            .collect();
        let learnt = reject(&learnt, &self.decode.stage, &rejections)?;
        let mut arrays = learnt.columns().to_vec();
        for index in 0..self.decode.sizes.len() {
            let pixels: BinaryArray = answers
                .iter()
                .map(|answer| answer.as_ref()?.pixels.get(index).map(Vec::as_slice))
                .collect();
            arrays.push(Arc::new(pixels));
        }
        debug_assert_eq!(arrays.len(), self.schema.fields().len());
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

fn missing() -> Answer {
    let rejection = Some(Rejection::new(Reject::MissingImage, None));
    Answer {
        sides: None,
        pixels: Vec::new(),
        rejection,
        is_picture: false,
    }
}

impl DecodeRows {
    fn look_at(&self, bytes: &[u8]) -> Answer {
        let options = DecodeOptions {
            max_pixels: self.options.max_pixels.0,
            orientation: self.options.orientation,
            alpha: self.options.alpha,
        };
        let picture = match capfilt_image::decode(bytes, &options) {
            Ok(picture) => picture,
            Err(error) => return refused(&error),
        };
        let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
        let sides = Some((side(picture.width()), side(picture.height())));
        let shorter = picture.width().min(picture.height());
        if shorter < self.options.min_side {
            let detail = format!(
                "the shorter side has {shorter} pixels, expected {}",
                self.options.min_side
            );
            let rejection = Some(Rejection::new(Reject::TooSmall, detail));
            return Answer {
                sides,
                pixels: Vec::new(),
                rejection,
                is_picture: true,
            };
        }
        let pixels = self
            .sizes
            .iter()
            .map(|size| capfilt_image::resize(&picture, *size, *size).into_pixels())
            .collect();
        Answer {
            sides,
            pixels,
            rejection: None,
            is_picture: true,
        }
    }
}

fn refused(error: &DecodeError) -> Answer {
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    let (reason, sides) = match error {
        DecodeError::Empty => (Reject::Empty, None),
        DecodeError::NotAnImage => (Reject::NotAnImage, None),
        DecodeError::Unsupported { .. } => (Reject::Unsupported, None),
        DecodeError::TooManyPixels { width, height, .. } => {
            (Reject::TooManyPixels, Some((side(*width), side(*height))))
        }
        DecodeError::Truncated => (Reject::Truncated, None),
        DecodeError::Corrupt { .. } => (Reject::Corrupt, None),
    };
    Answer {
        sides,
        pixels: Vec::new(),
        rejection: Some(Rejection::new(reason, error.to_string())),
        is_picture: sides.is_some(),
    }
}

/// The picture of the only row of `row` at `size` x `size` pixels, if it was decoded.
pub(crate) fn pixels(row: &RecordBatch, size: u32) -> Result<Option<Vec<u8>>> {
    use arrow::array::AsArray;
    let pixels = crate::row::column(row, &pixels_name(size))?.as_binary::<i32>();
    Ok(pixels.is_valid(0).then(|| pixels.value(0).to_vec()))
}

#[cfg(test)]
mod tests;
