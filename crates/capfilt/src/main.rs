//! CapFilt for your own pictures: the `capfilt` program.
//!
//! This crate is thin on purpose. It reads the command line ([`cli`]), starts
//! logging ([`session`]), hands over to a library crate ([`commands`]), draws
//! progress ([`progress`]), listens for Ctrl-C ([`signals`]) and renders what
//! failed ([`failure`]). Data goes to stdout ([`output`]), everything for
//! people to stderr. The three things that live here whole are the demo
//! ([`demo`]), the page ([`report`]) and the scheduler ([`schedule`]).

mod children;
mod cli;
mod commands;
mod cores;
mod curve;
mod decoding;
mod demo;
mod eval;
mod exit;
mod failure;
mod logging;
mod memory;
mod news;
mod output;
mod progress;
mod report;
mod schedule;
mod schema;
mod session;
mod signals;

use std::panic::{self, AssertUnwindSafe};
use std::process;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::session::Session;

fn main() -> process::ExitCode {
    let Cli { global, command } = Cli::parse();
    match command {
        Command::Train(_) => memory::keep_large_buffers(),
        _ => memory::give_back_large_buffers(),
    }
    let session = Session::start(&global);
    // A panic is a broken invariant, told already by the panic hook; its exit code is ours too.
    let done = panic::catch_unwind(AssertUnwindSafe(|| commands::execute(command, &session)));
    let code = done
        .unwrap_or(Err(Failure::Panicked))
        .unwrap_or_else(|failure| {
            failure::show(&failure, &session);
            if matches!(failure, Failure::Interrupted) {
                // A model or a worker may not have noticed yet that nobody waits for it.
                signals::exit_now();
            }
            failure.exit_code()
        });
    code.into()
}
