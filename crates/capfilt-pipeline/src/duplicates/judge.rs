//! Who goes, and for whom.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::{UInt8Type, UInt64Type};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::{Likeness, Rank};

/// Pictures on their way to a verdict.
///
/// ```text
/// a picture ──same bytes──▶ the first of them ──same hash──▶ the first of those ──near──▶ one that stays
/// ```
///
/// Pictures of the same bytes or the same hash match the same others, so they share the verdict on
/// the first of them.
#[derive(Debug)]
pub(super) struct Judge {
    /// The first rank that may go.
    first_of_run: Rank,
    /// The first picture of every digest; after [`Judge::equal_hashes`] that of every hash.
    firsts: Vec<First>,
    /// Pictures of this run and the first one of the same bytes.
    same: Vec<(Rank, Rank)>,
    /// First pictures of a digest and the first one of the same hash, in order.
    equal: Vec<(Rank, Rank)>,
    /// First pictures of a hash and the first one near to it that stays, in order.
    near: Vec<(Rank, Near)>,
}

/// A picture that is the first of its kind.
#[derive(Clone, Copy, Debug)]
struct First {
    rank: Rank,
    hash: Option<u64>,
    /// Whether a picture of this run is of its kind.
    asks: bool,
}

#[derive(Clone, Copy, Debug)]
struct Near {
    of: Rank,
    distance: u8,
}

/// A picture that goes.
pub(super) struct Verdict {
    pub(super) rank: Rank,
    pub(super) of: Rank,
    pub(super) likeness: Likeness,
}

impl Judge {
    pub(super) fn new(first_of_run: Rank) -> Self {
        Self {
            first_of_run,
            firsts: Vec::new(),
            same: Vec::new(),
            equal: Vec::new(),
            near: Vec::new(),
        }
    }

    /// Takes all pictures: `rank`, `sha256` and `hash`, ordered by digest and rank.
    pub(super) async fn same_bytes(
        &mut self,
        mut pictures: SendableRecordBatchStream,
    ) -> Result<()> {
        let mut digest = Vec::new();
        while let Some(batch) = pictures.try_next().await? {
            let ranks = batch.column(0).as_primitive::<UInt64Type>();
            let digests = batch.column(1).as_binary::<i32>();
            let hashes = batch.column(2).as_primitive::<UInt64Type>();
            for (index, rank) in ranks.values().iter().copied().enumerate() {
                let of_run = rank >= self.first_of_run;
                match self.firsts.last_mut() {
                    Some(first) if digest == digests.value(index) => {
                        first.asks |= of_run;
                        if of_run {
                            self.same.push((rank, first.rank));
                        }
                    }
                    _ => {
                        digest.clear();
                        digest.extend_from_slice(digests.value(index));
                        self.firsts.push(First {
                            rank,
                            hash: hashes.is_valid(index).then(|| hashes.value(index)),
                            asks: of_run,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves the first picture of every hash.
    pub(super) fn equal_hashes(&mut self) {
        self.firsts.retain(|first| first.hash.is_some());
        self.firsts
            .sort_unstable_by_key(|first| (first.hash, first.rank));
        let Self { firsts, equal, .. } = self;
        firsts.dedup_by(|later, first| {
            let is_equal = later.hash == first.hash;
            if is_equal {
                first.asks |= later.asks;
                equal.push((later.rank, first.rank));
            }
            is_equal
        });
        equal.sort_unstable();
    }

    /// What is left: `rank`, `hash` and `asks`.
    pub(super) fn hashes(&self) -> Result<RecordBatch> {
        let ranks = self.firsts.iter().map(|first| first.rank);
        let hashes = self.firsts.iter().filter_map(|first| first.hash);
        let asks = self.firsts.iter().map(|first| Some(first.asks));
        Ok(RecordBatch::try_from_iter([
            ("rank", Arc::new(UInt64Array::from_iter_values(ranks)) as _),
            ("hash", Arc::new(UInt64Array::from_iter_values(hashes)) as _),
            ("asks", Arc::new(asks.collect::<BooleanArray>()) as _),
        ])?)
    }

    /// Takes the near pairs: `rank`, the earlier rank `of`, and `distance`, ordered by ranks.
    pub(super) async fn near_hashes(&mut self, mut pairs: SendableRecordBatchStream) -> Result<()> {
        while let Some(batch) = pairs.try_next().await? {
            let ranks = batch.column(0).as_primitive::<UInt64Type>().values();
            let ofs = batch.column(1).as_primitive::<UInt64Type>().values();
            let distances = batch.column(2).as_primitive::<UInt8Type>().values();
            for ((&rank, &of), &distance) in ranks.iter().zip(ofs).zip(distances) {
                let is_judged = self.near.last().is_some_and(|(last, _)| *last == rank);
                if !is_judged && self.stays(of) {
                    self.near.push((rank, Near { of, distance }));
                }
            }
        }
        Ok(())
    }

    /// Whether the first picture of a hash stays, all before which are judged.
    fn stays(&self, rank: Rank) -> bool {
        rank < self.first_of_run || look_up(&self.near, rank).is_none()
    }

    /// What goes, in order.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let same = self.same.iter().copied();
        let equal = self.equal.iter().map(|(rank, _)| (*rank, *rank));
        let near = self.near.iter().map(|(rank, _)| (*rank, *rank));
        let mut verdicts: Vec<_> = same
            .chain(equal)
            .chain(near)
            .filter(|(rank, _)| *rank >= self.first_of_run)
            .map(|(rank, first)| self.verdict(rank, first))
            .collect();
        verdicts.sort_unstable_by_key(|verdict| verdict.rank);
        verdicts
    }

    /// The verdict on a picture that goes, by the first one of the same bytes.
    fn verdict(&self, rank: Rank, first: Rank) -> Verdict {
        let of = look_up(&self.equal, first).unwrap_or(first);
        let (of, likeness) = match look_up(&self.near, of) {
            Some(near) => (near.of, Likeness::Perceptual(near.distance)),
            None if of == first => (of, Likeness::Exact),
            None => (of, Likeness::Perceptual(0)),
        };
        Verdict { rank, of, likeness }
    }
}

/// The value of a key in pairs that are ordered by key.
fn look_up<T: Copy>(pairs: &[(Rank, T)], key: Rank) -> Option<T> {
    let at = pairs.binary_search_by_key(&key, |(key, _)| *key).ok()?;
    Some(pairs[at].1)
}
