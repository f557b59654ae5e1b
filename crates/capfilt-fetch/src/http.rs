//! One HTTP request at a time, and what its failures mean. Redirects and further attempts are the
//! fetcher's: nothing is followed or repeated here, so that every hop passes the policy.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::Resolve;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION,
    RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::{Client, ClientBuilder, Proxy, redirect};
use url::Url;

use crate::FetchError;
use crate::clock::Clock;
use crate::coding;
use crate::memory::Reserved;
use crate::opt_out::host_key;
use crate::options::FetchOptions;
use crate::outcome::Outcome;
use crate::policy::Refusal;
use crate::resolve::{ForbiddenAddress, Guard};
use crate::retry::retry_after;
use crate::tags::PRODUCT;
use crate::units::Timeout;

/// What the decoders read, first; anything else is looked at all the same.
const ACCEPTED: HeaderValue =
    HeaderValue::from_static("image/jpeg,image/png,image/webp,image/gif,image/*;q=0.5,*/*;q=0.1");

/// A body grows from here; what a server declares is not taken on its word.
const FIRST_CAPACITY: usize = 64 << 10;

const POOL_IDLE: Duration = Duration::from_secs(20);
/// HTTP/2 windows: a picture of usual size comes without a pause, and a stream cannot have more
/// than this in memory before it is read.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Header lines of one answer. Their bytes are bounded too: over HTTP/1 by what the library reads of
/// a head, 400 to 800 KiB, and over HTTP/2 by this.
const MOST_HEADERS: usize = 1_000;
const MOST_HEADER_BYTES: u32 = 400 << 10;

/// Puts the guard into a client; tests put something in between.
pub(crate) type Connect<'a> = &'a dyn Fn(ClientBuilder, Arc<dyn Resolve>) -> ClientBuilder;

/// Connection pools.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    verified: Client,
    unverified: Client,
    unverified_hosts: Vec<String>,
    first_byte: Timeout,
    idle: Timeout,
}

/// What a server said before its body.
#[derive(Debug)]
pub(crate) struct Head {
    response: reqwest::Response,
}

/// How much of a body is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// All of it; a longer one is refused.
    All(u64),
    /// Its beginning.
    Beginning(u64),
}

impl Http {
    pub(crate) fn new(
        options: &FetchOptions,
        guard: &Guard,
        connect: Connect<'_>,
    ) -> Result<Self, FetchError> {
        // Whoever installed another provider before keeps it: any does here.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let user_agent = user_agent(options.contact.as_deref())?;
        let proxy = options.proxy.as_deref().map(proxy).transpose()?;
        let builder = || {
            let builder = Client::builder()
                .user_agent(user_agent.clone())
                .default_headers(HeaderMap::from_iter([
                    (ACCEPT, ACCEPTED),
                    (ACCEPT_ENCODING, coding::ASKED),
                ]))
                .no_proxy()
                .referer(false)
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                // `coding` does it, whatever features others switch on.
                .no_gzip()
                .no_deflate()
                .no_brotli()
                .no_zstd()
                .tcp_nodelay(true)
                .connect_timeout(options.connect_timeout.0)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(options.per_host.get())
                .http1_max_headers(MOST_HEADERS)
                .http1_ignore_invalid_headers_in_responses(true)
                .http1_allow_obsolete_multiline_headers_in_responses(true)
                .http1_allow_spaces_after_header_name_in_responses(true)
                .http2_max_header_list_size(MOST_HEADER_BYTES)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW);
            match &proxy {
                // The only name that is looked up here is then the proxy's own, which the pipeline
                // named.
                Some(proxy) => builder.proxy(proxy.clone()),
                None => connect(builder, Arc::new(guard.clone())),
            }
        };
        let verified = builder().build().or_else(|error| {
            tracing::warn!(
                error = chain(&error),
                "no certificate authorities on this system: every https fetch will fail"
            );
            builder().tls_certs_only([]).build()
        });
        let unverified = builder().tls_danger_accept_invalid_certs(true).build();
        Ok(Self {
            verified: verified.map_err(FetchError::Client)?,
            unverified: unverified.map_err(FetchError::Client)?,
            unverified_hosts: options
                .unverified_hosts
                .iter()
                .map(|host| host_key(host))
                .collect(),
            first_byte: options.first_byte_timeout,
            idle: options.idle_timeout,
        })
    }

    /// Sends one GET and reads up to the end of the head.
    pub(crate) async fn get(&self, url: &Url, clock: &mut Clock) -> Result<Head, Refusal> {
        let host = host_key(url.host_str().unwrap_or_default());
        let client = if self.unverified_hosts.contains(&host) {
            &self.unverified
        } else {
            &self.verified
        };
        let sent = client.get(url.clone()).send();
        match clock.within(self.first_byte, "answer", sent).await? {
            Ok(response) => Ok(Head { response }),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Reads the body, no further than the limit, and undoes its codings; `received` counts the
    /// bytes as they come.
    pub(crate) async fn body(
        &self,
        head: Head,
        limit: Limit,
        reserved: &mut Reserved,
        clock: &mut Clock,
        received: &mut u64,
    ) -> Result<Bytes, Refusal> {
        let mut response = head.response;
        let (body, cut) = self
            .transfer(&mut response, limit, reserved, clock, received)
            .await?;
        coding::undone(body, cut, response.headers(), limit, reserved).await
    }

    /// Reads the body as it comes, and whether it is only its beginning.
    async fn transfer(
        &self,
        response: &mut reqwest::Response,
        limit: Limit,
        reserved: &mut Reserved,
        clock: &mut Clock,
        received: &mut u64,
    ) -> Result<(Bytes, bool), Refusal> {
        let (Limit::All(most) | Limit::Beginning(most)) = limit;
        let declared = declared(response.headers());
        if let (Some(declared), Limit::All(most)) = (declared, limit)
            && declared > most
        {
            return Err(too_large(most, &format!("{declared} bytes declared")));
        }
        // Room is reserved for what is declared, and made as it comes.
        let room = declared.unwrap_or(0).max(FIRST_CAPACITY as u64);
        reserved.grow(room.min(most)).await;
        let mut body = BytesMut::new();
        while declared != Some(*received) {
            let chunk = clock.within(self.idle, "further bytes", response.chunk());
            let Some(mut chunk) = chunk.await?.map_err(|error| refusal(&error))? else {
                break;
            };
            if let Some(declared) = declared {
                let left = usize::try_from(declared - *received).unwrap_or(usize::MAX);
                chunk.truncate(left);
            }
            *received += chunk.len() as u64;
            if *received > most {
                return match limit {
                    Limit::All(most) => {
                        Err(too_large(most, &format!("at least {received} bytes sent")))
                    }
                    Limit::Beginning(_) => Ok((body.freeze(), true)),
                };
            }
            let needed = body.len() + chunk.len();
            if needed > body.capacity() {
                let capacity = needed.max(2 * body.capacity()).max(FIRST_CAPACITY);
                // What is declared is the end, if it is true.
                let capacity = match declared.and_then(|declared| usize::try_from(declared).ok()) {
                    Some(declared) if declared >= needed => capacity.min(declared),
                    _ => capacity,
                };
                reserved.grow(capacity as u64).await;
                body.reserve(capacity - body.len());
            }
            body.extend_from_slice(&chunk);
        }
        match declared {
            Some(declared) if *received < declared => Err(Refusal::new(
                Outcome::Broken,
                format!("closed after {received} of {declared} bytes"),
            )),
            _ => Ok((body.freeze(), false)),
        }
    }
}

/// The length that a head declares. Where the transfer has a coding, a length says nothing (RFC
/// 9112, 6.3); `identity` is none, though the HTTP library takes it for one and reads to the end of
/// the connection.
fn declared(headers: &HeaderMap) -> Option<u64> {
    let is_identity = |value: &HeaderValue| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"identity")
    };
    if !headers.get_all(TRANSFER_ENCODING).iter().all(is_identity) {
        return None;
    }
    let values = headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let first = lengths.next()?.trim();
    let same = lengths.all(|length| length.trim() == first);
    first.parse().ok().filter(|_| same)
}

/// Says who asks. Nobody else's name is borrowed.
fn user_agent(contact: Option<&str>) -> Result<HeaderValue, FetchError> {
    let product = format!("{PRODUCT}/{}", env!("CARGO_PKG_VERSION"));
    let text = match contact {
        Some(contact) => {
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '(' | ')');
            if contact.is_empty() || !contact.chars().all(plain) {
                return Err(FetchError::Contact(contact.to_owned()));
            }
            format!("{product} (+{contact})")
        }
        None => product,
    };
    HeaderValue::from_str(&text).map_err(|_| FetchError::Contact(text))
}

fn proxy(written: &str) -> Result<Proxy, FetchError> {
    let bad = || FetchError::Proxy(written.to_owned());
    let url = Url::parse(written).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad());
    }
    Proxy::all(url).map_err(|_| bad())
}

impl Head {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Where the answer came from.
    pub(crate) fn peer(&self) -> Option<std::net::IpAddr> {
        Some(self.response.remote_addr()?.ip())
    }

    /// The pause that the answer asks for.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let value = self.headers().get(RETRY_AFTER)?.to_str().ok()?;
        retry_after(value, std::time::SystemTime::now())
    }

    /// Where the answer says to look instead.
    pub(crate) fn location(&self) -> Option<&[u8]> {
        if !matches!(self.status(), 300..=303 | 307 | 308) {
            return None;
        }
        let location = self.headers().get(LOCATION)?.as_bytes();
        (!location.is_empty()).then_some(location)
    }

    /// Whether the answer is a part of what was asked for, or may be: no part was.
    pub(crate) fn is_part(&self) -> bool {
        let range = || self.headers().get(CONTENT_RANGE)?.to_str().ok();
        self.status() == 206 && !range().is_some_and(is_whole)
    }
}

/// Whether a `Content-Range` is that of the whole, like `bytes 0-99/100`.
fn is_whole(range: &str) -> bool {
    let whole = || {
        let (part, size) = range.trim().strip_prefix("bytes 0-")?.split_once('/')?;
        let last: u64 = part.trim().parse().ok()?;
        Some(last.checked_add(1)? == size.trim().parse::<u64>().ok()?)
    };
    whole() == Some(true)
}

pub(crate) fn too_large(limit: u64, got: &str) -> Refusal {
    Refusal::new(Outcome::TooLarge, format!("{got}, at most {limit} allowed"))
}

/// The class of a failure, by the types of its causes and never by their words.
fn refusal(error: &reqwest::Error) -> Refusal {
    let outcome = if error.is_builder() {
        Outcome::BadUrl
    } else if causes(error).any(<dyn Error>::is::<ForbiddenAddress>) {
        Outcome::ForbiddenAddress
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
