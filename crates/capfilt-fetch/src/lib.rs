//! Bytes for a reference: HTTP, files and data URLs, within limits.
//!
//! A [`Fetcher`] is made once from [`FetchOptions`] and then asked for one URL after another, by
//! as many callers as like. Each answer is a [`Fetched`]: an [`Outcome`] of a closed set, what was
//! learnt on the way, and the bytes if there are any. A bad URL, a dead host and a hostile server
//! are outcomes and not errors: a row is never lost to them, and none can take longer than the
//! timeout or more memory than the size limit.
//!
//! Its parts, apart on purpose:
//!
//! | part | says or does |
//! | --- | --- |
//! | policy, [`opt_out`], [`address`] | what may be asked, and which answers may be taken |
//! | [`Lookup`] and its guard | names to addresses that may be reached |
//! | hosts | how much at once, how fast, which hosts are left alone, and which row probes them |
//! | origins, [`tags`], [`tdm`] | robots.txt and `tdmrep.json`, each asked for once per origin |
//! | clock, memory, retry | what a row may take: time, bytes, attempts |
//! | transports | one thing each, once: HTTP, files, object stores, `data:` |
//! | coding | what a body is wrapped in (`Content-Encoding`), where that is true |
//!
//! Every redirect passes the same rules as the first URL. Nothing is taken from the environment: no
//! proxies, no cookies, no credentials (but those of object stores, where a pipeline names
//! buckets).
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

pub mod address;
mod clock;
mod coding;
mod data_url;
mod fetcher;
mod file;
mod hosts;
mod http;
mod memory;
mod named;
#[cfg(feature = "cloud")]
mod object;
pub mod opt_out;
mod options;
mod origins;
mod outcome;
mod policy;
mod resolve;
pub mod retry;
mod robots;
pub mod tags;
pub mod tdm;
mod units;

use std::io;
use std::path::PathBuf;

pub use bytes::Bytes;

pub use crate::fetcher::{Fetcher, Room};
pub use crate::named::NamedFolder;
pub use crate::options::{FetchOptions, Scheme};
pub use crate::outcome::{Fetched, Outcome};
pub use crate::resolve::Lookup;
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
    /// What should name a bucket does not.
    #[error("`{0}` names no bucket; write it like `s3://bucket/photos` (or `gs:`, `az:`)")]
    Bucket(String),
    /// The program was built without object stores.
    #[error("this program was built without its feature `cloud`, which `buckets` need")]
    NoCloud,
    /// An object store that cannot be used.
    #[error("cannot use `{bucket}`: {reason}")]
    Store {
        /// The bucket.
        bucket: String,
        /// Why.
        reason: String,
    },
    /// A list of opt-outs that cannot be read.
    #[error("cannot read the list of opt-outs `{}`", path.display())]
    OptOutList {
        /// As named in the options.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An entry of a list of opt-outs that is none.
    #[error("line {line} of `{}`: got `{got}`, expected {expected}", path.display())]
    OptOutEntry {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        got: String,
        /// What should.
        expected: &'static str,
    },
    /// The proxy cannot be used.
    #[error("`{0}` cannot be the `proxy`; write it like `http://proxy.example:3128`")]
    Proxy(String),
    /// The contact cannot be part of a header.
    #[error("`{0}` cannot be the `contact`: it must be printable ASCII, without parentheses")]
    Contact(String),
    /// The resolver does not start.
    #[error("cannot start looking up host names: {0}")]
    Dns(String),
    /// The HTTP client does not start.
    #[error("cannot start the HTTP client")]
    Client(#[source] reqwest::Error),
}
