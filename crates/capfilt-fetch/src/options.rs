//! What a fetch may do, as a pipeline file says it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Timeout};

/// How pictures are fetched.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FetchOptions {
    /// Requests in flight at once, over all hosts.
    pub concurrency: NonZeroUsize,
    /// Requests in flight at once to one host.
    pub per_host: NonZeroUsize,
    /// The most time that one row may take, from the first attempt to the last byte, redirects
    /// and further attempts included. Waiting for a free slot does not count.
    pub timeout: Timeout,
    /// The most bytes that one picture may have. More, declared or sent, ends the fetch.
    pub max_size: ByteSize,
    /// Further attempts after an outcome that may pass by itself, within `timeout`.
    pub retries: u32,
    /// Redirects that are followed for one row.
    pub max_redirects: u32,
    /// Kinds of URL that are fetched.
    pub schemes: Vec<Scheme>,
    /// Folder that `file:` URLs may name files of. Without it no `file:` URL is read. Symbolic
    /// links cannot lead out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// A kind of URL. (`file:` is allowed by naming a folder.)
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// `http://..`
    Http,
    /// `https://..`
    Https,
    /// `data:image/png;base64,..`
    Data,
}

impl Scheme {
    /// As it stands before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Data => "data",
        }
    }
}

const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const PER_HOST: NonZeroUsize = NonZeroUsize::new(4).unwrap();

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            concurrency: CONCURRENCY,
            per_host: PER_HOST,
            timeout: Timeout(Duration::from_secs(10)),
            max_size: ByteSize(20 << 20),
            retries: 2,
            max_redirects: 5,
            schemes: vec![Scheme::Http, Scheme::Https, Scheme::Data],
            folder: None,
        }
    }
}
