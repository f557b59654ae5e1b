//! `capfilt report`.

use capfilt_data::Location;

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::session::Session;

/// Writes the page of an output folder.
pub(crate) fn report(args: &cli::Report, session: &Session) -> Result<ExitCode, Failure> {
    let page = crate::report::write(&Location::parse(&args.output)?)?;
    session.say(format_args!("wrote `{page}`"));
    Ok(ExitCode::Done)
}
