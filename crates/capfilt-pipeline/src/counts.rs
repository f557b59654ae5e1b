//! What was counted, in a piece and in a run.

use std::collections::BTreeMap;

use capfilt_data::Source;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts over the rows of `scored`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScoredCounts {
    /// Rows.
    pub rows: u64,
    /// Rows that left, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Candidates, by source.
    pub candidates: BTreeMap<String, u64>,
}

/// Counts over the rows of `dataset` and `rejected`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DecidedCounts {
    /// Images with at least one kept caption.
    pub images: u64,
    /// Images that stayed in, but ended without captions.
    pub images_without_captions: u64,
    /// Images that would have captions, but were not stored by an earlier decision.
    pub images_not_stored: u64,
    /// Kept captions, by source.
    pub kept: BTreeMap<String, u64>,
    /// Removed captions, by reason.
    pub removed: BTreeMap<String, u64>,
    /// Removed captions, by source.
    pub removed_sources: BTreeMap<String, u64>,
}

fn merge(into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (key, count) in from {
        *into.entry(key.clone()).or_default() += count;
    }
}

/// Counts one more of `key`.
pub(crate) fn count(counts: &mut BTreeMap<String, u64>, key: &str) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => {
            counts.insert(key.to_owned(), 1);
        }
    }
}

impl ScoredCounts {
    /// Adds the counts of other rows.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        merge(&mut self.rejected, &other.rejected);
        merge(&mut self.candidates, &other.candidates);
    }
}

impl DecidedCounts {
    /// Adds the counts of other rows.
    pub fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.images_without_captions += other.images_without_captions;
        self.images_not_stored += other.images_not_stored;
        merge(&mut self.kept, &other.kept);
        merge(&mut self.removed, &other.removed);
        merge(&mut self.removed_sources, &other.removed_sources);
    }

    /// Kept captions of all sources.
    pub fn captions_kept(&self) -> u64 {
        self.kept.values().sum()
    }

    /// Removed captions of all reasons.
    pub fn captions_removed(&self) -> u64 {
        self.removed.values().sum()
    }

    pub(crate) fn keep(&mut self, source: Source) {
        count(&mut self.kept, source.as_str());
    }
}
