//! `capfilt schedule`: runs the files of a folder by their `schedule` and `after` keys.
//!
//! ```text
//! folder ──Entry──▶ timetable ──Event──▶ children ──Outcome──▶ timetable ──Record──▶ state
//! ```
//!
//! [`folder`] reads the files and looks for new output, [`timetable`] decides, [`children`] are the
//! runs, [`state`] is what outlives the scheduler, and [`table`] shows it. What is here is the loop
//! that carries one to the other.

mod file;
mod folder;
mod state;
mod table;
mod timetable;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use self::folder::{FileError, Folder};
use self::state::{FolderLock, Record, StateFile};
use self::timetable::{Because, Entry, Event, Timetable};

pub(crate) use self::state::Outcome;
pub(crate) use self::table::status;
pub(crate) use self::timetable::Mode;

use crate::children::Children;
use crate::exit::ExitCode;
use crate::failure::{self, Failure};
use crate::session::Session;
use crate::signals::{self, Signals};

/// How often it is looked whether a run has ended.
const REAP: Duration = Duration::from_millis(100);

/// How often the folder is read and the clock looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A folder that cannot be scheduled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScheduleError {
    /// A file of it cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder cannot be used.
    #[error(
        "cannot use the folder; it must be there, and be writable for the state of the scheduler"
    )]
    Folder(#[source] io::Error),
    /// Another scheduler is at work there.
    #[error("another scheduler is at work on `{}`; `capfilt schedule --status` shows how it is getting on", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The state has a form that this version does not know.
    #[error(
        "`{}` was written by a newer capfilt; use that one, or remove the file: then nothing is known \
         of earlier starts", path.display()
    )]
    NewerState {
        /// The file.
        path: PathBuf,
    },
    /// The state cannot be understood.
    #[error(
        "`{}` cannot be read as the state of a scheduler; remove it: then nothing is known of earlier \
         starts", path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// This program cannot be found, or its runs not be waited for.
    #[error("cannot start or watch runs")]
    Processes(#[source] io::Error),
    /// The state cannot be written.
    #[error(transparent)]
    Write(#[from] capfilt_data::WriteError),
}

impl ScheduleError {
    /// Whether the files are to blame, or the one who named the folder.
    pub(crate) fn is_configuration(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Folder(error) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// Runs the files of `folder` until a signal comes, or with [`Mode::Once`] until what is due is done.
pub(crate) async fn run(folder: &Path, mode: Mode, session: &Session) -> Result<ExitCode, Failure> {
    // Before the first run starts, which a signal must not leave behind.
    let mut signals = Signals::listen().map_err(Failure::Signals)?;
    let mut scheduler = Scheduler::begin(folder, mode, session)?;
    let mut reap = tokio::time::interval(REAP);
    loop {
        tokio::select! {
            _ = reap.tick() => if scheduler.step()? { break },
            () = signals.next() => {
                scheduler.stop(&mut signals).await?;
                break;
            }
        }
    }
    Ok(match mode {
        Mode::Watch => ExitCode::Done,
        Mode::Once => scheduler.worst(),
    })
}

/// A scheduler at work.
struct Scheduler<'session> {
    mode: Mode,
    session: &'session Session,
    folder: Folder,
    /// The files that can be used.
    entries: BTreeMap<String, Entry>,
    /// What is wrong with the others, as it was said.
    refused: BTreeMap<String, String>,
    /// What is wrong with the folder, as it was said.
    trouble: Option<String>,
    timetable: Timetable,
    children: Children,
    state: StateFile,
    looked: Option<Instant>,
    _lock: FolderLock,
}

impl<'session> Scheduler<'session> {
    /// Takes `path`, and refuses it if one of its files cannot be used.
    fn begin(path: &Path, mode: Mode, session: &'session Session) -> Result<Self, ScheduleError> {
        let mut folder = Folder::open(path).map_err(ScheduleError::Folder)?;
        let lock = FolderLock::take(path)?;
        let files = folder.look().map_err(ScheduleError::Folder)?;
        let entries = files
            .into_iter()
            .map(|(file, entry)| Ok((file, entry?)))
            .collect::<Result<_, FileError>>()?;
        let mut scheduler = Self {
            mode,
            session,
            folder,
            entries,
            refused: BTreeMap::new(),
            trouble: None,
            timetable: Timetable::new(mode, state::read(path)?),
            children: Children::new().map_err(ScheduleError::Processes)?,
            state: StateFile::new(path),
            looked: None,
            _lock: lock,
        };
        if mode == Mode::Watch {
            for (file, entry) in &scheduler.entries {
                tell_plan(file, entry);
            }
        }
        // Who cannot write this learns it before anything runs.
        scheduler.state.keep(scheduler.timetable.records())?;
        Ok(scheduler)
    }

    /// Does what has come up since the last step; true where that was the last.
    fn step(&mut self) -> Result<bool, ScheduleError> {
        let ended = self
            .children
            .take_ended()
            .map_err(ScheduleError::Processes)?;
        let look_again = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if look_again || !ended.is_empty() {
            for (file, outcome) in ended {
                self.end(&file, outcome);
            }
            let looked = self.look();
            self.tick();
            let kept = self.state.keep(self.timetable.records());
            self.tell_trouble(looked.and(kept.map_err(Into::into)));
        }
        Ok(self.mode == Mode::Once && !self.timetable.is_running())
    }

    /// Says once what goes wrong with the folder; it ends nothing and is tried again at every look.
    fn tell_trouble(&mut self, done: Result<(), ScheduleError>) {
        let text = done.as_ref().err().map(|error| failure::text(error, None));
        if let Err(error) = done
            && self.trouble != text
        {
            failure::render(&error, Some("the scheduler goes on"), self.session);
        }
        self.trouble = text;
    }

    /// Reads the folder again. What is wrong with a file is said once.
    fn look(&mut self) -> Result<(), ScheduleError> {
        self.looked = Some(Instant::now());
        let files = self.folder.look().map_err(ScheduleError::Folder)?;
        let (mut entries, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for (file, entry) in files {
            match entry {
                Ok(entry) => {
                    let before = self.entries.get(&file);
                    if before.is_none_or(|before| !before.is_started_as(&entry)) {
                        tell_plan(&file, &entry);
                    }
                    entries.insert(file, entry);
                }
                Err(error) => {
                    let text = failure::text(&error, None);
                    if self.refused.get(&file) != Some(&text) {
                        failure::render(&error, Some(OTHERS), self.session);
                    }
                    refused.insert(file, text);
                }
            }
        }
        let before = self.entries.keys().chain(self.refused.keys());
        for file in before {
            if !entries.contains_key(file) && !refused.contains_key(file) {
                tracing::info!(file, "it is gone and will not be started again");
            }
        }
        (self.entries, self.refused) = (entries, refused);
        Ok(())
    }

    /// Starts what is to start now.
    fn tick(&mut self) {
        let now = Utc::now();
        for event in self.timetable.tick(now, &self.entries) {
            match event {
                Event::Start { file, because } => self.start(&file, &because, now),
                Event::Skip { file, time } => {
                    let skipped = self.record(&file).map(|record| record.skipped);
                    tracing::warn!(
                        file,
                        time = %self.shown(&file, Some(time)),
                        skipped,
                        "its time has come while its run goes on; that start is skipped"
                    );
                }
            }
        }
    }

    fn start(&mut self, file: &str, because: &Because, now: DateTime<Utc>) {
        let run = run_name(now);
        let arguments = self.folder.arguments(file);
        match self
            .children
            .start(file, &arguments, Stdio::null(), self.session)
        {
            Ok(()) => tracing::info!(file, run, %because, "started"),
            Err(error) => {
                tracing::error!(file, run, %error, "it cannot be started");
                self.timetable.ended(file, Outcome::NotStarted, now);
            }
        }
    }

    /// Takes the end of a run.
    fn end(&mut self, file: &str, outcome: Outcome) {
        self.timetable.ended(file, outcome, Utc::now());
        let Some(record) = self.record(file) else {
            return;
        };
        let run = record.last_start.map(run_name);
        let (exit_code, signal) = match outcome {
            Outcome::ExitCode(code) => (Some(code), None),
            Outcome::Signal(signal) => (None, Some(signal)),
            Outcome::CutOff | Outcome::NotStarted => (None, None),
        };
        let next = record.next.map(|next| self.shown(file, Some(next)));
        if outcome.exit_code() == ExitCode::Done {
            tracing::info!(file, run, exit_code, next, "ended: {outcome}");
        } else {
            tracing::warn!(file, run, exit_code, signal, next, "ended: {outcome}");
        }
    }

    /// Stops all runs and waits for them; at the next signal no longer.
    async fn stop(&mut self, signals: &mut Signals) -> Result<(), ScheduleError> {
        if !self.children.is_empty() {
            self.session.say(format_args!(
                "stopping; finished pieces are kept (Ctrl-C again stops at once)"
            ));
        }
        self.children.stop();
        while !self.children.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(REAP) => {}
                () = signals.next() => {
                    self.children.kill();
                    signals::exit_now();
                }
            }
            for (file, outcome) in self
                .children
                .take_ended()
                .map_err(ScheduleError::Processes)?
            {
                // One that was just finished is not to be started again.
                let outcome = match outcome.exit_code() {
                    ExitCode::Done | ExitCode::PartialRun => outcome,
                    _ => Outcome::CutOff,
                };
                self.end(&file, outcome);
            }
        }
        Ok(self.state.keep(self.timetable.records())?)
    }

    /// What the runs that ended come to.
    fn worst(&self) -> ExitCode {
        let codes: Vec<ExitCode> = self.timetable.outcomes().map(Outcome::exit_code).collect();
        [ExitCode::Failed, ExitCode::PartialRun]
            .into_iter()
            .find(|code| codes.contains(code))
            .unwrap_or(ExitCode::Done)
    }

    fn record(&self, file: &str) -> Option<&Record> {
        self.timetable.records().get(file)
    }

    /// A time as the clocks of the file's time zone show it.
    fn shown(&self, file: &str, time: Option<DateTime<Utc>>) -> String {
        let entry = self.entries.get(file).cloned().unwrap_or_default();
        table::shown(&entry, time)
    }
}

/// Says what starts a file.
fn tell_plan(file: &str, entry: &Entry) {
    let next = entry
        .schedule
        .as_ref()
        .and_then(|schedule| schedule.next(Utc::now()));
    let next = next.map(|next| table::shown(entry, Some(next)));
    tracing::info!(file, next, "it runs {entry}");
}

/// What a file that cannot be used means for the others.
const OTHERS: &str = "it is not started until it is mended; the other files go on";

/// The name of a run in the log, which is like that of its manifest.
fn run_name(start: DateTime<Utc>) -> String {
    start.format("%Y-%m-%dT%H-%M-%SZ").to_string()
}
