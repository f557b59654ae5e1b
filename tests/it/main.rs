//! The program as users run it, and the rules of the workspace.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "all of this is test code, also what is not a test itself"
)]

mod bootstrap;
mod cli;
mod crash;
mod damage;
mod dedup;
mod demo;
mod duplicates;
mod earlier;
mod errors;
mod eval;
mod full_disk;
mod hosts;
mod layout;
mod models;
mod object_crash;
mod object_store;
mod odd_shards;
mod opt_outs;
mod parity;
mod places;
mod program;
mod readers;
mod remove;
mod retry;
mod reuse;
mod rows;
mod run;
mod s3;
mod schedule;
mod schemas;
mod shards;
mod smoke;
mod stop;
#[path = "../support/mod.rs"]
mod support;
mod train;
mod work;
