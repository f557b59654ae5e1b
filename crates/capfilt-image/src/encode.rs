//! Pixels to JPEG.

#[cfg(feature = "turbo")]
mod turbo;

use std::borrow::Cow;

use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::picture::Picture;

/// Encodes a picture as baseline JPEG with halved colour resolution (4:2:0),
/// as `cv2.imencode` does by default. There is no EXIF block in it.
///
/// Fails only for a picture with a side over 65535 pixels.
pub fn encode_jpeg(picture: &Picture, quality: Quality) -> Result<Vec<u8>, EncodeError> {
    let (width, height) = (picture.width(), picture.height());
    let too_large = EncodeError { width, height };
    let (Ok(columns), Ok(rows)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(too_large);
    };
    #[cfg(feature = "turbo")]
    if let Some(bytes) = turbo::encode(picture, quality) {
        return Ok(bytes);
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality.0);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    // A picture is never empty and memory takes every byte: only its size can be wrong.
    encoder
        .encode(picture.pixels(), columns, rows, ColorType::Rgb)
        .map_err(|_| too_large)?;
    Ok(bytes)
}

/// Quality of a JPEG on the scale of libjpeg, 1 to 100. 95 by default.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Quality(u8);

/// A number that is no quality.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{got} is no JPEG quality; expected 1 to 100")]
pub struct QualityError {
    got: u8,
}

/// A picture that JPEG has no room for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a picture of {width} x {height} pixels fits no JPEG, whose sides have at most 65535")]
pub struct EncodeError {
    width: u32,
    height: u32,
}

impl Default for Quality {
    fn default() -> Self {
        Self(95)
    }
}

impl TryFrom<u8> for Quality {
    type Error = QualityError;

    fn try_from(got: u8) -> Result<Self, QualityError> {
        if (1..=100).contains(&got) {
            Ok(Self(got))
        } else {
            Err(QualityError { got })
        }
    }
}

impl From<Quality> for u8 {
    fn from(quality: Quality) -> Self {
        quality.0
    }
}

impl JsonSchema for Quality {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quality".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "minimum": 1,
            "maximum": 100,
            "description": "Quality of a JPEG, 1 to 100."
        })
    }
}

#[cfg(test)]
mod tests;
