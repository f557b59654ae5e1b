//! How a run is getting on.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::counts::{DecidedCounts, ScoredCounts};

/// Ids that are remembered to find duplicates, in all pieces of a run together.
const IDS: usize = 2_000_000;

/// How a run is getting on. Everything counts what earlier runs finished, too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Pieces that are finished.
    pub pieces_done: u64,
    /// Pieces that there are.
    pub pieces_total: u64,
    /// Rows that went through all stages.
    pub rows_done: u64,
    /// Rows that there are.
    pub rows_total: u64,
    /// Captions that were kept so far.
    pub captions_kept: u64,
    /// Captions that were removed so far.
    pub captions_removed: u64,
    /// Rows and captions that were removed so far, by reason.
    pub reasons: BTreeMap<String, u64>,
}

/// Takes note of what operators finish.
#[derive(Debug)]
pub(crate) struct Tally {
    progress: watch::Sender<Progress>,
    ids: Mutex<Ids>,
    /// Whether rows will come by once more: only then is it known what becomes of them.
    is_halfway: AtomicBool,
}

#[derive(Debug, Default)]
struct Ids {
    seen: HashSet<u64>,
    duplicates: u64,
}

impl Tally {
    pub(crate) fn new(progress: watch::Sender<Progress>) -> Self {
        Self {
            progress,
            ids: Mutex::default(),
            is_halfway: AtomicBool::new(false),
        }
    }

    /// Whether rows that are counted from now on will come by once more.
    pub(crate) fn halfway(&self, is_halfway: bool) {
        self.is_halfway.store(is_halfway, Ordering::Relaxed);
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    /// Counts rows, and the reasons and verdicts among them.
    pub(crate) fn rows(&self, scored: &ScoredCounts, decided: &DecidedCounts) {
        self.update(|progress| {
            progress.rows_done += scored.rows;
            if self.is_halfway.load(Ordering::Relaxed) {
                return;
            }
            progress.captions_kept += decided.captions_kept();
            progress.captions_removed += decided.captions_removed();
            for (reason, count) in scored.rejected.iter().chain(&decided.removed) {
                *progress.reasons.entry(reason.clone()).or_default() += count;
            }
        });
    }

    /// Takes back rows that left, of which all is counted anew as they are tried again.
    pub(crate) fn take_back(&self, scored: &ScoredCounts) {
        self.update(|progress| {
            progress.rows_done = progress.rows_done.saturating_sub(scored.rows);
            if self.is_halfway.load(Ordering::Relaxed) {
                return;
            }
            for (reason, rows) in &scored.rejected {
                if let Some(count) = progress.reasons.get_mut(reason) {
                    *count = count.saturating_sub(*rows);
                }
            }
            progress.reasons.retain(|_, count| *count > 0);
        });
    }

    /// Takes note of mapped ids, and warns of the first one that was there before.
    pub(crate) fn ids<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let mut known = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let mut hasher = DefaultHasher::new();
            id.hash(&mut hasher);
            let hash = hasher.finish();
            if known.seen.contains(&hash) {
                known.duplicates += 1;
                if known.duplicates == 1 {
                    tracing::warn!(id, "an id occurs twice; ids are labels, both rows are kept");
                }
            } else if known.seen.len() < IDS {
                known.seen.insert(hash);
            }
        }
    }

    /// Rows whose id was there before.
    pub(crate) fn duplicate_ids(&self) -> u64 {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .duplicates
    }
}
