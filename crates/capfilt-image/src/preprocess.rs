//! From a picture to the tensor that a model reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::picture::Picture;
use crate::resize::resize;

/// How a model wants its pictures: stretched to a square by bicubic
/// resampling, then normalised.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Side of the square in pixels.
    pub size: u32,
    /// Mean of each colour over sample values in 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each colour over sample values in 0 to 1.
    pub std: [f32; 3],
}

impl Preprocess {
    /// The picture as `[3, size, size]` (channel, row, column):
    /// `(sample / 255 - mean) / std`.
    pub fn tensor(&self, picture: &Picture) -> Vec<f32> {
        let resized = resize(picture, self.size, self.size);
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
