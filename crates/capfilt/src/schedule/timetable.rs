//! Which file starts when: nothing but decisions. Time and the content of the folder are handed in,
//! starts come out, so that a test can let a year pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter;

use capfilt_schedule::Schedule;
use chrono::{DateTime, Utc};

use super::state::{Outcome, Record};

/// What starts a file; with neither it is run by hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    /// Its `schedule`.
    pub(crate) schedule: Option<Schedule>,
    /// Its `after`.
    pub(crate) after: Option<After>,
}

impl Entry {
    /// Whether nothing starts it.
    pub(crate) fn is_by_hand(&self) -> bool {
        self.schedule.is_none() && self.after.is_none()
    }

    /// Whether the same starts it as `other`.
    pub(crate) fn is_started_as(&self, other: &Self) -> bool {
        let after = |entry: &Self| entry.after.as_ref().map(|after| after.file.clone());
        self.schedule == other.schedule && after(self) == after(other)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.schedule, &self.after) {
            (Some(schedule), Some(after)) => write!(f, "{schedule}, after {}", after.file),
            (Some(schedule), None) => write!(f, "{schedule}"),
            (None, Some(after)) => write!(f, "after {}", after.file),
            (None, None) => f.write_str("by hand"),
        }
    }
}

/// The file whose new output starts another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct After {
    /// Its name.
    pub(crate) file: String,
    /// Its newest manifest of a run that brought output.
    pub(crate) newest: Option<String>,
}

/// How long the scheduler works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Until it is stopped.
    Watch,
    /// Until what is due now was run, each file once and those first that others come after.
    Once,
}

/// Why a file starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Because {
    /// The scheduler ended before its last run did.
    CutOff,
    /// A time of its schedule has come.
    Time(DateTime<Utc>),
    /// It has a schedule and was never started.
    Never,
    /// This file has new output.
    News(String),
}

/// What a moment brings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The file starts.
    Start { file: String, because: Because },
    /// A time of its schedule has come while its run goes on.
    Skip { file: String, time: DateTime<Utc> },
}

/// What is known of every file, and what follows from it.
#[derive(Debug)]
pub(crate) struct Timetable {
    mode: Mode,
    records: BTreeMap<String, Record>,
    /// The files that this scheduler started.
    started: BTreeSet<String>,
}

impl Timetable {
    /// Goes on from the records of an earlier scheduler, which is gone: so are its runs.
    pub(crate) fn new(mode: Mode, mut records: BTreeMap<String, Record>) -> Self {
        for record in records.values_mut().filter(|record| record.is_running()) {
            record.last_result = Some(Outcome::CutOff);
        }
        Self {
            mode,
            records,
            started: BTreeSet::new(),
        }
    }

    /// What is known of every file.
    pub(crate) fn records(&self) -> &BTreeMap<String, Record> {
        &self.records
    }

    /// Says what comes at `now`. Whatever is to start counts as running from here on.
    pub(crate) fn tick(
        &mut self,
        now: DateTime<Utc>,
        entries: &BTreeMap<String, Entry>,
    ) -> Vec<Event> {
        self.notice(now, entries);
        let mut events = Vec::new();
        for (file, entry) in entries {
            let Some(record) = self.records.get_mut(file) else {
                continue;
            };
            if let (true, Some(time)) = (record.is_running(), record.due_time(now)) {
                record.skipped += 1;
                record.count_to(now, entry);
                events.push(Event::Skip {
                    file: file.clone(),
                    time,
                });
            }
        }
        let wanted: BTreeMap<&str, Because> = entries
            .iter()
            .filter_map(|(file, entry)| Some((file.as_str(), self.wanted(now, file, entry)?)))
            .collect();
        for (file, because) in &wanted {
            if self.mode == Mode::Once && self.waits(file, entries, &wanted) {
                continue;
            }
            if let (Some(record), Some(entry)) = (self.records.get_mut(*file), entries.get(*file)) {
                record.begin(now, entry);
            }
            self.started.insert((*file).to_owned());
            events.push(Event::Start {
                file: (*file).to_owned(),
                because: because.clone(),
            });
        }
        events
    }

    /// Takes what came of a run that was started.
    pub(crate) fn ended(&mut self, file: &str, outcome: Outcome, now: DateTime<Utc>) {
        if let Some(record) = self.records.get_mut(file) {
            record.last_end = Some(now);
            record.last_result = Some(outcome);
        }
    }

    /// Whether any run is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.records.values().any(Record::is_running)
    }

    /// What came of the runs that were started here and have ended.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        let records = self
            .started
            .iter()
            .filter_map(|file| self.records.get(file));
        records.filter_map(|record| record.last_result)
    }

    /// Takes files that were added, edited or removed.
    fn notice(&mut self, now: DateTime<Utc>, entries: &BTreeMap<String, Entry>) {
        for (file, entry) in entries {
            let record = self.records.entry(file.clone()).or_default();
            if record.schedule != entry.schedule {
                record.schedule.clone_from(&entry.schedule);
                record.count_to(now, entry);
            }
            let after = entry.after.as_ref().map(|after| &after.file);
            if record.after.as_ref() != after {
                record.after = after.cloned();
                record.seen = None;
            }
        }
        // One that comes back is as one whose schedule was edited: it waits for its next time. What
        // it last started after still counts.
        for (file, record) in &mut self.records {
            if !entries.contains_key(file) {
                record.schedule = None;
                record.next = None;
            }
        }
    }

    /// Why `file` shall start now, if it shall.
    fn wanted(&self, now: DateTime<Utc>, file: &str, entry: &Entry) -> Option<Because> {
        if self.mode == Mode::Once && self.started.contains(file) {
            return None;
        }
        let record = self.records.get(file)?;
        let never =
            self.mode == Mode::Once && entry.schedule.is_some() && record.last_start.is_none();
        record
            .due(now, entry)
            .or_else(|| never.then_some(Because::Never))
    }

    /// Whether one of the files that `file` comes after runs or is about to.
    fn waits(
        &self,
        file: &str,
        entries: &BTreeMap<String, Entry>,
        wanted: &BTreeMap<&str, Because>,
    ) -> bool {
        let before = |file: &&str| {
            let after = entries.get(*file)?.after.as_ref()?;
            Some(after.file.as_str())
        };
        iter::successors(before(&file), before).any(|other| {
            let runs = self.records.get(other).is_some_and(Record::is_running);
            runs || wanted.contains_key(other)
        })
    }
}

impl Record {
    /// Whether its last run goes on.
    pub(crate) fn is_running(&self) -> bool {
        self.last_start.is_some() && self.last_result.is_none()
    }

    /// Why the file of this record shall start now, if it shall.
    pub(crate) fn due(&self, now: DateTime<Utc>, entry: &Entry) -> Option<Because> {
        if self.is_running() || entry.is_by_hand() {
            return None;
        }
        if self.last_result == Some(Outcome::CutOff) {
            return Some(Because::CutOff);
        }
        if let Some(time) = self.due_time(now) {
            return Some(Because::Time(time));
        }
        let after = entry.after.as_ref()?;
        (after.newest > self.seen).then(|| Because::News(after.file.clone()))
    }

    /// The time of the schedule that has come and was neither started nor skipped.
    fn due_time(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next.filter(|next| *next <= now)
    }

    /// Lets the times of the schedule up to `now` be over.
    fn count_to(&mut self, now: DateTime<Utc>, entry: &Entry) {
        self.next = entry
            .schedule
            .as_ref()
            .and_then(|schedule| schedule.next(now));
    }

    /// Takes the start of a run.
    fn begin(&mut self, now: DateTime<Utc>, entry: &Entry) {
        self.count_to(now, entry);
        self.last_start = Some(now);
        self.last_end = None;
        self.last_result = None;
        if let Some(newest) = entry.after.as_ref().and_then(|after| after.newest.as_ref()) {
            self.seen = Some(newest.clone());
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("its last run was cut off"),
            Self::Time(_) => f.write_str("its time has come"),
            Self::Never => f.write_str("it was never started"),
            Self::News(file) => write!(f, "`{file}` has new output"),
        }
    }
}

#[cfg(test)]
mod tests;
