//! `capfilt run`, and running a pipeline for the demo.

use capfilt_pipeline::{
    Dataset, Overrides, Pipeline, Progress, Retry, RunContext, RunReport, RunState,
};
use tokio::sync::watch;

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::progress;
use crate::session::Session;
use crate::signals;

/// Runs a pipeline file and tells what came of it.
pub(crate) async fn run(args: &cli::Run, session: &Session) -> Result<ExitCode, Failure> {
    let pipeline = load(&args.pipeline)?;
    let retry = args.retry.clone().unwrap_or_default();
    let report = execute(&pipeline, retry, args.changed, session).await?;
    tell(&report, args, &pipeline, session);
    Ok(match report.record.state {
        RunState::Partial => ExitCode::PartialRun,
        RunState::Running | RunState::Stopped | RunState::Failed | RunState::Finished => {
            ExitCode::Done
        }
    })
}

/// Reads and checks a pipeline file with what the command line changes in it.
pub(crate) fn load(args: &cli::PipelineArgs) -> Result<Pipeline, Failure> {
    let overrides = Overrides {
        inputs: args.input.clone(),
        output: args.output.clone(),
        set: args.set.clone(),
    };
    Ok(capfilt_pipeline::load(&args.pipeline, &overrides)?)
}

/// Runs a checked pipeline, with progress on stderr, until it is done or a signal comes.
pub(crate) async fn execute(
    pipeline: &Pipeline,
    retry: Retry,
    changed: bool,
    session: &Session,
) -> Result<RunReport, Failure> {
    let (progress, watched) = watch::channel(Progress::default());
    let context = RunContext {
        runtime: None,
        stop: session.stop().clone(),
        progress,
        changed,
        retry,
    };
    let run = progress::shown(capfilt_pipeline::run(pipeline, context), watched, session);
    let report = signals::stoppable(Box::pin(run), session).await??;
    match report.record.state {
        RunState::Stopped => Err(Failure::Interrupted),
        RunState::Running | RunState::Failed | RunState::Partial | RunState::Finished => Ok(report),
    }
}

/// Says what a run did.
fn tell(report: &RunReport, args: &cli::Run, pipeline: &Pipeline, session: &Session) {
    let output = &pipeline.output;
    let record = &report.record;
    if report.was_finished() {
        let and = match args.retry {
            Some(_) => ", and no row of it left for such a reason",
            None => "",
        };
        session.say(format_args!(
            "`{output}` is finished ({} pieces){and}; there is nothing to do",
            record.counts.pieces
        ));
        return;
    }
    let (scored, decided) = (&record.counts.scored, &record.counts.decided);
    session.say(format_args!(
        "{}",
        match record.failed.len() {
            0 => format!("finished `{output}`"),
            failed => format!("finished `{output}`, but {failed} shards or pieces failed:"),
        }
    ));
    for failed in &record.failed {
        session.say(format_args!("  {}: {}", failed.path, failed.reason));
    }
    session.say(format_args!("rows       {}", scored.rows));
    session.say(format_args!(
        "pictures   {} with captions, {} without",
        decided.images, decided.images_without_captions
    ));
    session.say(format_args!(
        "captions   {} kept, {} removed",
        decided.captions_kept(),
        decided.captions_removed()
    ));
    for (reason, count) in scored.rejected.iter().chain(&decided.removed) {
        session.say(format_args!("removed    {count} {reason}"));
    }
    if pipeline.file.store.dataset == Dataset::Later {
        session.say(format_args!(
            "dataset    left for later: `capfilt decide {output}` makes it"
        ));
    }
    if record.counts.retried > 0 {
        session.say(format_args!(
            "retried    {} rows, {} came in",
            record.counts.retried, record.counts.recovered
        ));
    }
    session.say(format_args!("time       {:.1} s", record.timings.seconds));
    if !record.failed.is_empty() {
        session.say(format_args!(
            "mend the shards and run the same command again"
        ));
    }
}
