//! How fast a host takes requests, where it said that they came too fast.

use std::time::{Duration, Instant};

/// Good answers are counted in spans of this length: few hosts limit anything shorter.
const SPAN: Duration = Duration::from_secs(1);
/// A rate is never less, per second.
const SLOWEST: f64 = 0.1;
/// The rate, per second, that was too much for a host of which no good answer came yet.
const UNKNOWN: f64 = 10.0;
/// Of the rate before it was halved, so much comes back each second: all of it in ten.
const GROWTH: f64 = 0.05;

/// Requests per second: halved when the host says that they are too many, and more again with every
/// second (additive increase, multiplicative decrease). It grows without end, so that a host that
/// limits no longer is slow no longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Per second, at `since`.
    rate: f64,
    /// By so much it grows each second.
    growth: f64,
    since: Instant,
}

impl Pace {
    /// The first one: half of the rate at which `answers` came.
    pub(super) fn after(answers: Answers, now: Instant) -> Self {
        let rate = answers.rate();
        Self::half_of(if rate > 0.0 { rate } else { UNKNOWN }, now)
    }

    /// Half of this one, or of the rate at which `answers` came, where they were fewer.
    pub(super) fn slower(&self, answers: Answers, now: Instant) -> Self {
        Self::half_of(self.rate(now).min(answers.rate()), now)
    }

    fn half_of(rate: f64, now: Instant) -> Self {
        let rate = rate.max(2.0 * SLOWEST);
        Self {
            rate: rate / 2.0,
            growth: rate * GROWTH,
            since: now,
        }
    }

    /// Requests per second at `now`.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.rate + self.growth * seconds
    }

    /// Between the starts of two requests at `now`.
    pub(super) fn interval(&self, now: Instant) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate(now))
    }

    /// Whether a request that began then says something about this pace, not about the one before.
    pub(super) fn began_before(&self, request: Instant) -> bool {
        self.since <= request
    }
}

/// Good answers: all, and those of this span of time and of the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    since: Option<Instant>,
    now: u32,
    before: u32,
    all: u32,
}

impl Answers {
    /// Counts one.
    pub(super) fn count(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= SPAN {
            self.before = if passed < 2 * SPAN { self.now } else { 0 };
            self.now = 0;
            self.since = Some(now);
        }
        self.now = self.now.saturating_add(1);
        self.all = self.all.saturating_add(1);
    }

    /// How many there were.
    pub(super) fn all(&self) -> u32 {
        self.all
    }

    /// How many come in a second.
    pub(super) fn rate(&self) -> f64 {
        f64::from(self.now.max(self.before)) / SPAN.as_secs_f64()
    }
}
