//! Tests that cannot run here say so.

use std::fmt::Arguments;
use std::io::{Write as _, stderr};

/// Says why a test does nothing. Written past the test harness, which hides what `eprintln!` prints
/// in tests that pass.
pub(crate) fn skipped(reason: Arguments<'_>) {
    let line = format!("skipped: {reason}\n");
    stderr().write_all(line.as_bytes()).unwrap();
}
