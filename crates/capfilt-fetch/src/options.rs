//! What a fetch may do, as a pipeline file says it.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::FetchError;
use crate::named::NamedFolder;
use crate::opt_out;
use crate::units::{ByteSize, Timeout};

/// How pictures are fetched.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FetchOptions {
    /// Requests in flight at once, over all hosts.
    pub concurrency: NonZeroUsize,
    /// Requests in flight at once to one host.
    pub per_host: NonZeroUsize,
    /// The least time between the starts of two requests to one host, like `"100ms"`: ten a second.
    /// Not limited where it is not given, other than by `per-host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_host_interval: Option<Timeout>,
    /// Bytes of pictures that may be on their way at once. More wait, one picture excepted.
    pub memory: ByteSize,
    /// The most time that one row may take, from the first attempt to the last byte, redirects
    /// and further attempts included. Waiting for a slot, for memory and for an origin's rules
    /// does not count.
    pub timeout: Timeout,
    /// The most time until a connection stands.
    pub connect_timeout: Timeout,
    /// The most time from the request, connecting included, to the head of the answer.
    pub first_byte_timeout: Timeout,
    /// The most time between two pieces of a body.
    pub idle_timeout: Timeout,
    /// The most bytes that one picture may have. More, declared or sent, before or after
    /// decompression, ends the fetch.
    pub max_size: ByteSize,
    /// The most time, in a run in all, that rows wait for one host that fails or says that requests
    /// come too fast, `"1m"` by default: it is probed by one request at a time, six times or more, and
    /// its rows are asked for when it answers. Once this is used up, rows of a host that still fails
    /// leave without being asked for. Each good answer makes up for a twentieth.
    #[schemars(extend("default" = "1m"))]
    #[serde(skip_serializing_if = "is_default_host_wait")]
    pub host_wait: Timeout,
    /// Further attempts after an outcome that may pass by itself, within `timeout`. All rows
    /// together make no more than a fifth more requests by it.
    pub retries: u32,
    /// Redirects that are followed for one row.
    pub max_redirects: u32,
    /// Kinds of URL that are fetched.
    pub schemes: Vec<Scheme>,
    /// Content types of answers that are accepted; `image/*` stands for all that begin so. An
    /// answer without a type is accepted, and so is one whose type is none, like `img/jpeg` or `jpg`.
    /// What the bytes are is found out when they are decoded.
    pub content_types: Vec<String>,
    /// Folder that `file:` URLs may name files of. Without it no `file:` URL is read. Symbolic
    /// links cannot lead out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PathBuf>")]
    pub folder: Option<NamedFolder>,
    /// Buckets of object stores that URLs may name pictures of, like `s3://bucket/photos`; also
    /// `gs:` and `az:`. Credentials come from the environment, as the stores' own tools take them.
    /// Without it no such URL is read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<String>,
    /// Address or web page under which the people behind this run can be reached; the user agent
    /// says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Whether an origin's robots.txt is asked for, once, and followed (RFC 9309, as `capfilt`).
    pub robots_txt: bool,
    /// Whether pictures are left whose `X-Robots-Tag` says noai, noimageai, noml, noindex,
    /// noimageindex or none.
    pub x_robots_tag: bool,
    /// Whether pictures are left whose rights to text and data mining are reserved: by the
    /// `tdm-reservation` header, or by the origin's `/.well-known/tdmrep.json`, which is asked for
    /// once.
    pub tdm_reservation: bool,
    /// Files with domains that are not fetched from, nor from what is below them: one a line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opt_out_domains: Vec<PathBuf>,
    /// Files with SHA-256 digests, in hexadecimal, of URLs that are not fetched: one a line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opt_out_urls: Vec<PathBuf>,
    /// Networks that may be reached although they are not public, like `10.1.0.0/16`. Without it
    /// no request goes to a private, local or reserved address, whatever a name resolves to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub allow_networks: Vec<IpNet>,
    /// Name servers that host names are looked up with, instead of the system's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<IpAddr>,
    /// HTTP proxy that all requests go through. Host names are then looked up by the proxy, so that
    /// it has to keep them away from private addresses. None is taken from the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Hosts whose TLS certificate is not verified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unverified_hosts: Vec<String>,
}

/// A kind of URL. (`file:` is allowed by naming a `folder`, `s3:`, `gs:` and `az:` by `buckets`.)
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

const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(512).unwrap();
/// Limits of hosts are often counted by the minute, and many that fail are started again within one.
/// With much more, dead hosts would hold up fast runs: the window fills while their rows wait.
const HOST_WAIT: Timeout = Timeout(Duration::from_mins(1));
const PER_HOST: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Files that were written before there was this option say nothing of it, and digests of options that
/// have its default stay.
fn is_default_host_wait(wait: &Timeout) -> bool {
    *wait == HOST_WAIT
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            concurrency: CONCURRENCY,
            per_host: PER_HOST,
            per_host_interval: None,
            memory: ByteSize(128 << 20),
            timeout: Timeout(Duration::from_secs(10)),
            connect_timeout: Timeout(Duration::from_secs(5)),
            first_byte_timeout: Timeout(Duration::from_secs(8)),
            idle_timeout: Timeout(Duration::from_secs(5)),
            max_size: ByteSize(20 << 20),
            host_wait: HOST_WAIT,
            retries: 2,
            max_redirects: 5,
            schemes: vec![Scheme::Http, Scheme::Https, Scheme::Data],
            content_types: ["image/*", "application/*", "binary/*", "text/plain"]
                .map(str::to_owned)
                .to_vec(),
            folder: None,
            buckets: Vec::new(),
            contact: None,
            robots_txt: true,
            x_robots_tag: true,
            tdm_reservation: true,
            opt_out_domains: Vec::new(),
            opt_out_urls: Vec::new(),
            allow_networks: Vec::new(),
            name_servers: Vec::new(),
            proxy: None,
            unverified_hosts: Vec::new(),
        }
    }
}

impl FetchOptions {
    /// These options without those that say how fast, by which way and how patiently, and not what
    /// comes of a URL: what runs out of patience may go better another time, and has its reason.
    /// The folder counts as it was written. Lists of opt-outs do not count: a list that changed is
    /// held against the rows that are there ([`OptOutCheck`](opt_out::OptOutCheck)).
    #[must_use]
    pub fn what_counts(&self) -> Self {
        let defaults = Self::default();
        let mut counts = Self {
            concurrency: defaults.concurrency,
            per_host: defaults.per_host,
            per_host_interval: None,
            memory: defaults.memory,
            timeout: defaults.timeout,
            connect_timeout: defaults.connect_timeout,
            first_byte_timeout: defaults.first_byte_timeout,
            idle_timeout: defaults.idle_timeout,
            host_wait: defaults.host_wait,
            retries: defaults.retries,
            folder: self.folder.as_ref().map(NamedFolder::what_counts),
            contact: None,
            opt_out_domains: Vec::new(),
            opt_out_urls: Vec::new(),
            name_servers: Vec::new(),
            proxy: None,
            ..self.clone()
        };
        // These are sets. (`schemes` and `buckets` are told in their order.)
        for kind in &mut counts.content_types {
            kind.make_ascii_lowercase();
        }
        counts.content_types.sort_unstable();
        counts.content_types.dedup();
        counts.allow_networks.sort_unstable();
        counts.allow_networks.dedup();
        counts.unverified_hosts.sort_unstable();
        counts.unverified_hosts.dedup();
        counts
    }

    /// Makes the paths that the options name independent of the current folder: `anchored` says where
    /// a path lies.
    pub fn anchor(&mut self, anchored: impl Fn(&Path) -> PathBuf) {
        if let Some(folder) = &mut self.folder {
            folder.anchor(&anchored);
        }
        let lists = self.opt_out_domains.iter_mut();
        for list in lists.chain(&mut self.opt_out_urls) {
            *list = anchored(list);
        }
    }

    /// Identifies what stands in the lists of opt-outs, wherever they lie and in whatever order they
    /// are named; nothing where none is. Reads them once, without understanding them.
    pub fn opt_outs(&self) -> Result<Option<String>, FetchError> {
        opt_out::digest(&self.opt_out_domains, &self.opt_out_urls)
    }
}
