//! What is read, and how it is sampled.

use std::num::NonZeroUsize;

use capfilt_data::Source;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use super::error::DataError;
use crate::number::{Positive, Share, Weight};

/// Where pictures and texts come from: one `[[data]]`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataSource {
    /// Parquet files: one, a folder, a glob, or either in an object store. The `dataset` folder of a
    /// pipeline's output will do, and so will any file with a picture and a text column.
    pub shards: String,
    /// Which columns are read.
    #[serde(default)]
    pub columns: DataColumns,
    /// Where texts come from that do not say so themselves; `web` by default.
    #[serde(default = "web")]
    pub text_source: Source,
    /// How often an epoch sees a sample: 2 is twice, 0.5 every other epoch. Samples of all data are
    /// mixed evenly over the epoch.
    #[serde(default = "one")]
    pub weight: Positive,
    /// How likely the captions of a picture are to be chosen, by where they come from. With
    /// `sampling = "one-caption"` only.
    #[serde(default)]
    pub caption_weights: CaptionWeights,
}

/// The columns that are read.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DataColumns {
    /// Pictures; `image` by default.
    pub image: Option<String>,
    /// Texts; `captions` where there is such a column, else `text`.
    pub text: Option<String>,
    /// Ids; `id` where there is such a column, else ids are made of shard and row.
    pub id: Option<String>,
    /// Texts that say the same in other words, as translating a caption and back gives them: a text
    /// or a list of texts for each picture. Of a picture's captions and these, all are equally likely.
    pub back_translations: Vec<String>,
}

/// Weights by the source of a caption, 1 by default; 0 is never chosen.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CaptionWeights {
    /// Written by people for the picture.
    pub human: Weight,
    /// Found beside the picture.
    pub web: Weight,
    /// Written by a captioner.
    pub synthetic: Weight,
}

/// What a sample is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// A picture with one of its captions, chosen anew each time.
    OneCaption,
    /// A caption with its picture, as in BLIP: a picture comes once for each of its captions.
    #[default]
    EveryPair,
}

/// How samples are made.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Loading {
    /// What a sample is.
    pub sampling: Sampling,
    /// How pictures are changed from time to time.
    pub augmentation: Augmentation,
    /// Threads that decode; one for each core by default. The samples do not depend on it.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<NonZeroUsize>,
    /// What is shuffled at a time.
    pub shuffle_buffer: ShuffleBuffer,
    /// The largest share of samples that may have no usable picture or no text. They are left out
    /// and listed; more of them end the training.
    pub most_corrupt: Share,
}

/// What is shuffled at a time: rows near each other in a file come in any order, and far from each
/// other where this is large. One half is handed out while the other is read.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ShuffleBuffer {
    /// The most rows.
    pub rows: NonZeroUsize,
    /// The most memory in MiB, for encoded pictures.
    pub mebibytes: NonZeroUsize,
}

const fn web() -> Source {
    Source::Web
}

const fn one() -> Positive {
    Positive::known(1.0)
}

const fn at_least_one(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

impl Default for ShuffleBuffer {
    fn default() -> Self {
        Self {
            rows: at_least_one(20_000),
            mebibytes: at_least_one(2_048),
        }
    }
}

impl Default for Loading {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            augmentation: Augmentation::default(),
            workers: None,
            shuffle_buffer: ShuffleBuffer::default(),
            most_corrupt: Share::known(0.01),
        }
    }
}

impl Default for CaptionWeights {
    fn default() -> Self {
        Self {
            human: Weight::known(1.0),
            web: Weight::known(1.0),
            synthetic: Weight::known(1.0),
        }
    }
}

impl CaptionWeights {
    /// The weight of captions of `source`.
    pub(super) const fn of(&self, source: Source) -> f64 {
        let weight = match source {
            Source::Human => self.human,
            Source::Web => self.web,
            Source::Synthetic => self.synthetic,
        };
        weight.get()
    }
}

/// The most threads that decode.
const MOST_WORKERS: usize = 1024;

fn refuse(option: &str, got: &impl ToString, expected: &'static str) -> DataError {
    DataError::Option {
        option: option.to_owned(),
        got: got.to_string(),
        expected,
    }
}

impl DataSource {
    /// A source with nothing but its shards said.
    pub fn new(shards: impl Into<String>) -> Self {
        Self {
            shards: shards.into(),
            columns: DataColumns::default(),
            text_source: web(),
            weight: one(),
            caption_weights: CaptionWeights::default(),
        }
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self, sampling: Sampling) -> Result<(), DataError> {
        let sources = [Source::Human, Source::Web, Source::Synthetic];
        if sources
            .iter()
            .all(|source| self.caption_weights.of(*source) == 0.0)
        {
            return Err(refuse(
                "data.caption-weights",
                &"0 for all",
                "one of them above 0: no caption would be chosen",
            ));
        }
        if sampling == Sampling::EveryPair && self.caption_weights != CaptionWeights::default() {
            return Err(refuse(
                "data.caption-weights",
                &"given",
                "nothing with `sampling = \"every-pair\"`: every caption comes once; use `sampling = \"one-caption\"`",
            ));
        }
        Ok(())
    }
}

impl Loading {
    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if let Some(workers) = self.workers
            && workers.get() > MOST_WORKERS
        {
            return Err(refuse("loading.workers", &workers, "1 to 1024 threads"));
        }
        if let Some([low, high]) = self.augmentation.crop
            && low.get() > high.get()
        {
            return Err(refuse(
                "augmentation.crop",
                &format!("[{}, {}]", low.get(), high.get()),
                "the least and then the largest part of the picture's area",
            ));
        }
        Ok(())
    }

    /// Threads that decode.
    pub(super) fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores).get()
    }
}
