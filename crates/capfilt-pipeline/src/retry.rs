//! Trying again: which rows, and how what came of them gets into a finished `scored` file.
//!
//! ```text
//! scored/a.parquet   | in | timed-out | in | not-found | server-error |
//!                          ▼ shard, all stages                ▼
//! .capfilt-a..       |    in     |                      timed-out     |
//!                          ▼ merged                           ▼
//! scored/a.parquet   | in |    in     | in | not-found |   timed-out  |
//! ```
//!
//! The old file stands until the merged one takes its name. It says that its rows were tried once, so
//! that the next run makes up for one that ended before that. Rows of a finished run that are asked
//! for again are merged only where one came in. A row that has an answer keeps it where its host was
//! suspended then, so that it was not asked for.

use std::collections::{BTreeSet, VecDeque};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StructArray};
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow::error::ArrowError;
use capfilt_data::{Batches, CONTENT, Footer, FooterError, Reject, columns};
use datafusion::error::DataFusionError;

use crate::counts::ScoredCounts;
use crate::error::RunError;
use crate::file::Images;
use crate::load::with_nearest;
use crate::numbers::Numbers;
use crate::record::{COUNTS, IMAGES, PASSES, PROVIDER, RUNTIME, both, pairs_of};
use crate::rewrite::rewrite;
use crate::row::{BATCH_ROWS, Place, column, gather, project, replace, text_at, texts};

/// The number of attempts in the column `fetch`.
const ATTEMPTS: &str = "attempts";
/// Rows whose reason is read at once; nothing else of them is.
const REASONS: usize = 8_192;

/// The reasons for which rows are tried again. By default there is none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Retry(BTreeSet<Reject>);

/// A text that names no reasons to try again for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct RetryError(String);

/// The name of all reasons that may pass by themselves.
const TRANSIENT: &str = "transient";

impl FromStr for Retry {
    type Err = RetryError;

    /// `transient`, or reasons with commas between them.
    fn from_str(text: &str) -> Result<Self, RetryError> {
        let mut reasons = BTreeSet::new();
        for name in text.split(',').map(str::trim) {
            if name == TRANSIENT {
                reasons.extend(Self::transient().0);
                continue;
            }
            let reason = all().find(|reason| reason.as_str() == name);
            reasons.insert(reason.ok_or_else(|| unknown(name))?);
        }
        Ok(Self(reasons))
    }
}

/// The reasons for which whole rows leave.
fn all() -> impl Iterator<Item = Reject> {
    // What somebody asked to take out does not come back.
    let whole_rows = |reason: &Reject| !reason.is_about_a_caption() && *reason != Reject::Removed;
    Reject::ALL.iter().copied().filter(whole_rows)
}

fn unknown(name: &str) -> RetryError {
    let known: Vec<String> = std::iter::once(TRANSIENT)
        .chain(all().map(Reject::as_str))
        .map(|known| format!("`{known}`"))
        .collect();
    RetryError(with_nearest(&format!(
        "unknown reason `{name}`, expected {}",
        known.join(", ")
    )))
}

impl Retry {
    /// The reasons that may pass by themselves.
    pub fn transient() -> Self {
        Self(all().filter(|reason| reason.is_transient()).collect())
    }

    /// The reasons for which rows of `scored`, in which `counts` were counted, are still to be tried a
    /// second time: the run that made the file did not get to it.
    pub(crate) fn due(scored: &Footer, counts: &ScoredCounts) -> Option<Self> {
        let transient = Self::transient();
        let is_due = scored.value(PASSES) == Some("1") && transient.part_of(counts).rows > 0;
        is_due.then_some(transient)
    }

    /// For these reasons, and for those of `other`.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What of `counts` would be tried again.
    pub(crate) fn part_of(&self, counts: &ScoredCounts) -> ScoredCounts {
        let mut part = ScoredCounts::default();
        for reason in &self.0 {
            if let Some(rows) = counts.rejected.get(reason.as_str()) {
                part.rows += rows;
                part.rejected.insert(reason.as_str().to_owned(), *rows);
            }
        }
        part
    }

    /// The rows of `scored`, whose first one is `first`, that left for one of the reasons, and those of
    /// them that were asked for.
    pub(crate) fn numbers(
        &self,
        scored: &Footer,
        first: u64,
    ) -> Result<(Numbers, Numbers), FooterError> {
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        let mut number = first;
        for batch in scored.batches(Some(&[columns::REJECT]), REASONS)? {
            let batch = batch?;
            let reasons = texts(&batch, columns::REJECT);
            for reason in reasons.map_err(|source| scored.unreadable(source))? {
                let reason = reason.and_then(|reason| Reject::from_str(reason).ok());
                if let Some(reason) = reason.filter(|reason| self.0.contains(reason)) {
                    found.push(number..number + 1);
                    if reason != Reject::HostSuspended {
                        asked.push(number..number + 1);
                    }
                }
                number += 1;
            }
        }
        Ok((found.into_iter().collect(), asked.into_iter().collect()))
    }
}

/// Of which rows of `scored` pictures were stored: rows that come into it follow the same rule.
pub(crate) fn images(scored: &Footer) -> Images {
    match scored.value(IMAGES) {
        Some("all") => Images::All,
        _ => Images::Kept,
    }
}

/// Writes the file `old` again, whose first row is `first`, with the rows `numbers` from `fresh` and
/// all others as they are. Holds a batch of rows. `stopped` is asked now and then; false where it
/// said so, and `old` stays.
pub(crate) fn merge(
    old: &Footer,
    first: u64,
    fresh: &Footer,
    numbers: &Numbers,
    stopped: &dyn Fn() -> bool,
) -> Result<bool, RunError> {
    let mut fresh_rows = Rows::of(fresh)?;
    let failed = |source: DataFusionError| RunError::Plan {
        piece: old.path.to_string(),
        source,
    };
    let written = rewrite(old, stopped, |start, batch| {
        let start = first + start;
        let end = start + batch.num_rows() as u64;
        let at: Vec<usize> = numbers
            .within(&(start..end))
            .flatten()
            .filter_map(|number| usize::try_from(number - start).ok())
            .collect();
        if at.is_empty() {
            return Ok(batch);
        }
        let mut places: Vec<Place> = Place::all(batch.clone()).collect();
        let mut again = Vec::with_capacity(at.len());
        for row in at {
            let fresh = fresh_rows.next(&batch.schema())?;
            if !says_less(&fresh, &places[row]).map_err(|error| failed(error.into()))? {
                places[row] = fresh;
                again.push(row);
            }
        }
        let merged = gather(&places).map_err(|error| failed(error.into()))?;
        with_all_attempts(&merged, &batch, &again).map_err(failed)
    })?;
    let Some((writer, counts)) = written else {
        return Ok(false);
    };
    writer.publish(merged_pairs(old, fresh, &counts))?;
    Ok(true)
}

/// The rows of a file one after the other.
struct Rows<'a> {
    file: &'a Footer,
    batches: Batches,
    ready: VecDeque<Place>,
}

impl<'a> Rows<'a> {
    fn of(file: &'a Footer) -> Result<Self, FooterError> {
        Ok(Self {
            file,
            batches: file.batches(None, BATCH_ROWS)?,
            ready: VecDeque::new(),
        })
    }

    /// The next row in exactly the columns of `schema`.
    fn next(&mut self, schema: &SchemaRef) -> Result<Place, FooterError> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Ok(row);
            }
            let missing = || ArrowError::ParquetError("a row is missing".to_owned());
            let batch = self.batches.next().ok_or_else(missing);
            let batch = batch.map_err(|source| self.file.unreadable(source))??;
            let batch = project(&batch, schema).map_err(|source| self.file.unreadable(source))?;
            self.ready.extend(Place::all(batch));
        }
    }
}

/// Whether the host was not asked for `fresh`, but was for `old`. That a list of opt-outs named a host on
/// the way of `old` says nothing any more once the row is tried again.
fn says_less(fresh: &Place, old: &Place) -> Result<bool, ArrowError> {
    let reason = |row: &Place| {
        let reason = text_at(texts(row.batch(), columns::REJECT)?, row.row());
        Ok::<_, ArrowError>(reason.and_then(|reason| Reject::from_str(reason).ok()))
    };
    Ok(reason(fresh)? == Some(Reject::HostSuspended)
        && !was_asked(fresh)?
        && was_asked(old)?
        && reason(old)? != Some(Reject::OptedOut))
}

/// Whether there was an attempt to fetch the row's picture.
fn was_asked(row: &Place) -> Result<bool, ArrowError> {
    let fetch = column(row.batch(), columns::FETCH)?.as_struct();
    let attempts = fetch.column_by_name(ATTEMPTS);
    let attempts = attempts.and_then(|attempts| attempts.as_primitive_opt::<Int32Type>());
    Ok(attempts
        .is_some_and(|attempts| attempts.is_valid(row.row()) && attempts.value(row.row()) > 0))
}

/// `merged` where the rows `again` also count the attempts that they had in `old`.
fn with_all_attempts(
    merged: &RecordBatch,
    old: &RecordBatch,
    again: &[usize],
) -> Result<RecordBatch, DataFusionError> {
    let fetch = column(merged, columns::FETCH)?.as_struct();
    let (Some(new), Some(before)) = (
        fetch.column_by_name(ATTEMPTS),
        column(old, columns::FETCH)?
            .as_struct()
            .column_by_name(ATTEMPTS),
    ) else {
        return Ok(merged.clone());
    };
    let (new, before) = (
        new.as_primitive::<Int32Type>(),
        before.as_primitive::<Int32Type>(),
    );
    let mut sums: Vec<Option<i32>> = new.iter().collect();
    for row in again {
        let earlier = before.is_valid(*row).then(|| before.value(*row));
        sums[*row] = sums[*row].map(|now| now.saturating_add(earlier.unwrap_or(0)));
    }
    let sums: ArrayRef = Arc::new(Int32Array::from(sums));
    let arrays = fetch
        .fields()
        .iter()
        .zip(fetch.columns())
        .map(|(field, array)| {
            let is_sum = field.name() == ATTEMPTS;
            Arc::clone(if is_sum { &sums } else { array })
        })
        .collect();
    let fetch = StructArray::try_new(fetch.fields().clone(), arrays, fetch.nulls().cloned())?;
    Ok(replace(merged, vec![(columns::FETCH, Arc::new(fetch))])?)
}

/// The pairs of the merged file: those of the fresh one, but where the old rows count too.
fn merged_pairs(old: &Footer, fresh: &Footer, counts: &ScoredCounts) -> Vec<(String, String)> {
    pairs_of(fresh)
        .filter(|(key, _)| key != CONTENT)
        .map(|(key, value)| {
            let value = match key.as_str() {
                COUNTS => serde_json::json!(counts).to_string(),
                // Of a rule that stores less, what came in now follows the one of now; the other rows
                // meet that one, too.
                IMAGES if images(old) == Images::All => "all".to_owned(),
                RUNTIME | PROVIDER => both(old.value(&key), Some(&value)),
                _ => value,
            };
            (key, value)
        })
        .collect()
}

#[cfg(test)]
mod tests;
