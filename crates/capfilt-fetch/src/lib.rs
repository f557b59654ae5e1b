//! Bytes for a reference: HTTP, files and data URLs, within limits.
//!
//! A [`Fetcher`] is made once from [`FetchOptions`] and then asked for one URL after another, by
//! as many callers as like. Each answer is a [`Fetched`]: an [`Outcome`] of a closed set, what was
//! learnt on the way, and the bytes if there are any. A bad URL, a dead host and a hostile server
//! are outcomes and not errors: a row is never lost to them, and none can take longer than the
//! timeout or more memory than the size limit.
//!
//! Three parts, apart on purpose: the policy says what may be asked and when to ask again, the
//! slots say how much at once, and the transports (HTTP, files, `data:`) each do one thing once.
//! Every redirect passes the policy like the first URL. Nothing is taken from the environment: no
//! proxies, no cookies, no credentials.
//!
//! ```no_run
//! # async fn example() -> Result<(), capfilt_fetch::FetchError> {
//! use capfilt_fetch::{FetchOptions, Fetcher, Outcome};
//!
//! let fetcher = Fetcher::new(&FetchOptions::default())?;
//! let fetched = fetcher.fetch("https://example.org/cat.jpg").await;
//! if fetched.outcome == Outcome::Ok {
//!     assert!(fetched.body.is_some());
//! }
//! # Ok(())
//! # }
//! ```

mod data_url;
mod fetcher;
mod file;
mod http;
mod options;
mod outcome;
mod policy;
mod slots;
mod units;

use std::io;
use std::path::PathBuf;

pub use bytes::Bytes;

pub use crate::fetcher::Fetcher;
pub use crate::options::{FetchOptions, Scheme};
pub use crate::outcome::{Fetched, Outcome};
pub use crate::units::{ByteSize, Timeout, UnitError};

/// A fetcher that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The folder for `file:` URLs is not there, or is none.
    #[error("cannot use `{}` as the folder of `file:` URLs", path.display())]
    Folder {
        /// As named in the options.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The HTTP client does not start.
    #[error("cannot start the HTTP client")]
    Client(#[source] reqwest::Error),
}
