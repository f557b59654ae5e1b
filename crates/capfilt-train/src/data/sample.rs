//! From a row to what a model sees of it.

use capfilt_image::{Picture, Preprocess, decode};

use super::augment::Augmentation;
use super::dataset::Row;
use super::options::{CaptionWeights, Sampling};
use super::sequence::Planned;
use crate::draws::Draws;

/// A row that could not be used, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unusable {
    /// The row's id.
    pub id: String,
    /// Why its picture cannot be used, or that it has no text.
    pub reason: String,
}

/// A picture and a text.
pub(super) struct Sample {
    pub(super) id: String,
    pub(super) pixels: Vec<f32>,
    pub(super) text: String,
}

/// How samples are made of rows.
#[derive(Clone, Debug)]
pub(super) struct Making {
    pub(super) seed: u64,
    pub(super) sampling: Sampling,
    pub(super) augmentation: Augmentation,
    pub(super) preprocess: Preprocess,
    /// Of each `[[data]]`.
    pub(super) caption_weights: Vec<CaptionWeights>,
}

/// Why a row without a text cannot be used.
pub(super) const NO_TEXT: &str = "the row has no text that may be chosen";

impl Making {
    /// Makes a sample. Its draws depend on the row's id and on how often it was seen alone.
    pub(super) fn make(&self, planned: &Planned) -> Result<Sample, Unusable> {
        let row = &planned.row;
        let unusable = |reason: String| Unusable {
            id: row.id.clone(),
            reason,
        };
        let numbers = [
            planned.dataset as u64,
            planned.cursor.pass,
            planned.caption as u64,
        ];
        let mut draws = Draws::new(self.seed, "sample", &numbers, &row.id);
        let text = self
            .text(planned, &mut draws)
            .ok_or_else(|| unusable(NO_TEXT.to_owned()))?;
        let picture = self
            .augmentation
            .apply(decoded(row)?, self.preprocess.size, &mut draws)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Sample {
            id: row.id.clone(),
            pixels: self.preprocess.tensor(&picture),
            text: text.to_owned(),
        })
    }

    /// The text of a sample. Its own captions and those translated back are equally likely.
    fn text<'row>(&self, planned: &'row Planned, draws: &mut Draws) -> Option<&'row str> {
        let row = &planned.row;
        let captions = match self.sampling {
            Sampling::OneCaption => &row.captions[..],
            Sampling::EveryPair => row.captions.get(planned.caption..=planned.caption)?,
        };
        let weights = self.caption_weights[planned.dataset];
        let weights: Vec<f64> = captions
            .iter()
            .map(|caption| {
                if is_blank(&caption.text) {
                    0.0
                } else {
                    weights.of(caption.source)
                }
            })
            .collect();
        let own = match self.sampling {
            Sampling::OneCaption => weights.iter().filter(|&&weight| weight > 0.0).count(),
            Sampling::EveryPair => row.captions.len(),
        };
        let others = &row.back_translations;
        match draws.place(own + others.len()).checked_sub(own) {
            Some(other) => others.get(other).map(String::as_str),
            None => Some(&captions[draws.weighted(&weights)?].text),
        }
    }
}

pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The row's picture.
pub(super) fn decoded(row: &Row) -> Result<Picture, Unusable> {
    let unusable = |reason: String| Unusable {
        id: row.id.clone(),
        reason,
    };
    let bytes = row
        .bytes
        .as_deref()
        .ok_or_else(|| unusable("the row has no picture".to_owned()))?;
    decode(bytes, &row.decoding).map_err(|error| unusable(error.to_string()))
}
