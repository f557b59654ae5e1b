//! How a picture is decoded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to do with the orientation that a camera wrote into the file.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Orientation {
    /// Turn the picture upright.
    #[default]
    Apply,
    /// Keep the stored order of pixels, as BLIP does. TIFF is turned upright
    /// even so, because Pillow does that when it opens one.
    Ignore,
}

/// What to do with transparency.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Alpha {
    /// Lay the picture on white.
    #[default]
    White,
    /// Drop the alpha channel and keep the colours below it, as BLIP does.
    Drop,
}

/// How a picture is decoded, and how large it may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DecodeOptions {
    /// Pictures that declare more pixels than this are refused undecoded.
    pub max_pixels: u64,
    /// What to do with the orientation that a camera wrote into the file.
    pub orientation: Orientation,
    /// What to do with transparency.
    pub alpha: Alpha,
}

impl Default for DecodeOptions {
    /// 64 million pixels, orientation applied, transparency on white.
    fn default() -> Self {
        Self {
            max_pixels: 64_000_000,
            orientation: Orientation::default(),
            alpha: Alpha::default(),
        }
    }
}
