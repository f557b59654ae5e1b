//! Commands of this program under way: each a process of its own, so that one that dies takes nothing else down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::{Map, Value};

use crate::logging::LogFormat;
use crate::schedule::Outcome;
use crate::session::Session;

/// A line of a command is passed on in parts of this many bytes, should it be longer.
const LONGEST_LINE: u64 = 64 << 10;

/// The commands under way, by name.
#[derive(Debug)]
pub(crate) struct Children {
    /// This program, as it was called when it started: an update in its place is run from then on.
    program: PathBuf,
    running: BTreeMap<String, Running>,
}

/// A process, and the thread that passes on what it says.
#[derive(Debug)]
struct Running {
    process: Child,
    relay: JoinHandle<()>,
}

impl Children {
    /// None is under way.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            running: BTreeMap::new(),
        })
    }

    /// Starts the command that `arguments` are, called `name` where its lines are passed on. What it
    /// prints goes to `printed`.
    pub(crate) fn start(
        &mut self,
        name: &str,
        arguments: &[OsString],
        printed: Stdio,
        session: &Session,
    ) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(session.flags())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(printed)
            .stderr(Stdio::piped());
        // Ctrl-C on a terminal goes to a whole group; these get their signal from us, once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn()?;
        let said = process.stderr.take();
        let (file, session) = (name.to_owned(), session.clone());
        let relay = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Some(said) = said {
                relay(&file, said, &session);
            }
        });
        match relay {
            Ok(relay) => {
                self.running
                    .insert(name.to_owned(), Running { process, relay });
                Ok(())
            }
            Err(error) => {
                process.kill()?;
                process.wait()?;
                Err(error)
            }
        }
    }

    /// Whether none is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes those that have ended, and all they said was passed on.
    pub(crate) fn take_ended(&mut self) -> io::Result<Vec<(String, Outcome)>> {
        let mut ended = Vec::new();
        for (file, running) in &mut self.running {
            if running.relay.is_finished()
                && let Some(status) = running.process.try_wait()?
            {
                ended.push((file.clone(), outcome(status)));
            }
        }
        for (file, _) in &ended {
            self.running.remove(file);
        }
        Ok(ended)
    }

    /// Asks every command to stop: a run takes two seconds at most, a training ends its step.
    pub(crate) fn stop(&mut self) {
        for running in self.running.values_mut() {
            terminate(&mut running.process);
        }
    }

    /// Ends every command at once.
    pub(crate) fn kill(&mut self) {
        for running in self.running.values_mut() {
            // One that has ended by itself is as good.
            drop(running.process.kill());
        }
    }
}

/// Sends SIGTERM to a process that was not waited for yet, so that its number is still its own.
#[cfg(unix)]
fn terminate(process: &mut Child) {
    let Ok(id) = libc::pid_t::try_from(process.id()) else {
        return;
    };
    if let Ok(None) = process.try_wait() {
        #[expect(
            unsafe_code,
            reason = "a signal other than SIGKILL; the standard library sends none"
        )]
        // SAFETY: `kill` takes two numbers and touches no memory of ours.
        let sent = unsafe { libc::kill(id, libc::SIGTERM) };
        if sent != 0 {
            tracing::warn!(id, "a command cannot be asked to stop");
        }
    }
}

/// Other systems have no such signal: the next run goes on where this one ends.
#[cfg(not(unix))]
fn terminate(process: &mut Child) {
    drop(process.kill());
}

fn outcome(status: ExitStatus) -> Outcome {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return Outcome::Signal(signal);
    }
    Outcome::ExitCode(status.code().unwrap_or(1))
}

/// Passes on what a command says, line by line, with its name.
fn relay(file: &str, said: impl Read, session: &Session) {
    let mut said = BufReader::new(said);
    let mut line = Vec::new();
    loop {
        line.clear();
        match said
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            Ok(_) => pass_on(file, String::from_utf8_lossy(&line).trim_end(), session),
        }
    }
}

fn pass_on(file: &str, line: &str, session: &Session) {
    match session.log_format() {
        LogFormat::Text => session.write(format_args!("{file}: {line}")),
        LogFormat::Json => {
            if let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(line) {
                fields.insert("file".to_owned(), file.into());
                session.write(format_args!("{}", Value::Object(fields)));
            } else {
                // A panic, or the library of others: no line of ours.
                tracing::warn!(file, "{line}");
            }
        }
    }
}
