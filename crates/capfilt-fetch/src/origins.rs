//! What origins say of all their pictures: robots.txt and `tdmrep.json`, each asked for once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;
use url::Url;

use crate::outcome::Outcome;
use crate::policy::Refusal;
use crate::robots::Rules;
use crate::tdm::Reservations;

/// What was read is good for a day (RFC 9309, 2.4).
const FRESH: Duration = Duration::from_hours(24);
/// Bytes of rules that are kept, for each of the two files.
const KEPT: u64 = 32 << 20;

/// Of a file, at most this much is read: RFC 9309 has the first 500 KiB count.
pub(crate) const MAX_FILE: u64 = (500 << 10) + 1;
/// Redirects that are followed for such a file (RFC 9309, 2.3.1.2: at least five).
pub(crate) const MAX_REDIRECTS: u32 = 5;

/// The rules of origins.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    robots: Cache<String, Arc<Rules>>,
    tdm: Cache<String, Arc<Reservations>>,
}

/// What came of asking for such a file.
#[derive(Debug)]
pub(crate) enum File {
    /// Its content, or the beginning of it.
    Content(Bytes),
    /// There is none: a 4xx, or redirects without end.
    None,
    /// No answer, or a 5xx.
    Unreachable(Refusal),
}

struct KeepFor {
    unreachable: Duration,
}

impl Expiry<String, Arc<Rules>> for KeepFor {
    fn expire_after_create(&self, _: &String, rules: &Arc<Rules>, _: Instant) -> Option<Duration> {
        Some(match **rules {
            Rules::Known(_) => FRESH,
            Rules::Unreachable(_) => self.unreachable,
        })
    }
}

impl Origins {
    /// An origin whose file could not be had is not asked again for so long. (Its host is suspended
    /// besides, when that goes on.)
    pub(crate) fn new(unreachable: Duration) -> Self {
        let weight =
            |key: &String, size: usize| u32::try_from(key.len() + size + 64).unwrap_or(u32::MAX);
        Self {
            robots: Cache::builder()
                .max_capacity(KEPT)
                .weigher(move |key, rules: &Arc<Rules>| weight(key, rules.size()))
                .expire_after(KeepFor { unreachable })
                .build(),
            tdm: Cache::builder()
                .max_capacity(KEPT)
                .weigher(move |key, rules: &Arc<Reservations>| weight(key, rules.size()))
                .time_to_live(FRESH)
                .build(),
        }
    }

    /// Whether the robots.txt of `url`'s origin lets it be fetched. `ask` gets the file; of many
    /// rows that need it at once, one asks.
    pub(crate) async fn robots<F: Future<Output = File>>(
        &self,
        url: &Url,
        ask: impl FnOnce(Url) -> F,
    ) -> Result<(), Refusal> {
        let Some(file) = well_known(url, "/robots.txt") else {
            return Ok(());
        };
        let read = async {
            Arc::new(match ask(file).await {
                File::Content(content) => Rules::parse(&content),
                File::None => Rules::none(),
                File::Unreachable(why) => Rules::unreachable(&why),
            })
        };
        self.robots.get_with(origin(url), read).await.check(url)
    }

    /// Whether the `tdmrep.json` of `url`'s origin reserves the rights to it.
    pub(crate) async fn reserves<F: Future<Output = File>>(
        &self,
        url: &Url,
        ask: impl FnOnce(Url) -> F,
    ) -> bool {
        let Some(file) = well_known(url, "/.well-known/tdmrep.json") else {
            return false;
        };
        let read = async {
            Arc::new(match ask(file).await {
                File::Content(content) => Reservations::parse(&content),
                // What is not said is not reserved.
                File::None | File::Unreachable(_) => Reservations::none(),
            })
        };
        let rules = self.tdm.get_with(origin(url), read).await;
        rules.reserve(&url[url::Position::BeforePath..url::Position::AfterQuery])
    }
}

impl File {
    /// What a refusal on the way to the file means.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        match refusal.outcome {
            Outcome::NotFound
            | Outcome::Gone
            | Outcome::Forbidden
            | Outcome::UnexpectedStatus
            | Outcome::TooManyRequests
            | Outcome::TooManyRedirects => Self::None,
            _ => Self::Unreachable(refusal),
        }
    }
}

/// Scheme, host and port, as one text.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn well_known(url: &Url, path: &str) -> Option<Url> {
    url.join(path).ok()
}
