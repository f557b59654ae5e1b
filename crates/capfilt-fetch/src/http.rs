//! One HTTP request at a time, and what its failures mean. Redirects and further attempts are the
//! fetcher's: nothing is followed or repeated here, so that every hop passes the policy.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect;
use url::Url;

use crate::FetchError;
use crate::outcome::Outcome;
use crate::policy::Refusal;

/// Says who asks. Nobody else's name is borrowed.
const USER_AGENT: &str = concat!("capfilt/", env!("CARGO_PKG_VERSION"));

/// What the decoders read, first; anything else is looked at all the same.
const ACCEPTED: HeaderValue =
    HeaderValue::from_static("image/jpeg,image/png,image/webp,image/gif,image/*;q=0.5,*/*;q=0.1");

/// A body grows from here; what a server declares is not reserved on its word.
const FIRST_CAPACITY: u64 = 256 << 10;

const POOL_IDLE: Duration = Duration::from_secs(20);

/// A connection pool.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    max_size: u64,
}

/// What a server said before its body.
pub(crate) struct Head {
    response: reqwest::Response,
}

impl Http {
    pub(crate) fn new(max_size: u64, idle_per_host: usize) -> Result<Self, FetchError> {
        // Whoever installed another provider before keeps it: any does here.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .default_headers(HeaderMap::from_iter([(ACCEPT, ACCEPTED)]))
                .no_proxy()
                .referer(false)
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(idle_per_host)
        };
        let client = builder().build().or_else(|error| {
            tracing::warn!(
                error = chain(&error),
                "no certificate authorities on this system: every https fetch will fail"
            );
            builder().tls_certs_only([]).build()
        });
        Ok(Self {
            client: client.map_err(FetchError::Client)?,
            max_size,
        })
    }

    /// Sends one GET and reads up to the end of the head.
    pub(crate) async fn get(&self, url: &Url) -> Result<Head, Refusal> {
        match self.client.get(url.clone()).send().await {
            Ok(response) => Ok(Head { response }),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Reads the body, no further than the limit; `received` counts the bytes as they come.
    pub(crate) async fn body(&self, head: Head, received: &mut u64) -> Result<Bytes, Refusal> {
        let mut response = head.response;
        let declared = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let Some(declared) = declared.filter(|declared| *declared > self.max_size) {
            return Err(too_large(
                self.max_size,
                &format!("{declared} bytes declared"),
            ));
        }
        let capacity = declared.unwrap_or(0).min(FIRST_CAPACITY);
        let mut body = BytesMut::with_capacity(usize::try_from(capacity).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|error| refusal(&error))? {
            *received += chunk.len() as u64;
            if *received > self.max_size {
                return Err(too_large(
                    self.max_size,
                    &format!("at least {received} bytes sent"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl Head {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Where the answer says to look instead.
    pub(crate) fn location(&self) -> Option<&[u8]> {
        if matches!(self.status(), 301 | 302 | 303 | 307 | 308) {
            self.response
                .headers()
                .get(LOCATION)
                .map(HeaderValue::as_bytes)
        } else {
            None
        }
    }
}

pub(crate) fn too_large(limit: u64, got: &str) -> Refusal {
    Refusal::new(Outcome::TooLarge, format!("{got}, at most {limit} allowed"))
}

/// The class of a failure, by the types of its causes and never by their words.
fn refusal(error: &reqwest::Error) -> Refusal {
    let outcome = if error.is_builder() {
        Outcome::BadUrl
    } else if error.is_timeout() {
        Outcome::TimedOut
    } else if error.is_dns() {
        Outcome::Dns
    } else if causes(error).any(<dyn Error>::is::<rustls::Error>) {
        Outcome::Tls
    } else if error.is_connect() {
        Outcome::Connect
    } else {
        Outcome::Broken
    };
    Refusal::new(outcome, chain(error))
}

/// The causes of an error, outermost first. An [`io::Error`] hides the one that it wraps.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause_of(*cause))
}

fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The causes as one line. The URL stands in a column of its own, so it is left out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = if text.is_empty() {
                cause
            } else {
                format!("{text}: {cause}")
            };
        }
    }
    if text.is_empty() {
        "the request failed".to_owned()
    } else {
        text
    }
}
