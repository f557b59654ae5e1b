//! What a scheduler knows of its files, as it lies in their folder; and the lock beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capfilt_data::{Location, WriteError};
use capfilt_schedule::Schedule;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ScheduleError;
use crate::exit::ExitCode;

/// Name of the state in the folder.
const NAME: &str = ".capfilt-schedule.json";

/// Name of the file that the lock is on.
const LOCK: &str = ".capfilt-schedule.lock";

/// Form of the state that this version writes.
const FORMAT: u32 = 1;

/// What is known of one file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Record {
    /// Its schedule, as it was last seen.
    pub(crate) schedule: Option<Schedule>,
    /// The first time of the schedule that was neither started nor skipped.
    pub(crate) next: Option<DateTime<Utc>>,
    /// The file that it comes after.
    pub(crate) after: Option<String>,
    /// The newest manifest of that file when this one was last started.
    pub(crate) seen: Option<String>,
    /// When it was last started.
    pub(crate) last_start: Option<DateTime<Utc>>,
    /// When that run ended.
    pub(crate) last_end: Option<DateTime<Utc>>,
    /// What came of it; nothing while it goes on.
    pub(crate) last_result: Option<Outcome>,
    /// How many times of the schedule came while a run went on.
    pub(crate) skipped: u64,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It ended with this exit code.
    ExitCode(i32),
    /// This signal ended it.
    Signal(i32),
    /// The scheduler ended before it did, or stopped it.
    CutOff,
    /// The system did not start it.
    NotStarted,
}

impl Outcome {
    /// The exit code that says the same of a command.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::ExitCode(code) if code == ExitCode::Done as i32 => ExitCode::Done,
            Self::ExitCode(code) if code == ExitCode::PartialRun as i32 => ExitCode::PartialRun,
            _ => ExitCode::Failed,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode(code) => match ExitCode::words(*code) {
                Some(words) => write!(f, "{code} {words}"),
                None => write!(f, "exit code {code}"),
            },
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::CutOff => f.write_str("cut off"),
            Self::NotStarted => f.write_str("could not be started"),
        }
    }
}

/// The content of the state.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    files: BTreeMap<String, Record>,
}

/// What every form of the state has.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// Reads what an earlier scheduler knew of the files of `folder`; nothing where there was none.
pub(crate) fn read(folder: &Path) -> Result<BTreeMap<String, Record>, ScheduleError> {
    let path = folder.join(NAME);
    let text = match fs_err::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.map_err(ScheduleError::Folder)?,
    };
    let unreadable = |source| ScheduleError::State {
        path: path.clone(),
        source,
    };
    let Form { format } = serde_json::from_str(&text).map_err(unreadable)?;
    if format > FORMAT {
        return Err(ScheduleError::NewerState { path });
    }
    let state: State = serde_json::from_str(&text).map_err(unreadable)?;
    Ok(state.files)
}

/// The state on disk.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    written: Vec<u8>,
}

impl StateFile {
    /// The state of `folder`, of which nothing is known to be written yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(NAME),
            written: Vec::new(),
        }
    }

    /// Writes `records`, whole or not at all, unless just that was written last.
    pub(crate) fn keep(&mut self, records: &BTreeMap<String, Record>) -> Result<(), WriteError> {
        let state = serde_json::json!(State {
            format: FORMAT,
            files: records.clone(),
        });
        let text = format!("{state:#}\n").into_bytes();
        if text != self.written {
            Location::from(&self.path).replace(&text)?;
            self.written = text;
        }
        Ok(())
    }
}

/// Holds a folder for one scheduler. The lock is the system's: a process that is gone holds nothing.
#[derive(Debug)]
pub(crate) struct FolderLock {
    /// Closing the file gives the lock back.
    _file: File,
}

impl FolderLock {
    /// Takes `folder`.
    pub(crate) fn take(folder: &Path) -> Result<Self, ScheduleError> {
        let mut options = fs_err::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options
            .open(folder.join(LOCK))
            .map_err(ScheduleError::Folder)?;
        let file = file.into_parts().0;
        for _attempt in 0..10 {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                // Perhaps it is only looked at, see `is_taken`.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::Error(error)) => return Err(ScheduleError::Folder(error)),
            }
        }
        Err(ScheduleError::Busy {
            folder: folder.to_owned(),
        })
    }

    /// Whether a scheduler holds `folder`.
    pub(crate) fn is_taken(folder: &Path) -> Result<bool, ScheduleError> {
        let file = match fs_err::File::open(folder.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(ScheduleError::Folder)?,
        };
        match file.into_parts().0.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(ScheduleError::Folder(error)),
        }
    }
}
