//! The program as users run it, and the rules of the workspace.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "all of this is test code, also what is not a test itself"
)]

mod cli;
mod demo;
mod errors;
mod layout;
mod models;
mod parity;
mod program;
mod readers;
mod rows;
mod run;
mod schemas;
mod shards;
mod stop;
#[path = "../support/mod.rs"]
mod support;
mod work;
