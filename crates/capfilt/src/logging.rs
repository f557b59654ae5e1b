//! Log lines on stderr.

use std::io::{self, Write};

use clap::ValueEnum;
use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// Each `-v` adds a step.
    More(u8),
}

impl Verbosity {
    /// The filter when `RUST_LOG` does not say otherwise.
    fn directives(self) -> &'static str {
        match self {
            Self::Quiet => "error",
            Self::Normal | Self::More(0) => {
                "warn,capfilt=info,capfilt_models=info,capfilt_onnx=info,capfilt_pipeline=info"
            }
            Self::More(1) => {
                "info,capfilt=debug,capfilt_data=debug,capfilt_fetch=debug,capfilt_image=debug,\
                 capfilt_models=debug,capfilt_onnx=debug,capfilt_pipeline=debug"
            }
            Self::More(2) => "debug",
            Self::More(_) => "trace",
        }
    }
}

/// Sends log lines to stderr from here on. A second call does nothing.
pub(crate) fn start(format: LogFormat, verbosity: Verbosity, terminal: &MultiProgress) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset_or_wrong| EnvFilter::new(verbosity.directives()));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveProgress {
            terminal: terminal.clone(),
        });
    let started = match format {
        LogFormat::Text => lines
            .with_ansi(console_colours())
            .without_time()
            .with_target(verbosity != Verbosity::Normal)
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Only a program that already logs elsewhere gets here; its choice stands.
    drop(started);
}

/// Whether stderr takes colours: a terminal, and `NO_COLOR` unset.
fn console_colours() -> bool {
    use std::io::IsTerminal;
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes log lines above a progress bar instead of through it.
struct AboveProgress {
    terminal: MultiProgress,
}

impl<'writer> MakeWriter<'writer> for AboveProgress {
    type Writer = Line<'writer>;

    fn make_writer(&'writer self) -> Self::Writer {
        Line {
            terminal: &self.terminal,
        }
    }
}

/// One log line on its way to stderr.
struct Line<'writer> {
    terminal: &'writer MultiProgress,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.terminal.suspend(|| io::stderr().lock().write(bytes));
        // With stderr closed there is nobody left to tell, and the work goes on.
        Ok(written.unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
