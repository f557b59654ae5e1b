//! What a run does: pipeline files, stages as DataFusion operators, planning, running, resuming.
//!
//! ```text
//! pipeline.toml ──load──▶ Pipeline ──check──▶ Plan ──run──▶ scored/ ──▶ dataset/, rejected/
//! ```
//!
//! [`load()`] turns the text of a pipeline file into a checked [`Pipeline`]; [`check`] looks at the
//! shards, the model packages and the expressions and gives a [`Plan`], or says what is wrong
//! before anything runs; [`run()`] does what the plan says, piece by piece, and goes on where an
//! earlier run ended. [`decide()`] takes the keep decisions again from stored scores, and [`remove()`]
//! takes rows out.
//!
//! A piece is one DataFusion plan: DataFusion's own Parquet scan of a range of rows, one operator
//! for each stage, and the writer. Row trouble is a reject reason and never an error: no row
//! disappears before it is written.

mod at_once;
mod counts;
mod decide;
mod derive;
mod doubts;
pub mod duplicates;
mod error;
mod expression;
mod file;
mod keep;
mod load;
mod lock;
mod manifest;
mod numbers;
mod operator;
mod opt_outs;
mod pass;
mod piece;
mod plan;
mod progress;
mod reader;
mod recipe;
mod record;
mod removal;
mod restore;
mod resume;
mod retry;
mod rewrite;
mod row;
mod run;
mod scan;
mod shelf;
mod source;
mod spill;
pub mod stages;
mod strangers;
mod window;
mod write;

pub use counts::{DecidedCounts, ScoredCounts};
pub use decide::{DecideReport, Decision, decide};
pub use error::{PipelineError, PipelineErrorKind, RunError, StageError};
pub use expression::ExpressionError;
pub use file::{
    Columns, Dataset, Images, KeepTable, PipelineFile, Shards, SinkTable, SourceTable, StageTable,
    StoreTable, TextSource,
};
pub use load::{Overrides, Pipeline, load};
pub use manifest::{NewOutput, free_manifest};
pub use plan::{Plan, check};
pub use progress::Progress;
pub use record::{
    Counts, Digests, FailureRecord, InputRecord, RunFile, RunState, Timings, Versions, now,
};
pub use removal::{
    Form, ListError, ListErrorKind, RemovalReport, Request, RequestError, RequestLine, RequestList,
    remove,
};
pub use retry::{Retry, RetryError};
pub use run::{RunContext, RunReport, previous_run, run};
pub use strangers::DatasetCounts;

#[cfg(test)]
mod test_runs;
#[cfg(test)]
mod test_shards;
