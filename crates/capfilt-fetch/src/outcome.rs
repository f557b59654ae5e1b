//! How a fetch ended.

use std::fmt;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a fetch ended: a closed set, stored in the `fetch` column under its kebab-case name.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The bytes are there, all of them, within the limits. They may still be no picture.
    Ok,
    /// The URL cannot be read, or names no host.
    BadUrl,
    /// The URL, or one it redirects to, has a scheme that is not allowed.
    SchemeNotAllowed,
    /// A `file:` URL leads out of the folder that was named, or an object store's URL out of the
    /// buckets that were.
    OutsideFolder,
    /// The host, or one it redirects to, has no address that may be reached.
    ForbiddenAddress,
    /// A list of opt-outs has the domain or the URL.
    OptedOut,
    /// The origin's robots.txt disallows it.
    RobotsTxt,
    /// The origin's robots.txt could not be had, so that nothing is allowed for now.
    RobotsUnreachable,
    /// The answer's `X-Robots-Tag` refuses.
    RobotsTag,
    /// Rights to text and data mining are reserved (`TDMRep`).
    TdmReserved,
    /// HTTP 404, or a file that is not there.
    NotFound,
    /// HTTP 410.
    Gone,
    /// HTTP 401, 402, 403, 407 or 451, or a file that may not be read.
    Forbidden,
    /// HTTP 429, or the host asked for a longer pause than a row may take.
    TooManyRequests,
    /// The host was not asked: it kept failing, or refusing requests, for longer than it is waited
    /// for.
    HostSuspended,
    /// HTTP 408 or 5xx.
    ServerError,
    /// Any other HTTP status that brings no picture.
    UnexpectedStatus,
    /// More redirects than the limit.
    TooManyRedirects,
    /// The deadline passed.
    TimedOut,
    /// More bytes than the limit, declared or sent, before or after decompression.
    TooLarge,
    /// The answer declares a type that is not accepted.
    ContentType,
    /// The host name did not resolve.
    Dns,
    /// No connection to the host.
    Connect,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The connection or the file broke off, or the answer is not HTTP.
    Broken,
}

impl Outcome {
    /// Every outcome, in the order of the declaration.
    pub const ALL: [Self; 25] = [
        Self::Ok,
        Self::BadUrl,
        Self::SchemeNotAllowed,
        Self::OutsideFolder,
        Self::ForbiddenAddress,
        Self::OptedOut,
        Self::RobotsTxt,
        Self::RobotsUnreachable,
        Self::RobotsTag,
        Self::TdmReserved,
        Self::NotFound,
        Self::Gone,
        Self::Forbidden,
        Self::TooManyRequests,
        Self::HostSuspended,
        Self::ServerError,
        Self::UnexpectedStatus,
        Self::TooManyRedirects,
        Self::TimedOut,
        Self::TooLarge,
        Self::ContentType,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Broken,
    ];

    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BadUrl => "bad-url",
            Self::SchemeNotAllowed => "scheme-not-allowed",
            Self::OutsideFolder => "outside-folder",
            Self::ForbiddenAddress => "forbidden-address",
            Self::OptedOut => "opted-out",
            Self::RobotsTxt => "robots-txt",
            Self::RobotsUnreachable => "robots-unreachable",
            Self::RobotsTag => "robots-tag",
            Self::TdmReserved => "tdm-reserved",
            Self::NotFound => "not-found",
            Self::Gone => "gone",
            Self::Forbidden => "forbidden",
            Self::TooManyRequests => "too-many-requests",
            Self::HostSuspended => "host-suspended",
            Self::ServerError => "server-error",
            Self::UnexpectedStatus => "unexpected-status",
            Self::TooManyRedirects => "too-many-redirects",
            Self::TimedOut => "timed-out",
            Self::TooLarge => "too-large",
            Self::ContentType => "content-type",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Broken => "broken",
        }
    }

    /// Whether the same URL may well answer another time.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::TooManyRequests
            | Self::HostSuspended
            | Self::RobotsUnreachable
            | Self::ServerError
            | Self::TimedOut
            | Self::Dns
            | Self::Connect
            | Self::Broken => true,
            Self::Ok
            | Self::BadUrl
            | Self::SchemeNotAllowed
            | Self::OutsideFolder
            | Self::ForbiddenAddress
            | Self::OptedOut
            | Self::RobotsTxt
            | Self::RobotsTag
            | Self::TdmReserved
            | Self::NotFound
            | Self::Gone
            | Self::Forbidden
            | Self::UnexpectedStatus
            | Self::TooManyRedirects
            | Self::TooLarge
            | Self::ContentType
            | Self::Tls => false,
        }
    }

    /// What an HTTP status means, redirects aside.
    pub const fn of_status(status: u16) -> Self {
        match status {
            // Neither has a body.
            204 | 205 => Self::UnexpectedStatus,
            200..=299 => Self::Ok,
            401 | 402 | 403 | 407 | 451 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::Gone,
            429 => Self::TooManyRequests,
            408 | 500..=599 => Self::ServerError,
            _ => Self::UnexpectedStatus,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of one URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetched {
    /// How it ended.
    pub outcome: Outcome,
    /// Status of the last HTTP answer.
    pub status: Option<u16>,
    /// Bytes of body received in the last attempt, also where they were then refused.
    pub bytes: u64,
    /// Attempts made: 0 where the URL was refused before any.
    pub attempts: u32,
    /// Where the last HTTP answer came from, after redirects.
    pub final_url: Option<String>,
    /// Milliseconds of the attempts and the pauses between them, waiting for a slot, for memory or
    /// for an origin's rules not included.
    pub ms: u64,
    /// The bytes; present exactly when the outcome is [`Outcome::Ok`].
    pub body: Option<Bytes>,
    /// What happened, for people, where the outcome is not [`Outcome::Ok`].
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests;
