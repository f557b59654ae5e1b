//! Why something was removed.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, transient: $transient:literal;)+) => {
        /// Why a row left the pipeline, or why a text of it was removed: a closed set, stored
        /// under its kebab-case name in `scored.reject` and `rejected.reason`.
        #[derive(
            Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd,
            Serialize,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum Reject {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reject {
            /// Every reason, in the order of the declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stored name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Whether trying again may well end otherwise.
            pub const fn is_transient(self) -> bool {
                match self {
                    $(Self::$name => $transient,)+
                }
            }
        }
    };
}

reasons! {
    /// The row has neither a URL nor a picture.
    MissingUrl = "missing-url", transient: false;
    /// The row has no picture, and no stage fetches one.
    MissingImage = "missing-image", transient: false;
    /// A value of the row is not what its column declares: a text that is no UTF-8, or a time that its
    /// type cannot hold. Where it is the web text, only that goes.
    BadValue = "bad-value", transient: false;
    /// The URL cannot be read, or names no host.
    BadUrl = "bad-url", transient: false;
    /// The URL, or one it redirects to, has a scheme that is not allowed.
    SchemeNotAllowed = "scheme-not-allowed", transient: false;
    /// A `file:` URL leads out of the folder that was named, or an object store's URL out of the
    /// buckets that were.
    OutsideFolder = "outside-folder", transient: false;
    /// The host has no address that may be reached.
    ForbiddenAddress = "forbidden-address", transient: false;
    /// A list of opt-outs has the domain or the URL.
    OptedOut = "opted-out", transient: false;
    /// The origin's robots.txt disallows it.
    RobotsTxt = "robots-txt", transient: false;
    /// The origin's robots.txt could not be had, so that nothing is allowed for now.
    RobotsUnreachable = "robots-unreachable", transient: true;
    /// The answer's `X-Robots-Tag` refuses.
    RobotsTag = "robots-tag", transient: false;
    /// Rights to text and data mining are reserved (`TDMRep`).
    TdmReserved = "tdm-reserved", transient: false;
    /// There is nothing at the URL (HTTP 404).
    NotFound = "not-found", transient: false;
    /// There is nothing at the URL any more (HTTP 410).
    Gone = "gone", transient: false;
    /// The picture may not be read.
    Forbidden = "forbidden", transient: false;
    /// The host asked for fewer requests (HTTP 429).
    TooManyRequests = "too-many-requests", transient: true;
    /// The host was not asked: it kept failing, or refusing requests, for longer than it is waited for.
    HostSuspended = "host-suspended", transient: true;
    /// The host failed (HTTP 408 or 5xx).
    ServerError = "server-error", transient: true;
    /// Any other HTTP status that brings no picture.
    UnexpectedStatus = "unexpected-status", transient: false;
    /// More redirects than the limit.
    TooManyRedirects = "too-many-redirects", transient: false;
    /// The fetch took longer than its deadline.
    TimedOut = "timed-out", transient: true;
    /// The picture has more bytes than the limit.
    TooLarge = "too-large", transient: false;
    /// The answer declares a content type that is not accepted.
    ContentType = "content-type", transient: false;
    /// The host name did not resolve.
    Dns = "dns", transient: true;
    /// No connection to the host.
    Connect = "connect", transient: true;
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls = "tls", transient: false;
    /// The connection or the file broke off.
    Broken = "broken", transient: true;
    /// The picture has no bytes.
    Empty = "empty", transient: false;
    /// The bytes are no picture.
    NotAnImage = "not-an-image", transient: false;
    /// A picture of a kind that is not read.
    Unsupported = "unsupported", transient: false;
    /// The picture declares more pixels than the limit.
    TooManyPixels = "too-many-pixels", transient: false;
    /// The picture ends too early.
    Truncated = "truncated", transient: false;
    /// The picture contradicts itself.
    Corrupt = "corrupt", transient: false;
    /// A side of the picture is shorter than the limit.
    TooSmall = "too-small", transient: false;
    /// A picture before this one is the same, or looks the same.
    Duplicate = "duplicate", transient: false;
    /// A picture of an evaluation set is the same, or looks the same.
    EvaluationSet = "evaluation-set", transient: false;
    /// Somebody asked for the row to be taken out (`capfilt remove`); only its id is left.
    Removed = "removed", transient: false;
    /// A `where` stage dropped the row.
    Where = "where", transient: false;
    /// A `where-text` stage dropped the web text; the row stays.
    WhereText = "where-text", transient: false;
    /// The caption's score is not above `[keep] threshold`.
    BelowThreshold = "below-threshold", transient: false;
    /// The caption does not meet `[keep] where`.
    NotKept = "not-kept", transient: false;
    /// The captioner wrote nothing.
    NoWords = "no-words", transient: false;
}

impl Reject {
    /// Whether the reason takes a caption away, rather than the whole row.
    pub const fn is_about_a_caption(self) -> bool {
        matches!(
            self,
            Self::WhereText | Self::BelowThreshold | Self::NotKept | Self::NoWords
        )
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{got}` is no reject reason")]
pub struct UnknownReject {
    got: String,
}

impl FromStr for Reject {
    type Err = UnknownReject;

    fn from_str(text: &str) -> Result<Self, UnknownReject> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| UnknownReject {
                got: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests;
