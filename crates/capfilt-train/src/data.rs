//! Batches of pictures and texts from Parquet files.
//!
//! ```text
//! row groups ── shuffled ──► windows ──► mixed by weight ──► decode, augment ──► batches
//!                            read ahead                      on many threads
//! ```
//!
//! What a batch holds follows from the seed, the data and the options alone: order from
//! `sequence`, draws from `draws`. Threads only decide when it is there. So a [`Position`] is a
//! few numbers, and going on from it reads no more than the windows that were open.

mod augment;
mod dataset;
mod error;
mod evaluation;
mod options;
mod ordered;
mod sample;
mod sequence;

use std::sync::Arc;

use capfilt_data::footer::{digest, hex_digest};
use capfilt_image::Preprocess;
use serde::{Deserialize, Serialize};

pub use augment::{Augmentation, Policy};
pub use error::DataError;
pub use evaluation::{Evaluation, Viewed, evaluation};
pub use options::{CaptionWeights, DataColumns, DataSource, Loading, Sampling, ShuffleBuffer};
pub use sample::Unusable;

use dataset::{Budget, Dataset};
use ordered::Ordered;
use sample::{Making, Sample};
use sequence::{Cursor, Order, Sequence, samples_per_epoch};

/// How many rows that cannot be used are listed.
const LISTED: usize = 1_000;
/// Shares are of whole thousands of samples, or of whole epochs of less data: those that cannot be
/// used may come first.
const SEEN: u64 = 1_000;

/// What a loader gives.
#[derive(Clone, Debug)]
pub struct Feed<'a> {
    /// Where samples come from.
    pub sources: &'a [DataSource],
    /// How they are made.
    pub loading: &'a Loading,
    /// How the model wants its pictures.
    pub preprocess: &'a Preprocess,
    /// Samples of a batch.
    pub batch: usize,
    /// Seed of all draws.
    pub seed: u64,
}

/// Some samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// `[B, 3, S, S]` (sample, channel, row, column), normalised.
    pub pixels: Vec<f32>,
    /// The text of each sample.
    pub texts: Vec<String>,
    /// What tells pictures apart: equal for samples of the same picture.
    pub pictures: Vec<u64>,
    /// The ids of their rows.
    pub ids: Vec<String>,
    /// The epoch of the first sample, counted from 0. Nothing is dropped at the end of an epoch: the
    /// batch there goes on with the next.
    pub epoch: u64,
}

/// How far a loader is in its data: after the last batch that it handed out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Position {
    /// Digest of the data and of what decides its order.
    data: String,
    epoch: u64,
    cursors: Vec<Cursor>,
    /// Samples so far, and those of them that could not be used.
    seen: u64,
    corrupt: u64,
}

/// Batches without end, see [`Feed`].
pub struct Loader {
    batch: usize,
    samples_per_epoch: u64,
    most_corrupt: f64,
    position: Position,
    corrupt: Vec<Unusable>,
    made: Ordered<Result<Made, DataError>>,
}

/// What came of a sample, and where its `[[data]]` is after it.
struct Made {
    dataset: usize,
    epoch: u64,
    cursor: Cursor,
    sample: Result<Sample, Unusable>,
}

impl Loader {
    /// Opens all files, refuses what cannot be used of them, and begins to read.
    pub fn open(feed: &Feed<'_>) -> Result<Self, DataError> {
        Self::start(feed, None)
    }

    /// As [`Loader::open`], going on after the batch at which `position` was taken.
    pub fn open_at(feed: &Feed<'_>, position: &Position) -> Result<Self, DataError> {
        Self::start(feed, Some(position))
    }

    fn start(feed: &Feed<'_>, position: Option<&Position>) -> Result<Self, DataError> {
        let loading = feed.loading;
        let datasets = open(feed)?;
        let samples = samples_per_epoch(&datasets);
        if feed.batch == 0 || feed.batch as u64 > samples {
            return Err(DataError::Batch {
                batch: feed.batch,
                samples,
            });
        }
        let first = Position {
            data: identity(feed, &datasets),
            epoch: 0,
            cursors: vec![Cursor::default(); datasets.len()],
            seen: 0,
            corrupt: 0,
        };
        let position = position.unwrap_or(&first).clone();
        if position.data != first.data || position.cursors.len() != datasets.len() {
            return Err(DataError::Moved);
        }
        let buffer = loading.shuffle_buffer;
        let order = Order {
            seed: feed.seed,
            sampling: loading.sampling,
            budget: Budget {
                rows: buffer.rows,
                bytes: (buffer.mebibytes.get() as u64).saturating_mul(1 << 20),
            },
        };
        let sequence = Sequence::new(&datasets, order, position.epoch, &position.cursors);
        let making = Making {
            seed: feed.seed,
            sampling: loading.sampling,
            augmentation: loading.augmentation.clone(),
            preprocess: feed.preprocess.clone(),
            caption_weights: feed.sources.iter().map(|s| s.caption_weights).collect(),
        };
        let workers = loading.workers();
        let made = Ordered::start(sequence, workers, feed.batch + workers, move |planned| {
            planned.map(|planned| Made {
                dataset: planned.dataset,
                epoch: planned.epoch,
                cursor: planned.cursor,
                sample: making.make(&planned),
            })
        });
        Ok(Self {
            batch: feed.batch,
            samples_per_epoch: samples,
            most_corrupt: loading.most_corrupt.get(),
            position,
            corrupt: Vec::new(),
            made,
        })
    }

    /// Samples that an epoch takes, those among them that turn out to be unusable.
    pub fn samples_per_epoch(&self) -> u64 {
        self.samples_per_epoch
    }

    /// The next batch, always a full one.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        let mut batch = Batch::default();
        let mut position = self.position.clone();
        while batch.ids.len() < self.batch {
            let made = self.made.next().ok_or(DataError::Worker)??;
            position.epoch = made.epoch;
            position.cursors[made.dataset] = made.cursor;
            position.seen += 1;
            match made.sample {
                Ok(sample) => {
                    if batch.ids.is_empty() {
                        batch.epoch = made.epoch;
                        batch.pixels.reserve(self.batch * sample.pixels.len());
                    }
                    batch.pixels.extend(sample.pixels);
                    batch.texts.push(sample.text);
                    batch.pictures.push(key(&sample.id));
                    batch.ids.push(sample.id);
                }
                Err(unusable) => {
                    position.corrupt += 1;
                    self.list(unusable);
                    self.judge(&position)?;
                }
            }
        }
        self.position = position;
        Ok(batch)
    }

    /// How far it is: after the last batch that was handed out.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Rows that could not be used since this was opened, each once; at most 1,000 of them.
    pub fn corrupt(&self) -> &[Unusable] {
        &self.corrupt
    }

    fn list(&mut self, unusable: Unusable) {
        if self.corrupt.len() < LISTED && self.corrupt.iter().all(|one| one.id != unusable.id) {
            tracing::warn!(id = unusable.id, "left out: {}", unusable.reason);
            self.corrupt.push(unusable);
        }
    }

    /// Whether too many rows cannot be used.
    fn judge(&self, position: &Position) -> Result<(), DataError> {
        let Position { seen, corrupt, .. } = *position;
        #[expect(clippy::cast_precision_loss, reason = "a share is a rough number")]
        let most =
            self.most_corrupt * seen.next_multiple_of(SEEN.min(self.samples_per_epoch)) as f64;
        #[expect(clippy::cast_precision_loss, reason = "a share is a rough number")]
        let is_too_many = corrupt as f64 > most;
        if is_too_many {
            return Err(DataError::Corrupt {
                unusable: corrupt,
                seen,
                most: self.most_corrupt,
                first: self.corrupt.iter().take(3).cloned().collect(),
            });
        }
        Ok(())
    }
}

/// Opens all `[[data]]` of a feed and refuses what makes no sense.
fn open(feed: &Feed<'_>) -> Result<Vec<Arc<Dataset>>, DataError> {
    let sampling = feed.loading.sampling;
    feed.loading.check()?;
    if feed.sources.is_empty() {
        return Err(DataError::NoSources);
    }
    let open = |source: &DataSource| {
        source.check(sampling)?;
        Dataset::open(source, sampling).map(Arc::new)
    };
    feed.sources.iter().map(open).collect()
}

/// Digests of the shards of `source`, in the order of their paths.
pub(crate) fn contents(source: &DataSource) -> Result<Vec<String>, DataError> {
    let data = Dataset::open(source, Sampling::default())?;
    Ok(data.digests().map(str::to_owned).collect())
}

/// What decides the order of samples.
fn identity(feed: &Feed<'_>, datasets: &[Arc<Dataset>]) -> String {
    let data: Vec<(f64, Vec<&str>)> = datasets
        .iter()
        .map(|dataset| (dataset.source.weight.get(), dataset.digests().collect()))
        .collect();
    let Loading {
        sampling,
        shuffle_buffer,
        ..
    } = feed.loading;
    hex_digest(
        serde_json::json!([feed.seed, sampling, shuffle_buffer, data])
            .to_string()
            .as_bytes(),
    )
}

/// What tells a picture from others: the first 8 bytes of the digest of its id.
fn key(id: &str) -> u64 {
    let digest = digest(id.as_bytes());
    digest
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
pub(crate) mod tests;
