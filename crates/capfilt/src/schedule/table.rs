//! `capfilt schedule --status`: a table of the files of a folder.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::ScheduleError;
use super::folder::{Files, Folder};
use super::state::{self, FolderLock, Outcome, Record};
use super::timetable::Entry;

/// The columns.
const HEAD: [&str; 7] = [
    "file",
    "when",
    "last start",
    "last result",
    "next start",
    "skipped",
    "state",
];

/// What is not there.
const NOTHING: &str = "-";

/// How the files of a folder stand.
pub(crate) struct Status {
    /// The files, and what is wrong with some.
    pub(crate) files: Files,
    /// The table.
    pub(crate) lines: Vec<String>,
    /// Whether a scheduler is at work.
    pub(crate) is_scheduled: bool,
}

/// Looks at the files of `folder`, whether or not a scheduler is at work there.
pub(crate) fn status(folder: &Path, now: DateTime<Utc>) -> Result<Status, ScheduleError> {
    let files = Folder::open(folder)
        .and_then(|mut folder| folder.look())
        .map_err(ScheduleError::Folder)?;
    let records = state::read(folder)?;
    let is_scheduled = FolderLock::is_taken(folder)?;
    let mut rows = vec![HEAD.map(str::to_owned)];
    for (file, entry) in &files {
        let record = records.get(file).cloned().unwrap_or_default();
        rows.push(match entry {
            Ok(entry) => row(file, entry, &record, is_scheduled, now),
            Err(_) => [file, "", "", "", "", "", "cannot be used"].map(str::to_owned),
        });
    }
    Ok(Status {
        files,
        lines: aligned(&rows),
        is_scheduled,
    })
}

/// The row of a file.
fn row(
    file: &str,
    entry: &Entry,
    record: &Record,
    is_scheduled: bool,
    now: DateTime<Utc>,
) -> [String; 7] {
    // Of a scheduler that is gone, so are the runs.
    let last_result = match record.last_result {
        None if record.is_running() && !is_scheduled => Some(Outcome::CutOff),
        result => result,
    };
    let record = Record {
        last_result,
        ..record.clone()
    };
    let next = match &entry.schedule {
        // An edit that no scheduler has seen yet.
        Some(schedule) if record.schedule != entry.schedule => schedule.next(now),
        _ => record.next,
    };
    let state = match (entry.is_by_hand(), record.is_running()) {
        (_, true) => "running",
        (false, false) => "waiting",
        (true, false) => NOTHING,
    };
    [
        file.to_owned(),
        entry.to_string(),
        shown(entry, record.last_start),
        record
            .last_result
            .map_or(NOTHING.to_owned(), |result| result.to_string()),
        match record.due(now, entry) {
            Some(_) => "now".to_owned(),
            None => shown(entry, next),
        },
        record.skipped.to_string(),
        state.to_owned(),
    ]
}

/// A time as the clocks of the file's time zone show it.
pub(crate) fn shown(entry: &Entry, time: Option<DateTime<Utc>>) -> String {
    let Some(time) = time else {
        return NOTHING.to_owned();
    };
    let local = match &entry.schedule {
        Some(schedule) => schedule.local(time),
        None => time.fixed_offset(),
    };
    local.format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The rows as lines, their columns below each other.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; COLUMNS]| {
        let columns: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(text, width)| format!("{text:width$}"))
            .collect();
        columns.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
