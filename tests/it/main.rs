//! The program as users run it, and the rules of the workspace.

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
