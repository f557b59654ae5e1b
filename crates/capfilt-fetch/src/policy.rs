//! What may be fetched, and when to try again. It decides and never touches the network: the
//! fetcher asks before every request and after every answer.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::options::{FetchOptions, Scheme};
use crate::outcome::Outcome;

/// Longer ones are not URLs that a server takes, and the HTTP library has a limit near it.
const MAX_URL_BYTES: usize = 32 << 10;

/// Pause before the second attempt; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Where the bytes of a row are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reference<'a> {
    /// Behind an HTTP server.
    Http(Url),
    /// In a file, by its path, which is not checked against the folder yet.
    File(PathBuf),
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
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    schemes: Vec<Scheme>,
    files: bool,
    max_redirects: u32,
    retries: u32,
}

impl Policy {
    pub(crate) fn new(options: &FetchOptions) -> Self {
        Self {
            schemes: options.schemes.clone(),
            files: options.folder.is_some(),
            max_redirects: options.max_redirects,
            retries: options.retries,
        }
    }

    /// What a row's URL refers to, if it may be fetched at all.
    pub(crate) fn admit<'a>(&self, url: &'a str) -> Result<Reference<'a>, Refusal> {
        let url = url.trim();
        // A data URL can have megabytes: it is not parsed and copied like others.
        if url
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("data:"))
        {
            return if self.schemes.contains(&Scheme::Data) {
                Ok(Reference::Data(url))
            } else {
                Err(self.scheme_not_allowed("data"))
            };
        }
        if url.len() > MAX_URL_BYTES {
            return Err(Refusal::new(
                Outcome::BadUrl,
                format!("the URL has {} bytes, over {MAX_URL_BYTES}", url.len()),
            ));
        }
        let url =
            Url::parse(url).map_err(|error| Refusal::new(Outcome::BadUrl, error.to_string()))?;
        if url.scheme() == "file" {
            return if self.files {
                url.to_file_path().map(Reference::File).map_err(|()| {
                    Refusal::new(
                        Outcome::BadUrl,
                        "a `file:` URL must name an absolute local path",
                    )
                })
            } else {
                Err(Refusal::new(
                    Outcome::SchemeNotAllowed,
                    "`file:` URLs are read only where `fetch` names a `folder`",
                ))
            };
        }
        self.admit_http(url).map(Reference::Http)
    }

    /// Where a redirect from `url` leads, if it may be followed; `hops` were followed before.
    pub(crate) fn redirect(&self, url: &Url, location: &[u8], hops: u32) -> Result<Url, Refusal> {
        if hops >= self.max_redirects {
            return Err(Refusal::new(
                Outcome::TooManyRedirects,
                format!("more than {} redirects", self.max_redirects),
            ));
        }
        let bad = |why: String| Refusal::new(Outcome::BadUrl, format!("bad redirect: {why}"));
        let location = std::str::from_utf8(location).map_err(|error| bad(error.to_string()))?;
        if location.len() > MAX_URL_BYTES {
            return Err(bad(format!("{} bytes", location.len())));
        }
        let next = url.join(location).map_err(|error| bad(error.to_string()))?;
        self.admit_http(next)
    }

    fn admit_http(&self, mut url: Url) -> Result<Url, Refusal> {
        // No redirect leads to a `data:` URL, wherever those are allowed as input.
        let web = [Scheme::Http, Scheme::Https];
        let scheme = web
            .into_iter()
            .find(|scheme| scheme.as_str() == url.scheme());
        if scheme.is_none_or(|scheme| !self.schemes.contains(&scheme)) {
            return Err(self.scheme_not_allowed(url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Refusal::new(Outcome::BadUrl, "no host"));
        }
        // Somebody's credentials in a scraped URL are not ours to send.
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| Refusal::new(Outcome::BadUrl, "no host"))?;
        url.set_fragment(None);
        Ok(url)
    }

    fn scheme_not_allowed(&self, got: &str) -> Refusal {
        let allowed: Vec<_> = self.schemes.iter().map(|scheme| scheme.as_str()).collect();
        let got: String = got.chars().take(20).collect();
        Refusal::new(
            Outcome::SchemeNotAllowed,
            format!("got `{got}:`, expected one of {}", allowed.join(", ")),
        )
    }

    /// How long to wait before another attempt, or `None` where `outcome` is final after
    /// `attempts` attempts.
    pub(crate) fn pause(&self, outcome: Outcome, attempts: u32) -> Option<Duration> {
        // The deadline covers all attempts: once it has passed there is no time for another.
        if attempts > self.retries || !outcome.is_transient() || outcome == Outcome::TimedOut {
            return None;
        }
        let ceiling = FIRST_PAUSE.saturating_mul(1 << (attempts.saturating_sub(1)).min(6));
        // Half fixed, half random: rows that failed together must not come back together.
        let jitter = RandomState::new().hash_one(attempts) % 1024;
        Some(ceiling / 2 + ceiling.mul_f64(f64::from(u16::try_from(jitter).unwrap_or(0)) / 2048.0))
    }
}

#[cfg(test)]
mod tests;
