//! `capfilt decide`.

use std::collections::BTreeMap;

use capfilt_data::Location;
use capfilt_pipeline::{DecideReport, Decision};

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::session::Session;

/// Takes the keep decisions of an output folder again.
pub(crate) fn decide(args: &cli::Decide, session: &Session) -> Result<ExitCode, Failure> {
    let decision = Decision {
        threshold: args.threshold,
        set: args.set.clone(),
        dry_run: args.dry_run,
    };
    let output = Location::parse(&args.output)?;
    let report = capfilt_pipeline::decide(&output, &decision, session.stop())?;
    tell(&report, args.dry_run, session);
    Ok(ExitCode::Done)
}

/// Says what a decision changed.
fn tell(report: &DecideReport, dry_run: bool, session: &Session) {
    let (before, after) = (&report.before, &report.after);
    session.say(format_args!("rule       {}", report.rule));
    session.say(format_args!(
        "pieces     {}, {} already decided so, {} with another dataset",
        report.pieces, report.unchanged, report.datasets
    ));
    if report.halfway > 0 {
        session.say(format_args!(
            "           {} more are not finished: run the pipeline again",
            report.halfway
        ));
    }
    session.say(format_args!(
        "pictures   {} with captions, before {}",
        after.images, before.images
    ));
    session.say(format_args!(
        "captions   {} kept, before {}{}",
        after.captions_kept(),
        before.captions_kept(),
        by_source(&after.kept)
    ));
    if report.only_tightens {
        session.say(format_args!(
            "pictures were stored for an earlier decision only: {} more would have captions now; \
             this can only tighten, a run with `images = \"all\"` can do more",
            after.images_not_stored
        ));
    }
    if dry_run {
        session.say(format_args!("nothing was written"));
    }
}

/// ` (synthetic 3, web 4)`, or nothing.
fn by_source(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(source, count)| format!("{source} {count}"))
        .collect();
    format!(" ({})", counts.join(", "))
}
