//! Rows that somebody asked to take out of an output folder: opt-outs and take-downs.
//!
//! ```text
//! list ──▶ removed.json ──▶ report.html goes ──▶ scored ──▶ dataset, rejected ──▶ run.json ──▶ removed.json: applied
//!               │
//!               └──▶ every later run: rows that match leave before anything is fetched, and pictures
//!                    that match before a model sees them
//! ```
//!
//! The requests are written down before anything changes, so that none is lost to a killed program:
//! the next `capfilt remove` or `capfilt run` does the rest. Of a request only a digest is kept, and
//! rows say only that: a list of what people want gone shall not be published in its place. (Who
//! guesses a URL can still check it.)
//!
//! A row that is taken out stays as a row. What is left of it is its id, the reason, and which
//! request it was; the picture, its hashes and sizes, the URLs, all texts and scores, and the columns
//! that pass through are gone. Only files with such rows are written anew.

mod apply;
mod list;
mod record;
mod request;
mod rows;

pub(crate) use apply::{PAGE, finish};
pub use apply::{RemovalReport, remove};
pub use list::{ListError, ListErrorKind, RequestLine, RequestList};
pub(crate) use record::Removals;
pub use request::{Form, Request, RequestError};
pub(crate) use rows::RemoveRows;

/// Name of the step in `scored` and `rejected`.
const STEP: &str = "remove";
