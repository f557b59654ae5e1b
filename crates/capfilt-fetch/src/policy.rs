//! What may be fetched. It decides and never touches the network: the fetcher asks before every
//! request and after every head of an answer.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use url::{Host, Url};

use crate::FetchError;
use crate::address::Networks;
use crate::opt_out::OptOuts;
use crate::options::{FetchOptions, Scheme};
use crate::outcome::Outcome;
use crate::{tags, tdm};

/// Longer ones are not URLs that a server takes, and the HTTP library has a limit near it.
const MAX_URL_BYTES: usize = 32 << 10;

/// The kinds of content that are registered (IANA, media types, 2026).
const KINDS: [&str; 11] = [
    "application",
    "audio",
    "example",
    "font",
    "haptics",
    "image",
    "message",
    "model",
    "multipart",
    "text",
    "video",
];

/// Where the bytes of a row are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reference<'a> {
    /// Behind an HTTP server.
    Http(Url),
    /// In a file, by its path, which is not checked against the folder yet.
    File(PathBuf),
    /// In an object store, in one of the buckets that were named.
    Object(Url),
    /// In the URL itself.
    Data(&'a str),
}

/// Why something is not fetched, or ended without bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            detail: detail.into(),
        }
    }
}

/// The rules of one fetcher.
#[derive(Debug)]
pub(crate) struct Policy {
    options: FetchOptions,
    networks: Networks,
    pub(crate) opt_outs: OptOuts,
    /// The buckets that objects may be read of, as they were named.
    pub(crate) buckets: Vec<Url>,
}

impl Policy {
    pub(crate) fn new(options: &FetchOptions) -> Result<Self, FetchError> {
        let bucket = |written: &String| {
            let parsed = Url::parse(written).ok();
            parsed
                .filter(|url| {
                    is_object_store(url) && url.host_str().is_some_and(|name| !name.is_empty())
                })
                .ok_or_else(|| FetchError::Bucket(written.clone()))
        };
        Ok(Self {
            buckets: options
                .buckets
                .iter()
                .map(bucket)
                .collect::<Result<_, _>>()?,
            networks: Networks::new(&options.allow_networks),
            opt_outs: OptOuts::read(&options.opt_out_domains, &options.opt_out_urls)?,
            options: options.clone(),
        })
    }

    /// What a row's URL refers to, if it may be fetched at all.
    pub(crate) fn admit<'a>(&self, url: &'a str) -> Result<Reference<'a>, Refusal> {
        let written = url.trim();
        // A data URL can have megabytes: it is not parsed and copied like others.
        if written
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("data:"))
        {
            return if self.options.schemes.contains(&Scheme::Data) {
                Ok(Reference::Data(written))
            } else {
                Err(self.scheme_not_allowed("data"))
            };
        }
        if written.len() > MAX_URL_BYTES {
            return Err(Refusal::new(
                Outcome::BadUrl,
                format!("the URL has {} bytes, over {MAX_URL_BYTES}", written.len()),
            ));
        }
        let url = Url::parse(written)
            .map_err(|error| Refusal::new(Outcome::BadUrl, error.to_string()))?;
        if self.opt_outs.has_url(written, &url) {
            return Err(Refusal::new(
                Outcome::OptedOut,
                "a list of opt-outs has the URL",
            ));
        }
        if url.scheme() == "file" {
            return self.admit_file(&url);
        }
        if is_object_store(&url) {
            return self.admit_object(url);
        }
        self.admit_http(url).map(Reference::Http)
    }

    /// Where a redirect from `url` leads, if it may be followed; `hops` of at most `most` were
    /// followed before.
    pub(crate) fn redirect(
        &self,
        url: &Url,
        location: &[u8],
        hops: u32,
        most: u32,
    ) -> Result<Url, Refusal> {
        if hops >= most {
            return Err(Refusal::new(
                Outcome::TooManyRedirects,
                format!("more than {most} redirects"),
            ));
        }
        let bad = |why: String| Refusal::new(Outcome::BadUrl, format!("bad redirect: {why}"));
        if location.len() > MAX_URL_BYTES {
            return Err(bad(format!("{} bytes", location.len())));
        }
        let next = url
            .join(&readable(location))
            .map_err(|error| bad(error.to_string()))?;
        self.admit_http(next)
    }

    fn admit_file<'a>(&self, url: &Url) -> Result<Reference<'a>, Refusal> {
        if self.options.folder.is_none() {
            return Err(Refusal::new(
                Outcome::SchemeNotAllowed,
                "`file:` URLs are read only where `fetch` names a `folder`",
            ));
        }
        url.to_file_path().map(Reference::File).map_err(|()| {
            Refusal::new(
                Outcome::BadUrl,
                "a `file:` URL must name an absolute local path",
            )
        })
    }

    fn admit_object<'a>(&self, url: Url) -> Result<Reference<'a>, Refusal> {
        if self.buckets.is_empty() {
            return Err(Refusal::new(
                Outcome::SchemeNotAllowed,
                format!(
                    "`{}:` URLs are read only where `fetch` names `buckets`",
                    url.scheme()
                ),
            ));
        }
        let is_below = |bucket: &Url| {
            let (bucket_path, path) = (bucket.path().trim_end_matches('/'), url.path());
            bucket.scheme() == url.scheme()
                && bucket.host_str() == url.host_str()
                && path
                    .strip_prefix(bucket_path)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        if self.buckets.iter().any(is_below) {
            Ok(Reference::Object(url))
        } else {
            Err(Refusal::new(
                Outcome::OutsideFolder,
                "the object is not below one of the `buckets`",
            ))
        }
    }

    pub(crate) fn admit_http(&self, mut url: Url) -> Result<Url, Refusal> {
        // No redirect leads to a `data:` URL, wherever those are allowed as input.
        let web = [Scheme::Http, Scheme::Https];
        let scheme = web
            .into_iter()
            .find(|scheme| scheme.as_str() == url.scheme());
        if scheme.is_none_or(|scheme| !self.options.schemes.contains(&scheme)) {
            return Err(self.scheme_not_allowed(url.scheme()));
        }
        // The URL's parser has read octal, hexadecimal and full-width digits by now.
        let literal = match url.host() {
            None => return Err(Refusal::new(Outcome::BadUrl, "no host")),
            Some(Host::Domain(name)) if name.trim_matches('.').is_empty() => {
                return Err(Refusal::new(Outcome::BadUrl, "no host"));
            }
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        };
        // Names are judged by what they resolve to; literals never come to a resolver.
        if let Some(kind) = literal.and_then(|address| self.networks.forbidden(address)) {
            let address = url.host_str().unwrap_or_default();
            return Err(Refusal::new(
                Outcome::ForbiddenAddress,
                format!("{address} is {kind}; `allow-networks` would allow it"),
            ));
        }
        if let Some(domain) = self.opt_outs.domain(&url) {
            return Err(Refusal::new(
                Outcome::OptedOut,
                format!("a list of opt-outs has `{domain}`"),
            ));
        }
        // Somebody's credentials in a scraped URL are not ours to send.
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| Refusal::new(Outcome::BadUrl, "no host"))?;
        url.set_fragment(None);
        Ok(url)
    }

    /// Whether a connection to `address` was one that may be.
    pub(crate) fn admit_address(&self, address: IpAddr) -> Result<(), Refusal> {
        match self.networks.forbidden(address) {
            Some(kind) if self.options.proxy.is_none() => Err(Refusal::new(
                Outcome::ForbiddenAddress,
                format!("the answer came from {address}, which is {kind}"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether the head of an answer lets its picture be taken; `reserved` is what the origin's
    /// `tdmrep.json` says of it.
    pub(crate) fn admit_answer(&self, headers: &HeaderMap, reserved: bool) -> Result<(), Refusal> {
        if self.options.x_robots_tag
            && let Some(directive) = tags::refused_by(headers)
        {
            return Err(Refusal::new(
                Outcome::RobotsTag,
                format!("X-Robots-Tag says `{directive}`"),
            ));
        }
        if self.options.tdm_reservation {
            let detail = match tdm::header(headers) {
                Some(true) => Some("the header `tdm-reservation` is 1"),
                Some(false) => None,
                None => reserved.then_some("reserved by /.well-known/tdmrep.json"),
            };
            if let Some(detail) = detail {
                return Err(Refusal::new(Outcome::TdmReserved, detail));
            }
        }
        let values = headers.get_all(CONTENT_TYPE).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        // Of several types one is enough, and what is none says nothing.
        let parts = values.iter().flat_map(|value| value.split(','));
        let types: Vec<_> = parts.map(essence).filter(|part| is_type(part)).collect();
        if types.is_empty() || types.iter().any(|declared| self.accepts(declared)) {
            return Ok(());
        }
        let got: String = values.join(", ").chars().take(80).collect();
        Err(Refusal::new(Outcome::ContentType, format!("got `{got}`")))
    }

    fn accepts(&self, essence: &str) -> bool {
        let mut accepted = self.options.content_types.iter();
        accepted.any(|accepted| match accepted.strip_suffix('*') {
            Some(start) => essence
                .get(..start.len())
                .is_some_and(|begins| begins.eq_ignore_ascii_case(start)),
            None => essence.eq_ignore_ascii_case(accepted),
        })
    }

    fn scheme_not_allowed(&self, got: &str) -> Refusal {
        let schemes = &self.options.schemes;
        let allowed: Vec<_> = schemes.iter().map(|scheme| scheme.as_str()).collect();
        let got: String = got.chars().take(20).collect();
        Refusal::new(
            Outcome::SchemeNotAllowed,
            format!("got `{got}:`, expected one of {}", allowed.join(", ")),
        )
    }

    /// Whether an outcome after `attempts` attempts is worth another one at once.
    pub(crate) fn tries_again(&self, outcome: Outcome, attempts: u32) -> bool {
        // What timed out has used up its time, and what is suspended is left alone.
        let later = matches!(
            outcome,
            Outcome::TimedOut | Outcome::HostSuspended | Outcome::RobotsUnreachable
        );
        attempts <= self.options.retries && outcome.is_transient() && !later
    }
}

/// The text of a `Location`. Bytes that are no UTF-8 were written in some other character set; its
/// bytes are what the server knows the place by, so they are escaped as they are.
fn readable(location: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(location).map_or_else(
        |_| {
            let escaped = location.iter().map(|byte| {
                if byte.is_ascii() {
                    char::from(*byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            });
            escaped.collect()
        },
        Cow::Borrowed,
    )
}

/// A content type without its parameters, and without the quotes that some servers put around it.
fn essence(declared: &str) -> &str {
    let ends = |c: char| c == ';' || c == '"' || c.is_whitespace();
    let start = |c: char| c == '"' || c.is_whitespace();
    let declared = declared.trim_start_matches(start);
    declared.split(ends).next().unwrap_or_default()
}

/// Whether a content type is one: its kind is registered (RFC 6838). Servers that do not know what
/// they send make up others, like `img/jpeg` or `jpg`, or leave the type of the form that the picture
/// was sent in by.
fn is_type(essence: &str) -> bool {
    let Some((kind, _)) = essence.split_once('/') else {
        return false;
    };
    let is_kind = |known: &&str| kind.eq_ignore_ascii_case(known);
    KINDS.iter().any(is_kind) && !essence.eq_ignore_ascii_case("multipart/form-data")
}

fn is_object_store(url: &Url) -> bool {
    matches!(url.scheme(), "s3" | "gs" | "az")
}

#[cfg(test)]
mod tests;
