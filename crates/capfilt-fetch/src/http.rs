//! One HTTP request at a time, and what its failures mean. Redirects and further attempts are the
//! fetcher's: nothing is followed or repeated here, so that every hop passes the policy.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::Resolve;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Proxy, redirect};
use url::Url;

use crate::FetchError;
use crate::clock::Clock;
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
                .default_headers(HeaderMap::from_iter([(ACCEPT, ACCEPTED)]))
                .no_proxy()
                .referer(false)
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
                .connect_timeout(options.connect_timeout.0)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(options.per_host.get())
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

    /// Reads the body, no further than the limit; `received` counts the bytes as they come.
    pub(crate) async fn body(
        &self,
        head: Head,
        limit: Limit,
        reserved: &mut Reserved,
        clock: &mut Clock,
        received: &mut u64,
    ) -> Result<Bytes, Refusal> {
        let (Limit::All(most) | Limit::Beginning(most)) = limit;
        let mut response = head.response;
        let declared = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let (Some(declared), Limit::All(most)) = (declared, limit)
            && declared > most
        {
            return Err(too_large(most, &format!("{declared} bytes declared")));
        }
        // Room is reserved for what is declared, and made as it comes.
        let room = declared.unwrap_or(0).max(FIRST_CAPACITY as u64);
        reserved.grow(room.min(most)).await;
        let mut body = BytesMut::new();
        loop {
            let chunk = clock.within(self.idle, "further bytes", response.chunk());
            let Some(chunk) = chunk.await?.map_err(|error| refusal(&error))? else {
                return Ok(body.freeze());
            };
            *received += chunk.len() as u64;
            if *received > most {
                return match limit {
                    Limit::All(most) => {
                        Err(too_large(most, &format!("at least {received} bytes sent")))
                    }
                    Limit::Beginning(_) => Ok(body.freeze()),
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
    }
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
