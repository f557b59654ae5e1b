//! The order of samples, which follows from the seed and the data alone.
//!
//! Each `[[data]]` is an endless row of passes. A pass is a random order of its parts (row groups, or
//! pieces of them), and as many as fit the shuffle buffer are a window: they are read and their
//! samples shuffled together. An epoch takes from each `[[data]]` what its weight says and mixes
//! them evenly. So all that has to be remembered is how far each `[[data]]` is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dataset::{Budget, Dataset, Part, Row, windows};
use super::error::DataError;
use super::options::Sampling;
use super::ordered::Ordered;
use crate::draws::Draws;

/// How far one `[[data]]` is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Cursor {
    /// Passes that are over.
    pub(super) pass: u64,
    /// Windows of this pass that are over.
    pub(super) window: usize,
    /// Samples of this window that are over.
    pub(super) offset: usize,
    /// Samples since the beginning.
    pub(super) taken: u64,
}

/// A sample that is to be made.
pub(super) struct Planned {
    pub(super) row: Arc<Row>,
    /// Which of the row's captions it is, where each is a sample.
    pub(super) caption: usize,
    pub(super) dataset: usize,
    pub(super) epoch: u64,
    /// How far its `[[data]]` is after it.
    pub(super) cursor: Cursor,
}

/// Samples that are shuffled together.
struct Window {
    pass: u64,
    /// Which of its pass.
    number: usize,
    samples: std::vec::IntoIter<(Arc<Row>, usize)>,
}

/// One `[[data]]` as an endless row of samples.
struct Stream {
    dataset: Arc<Dataset>,
    windows: Ordered<Result<Window, DataError>>,
    current: Option<Window>,
    cursor: Cursor,
}

/// All samples in their order, without end.
pub(super) struct Sequence {
    seed: u64,
    streams: Vec<Stream>,
    epoch: u64,
    /// Which `[[data]]` is next.
    mixing: Draws,
    is_over: bool,
}

/// How samples are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) seed: u64,
    pub(super) sampling: Sampling,
    /// What the whole shuffle buffer may hold.
    pub(super) budget: Budget,
}

/// How many samples the epochs before `epoch` take of a `[[data]]` with `share` samples an epoch.
fn due(share: f64, epoch: u64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no training sees 2^53 samples"
    )]
    let due = (share * epoch as f64).round() as u64;
    due
}

/// Samples of an epoch over all data.
pub(super) fn samples_per_epoch(datasets: &[Arc<Dataset>]) -> u64 {
    datasets.iter().map(|dataset| due(dataset.share(), 1)).sum()
}

impl Sequence {
    /// The samples from `epoch` and `cursors` on.
    pub(super) fn new(
        datasets: &[Arc<Dataset>],
        order: Order,
        epoch: u64,
        cursors: &[Cursor],
    ) -> Self {
        let all: f64 = datasets.iter().map(|dataset| dataset.share()).sum();
        let streams = datasets
            .iter()
            .zip(cursors)
            .enumerate()
            .map(|(index, (dataset, &cursor))| {
                let budget = order.budget.part(dataset.share() / all);
                let order = Order { budget, ..order };
                Stream::new(Arc::clone(dataset), index as u64, order, cursor)
            })
            .collect();
        let mut sequence = Self {
            seed: order.seed,
            streams,
            epoch,
            mixing: Draws::new(order.seed, "mix", &[epoch], ""),
            is_over: false,
        };
        let before = |stream: &Stream| due(stream.dataset.share(), epoch);
        let taken = |stream: &Stream| stream.cursor.taken.saturating_sub(before(stream));
        sequence
            .mixing
            .skip(sequence.streams.iter().map(taken).sum());
        sequence
    }

    fn plan(&mut self) -> Result<Planned, DataError> {
        loop {
            let end = self.epoch + 1;
            let due = |stream: &Stream| due(stream.dataset.share(), end);
            let left = |stream: &Stream| due(stream).saturating_sub(stream.cursor.taken);
            let all = self.streams.iter().map(left).sum();
            let mut at = self.mixing.below(all);
            for (dataset, stream) in self.streams.iter_mut().enumerate() {
                let left = left(stream);
                if at < left {
                    let (row, caption) = stream.next()?;
                    return Ok(Planned {
                        row,
                        caption,
                        dataset,
                        epoch: self.epoch,
                        cursor: stream.cursor,
                    });
                }
                at -= left;
            }
            self.epoch = end;
            self.mixing = Draws::new(self.seed, "mix", &[end], "");
        }
    }
}

/// Ends after the first error.
impl Iterator for Sequence {
    type Item = Result<Planned, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let planned = self.plan();
        self.is_over = planned.is_err();
        Some(planned)
    }
}

impl Budget {
    /// The part that a `[[data]]` has which gives `share` of the samples.
    fn part(self, share: f64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a budget is a rough number"
        )]
        let part = |whole: u64| (whole as f64 * share) as u64;
        let rows = usize::try_from(part(self.rows.get() as u64)).unwrap_or(usize::MAX);
        Self {
            rows: rows.try_into().unwrap_or(std::num::NonZeroUsize::MIN),
            bytes: part(self.bytes),
        }
    }

    /// One window is handed out while the next is read.
    fn half(self) -> Self {
        let rows = self.rows.get().div_ceil(2);
        Self {
            rows: rows.try_into().unwrap_or(self.rows),
            bytes: self.bytes / 2,
        }
    }
}

impl Stream {
    fn new(dataset: Arc<Dataset>, index: u64, order: Order, cursor: Cursor) -> Self {
        let budget = order.budget.half();
        let parts = dataset.parts(budget);
        let specs = (cursor.pass..).flat_map(move |pass| {
            let mut parts = parts.clone();
            Draws::new(order.seed, "parts", &[index, pass], "").shuffle(&mut parts);
            let windows = windows(&parts, budget).into_iter().enumerate();
            windows.map(move |(number, parts)| (pass, number, parts))
        });
        let reader = Arc::clone(&dataset);
        let read = move |(pass, number, parts): (u64, usize, Vec<Part>)| {
            let mut samples = Vec::new();
            for part in parts {
                for row in reader.rows(part)? {
                    let row = Arc::new(row?);
                    let count = match order.sampling {
                        Sampling::OneCaption => 1,
                        Sampling::EveryPair => row.captions.len().max(1),
                    };
                    samples.extend((0..count).map(|caption| (Arc::clone(&row), caption)));
                }
            }
            let numbers = [index, pass, number as u64];
            Draws::new(order.seed, "window", &numbers, "").shuffle(&mut samples);
            Ok(Window {
                pass,
                number,
                samples: samples.into_iter(),
            })
        };
        Self {
            dataset,
            windows: Ordered::start(specs.skip(cursor.window), 1, 1, read),
            current: None,
            cursor,
        }
    }

    /// The next sample: a row, and which of its captions.
    fn next(&mut self) -> Result<(Arc<Row>, usize), DataError> {
        loop {
            let sample = self
                .current
                .as_mut()
                .and_then(|window| window.samples.next());
            if let Some(sample) = sample {
                self.cursor.offset += 1;
                self.cursor.taken += 1;
                return Ok(sample);
            }
            let resumes = self.current.is_none();
            // Memory for the next window is free only once this one is.
            self.current = None;
            let mut window = self.windows.next().ok_or(DataError::Worker)??;
            if resumes {
                window
                    .samples
                    .by_ref()
                    .take(self.cursor.offset)
                    .for_each(drop);
            } else {
                self.cursor.offset = 0;
            }
            self.cursor.pass = window.pass;
            self.cursor.window = window.number;
            self.current = Some(window);
        }
    }
}
