//! Check that the bytes are a picture worth having, and make it ready for the models.
//!
//! A picture is decoded once. What the models of later stages read, the picture at their input
//! sizes, goes along in hidden columns: 8-bit RGB, a fraction of the picture itself. With `resize`,
//! large pictures are stored smaller, and the models read what is stored.

mod pixels;
mod resize;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int32Array, RecordBatch, UInt64Array};
use arrow::datatypes::SchemaRef;
use capfilt_data::{Reject, columns};
use capfilt_image::{
    Alpha, DecodeError, DecodeOptions, Orientation, Picture, Square, decode_scaled, encode_jpeg,
    probe,
};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::Stream;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::at_once::processors;
use crate::operator::{Asked, Operator, RowWork, for_each_row};
use crate::row::{
    Place, Rejection, column, image_at, image_with_bytes, pixels_name, reject, replace, with_pixels,
};

use crate::shelf::blocking;

pub(crate) use pixels::PixelRows;
pub use resize::{JpegDecoding, Resize, ResizeError, Side};

/// How pictures are decoded.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Decode {
    /// The most pixels that a picture may declare, like `"64 MP"`.
    pub max_pixels: Pixels,
    /// The least pixels that the shorter side must have, before any `resize`.
    pub min_side: u32,
    /// What to do with the orientation that a camera wrote into the file.
    pub orientation: Orientation,
    /// What to do with transparency.
    pub alpha: Alpha,
    /// How closely pictures are looked at that nothing needs decoded: no model, and no `resize`.
    #[serde(skip_serializing_if = "Check::is_pixels")]
    pub check: Check,
    /// How large pictures are stored; as they came by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
}

/// How closely pictures are looked at that nothing needs decoded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Every pixel is decoded.
    #[default]
    Pixels,
    /// The parts of the file are followed to its end: what was cut off is found, damage inside of a
    /// part is not. Many times as fast.
    Structure,
}

impl Check {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_pixels(&self) -> bool {
        *self == Self::Pixels
    }
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

/// A file up to this size is followed through its structure where it is: that takes a few
/// microseconds, and another thread would take as many to hand it over.
const AT_ONCE_BYTES: usize = 64 << 10;

/// The operator of a `decode` stage.
#[derive(Clone, Debug)]
pub(crate) struct DecodeRows {
    pub(crate) stage: String,
    pub(crate) options: Decode,
    /// What the models of later stages see, each once.
    pub(crate) squares: Vec<Square>,
    /// Whether pictures get hashes, by which a later stage finds duplicates.
    pub(crate) hashes: bool,
}

impl Operator for DecodeRows {
    const NAME: &'static str = "DecodeExec";

    fn describe(&self) -> String {
        format!(
            "max-pixels={}, sizes=[{}]",
            self.options.max_pixels,
            listed(&self.squares)
        )
    }

    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        with_pixels(input, &self.squares)
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        _: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = self.schema(&input.schema());
        let work = Decoding {
            decode: self,
            schema: Arc::clone(&schema),
        };
        for_each_row(work, schema, input)
    }
}

struct Decoding {
    decode: Arc<DecodeRows>,
    schema: SchemaRef,
}

/// A picture that was looked at.
struct Answer {
    /// What is stored.
    image: Image,
    /// `(width, height)` of what is stored, where they are known.
    sides: Option<(i32, i32)>,
    /// The picture as each of the models sees it.
    pixels: Vec<Vec<u8>>,
    /// What is stored, in few bits.
    hashes: Option<Hashes>,
    /// Why it is not worth having.
    rejection: Option<Rejection>,
}

/// A stored picture in few bits.
#[derive(Clone, Copy)]
struct Hashes {
    sha256: [u8; 32],
    /// Nothing for a picture with too few features.
    perceptual: Option<u64>,
}

impl Hashes {
    fn of(bytes: &[u8], picture: &Picture) -> Self {
        Self {
            sha256: capfilt_data::footer::digest(bytes),
            perceptual: capfilt_image::perceptual_hash(picture),
        }
    }

    /// The columns of both hashes.
    fn columns(all: &[Option<Self>]) -> Vec<(&'static str, ArrayRef)> {
        let digests: BinaryArray = all
            .iter()
            .map(|one| one.as_ref().map(|one| one.sha256.as_slice()))
            .collect();
        let perceptual: UInt64Array = all.iter().map(|one| one.as_ref()?.perceptual).collect();
        vec![
            (columns::SHA256, Arc::new(digests)),
            (columns::PERCEPTUAL_HASH, Arc::new(perceptual)),
        ]
    }
}

/// What is stored of a picture.
enum Image {
    /// Nothing: the bytes are no picture.
    Nothing,
    /// The bytes as they came.
    AsItCame,
    /// The bytes of a smaller JPEG.
    Smaller(Vec<u8>),
}

impl RowWork for Decoding {
    type Answer = Answer;

    fn in_flight(&self) -> usize {
        processors() + 1
    }

    fn ask(&self, row: &Place) -> Result<Asked<Answer>> {
        let Some(bytes) = image_at(row.batch(), row.row())? else {
            return Ok(Asked::Known(missing()));
        };
        let is_small = bytes.len() <= AT_ONCE_BYTES;
        if is_small && let Some(answer) = self.decode.by_structure(bytes) {
            return Ok(Asked::Known(answer));
        }
        let (row, decode) = (row.clone(), Arc::clone(&self.decode));
        let work = move || -> Result<Answer> {
            let bytes = image_at(row.batch(), row.row())?.unwrap_or_default();
            // The structure of a small file was looked at.
            let known = (!is_small).then(|| decode.by_structure(bytes)).flatten();
            Ok(known.unwrap_or_else(|| decode.by_pixels(bytes)))
        };
        Ok(Asked::work(async move { blocking(work).await? }))
    }

    fn bytes(answer: &Answer) -> usize {
        answer.pixels.iter().map(Vec::len).sum()
    }

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Answer>>) -> Result<RecordBatch> {
        let side = |get: fn((i32, i32)) -> i32| -> ArrayRef {
            let sides = answers.iter().map(|answer| answer.as_ref()?.sides.map(get));
            Arc::new(sides.collect::<Int32Array>())
        };
        let as_they_came = |answer: &Option<Answer>| {
            answer
                .as_ref()
                .is_none_or(|answer| matches!(answer.image, Image::AsItCame))
        };
        // Most batches keep all their pictures: those are handed on and not copied.
        let image = if answers.iter().all(as_they_came) {
            Arc::clone(column(rows, columns::IMAGE)?)
        } else {
            image_with_bytes(rows, stored(rows, &answers)?)?
        };
        let mut learnt = vec![
            (columns::IMAGE, image),
            (columns::WIDTH, side(|(width, _)| width)),
            (columns::HEIGHT, side(|(_, height)| height)),
        ];
        if self.decode.hashes {
            let hashes: Vec<_> = answers
                .iter()
                .map(|answer| answer.as_ref()?.hashes)
                .collect();
            learnt.extend(Hashes::columns(&hashes));
        }
        let learnt = replace(rows, learnt)?;
        let rejections: Vec<_> = answers
            .iter()
            .map(|answer| answer.as_ref()?.rejection.clone())
            .collect();
        let learnt = reject(&learnt, &self.decode.stage, &rejections)?;
        let mut arrays = learnt.columns().to_vec();
        for index in 0..self.decode.squares.len() {
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

/// The bytes that are stored of each row's picture.
fn stored(rows: &RecordBatch, answers: &[Option<Answer>]) -> Result<BinaryArray> {
    let mut bytes = Vec::with_capacity(answers.len());
    for (row, answer) in answers.iter().enumerate() {
        bytes.push(match answer.as_ref().map(|answer| &answer.image) {
            Some(Image::Nothing) => None,
            Some(Image::Smaller(bytes)) => Some(bytes.as_slice()),
            Some(Image::AsItCame) | None => image_at(rows, row)?,
        });
    }
    Ok(BinaryArray::from(bytes))
}

fn missing() -> Answer {
    Answer {
        image: Image::Nothing,
        sides: None,
        pixels: Vec::new(),
        hashes: None,
        rejection: Some(Rejection::new(Reject::MissingImage, None)),
    }
}

impl DecodeRows {
    /// What there is to know of the picture in `bytes` where its structure is enough.
    fn by_structure(&self, bytes: &[u8]) -> Option<Answer> {
        let needs_pixels = self.hashes || !self.squares.is_empty();
        if self.options.check != Check::Structure || needs_pixels {
            return None;
        }
        let resize = self.options.resize;
        match capfilt_image::check(bytes, &self.decoding()) {
            Err(error) => Some(refused(&error)),
            Ok(probe) => {
                let came = (probe.width, probe.height);
                let stays = resize.is_none_or(|resize| resize.size(came).is_none());
                stays.then(|| self.as_it_came(came))
            }
        }
    }

    /// What there is to know of the picture in `bytes`, decoded.
    fn by_pixels(&self, bytes: &[u8]) -> Answer {
        match self.decode(bytes) {
            Ok((picture, came)) => self.judge(bytes, picture, came),
            Err(error) => refused(&error),
        }
    }

    fn decoding(&self) -> DecodeOptions {
        DecodeOptions {
            max_pixels: self.options.max_pixels.0,
            orientation: self.options.orientation,
            alpha: self.options.alpha,
        }
    }

    /// A picture, with as many pixels as are needed of it, and the size at which it came.
    fn decode(&self, bytes: &[u8]) -> std::result::Result<(Picture, Size), DecodeError> {
        let options = self.decoding();
        if let Some(resize) = self.options.resize
            && resize.decoding == JpegDecoding::Scaled
        {
            let header = probe(bytes, &options)?;
            let came = (header.width, header.height);
            if let Some((width, height)) = resize.size(came) {
                let picture = decode_scaled(bytes, &options, 2 * width, 2 * height)?;
                return Ok((picture, came));
            }
        }
        let picture = capfilt_image::decode(bytes, &options)?;
        let came = size(&picture);
        Ok((picture, came))
    }

    /// A picture that is stored as it came, or is too small to be.
    fn as_it_came(&self, came: Size) -> Answer {
        let shorter = came.0.min(came.1);
        let rejection = (shorter < self.options.min_side).then(|| {
            let least = self.options.min_side;
            let detail = format!("the shorter side has {shorter} pixels, expected {least}");
            Rejection::new(Reject::TooSmall, detail)
        });
        Answer {
            image: Image::AsItCame,
            sides: Some(sides(came)),
            pixels: Vec::new(),
            hashes: None,
            rejection,
        }
    }

    fn judge(&self, bytes: &[u8], picture: Picture, came: Size) -> Answer {
        let as_it_came = self.as_it_came(came);
        if as_it_came.rejection.is_some() {
            return as_it_came;
        }
        let rejected = |rejection| Answer {
            rejection: Some(rejection),
            ..as_it_came
        };
        match self.stored(picture, came) {
            Ok((image, picture)) => Answer {
                sides: Some(sides(size(&picture))),
                pixels: self.resized(&picture),
                hashes: self.hashes.then(|| {
                    let stored = match &image {
                        Image::Smaller(smaller) => smaller,
                        Image::AsItCame | Image::Nothing => bytes,
                    };
                    Hashes::of(stored, &picture)
                }),
                image,
                rejection: None,
            },
            Err(rejection) => rejected(rejection),
        }
    }

    /// A picture as each of the models sees it.
    fn resized(&self, picture: &Picture) -> Vec<Vec<u8>> {
        let resized = |square: &Square| square.of(picture).into_pixels();
        self.squares.iter().map(resized).collect()
    }

    /// What is stored of a picture, and how that looks.
    fn stored(
        &self,
        picture: Picture,
        came: Size,
    ) -> std::result::Result<(Image, Picture), Rejection> {
        let resize = self.options.resize;
        let Some((resize, (width, height))) =
            resize.and_then(|resize| Some((resize, resize.size(came)?)))
        else {
            return Ok((Image::AsItCame, picture));
        };
        let smaller = capfilt_image::resize(&picture, width, height);
        let unsupported = |detail: String| Rejection::new(Reject::Unsupported, detail);
        let bytes = encode_jpeg(&smaller, resize.quality)
            .map_err(|error| unsupported(error.to_string()))?;
        // Models and hashes see what is stored, so that they can be made again from the dataset.
        let picture = if self.squares.is_empty() && !self.hashes {
            smaller
        } else {
            capfilt_image::decode(&bytes, &self.decoding())
                .map_err(|error| unsupported(error.to_string()))?
        };
        Ok((Image::Smaller(bytes), picture))
    }
}

/// Width and height in pixels.
type Size = (u32, u32);

fn size(picture: &Picture) -> Size {
    (picture.width(), picture.height())
}

/// A size as it is written.
fn sides((width, height): Size) -> (i32, i32) {
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    (side(width), side(height))
}

fn refused(error: &DecodeError) -> Answer {
    let (reason, image, sides) = match error {
        DecodeError::Empty => (Reject::Empty, Image::Nothing, None),
        DecodeError::NotAnImage => (Reject::NotAnImage, Image::Nothing, None),
        DecodeError::Unsupported { .. } => (Reject::Unsupported, Image::Nothing, None),
        DecodeError::TooManyPixels { width, height, .. } => (
            Reject::TooManyPixels,
            Image::AsItCame,
            Some(sides((*width, *height))),
        ),
        DecodeError::Truncated => (Reject::Truncated, Image::Nothing, None),
        DecodeError::Corrupt { .. } => (Reject::Corrupt, Image::Nothing, None),
    };
    Answer {
        image,
        sides,
        pixels: Vec::new(),
        hashes: None,
        rejection: Some(Rejection::new(reason, error.to_string())),
    }
}

/// Squares in words.
fn listed(squares: &[Square]) -> String {
    let squares: Vec<String> = squares.iter().map(Square::to_string).collect();
    squares.join(", ")
}

/// The picture of the only row of `row` brought to `square`, if it was decoded.
pub(crate) fn pixels(row: &RecordBatch, square: Square) -> Result<Option<Vec<u8>>> {
    use arrow::array::AsArray;
    let pixels = column(row, &pixels_name(square))?.as_binary::<i32>();
    Ok(pixels.is_valid(0).then(|| pixels.value(0).to_vec()))
}

#[cfg(test)]
mod tests;
