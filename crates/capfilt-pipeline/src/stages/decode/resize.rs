//! Pictures stored smaller than they came.

use std::num::NonZeroU32;

use capfilt_image::Quality;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Size;

/// Pictures whose shorter or longer side is over a length are stored smaller, as JPEG of the same
/// shape. Others keep their bytes as they came: nothing is enlarged or encoded twice.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "ResizeTable", into = "ResizeTable")]
pub struct Resize {
    /// The side that is brought to a length; the other keeps the shape.
    pub side: Side,
    /// Quality of the JPEG that is stored.
    pub quality: Quality,
    /// How JPEG pictures are decoded that are stored smaller.
    pub decoding: JpegDecoding,
}

/// A side of a picture and the most pixels it may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The shorter side.
    Shorter(NonZeroU32),
    /// The longer side.
    Longer(NonZeroU32),
}

/// How JPEG pictures are decoded that are stored smaller.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JpegDecoding {
    /// Every pixel, so that the smaller picture is the one that Pillow makes.
    #[default]
    Full,
    /// At 1/2, 1/4 or 1/8 where that leaves twice the pixels needed each way: faster for large
    /// pictures, and about 49 dB (PSNR) from `full`.
    Scaled,
}

/// A size for both sides or for none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`resize` needs one of `shorter-side` and `longer-side`, and not both")]
pub struct ResizeError;

/// How a [`Resize`] is written.
#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("oneOf" = [{ "required": ["shorter-side"] }, { "required": ["longer-side"] }]))]
struct ResizeTable {
    /// The most pixels that the shorter side keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shorter_side: Option<NonZeroU32>,
    /// The most pixels that the longer side keeps, instead of `shorter-side`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    longer_side: Option<NonZeroU32>,
    /// Quality of the JPEG that is stored, 1 to 100.
    #[serde(default)]
    quality: Quality,
    /// How JPEG pictures are decoded that are stored smaller.
    #[serde(default)]
    decoding: JpegDecoding,
}

impl TryFrom<ResizeTable> for Resize {
    type Error = ResizeError;

    fn try_from(table: ResizeTable) -> Result<Self, ResizeError> {
        let side = match (table.shorter_side, table.longer_side) {
            (Some(side), None) => Side::Shorter(side),
            (None, Some(side)) => Side::Longer(side),
            _ => return Err(ResizeError),
        };
        Ok(Self {
            side,
            quality: table.quality,
            decoding: table.decoding,
        })
    }
}

impl From<Resize> for ResizeTable {
    fn from(resize: Resize) -> Self {
        let (shorter_side, longer_side) = match resize.side {
            Side::Shorter(side) => (Some(side), None),
            Side::Longer(side) => (None, Some(side)),
        };
        Self {
            shorter_side,
            longer_side,
            quality: resize.quality,
            decoding: resize.decoding,
        }
    }
}

impl Resize {
    /// The size at which a picture is stored, unless it is small enough as it came.
    pub(super) fn size(self, (width, height): Size) -> Option<Size> {
        let (from, to) = match self.side {
            Side::Shorter(to) => (width.min(height), to.get()),
            Side::Longer(to) => (width.max(height), to.get()),
        };
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(to) / f64::from(from);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive and at most `side`"
            )]
            let pixels = exact.round_ties_even() as u32;
            pixels.max(1)
        };
        (to < from).then(|| (scaled(width), scaled(height)))
    }
}

#[cfg(test)]
mod tests;
