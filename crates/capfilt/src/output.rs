//! Data on stdout: JSON lines and plain lines.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Stdout, locked for the life of the value. Each line is flushed, so that a reader of a pipe
/// sees a result as soon as there is one.
pub(crate) struct Output {
    stdout: io::StdoutLock<'static>,
}

impl Output {
    /// Takes stdout.
    pub(crate) fn new() -> Self {
        Self {
            stdout: io::stdout().lock(),
        }
    }

    /// Writes one value as one line of JSON.
    pub(crate) fn json_line<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        let line = serde_json::to_string(value).map_err(Failure::Json)?;
        self.line(format_args!("{line}"))
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) -> Result<(), Failure> {
        writeln!(self.stdout, "{line}")
            .and_then(|()| self.stdout.flush())
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Failure::StdoutClosed,
                _ => Failure::Stdout(error),
            })
    }
}
