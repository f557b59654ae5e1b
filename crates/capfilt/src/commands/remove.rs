//! `capfilt remove`.

use capfilt_data::Location;
use capfilt_pipeline::{RemovalReport, RequestLine, RequestList, RunError};

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::session::Session;

/// Requests without a row that are shown.
const SHOWN: usize = 20;

/// Takes rows out of an output folder.
pub(crate) fn remove(args: &cli::Remove, session: &Session) -> Result<ExitCode, Failure> {
    let list = match &args.list {
        Some(path) => RequestList::read(path).map_err(RunError::Requests)?,
        None => RequestList::default(),
    };
    let output = Location::parse(&args.output)?;
    let report = capfilt_pipeline::remove(&output, &list, args.dry_run, session.stop())?;
    tell(&report, &list, args, session);
    Ok(ExitCode::Done)
}

/// Says what was taken out.
fn tell(report: &RemovalReport, list: &RequestList, args: &cli::Remove, session: &Session) {
    session.say(format_args!(
        "requests   {}, {} of them new",
        report.requests, report.new_requests
    ));
    session.say(format_args!(
        "rows       {} {}, {} were before",
        report.rows,
        if args.dry_run {
            "would be taken out"
        } else {
            "taken out"
        },
        report.rows_before
    ));
    session.say(format_args!(
        "pieces     {}, {} {}",
        report.pieces,
        report.rewritten,
        if args.dry_run {
            "would be written anew"
        } else {
            "written anew"
        }
    ));
    let lines = list.lines.iter();
    let unmatched: Vec<&RequestLine> = lines
        .filter(|line| !report.matched.contains(&line.request))
        .collect();
    session.say(format_args!("no row     {} requests", unmatched.len()));
    for line in unmatched.iter().take(SHOWN) {
        session.say(format_args!("  line {}: {}", line.number, line.text));
    }
    if unmatched.len() > SHOWN {
        session.say(format_args!("  and {} more", unmatched.len() - SHOWN));
    }
    if report.page_deleted {
        session.say(format_args!(
            "`report.html` may have shown such rows and was deleted; `capfilt report {}` makes it anew",
            args.output.display()
        ));
    }
    session.say(format_args!(
        "{}",
        if args.dry_run {
            "nothing was written"
        } else {
            "everything that was asked for is done, and later runs keep to it"
        }
    ));
}
