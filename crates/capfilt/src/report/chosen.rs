//! Which rows are worth looking at.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use capfilt_data::{Location, Source};

use super::PICTURES;

/// A text longer than this is cut on the page.
const MOST_CHARS: usize = 400;

/// A text of a row, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) text: String,
    pub(crate) source: Source,
    pub(crate) score: Option<f32>,
    pub(crate) kept: bool,
}

impl Judged {
    pub(crate) fn cut(text: &str) -> String {
        match text.char_indices().nth(MOST_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }
}

/// A row with a picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The `scored` file, and the row in it, from 0.
    pub(crate) place: (Arc<Location>, u64),
    pub(crate) id: String,
    pub(crate) url: Option<String>,
    pub(crate) size: Option<(i32, i32)>,
    /// Name of the stage that dropped the web text before it was judged.
    pub(crate) text_dropped_by: Option<String>,
    pub(crate) judged: Vec<Judged>,
}

/// Why a row is shown.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Why {
    /// A score is near the threshold.
    Borderline,
    /// The web text went, with a low score, and a synthetic caption stayed.
    Replaced,
    /// No caption stayed.
    Emptied,
    /// The web text stayed, with a high score.
    Best,
}

impl Why {
    /// In the order of the page, each with the share of the pictures that it may have first.
    const SHARES: [(Self, usize); 4] = [
        (Self::Borderline, PICTURES * 2 / 5),
        (Self::Replaced, PICTURES * 3 / 10),
        (Self::Emptied, PICTURES / 6),
        (Self::Best, PICTURES * 2 / 15),
    ];
}

/// The best rows of each kind so far.
#[derive(Debug)]
pub(crate) struct Chosen {
    threshold: f32,
    heaps: [BinaryHeap<Entry>; 4],
}

/// A row in a heap: the one with the largest key leaves first.
#[derive(Debug)]
struct Entry {
    key: f32,
    row: Arc<Row>,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |entry: &Self| entry.row.place.clone();
        self.key
            .total_cmp(&other.key)
            .then_with(|| place(self).cmp(&place(other)))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl Chosen {
    /// `threshold` separates kept from removed, for what counts as borderline.
    pub(crate) fn new(threshold: f32) -> Self {
        Self {
            threshold,
            heaps: Default::default(),
        }
    }

    /// Looks at one row, and keeps it where it is among the best of its kinds.
    pub(crate) fn offer(&mut self, row: Row) {
        let row = Arc::new(row);
        for (why, _) in Why::SHARES {
            if let Some(key) = self.key(why, &row) {
                let heap = &mut self.heaps[why as usize];
                heap.push(Entry {
                    key,
                    row: Arc::clone(&row),
                });
                if heap.len() > PICTURES {
                    heap.pop();
                }
            }
        }
    }

    /// How far down the list of `why` the row belongs, or `None` where it does not.
    fn key(&self, why: Why, row: &Row) -> Option<f32> {
        let scores = |source: Source, kept: bool| {
            row.judged
                .iter()
                .filter(move |judged| judged.source == source && judged.kept == kept)
                .filter_map(|judged| judged.score)
        };
        let kept = row.judged.iter().any(|judged| judged.kept);
        match why {
            Why::Borderline => row
                .judged
                .iter()
                .filter_map(|judged| judged.score)
                .map(|score| (score - self.threshold).abs())
                .min_by(f32::total_cmp),
            Why::Replaced => {
                scores(Source::Synthetic, true).next()?;
                scores(Source::Web, false).min_by(f32::total_cmp)
            }
            Why::Emptied if kept => None,
            Why::Emptied => row
                .judged
                .iter()
                .filter_map(|judged| judged.score)
                .max_by(f32::total_cmp),
            Why::Best => scores(Source::Web, true)
                .max_by(f32::total_cmp)
                .map(|score| -score),
        }
    }

    /// At most `most` rows, none twice, each kind with its share first and then what is left.
    /// They are grouped by kind, the kind's best first.
    pub(crate) fn best(&self, most: usize) -> Vec<(Why, Row)> {
        let lists = self.heaps.each_ref().map(|heap| {
            let mut list: Vec<&Entry> = heap.iter().collect();
            list.sort();
            list
        });
        let mut taken = BTreeSet::new();
        let mut best: Vec<(Why, usize, Row)> = Vec::new();
        for shares_only in [true, false] {
            for ((why, share), list) in Why::SHARES.into_iter().zip(&lists) {
                let share = if shares_only { share } else { most };
                let mut count = best.iter().filter(|(shown, ..)| *shown == why).count();
                for (rank, entry) in list.iter().enumerate() {
                    if count >= share || best.len() >= most {
                        break;
                    }
                    if taken.insert(entry.row.place.clone()) {
                        best.push((why, rank, Row::clone(&entry.row)));
                        count += 1;
                    }
                }
            }
        }
        best.sort_by_key(|(why, rank, _)| (*why, *rank));
        best.into_iter().map(|(why, _, row)| (why, row)).collect()
    }
}
