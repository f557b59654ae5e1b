//! When to try again, and how often in all.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The longest pause before the second attempt; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer, whatever the attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Further attempts that each first attempt pays for: a network that fails as a whole is not asked
/// several times as often.
const SHARE: f64 = 0.2;
/// Further attempts that may come at once.
const MOST_SAVED: f64 = 100.0;

/// Pause after `attempts` attempts: exponential, with full jitter (a draw between nothing and the
/// longest), so that rows that failed together do not come back together.
pub(crate) fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let longest = FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE);
    let draw = RandomState::new().hash_one(attempts) >> 40;
    longest.mul_f64(f64::from(u32::try_from(draw).unwrap_or(0)) / f64::from(1 << 24))
}

/// How long a server asks to wait: seconds, or a date (RFC 9110, 10.2.3).
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// What all rows together may spend on further attempts.
#[derive(Debug)]
pub(crate) struct RetryBudget(Mutex<f64>);

impl RetryBudget {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(MOST_SAVED))
    }

    /// Counts a first attempt.
    pub(crate) fn save(&self) {
        let mut saved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *saved = (*saved + SHARE).min(MOST_SAVED);
    }

    /// Takes one further attempt, if there is one.
    pub(crate) fn spend(&self) -> bool {
        let mut saved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *saved >= 1.0;
        if enough {
            *saved -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests;
