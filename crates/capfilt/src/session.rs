//! One start of the program: how it talks to people, and how it is asked to stop.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::iter;

use capfilt_models::Stop;
use indicatif::MultiProgress;

use crate::cli::Global;
use crate::logging::{self, LogFormat, Verbosity};

/// What every command needs: stderr for people, and the handle that stops models and runs.
#[derive(Clone)]
pub(crate) struct Session {
    log_format: LogFormat,
    verbosity: Verbosity,
    terminal: MultiProgress,
    stop: Stop,
}

impl Session {
    /// Starts logging.
    pub(crate) fn start(global: &Global) -> Self {
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, steps) => Verbosity::More(steps),
        };
        let terminal = MultiProgress::new();
        logging::start(global.log_format, verbosity, &terminal);
        Self {
            log_format: global.log_format,
            verbosity,
            terminal,
            stop: Stop::new(),
        }
    }

    /// Writes one line for people to stderr; `-q` hides it.
    pub(crate) fn say(&self, line: fmt::Arguments<'_>) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        match self.log_format {
            LogFormat::Text => self.write(line),
            LogFormat::Json => tracing::info!("{line}"),
        }
    }

    /// Writes one line to stderr, whatever the verbosity.
    pub(crate) fn write(&self, line: fmt::Arguments<'_>) {
        // With stderr closed there is nobody left to tell.
        drop(
            self.terminal
                .suspend(|| writeln!(io::stderr().lock(), "{line}")),
        );
    }

    /// The options that make another start of the program talk to people in the same way.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = match self.log_format {
            LogFormat::Text => vec![],
            LogFormat::Json => vec!["--log-format", "json"],
        };
        match self.verbosity {
            Verbosity::Quiet => flags.push("-q"),
            Verbosity::Normal => {}
            Verbosity::More(steps) => flags.extend(iter::repeat_n("-v", steps.into())),
        }
        flags
    }

    /// The handle that stops models and runs.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Where progress bars are drawn.
    pub(crate) fn terminal(&self) -> &MultiProgress {
        &self.terminal
    }

    /// How log lines are written.
    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format
    }

    /// Whether a progress bar can be drawn.
    pub(crate) fn draws_progress(&self) -> bool {
        self.log_format == LogFormat::Text
            && self.verbosity != Verbosity::Quiet
            && io::stderr().is_terminal()
    }
}
