//! `capfilt schema`.

use crate::cli;
use crate::exit::ExitCode;
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::schema::Name;
use crate::session::Session;

/// Prints schemas, or compares them with `schemas/`.
pub(crate) fn schema(args: &cli::Schema, session: &Session) -> Result<ExitCode, Failure> {
    let mut output = Output::new();
    match (args.name, args.check) {
        (Some(name), false) => {
            let text = name.text()?;
            output.line(format_args!("{}", text.trim_end()))?;
        }
        (None, false) => {
            for name in Name::ALL {
                output.line(format_args!("{}", name.as_str()))?;
            }
        }
        (Some(name), true) => name.check()?,
        (None, true) => {
            let mut code = ExitCode::Done;
            for name in Name::ALL {
                if let Err(error) = name.check() {
                    failure::render(&error, error.hint().as_deref(), session);
                    code = ExitCode::Failed;
                }
            }
            return Ok(code);
        }
    }
    Ok(ExitCode::Done)
}
