//! From a picture to the tensor that a model reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::picture::Picture;
use crate::resize::resize;

/// Pictures more than this many times as long as wide lose their ends before they are resized, so that the
/// resized picture stays small.
const LONGEST: u32 = 64;

/// How a picture becomes a square.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Both sides are brought to the square's, whatever that does to the shape.
    #[default]
    Stretch,
    /// The shorter side is brought to the square's, and the middle of the longer one is kept.
    Crop,
}

impl Fit {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_stretch(&self) -> bool {
        *self == Self::Stretch
    }
}

/// A square that pictures are brought to, by bicubic resampling.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Square {
    /// Its side in pixels; 0 counts as 1.
    pub size: u32,
    /// How pictures become square.
    pub fit: Fit,
}

impl std::fmt::Display for Square {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fit {
            Fit::Stretch => write!(formatter, "{}", self.size),
            Fit::Crop => write!(formatter, "{}-crop", self.size),
        }
    }
}

impl Square {
    /// The picture as this square. Equal in every value to Pillow 12.3's `resize`, and with
    /// [`Fit::Crop`] to torchvision's `Resize(size)` and `CenterCrop(size)` of a Pillow image.
    pub fn of(self, picture: &Picture) -> Picture {
        let side = self.size.max(1);
        match self.fit {
            Fit::Stretch => resize(picture, side, side),
            Fit::Crop => {
                let (width, height) = (picture.width(), picture.height());
                let shorter = width.min(height);
                let most = shorter.saturating_mul(LONGEST);
                if width.max(height) > most {
                    return self.of(&middle(picture, width.min(most), height.min(most)));
                }
                // Rounded down, as Python's `int` does.
                let scaled = |length: u32| {
                    let exact = u64::from(side) * u64::from(length) / u64::from(shorter);
                    u32::try_from(exact).unwrap_or(u32::MAX)
                };
                let resized = resize(picture, scaled(width), scaled(height));
                middle(&resized, side, side)
            }
        }
    }
}

/// The middle of a picture that is at least as large.
fn middle(picture: &Picture, width: u32, height: u32) -> Picture {
    let start = |length: u32, kept: u32| {
        let half = f64::from(length - kept) / 2.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the length"
        )]
        let start = half.round_ties_even() as usize;
        start
    };
    let left = 3 * start(picture.width(), width);
    let rows = picture.pixels().chunks_exact(3 * picture.width() as usize);
    let pixels = rows
        .skip(start(picture.height(), height))
        .take(height as usize)
        .flat_map(|row| &row[left..][..3 * width as usize])
        .copied();
    Picture::from_rows(width, height, pixels.collect())
}

/// How a model wants its pictures: a square of bicubic resampling, then normalised.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Side of the square in pixels.
    pub size: u32,
    /// How a picture becomes a square; stretched unless the file says otherwise.
    #[serde(default, skip_serializing_if = "Fit::is_stretch")]
    pub fit: Fit,
    /// Mean of each colour over sample values in 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each colour over sample values in 0 to 1.
    pub std: [f32; 3],
}

impl Preprocess {
    /// The square that the model sees.
    pub fn square(&self) -> Square {
        Square {
            size: self.size,
            fit: self.fit,
        }
    }

    /// The picture as `[3, size, size]` (channel, row, column):
    /// `(sample / 255 - mean) / std`.
    pub fn tensor(&self, picture: &Picture) -> Vec<f32> {
        let resized = self.square().of(picture);
        let (pixels, _) = resized.pixels().as_chunks::<3>();
        let mut tensor = Vec::with_capacity(3 * pixels.len());
        for channel in 0..3 {
            let values = normalised(self.mean[channel], self.std[channel]);
            tensor.extend(
                pixels
                    .iter()
                    .map(|pixel| values[usize::from(pixel[channel])]),
            );
        }
        tensor
    }
}

/// What each of the 256 sample values becomes: rescaled in f64 and rounded to
/// f32, then normalised in f32, as the Hugging Face processor does.
fn normalised(mean: f32, std: f32) -> [f32; 256] {
    let mut values = [0.0; 256];
    for (sample, value) in (0_u8..=255).zip(&mut values) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounding to f32 is the definition"
        )]
        let rescaled = (f64::from(sample) * (1.0 / 255.0)) as f32;
        *value = (rescaled - mean) / std;
    }
    values
}

#[cfg(test)]
mod tests;
