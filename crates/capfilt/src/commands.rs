//! One module per command.

mod bootstrap;
mod caption;
mod check;
mod decide;
mod eval;
mod model;
mod pictures;
mod remove;
mod report;
pub(crate) mod run;
mod runtime;
mod schedule;
mod schema;
mod score;
mod train;

use std::time::Duration;

use crate::cli::{Command, Model, Runtime};
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::session::Session;

/// Does one command.
pub(crate) fn execute(command: Command, session: &Session) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo(args) => {
            asynchronously(crate::demo::run(args.output.as_deref(), session))?;
            Ok(ExitCode::Done)
        }
        Command::Run(args) => asynchronously(run::run(&args, session)),
        Command::Check(args) => check::check(&args),
        Command::Decide(args) => decide::decide(&args, session),
        Command::Remove(args) => remove::remove(&args, session),
        Command::Report(args) => report::report(&args, session),
        Command::Caption(args) => asynchronously(caption::caption(&args, session)),
        Command::Score(args) => asynchronously(score::score(&args, session)),
        Command::Eval(args) => asynchronously(eval::eval(&args, session)),
        Command::Train(args) => asynchronously(train::train(&args, session)),
        Command::Bootstrap(args) => asynchronously(bootstrap::bootstrap(&args, session)),
        Command::Model(Model::Import(args)) => model::import(&args, session),
        Command::Model(Model::Show(args)) => model::show(&args),
        Command::Runtime(Runtime::Install(args)) => runtime::install(&args, session),
        Command::Runtime(Runtime::Show) => runtime::show(),
        Command::Schedule(args) => schedule::schedule(&args, session),
        Command::Schema(args) => schema::schema(&args, session),
    }
}

/// How long threads that still work may hold up the exit.
const AT_EXIT: Duration = Duration::from_millis(300);

/// Runs a command that waits for many things at once.
///
/// Threads that are about to clear up behind themselves may do so when the command is done. One that
/// sits in a model or in a slow read is left behind: it must not hold up the exit.
fn asynchronously<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let workers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Workers)?;
    let result = workers.block_on(command);
    workers.shutdown_timeout(AT_EXIT);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn threads_may_clear_up_but_not_hold_up_the_exit() {
        let is_clear = Arc::new(AtomicBool::new(false));
        let clears = Arc::clone(&is_clear);
        let begun = Instant::now();
        let done = asynchronously(async move {
            tokio::task::spawn_blocking(move || {
                thread::sleep(AT_EXIT / 6);
                clears.store(true, Ordering::Relaxed);
            });
            tokio::task::spawn_blocking(|| thread::sleep(Duration::from_secs(20)));
            // Both are running now, and not merely due.
            tokio::time::sleep(AT_EXIT / 10).await;
            Ok(())
        });
        assert!(done.is_ok());
        assert!(is_clear.load(Ordering::Relaxed));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
