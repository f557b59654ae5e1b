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

/// Runs a command that waits for many things at once.
///
/// The workers are left behind when the command is done: one that sits in a
/// model or in a slow read must not hold up the exit.
fn asynchronously<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let workers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Workers)?;
    let result = workers.block_on(command);
    workers.shutdown_background();
    result
}
