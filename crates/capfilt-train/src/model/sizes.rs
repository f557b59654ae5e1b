//! Sizes of towers, as training files give them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vision transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Vision {
    /// Pixels on the side of a picture.
    #[schemars(range(min = 1, max = 16_384))]
    pub image_size: usize,
    /// Pixels on the side of a patch.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub patch: usize,
    /// Features per token.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub width: usize,
    /// Blocks.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub layers: usize,
    /// Attention heads.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub heads: usize,
    /// Features between the two matrices of a block; four times the width if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub hidden: Option<usize>,
}

/// A text transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Text {
    /// Features per token.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub width: usize,
    /// Layers.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub layers: usize,
    /// Attention heads.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub heads: usize,
    /// Features between the two matrices of a layer; four times the width if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub hidden: Option<usize>,
    /// Tokens of the longest text, those that frame it included.
    #[schemars(range(min = 4, max = 1_048_576))]
    pub positions: usize,
}

/// A size that does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {got}: expected {expected}")]
pub struct SizeError {
    /// Field of the training file.
    pub field: &'static str,
    /// Its value.
    pub got: usize,
    /// What it should be.
    pub expected: String,
}

pub(crate) fn check(
    field: &'static str,
    got: usize,
    fits: bool,
    expected: &str,
) -> Result<(), SizeError> {
    if fits {
        return Ok(());
    }
    Err(SizeError {
        field,
        got,
        expected: expected.to_owned(),
    })
}

/// The largest size: numbers of a tensor of such sizes can be counted.
const LARGEST: usize = 1 << 20;

/// The most pixels on the side of a picture, as for packages.
const LARGEST_IMAGE: usize = 1 << 14;

/// Whether a model can have a size at all.
pub(crate) fn check_size(field: &'static str, got: usize) -> Result<(), SizeError> {
    let fits = (1..=LARGEST).contains(&got);
    check(field, got, fits, &format!("1 to {LARGEST}"))
}

/// Whether a batch of `batch` pairs has wrong ones.
pub(crate) fn check_pairs(batch: usize) -> Result<(), SizeError> {
    check(
        "batch",
        batch,
        batch >= 2,
        "at least 2: a batch of one has no wrong pairs",
    )
}

impl Vision {
    /// Patches of a picture, without a class token.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch).pow(2)
    }

    /// Features between the two matrices of a block.
    pub fn hidden(&self) -> usize {
        self.hidden.unwrap_or(self.width.saturating_mul(4))
    }

    /// Numbers of one patch.
    pub(crate) fn patch_values(&self) -> usize {
        3 * self.patch * self.patch
    }

    /// Whether the sizes fit each other.
    pub fn check(&self) -> Result<(), SizeError> {
        for (field, size) in [
            ("vision.patch", self.patch),
            ("vision.width", self.width),
            ("vision.layers", self.layers),
            ("vision.heads", self.heads),
            ("vision.hidden", self.hidden()),
        ] {
            check_size(field, size)?;
        }
        check(
            "vision.image-size",
            self.image_size,
            (1..=LARGEST_IMAGE).contains(&self.image_size),
            &format!("1 to {LARGEST_IMAGE}"),
        )?;
        check(
            "vision.image-size",
            self.image_size,
            self.image_size >= self.patch && self.image_size.is_multiple_of(self.patch),
            &format!("a multiple of `vision.patch`, {}", self.patch),
        )?;
        check(
            "vision.width",
            self.width,
            self.width.is_multiple_of(self.heads),
            &format!("a multiple of `vision.heads`, {}", self.heads),
        )
    }
}

impl Text {
    /// Features between the two matrices of a layer.
    pub fn hidden(&self) -> usize {
        self.hidden.unwrap_or(self.width.saturating_mul(4))
    }

    /// Whether the sizes fit each other.
    pub fn check(&self) -> Result<(), SizeError> {
        for (field, size) in [
            ("text.width", self.width),
            ("text.layers", self.layers),
            ("text.heads", self.heads),
            ("text.hidden", self.hidden()),
            ("text.positions", self.positions),
        ] {
            check_size(field, size)?;
        }
        check(
            "text.positions",
            self.positions,
            self.positions >= 4,
            "at least 4, since two tokens frame every text",
        )?;
        check(
            "text.width",
            self.width,
            self.width.is_multiple_of(self.heads),
            &format!("a multiple of `text.heads`, {}", self.heads),
        )
    }
}
