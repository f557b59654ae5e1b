//! Runs the real binary and gives back what it said.

use std::ffi::OsStr;
use std::fmt::Arguments;
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What a finished run of the program said.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The exit code and stderr in one text, for snapshots.
    pub(crate) fn told(&self) -> String {
        format!("exit code {}\n{}", self.code.unwrap_or(-1), self.stderr)
    }

    /// Panics with everything that was said unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "\n-- stdout\n{}\n-- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

/// The program, to be started in the root of the workspace with nothing of the user's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capfilt"));
    command
        .current_dir(root())
        .env_remove("RUST_LOG")
        .env_remove("CLICOLOR_FORCE")
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn capfilt<I, S>(arguments: I) -> Ran
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    command()
        .args(arguments)
        .output()
        .expect("the program starts")
        .into()
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace has a root")
}

/// One of the committed model packages: `captioner` or `filter`.
pub(crate) fn package(name: &str) -> PathBuf {
    root().join("pipelines/demo").join(name)
}

/// Whether models can run here. Says on stderr why a test is skipped.
pub(crate) fn models_can_run() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = *CAN.get_or_init(|| capfilt(["runtime", "show"]).code == Some(0));
    if !can {
        skipped(format_args!(
            "no ONNX Runtime; `capfilt runtime install` gets it"
        ));
    }
    can
}

/// Replaces a folder by `[DIR]`, so that a message can be compared.
pub(crate) fn without_folder(text: &str, folder: &Path) -> String {
    text.replace(&folder.display().to_string(), "[DIR]")
}

/// The Python that `CAPFILT_PYTHON` names, else the system's.
pub(crate) fn python() -> String {
    std::env::var("CAPFILT_PYTHON").unwrap_or_else(|_unset| "python3".to_owned())
}

/// Says why a test does nothing. Written past the test harness, which hides what `eprintln!` prints
/// in tests that pass.
pub(crate) fn skipped(reason: Arguments<'_>) {
    let line = format!("skipped: {reason}\n");
    stderr().write_all(line.as_bytes()).unwrap();
}
