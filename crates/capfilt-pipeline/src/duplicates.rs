//! Which pictures are there more than once.
//!
//! ```text
//! sha256, perceptual hash ──▶ first of each digest ──▶ first of each hash ──bands──▶ near pairs
//! of evaluation sets, earlier       exact                 distance 0              distance 1 to 3
//! runs, and this run                   └──────────────────────┴───────────────────────┘
//!                                                          ▼
//!                               rows of this run that go, and the row for which each goes
//! ```
//!
//! Rows have an order: those of evaluation sets come first, then those that earlier runs kept, then
//! those of this run; within each set by file, as the files are given, and by row within a file. Two
//! pictures match if their bytes are equal, or if both have a perceptual hash and these differ in no
//! more bits than [`Search::distance`]. **A row of this run goes if a row before it stays that
//! matches it**, and the first such row is the one for which it goes. Rows of the other two sets
//! always stay. Matching is not transitive: of A, B, C where A matches B and B matches C, only B
//! goes, as it does not stay to take C along. The answer depends on nothing else, neither on how
//! rows lie in batches nor on how many of them are looked at side by side.
//!
//! Hashes within three bits of each other are equal in one of four bands of 16 bits. So near pairs
//! are those of a self-join by band, filtered by distance. A bucket, the hashes that share a band's
//! value, costs the square of its size; one that is larger than [`Search::largest_bucket`] is left
//! out of the join and reported. Its pictures are still found where they are equal, or where they
//! are near and share another band.
//!
//! Files are read by DataFusion with just the columns that are needed, and sorted and joined within
//! [`Search::memory`], with spilling to disk. What is held besides is some 50 bytes for each
//! different picture and 100 for each duplicate. The time of the join grows with the square of the
//! number of hashes.

mod judge;
mod near;
mod read;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use judge::Judge;
pub use read::{HashFile, HashFileError};

/// The files whose pictures are held against each other. In each list, earlier files come first.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// Evaluation sets, which no picture of a training set may resemble.
    pub evaluation: Vec<HashFile>,
    /// What earlier runs kept.
    pub earlier: Vec<HashFile>,
    /// What this run has, and of which duplicates shall go.
    pub run: Vec<HashFile>,
}

/// One of the lists of [`Sets`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Set {
    /// An evaluation set.
    Evaluation,
    /// What earlier runs kept.
    Earlier,
    /// This run.
    Run,
}

/// Hashes of a bucket whose pairs are all compared, unless somebody says otherwise.
pub const LARGEST_BUCKET: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// How duplicates are looked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// In how many bits hashes of duplicates may differ.
    pub distance: Distance,
    /// Hashes of which all pairs in a bucket are compared, at most.
    pub largest_bucket: NonZeroUsize,
    /// Bytes that sorts and joins may take before they spill.
    pub memory: usize,
    /// An existing folder for what they spill.
    pub spill: PathBuf,
}

/// In how many of their 64 bits the hashes of duplicates may differ: 0 to 3, 3 by default.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Distance(u8);

/// A number that is no distance.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a distance of {got} bits is too large; expected 0 to 3, which four bands of a hash can find"
)]
pub struct DistanceError {
    got: u8,
}

impl Distance {
    /// The largest: four bands can find no larger one.
    pub const LARGEST: Self = Self(3);

    /// The number of bits.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl Default for Distance {
    fn default() -> Self {
        Self::LARGEST
    }
}

impl TryFrom<u8> for Distance {
    type Error = DistanceError;

    fn try_from(got: u8) -> std::result::Result<Self, DistanceError> {
        if got <= Self::LARGEST.0 {
            Ok(Self(got))
        } else {
            Err(DistanceError { got })
        }
    }
}

impl From<Distance> for u8 {
    fn from(distance: Distance) -> Self {
        distance.0
    }
}

impl JsonSchema for Distance {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Distance".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "minimum": 0,
            "maximum": 3,
            "description": "A number of bits, 0 to 3."
        })
    }
}

/// Where a picture is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The list of files.
    pub set: Set,
    /// The number of the file in its list, from 0.
    pub file: usize,
    /// The number of the row in its file, from 0.
    pub row: u64,
}

/// A picture of this run that goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Duplicate {
    /// The number of its file in [`Sets::run`].
    pub file: usize,
    /// The number of its row in that file.
    pub row: u64,
    /// The picture that stays instead.
    pub of: Place,
    /// How the two match.
    pub likeness: Likeness,
}

/// How two pictures match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Likeness {
    /// They are the same bytes.
    Exact,
    /// Their perceptual hashes differ in so many bits.
    Perceptual(u8),
}

/// Hashes that share 16 bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bucket {
    /// Which of the four: bits `16 * band` and up.
    pub band: u8,
    /// The bits.
    pub value: u16,
    /// How many different hashes have them.
    pub hashes: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    duplicates: Vec<Duplicate>,
    /// The buckets that were too large to compare, by band and value.
    pub oversized: Vec<Bucket>,
}

impl Found {
    /// All that goes, by file and row.
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    /// What goes of one file of [`Sets::run`], by row.
    pub fn of_file(&self, file: usize) -> &[Duplicate] {
        let start = self.duplicates.partition_point(|one| one.file < file);
        let end = self.duplicates.partition_point(|one| one.file <= file);
        &self.duplicates[start..end]
    }
}

/// Finds what is there more than once.
///
/// A damaged file is an error of reading, a full disk one of spilling.
pub async fn find(sets: &Sets, search: &Search) -> Result<Found> {
    let order = Order::new(sets);
    let session = session(search)?;
    let mut judge = Judge::new(order.first_of_run());
    let pictures = read::pictures(&session, &order).await?;
    judge.same_bytes(pictures).await?;
    judge.equal_hashes();
    let oversized = if search.distance == Distance(0) {
        Vec::new()
    } else {
        let oversized = near::prepare(&session, &judge.hashes()?, search).await?;
        judge
            .near_hashes(near::pairs(&session, search).await?)
            .await?;
        oversized
    };
    let duplicates = judge.verdicts().into_iter().map(|verdict| {
        let Place { file, row, .. } = order.place(verdict.rank);
        Duplicate {
            file,
            row,
            of: order.place(verdict.of),
            likeness: verdict.likeness,
        }
    });
    Ok(Found {
        duplicates: duplicates.collect(),
        oversized,
    })
}

fn session(search: &Search) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(search.memory)))
        .with_temp_file_path(&search.spill)
        .build_arc()?;
    let mut config = SessionConfig::new();
    // Buckets are joined by merging: that spills, and took half the time of hashing.
    config.options_mut().optimizer.prefer_hash_join = false;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// A row's number in the order of all rows.
type Rank = u64;

/// The files in order, and the rank of the first row of each.
struct Order<'a> {
    files: Vec<(Rank, Set, usize, &'a HashFile)>,
    first_of_run: Rank,
}

impl<'a> Order<'a> {
    fn new(sets: &'a Sets) -> Self {
        let mut files = Vec::new();
        let mut next = 0;
        let mut first_of_run = 0;
        let lists = [
            (Set::Evaluation, &sets.evaluation),
            (Set::Earlier, &sets.earlier),
            (Set::Run, &sets.run),
        ];
        for (set, list) in lists {
            first_of_run = next;
            for (number, file) in list.iter().enumerate() {
                files.push((next, set, number, file));
                next += file.rows;
            }
        }
        Self {
            files,
            first_of_run,
        }
    }

    fn first_of_run(&self) -> Rank {
        self.first_of_run
    }

    fn place(&self, rank: Rank) -> Place {
        // Of files without rows, the last one begins where a row is.
        let after = self.files.partition_point(|(first, ..)| *first <= rank);
        let (first, set, file, _) = self.files[after - 1];
        Place {
            set,
            file,
            row: rank - first,
        }
    }
}

#[cfg(test)]
mod tests;
