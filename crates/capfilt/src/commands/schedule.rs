//! `capfilt schedule`.

use chrono::Utc;

use crate::cli;
use crate::commands::asynchronously;
use crate::exit::ExitCode;
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::schedule::{self, Mode};
use crate::session::Session;

/// Runs the files of a folder, or shows how they stand.
pub(crate) fn schedule(args: &cli::Schedule, session: &Session) -> Result<ExitCode, Failure> {
    if args.status {
        return status(args, session);
    }
    let mode = if args.once { Mode::Once } else { Mode::Watch };
    asynchronously(schedule::run(&args.folder, mode, session))
}

/// Prints the table.
fn status(args: &cli::Schedule, session: &Session) -> Result<ExitCode, Failure> {
    let status = schedule::status(&args.folder, Utc::now())?;
    let mut output = Output::new();
    for line in status.lines {
        output.line(format_args!("{line}"))?;
    }
    for error in status.files.into_values().filter_map(Result::err) {
        failure::render(&error, None, session);
    }
    if !status.is_scheduled {
        session.say(format_args!("no scheduler is at work here"));
    }
    Ok(ExitCode::Done)
}
