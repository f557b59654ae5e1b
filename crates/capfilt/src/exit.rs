//! What the program's exit code says.

use std::process;

/// Exit codes, the same for every command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExitCode {
    /// Everything that was asked for is done.
    Done = 0,
    /// Something failed, or the program was interrupted.
    Failed = 1,
    /// The command line was wrong. Where clap finds that out, it ends the program itself.
    Usage = 2,
    /// A configuration file or the input does not keep its contract.
    BadConfig = 3,
    /// The run finished, but some shards failed and are listed.
    PartialRun = 4,
}

impl ExitCode {
    /// What an exit code of this program says, in few words.
    pub(crate) const fn words(code: i32) -> Option<&'static str> {
        Some(match code {
            0 => "done",
            1 => "failed",
            2 => "wrong command line",
            3 => "bad configuration or input contract",
            4 => "finished, but shards failed",
            _ => return None,
        })
    }
}

/// The table of exit codes for `--help`.
pub(crate) const HELP: &str = "Exit codes:
  0  done
  1  failed, or interrupted
  2  wrong command line
  3  bad configuration or input contract
  4  finished, but shards failed and are listed";

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
