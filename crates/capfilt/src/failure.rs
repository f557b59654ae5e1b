//! What a command can fail with, and how that is shown.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use capfilt_pipeline::{PipelineErrorKind, RunError};
use capfilt_train::FileError;

use crate::exit::ExitCode;
use crate::logging::LogFormat;
use crate::session::Session;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Options on the command line do not go together.
    #[error(transparent)]
    DecodingUsage(#[from] crate::decoding::DecodingUsageError),
    /// A model package was refused.
    #[error(transparent)]
    Package(#[from] capfilt_onnx::PackageError),
    /// A checkpoint was refused.
    #[error(transparent)]
    Import(#[from] capfilt_onnx::ImportError),
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] capfilt_models::ModelError),
    /// The decoding that a package states is none of ours.
    #[error("the package's `model.json` states a decoding that is not known")]
    PackageDecoding(#[source] serde_json::Error),
    /// ONNX Runtime cannot be used.
    #[error(transparent)]
    Runtime(#[from] capfilt_models::runtime::RuntimeError),
    /// ONNX Runtime cannot be had.
    #[error(transparent)]
    RuntimeInstall(#[from] capfilt_models::runtime::InstallError),
    /// A pipeline file was refused.
    #[error(transparent)]
    Pipeline(#[from] capfilt_pipeline::PipelineError),
    /// A URL cannot be used.
    #[error(transparent)]
    Location(#[from] capfilt_data::LocationError),
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A training file was refused.
    #[error(transparent)]
    TrainFile(#[from] FileError),
    /// A training failed.
    #[error(transparent)]
    Train(#[from] capfilt_train::TrainError),
    /// A bootstrap file was refused.
    #[error(transparent)]
    BootstrapFile(#[from] capfilt_bootstrap::FileError),
    /// The folder of a bootstrap cannot be used.
    #[error(transparent)]
    Ledger(#[from] capfilt_bootstrap::LedgerError),
    /// The results of a bootstrap cannot be gathered.
    #[error(transparent)]
    Results(#[from] capfilt_bootstrap::ResultsError),
    /// A step of a bootstrap failed, and told why.
    #[error(
        "the step `{step}` did not end well ({outcome}); what is done stays, and the same command goes on from there"
    )]
    Step {
        /// The step.
        step: String,
        /// How it ended.
        outcome: crate::schedule::Outcome,
    },
    /// Steps of a bootstrap cannot be started or watched.
    #[error("cannot start or watch the steps")]
    Processes(#[source] io::Error),
    /// It cannot be noted that there is new output.
    #[error(
        "cannot note in `{output}` that there is new output, for files that come `after` this one"
    )]
    News {
        /// The output.
        output: capfilt_data::Location,
        /// What went wrong.
        source: io::Error,
    },
    /// The page cannot be written.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// The demo cannot be run.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    /// A folder cannot be scheduled.
    #[error(transparent)]
    Schedule(#[from] crate::schedule::ScheduleError),
    /// Data cannot be evaluated on.
    #[error(transparent)]
    Eval(#[from] crate::eval::EvalError),
    /// A file of `schemas/` is not what it should be.
    #[error(transparent)]
    Schema(#[from] crate::schema::SchemaError),
    /// Some pictures on the command line cannot be used; each was told already.
    #[error("{unusable} of {named} pictures cannot be used")]
    Pictures {
        /// How many cannot.
        unusable: usize,
        /// How many were named.
        named: usize,
    },
    /// A signal came, and what was being done did not end in time.
    #[error("interrupted")]
    Interrupted,
    /// Code of ours broke a rule of its own.
    #[error("the program is broken")]
    Panicked,
    /// Stdout was closed by whoever read it: no news to anybody.
    #[error("stdout is closed")]
    StdoutClosed,
    /// Data cannot be written to stdout.
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    /// A value has no JSON form.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    /// The system gives no threads.
    #[error("cannot start worker threads")]
    Workers(#[source] io::Error),
    /// A worker thread panicked.
    #[error("a worker thread failed")]
    Worker(#[source] tokio::task::JoinError),
    /// The system gives no signals.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
}

impl Failure {
    /// What the program ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::StdoutClosed => ExitCode::Done,
            Self::DecodingUsage(_) => ExitCode::Usage,
            Self::Eval(error) if error.is_usage() => ExitCode::Usage,
            Self::Package(_)
            | Self::PackageDecoding(_)
            | Self::Import(_)
            | Self::Pipeline(_)
            | Self::Location(_)
            | Self::TrainFile(_)
            | Self::BootstrapFile(_)
            | Self::Eval(_) => ExitCode::BadConfig,
            Self::Train(error) if error.is_configuration() => ExitCode::BadConfig,
            Self::Run(error) if error.is_configuration() => ExitCode::BadConfig,
            Self::Schedule(error) if error.is_configuration() => ExitCode::BadConfig,
            Self::Run(_)
            | Self::Train(_)
            | Self::Ledger(_)
            | Self::Results(_)
            | Self::Step { .. }
            | Self::Processes(_)
            | Self::News { .. }
            | Self::Model(_)
            | Self::Runtime(_)
            | Self::RuntimeInstall(_)
            | Self::Report(_)
            | Self::Demo(_)
            | Self::Schedule(_)
            | Self::Schema(_)
            | Self::Pictures { .. }
            | Self::Interrupted
            | Self::Panicked
            | Self::Stdout(_)
            | Self::Json(_)
            | Self::Workers(_)
            | Self::Worker(_)
            | Self::Signals(_) => ExitCode::Failed,
        }
    }

    /// What to do next, where that is not part of the message.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Interrupted => Some(RESUME.to_owned()),
            Self::Panicked => Some(REPORT.to_owned()),
            Self::TrainFile(FileError::Syntax { .. }) => Some(TRAIN_SYNTAX.to_owned()),
            Self::BootstrapFile(capfilt_bootstrap::FileError::Syntax { .. }) => {
                Some(BOOTSTRAP_SYNTAX.to_owned())
            }
            Self::Schema(error) => error.hint(),
            Self::Report(error) => error.hint(),
            Self::Demo(error) => error.hint(),
            Self::Pipeline(error) | Self::Run(RunError::Pipeline(error)) => match &error.kind {
                PipelineErrorKind::Syntax { .. } => Some(SYNTAX.to_owned()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// How to find out what a pipeline file may hold.
const SYNTAX: &str = "`capfilt schema pipeline` prints every key and its type";

/// How to find out what a training file may hold.
const BOOTSTRAP_SYNTAX: &str = "`capfilt schema bootstrap` prints every key and its type";

const TRAIN_SYNTAX: &str = "`capfilt schema train` prints every key and its type";

/// What to do about a bug.
const REPORT: &str = "this is a bug; please report it with the lines above";

/// How to go on after an interruption.
const RESUME: &str = "run the same command again to go on; finished pieces are kept";

/// Shows why a command failed.
pub(crate) fn show(failure: &Failure, session: &Session) {
    if !matches!(failure, Failure::StdoutClosed) {
        render(failure, failure.hint().as_deref(), session);
    }
}

/// Shows an error with its causes and what to do next.
pub(crate) fn render(error: &dyn Error, hint: Option<&str>, session: &Session) {
    match session.log_format() {
        LogFormat::Text => session.write(format_args!("{}", text(error, hint))),
        LogFormat::Json => {
            let causes = causes(error);
            tracing::error!(causes = ?causes, hint, "{error}");
        }
    }
}

/// Succeeds when every picture could be used.
pub(crate) fn unless_all_used(unusable: usize, named: usize) -> Result<ExitCode, Failure> {
    match unusable {
        0 => Ok(ExitCode::Done),
        unusable => Err(Failure::Pictures { unusable, named }),
    }
}

/// `error: ..`, a line per cause, an empty line and `hint: ..`.
pub(crate) fn text(error: &dyn Error, hint: Option<&str>) -> String {
    let mut text = format!("error: {error}");
    for cause in causes(error) {
        // Writing to a String does not fail. Further lines of a cause are moved below its first.
        let _infallible = write!(text, "\n  caused by: {}", cause.replace('\n', "\n    "));
    }
    if let Some(hint) = hint {
        let _infallible = write!(text, "\n\nhint: {hint}");
    }
    text
}

/// The causes, outermost first, without those that the message before already says.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !said.contains(&message) {
            causes.push(message.clone());
            said = message;
        }
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests;
