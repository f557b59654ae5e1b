//! `capfilt check`.

use crate::cli;
use crate::commands::run;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::Output;

/// Validates a pipeline and prints its plan.
pub(crate) fn check(args: &cli::Check) -> Result<ExitCode, Failure> {
    let pipeline = run::load(&args.pipeline)?;
    capfilt_pipeline::previous_run(&pipeline)?;
    let plan = capfilt_pipeline::check(&pipeline)?.to_string();
    let mut output = Output::new();
    for line in plan.lines() {
        output.line(format_args!("{line}"))?;
    }
    Ok(ExitCode::Done)
}
