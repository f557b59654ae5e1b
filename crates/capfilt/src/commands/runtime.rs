//! `capfilt runtime install` and `capfilt runtime show`.

use capfilt_models::runtime;

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Gets ONNX Runtime into the user's cache.
pub(crate) fn install(args: &cli::RuntimeInstall, session: &Session) -> Result<ExitCode, Failure> {
    let library = runtime::install(args.cuda)?;
    session.say(format_args!(
        "ONNX Runtime is installed as `{}`",
        library.display()
    ));
    Ok(ExitCode::Done)
}

/// Prints which library is used, its version and its providers.
pub(crate) fn show() -> Result<ExitCode, Failure> {
    let loaded = runtime::load(&runtime::find(None)?, None)?;
    let mut output = Output::new();
    output.line(format_args!("library    {}", loaded.path.display()))?;
    output.line(format_args!("found by   {}", loaded.origin))?;
    output.line(format_args!("version    {}", loaded.version))?;
    output.line(format_args!("providers  {}", loaded.providers.join(", ")))?;
    Ok(ExitCode::Done)
}
