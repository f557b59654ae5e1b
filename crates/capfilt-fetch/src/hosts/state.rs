//! What is known of one host, and whether it may be asked now.
//!
//! ```text
//!               many failures in a row, or "too many requests"
//!      open ────────────────────────────────────────────────────▶ suspended
//!       ▲                                                          │     ▲
//!       │ it answers                                time is over   │     │ it fails again:
//!       │                                                          ▼     │ a longer time
//!       └──────────────────────────────────────────────────────── probed ┘
//! ```
//!
//! Rows wait for a suspended host, but no longer than the pipeline says, in all suspensions together.
//! Nothing here looks at a clock: the time is handed in.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use super::pace::{Answers, Pace};
use crate::options::FetchOptions;
use crate::outcome::Outcome;
use crate::policy::Refusal;

/// A host is suspended after this many failures in a row, or twice as many as it may have requests
/// in flight, whichever is more: all requests of a moment failing is not yet a pattern.
const FAILURES: u32 = 10;
/// A host is suspended for so long at first, or for a 64th of what it is waited for, whichever is
/// less: then it is probed at least six times. It doubles with every probe that brings no answer. One
/// that is answered 5xx may have met a bad picture: it grows by a fifth then, so that many are drawn
/// before the host is given up.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(10);
/// Who drew the right to probe has so long to do it: then anyone may. Long enough for a busy machine,
/// on which those that look first would be the first ones in the shard, whatever was drawn.
const TURN: Duration = Duration::from_secs(1);
/// While a host is probed, rows that wait look again at least so often.
const LOOK: Duration = Duration::from_secs(10);
/// So many good answers make up for all that a host was waited for.
const MAKE_UP: u32 = 20;
/// One failure in a row is allowed for so many good answers, if it was an answer, too: of a host that
/// gave hundreds, dozens of bad pictures may stand together.
const GOOD: u32 = 4;
/// Where suspensions turn out to be needless (its bad pictures stand together), more failures
/// are needed for the next, doubled at most so often.
const NEEDLESS: u32 = 4;

/// What holds for each host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In a row, after which a host is suspended.
    failures: u32,
    /// Between the starts of two requests to one host.
    interval: Option<Duration>,
    /// Longer pauses that a host asks for are not waited for.
    patience: Duration,
    /// The most time that rows wait for a suspended host.
    wait: Duration,
}

impl Limits {
    pub(super) fn new(options: &FetchOptions) -> Self {
        let moment = options.per_host.get().saturating_mul(2);
        Self {
            failures: u32::try_from(moment).unwrap_or(u32::MAX).max(FAILURES),
            interval: options.per_host_interval.map(|interval| interval.0),
            patience: options.timeout.0,
            wait: options.host_wait.0,
        }
    }
}

/// How long a host is suspended at first, where it is waited for so long.
pub(crate) fn first_suspension(wait: Duration) -> Duration {
    (wait / 64).min(FIRST)
}

/// Which rows wait for a suspended host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// One that was not asked for: as long as the host is waited for.
    ForHost,
    /// One that has an answer from an earlier pass: until the host was probed once.
    ForProbe,
    /// One that has an answer now.
    No,
}

/// One row that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    wait: Wait,
    /// The lowest one probes. Drawn, since rows that fail alike often stand together, and the next one
    /// of them says little about the host.
    lot: u64,
    /// The probes that had failed when it began to wait.
    seen: Option<u32>,
}

impl Waiter {
    pub(super) fn new(wait: Wait) -> Self {
        Self {
            wait,
            lot: RandomState::new().hash_one(0),
            seen: None,
        }
    }
}

/// One request that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// The pause that the answer asked for.
    pub(super) pause: Option<Duration>,
    pub(super) began: Instant,
    /// Whether the same one failed a moment ago.
    pub(super) is_retry: bool,
    /// Whether it was the one that probed.
    pub(super) is_probe: bool,
}

/// What follows from a request that ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Learnt {
    /// The answer was that requests come too fast: the same one is worth asking again, later.
    pub(super) busy: bool,
    /// Rows that wait have to look again.
    pub(super) changed: bool,
}

/// Whether a request may start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start {
    Now {
        is_probe: bool,
    },
    /// It has its turn, after this.
    After(Duration),
    /// The host is suspended.
    Suspended,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// When the next request may start, by the interval or the pace.
    next: Option<Instant>,
    /// When the host wants to be asked again.
    paused_until: Option<Instant>,
    pace: Option<Pace>,
    answers: Answers,
    failures_in_a_row: u32,
    last_failure: Option<Outcome>,
    /// Suspensions, one after the other, that the first probe ended.
    needless: u32,
    /// How long it was waited for, less what good answers made up for.
    waited: Duration,
    suspension: Option<Suspension>,
}

#[derive(Debug)]
struct Suspension {
    since: Instant,
    /// When it may be probed.
    until: Instant,
    /// Doubles with each probe that fails.
    length: Duration,
    /// Probes that failed.
    probes: u32,
    is_probed: bool,
    /// The lowest lot of those that wait for the next probe.
    lowest: Option<u64>,
    /// Whether rows wait for the next probe.
    is_waited_for: bool,
}

impl State {
    /// Whether a request may start at `now`, which counts it, for one that waited as `waiter`.
    pub(super) fn start(
        &mut self,
        now: Instant,
        waiter: Option<&Waiter>,
        limits: &Limits,
    ) -> Result<Start, Refusal> {
        if let Some(suspension) = &self.suspension
            && !suspension.may_probe(now, waiter)
        {
            return Ok(Start::Suspended);
        }
        let left = |until: Option<Instant>| {
            until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
        };
        let paused = left(self.paused_until);
        if paused > limits.patience {
            return Err(Refusal::new(
                Outcome::TooManyRequests,
                format!(
                    "never asked: the host asks to wait {} s",
                    paused.as_secs() + 1
                ),
            ));
        }
        if !paused.is_zero() {
            return Ok(Start::After(paused));
        }
        let pace = self.pace.as_ref().map(|pace| pace.interval(now));
        if let Some(interval) = limits.interval.max(pace) {
            let wait = left(self.next);
            if !wait.is_zero() {
                return Ok(Start::After(wait));
            }
            self.next = Some(now + interval);
        }
        let is_probe = self.suspension.is_some();
        if let Some(suspension) = &mut self.suspension {
            suspension.is_probed = true;
        }
        Ok(Start::Now { is_probe })
    }

    /// When a row that waits for the host has to look again, if it is not told before; `None` where it
    /// need not wait.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        waiter: &mut Waiter,
    ) -> Result<Option<Instant>, Refusal> {
        let Some(suspension) = &mut self.suspension else {
            return Ok(None);
        };
        if suspension.may_probe(now, Some(waiter)) {
            return Ok(None);
        }
        let waits = match waiter.wait {
            Wait::ForHost => true,
            Wait::ForProbe => *waiter.seen.get_or_insert(suspension.probes) == suspension.probes,
            Wait::No => false,
        };
        if waits && suspension.is_waited_for {
            Ok(Some(suspension.draw(now, waiter.lot)))
        } else {
            Err(self.refusal(now))
        }
    }

    fn refusal(&self, now: Instant) -> Refusal {
        let last = self.last_failure.unwrap_or(Outcome::TooManyRequests);
        let (since, until) = match &self.suspension {
            Some(suspension) => (suspension.since, suspension.until),
            None => (now, now),
        };
        let since = now.saturating_duration_since(since).as_secs();
        let next = until.saturating_duration_since(now).as_secs() + 1;
        Refusal::new(
            Outcome::HostSuspended,
            format!(
                "never asked: {} requests to the host in a row ended badly, the last with `{last}`; \
                 it is suspended for {since} s and asked again in {next} s",
                self.failures_in_a_row
            ),
        )
    }

    /// Counts how a request ended.
    pub(super) fn end(&mut self, now: Instant, ended: Ended, limits: &Limits) -> Learnt {
        if let Some(until) = ended.pause.and_then(|pause| now.checked_add(pause)) {
            self.paused_until = self.paused_until.max(Some(until));
        }
        if !is_bad(ended.outcome) {
            return Learnt {
                busy: false,
                changed: self.answered(now, ended.is_probe, limits),
            };
        }
        let answers = ended.outcome == Outcome::ServerError;
        // That a picture is bad which just was says nothing of the host.
        if !(answers && ended.is_retry) {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        }
        self.last_failure = Some(ended.outcome);
        let busy = ended.pause.is_none() && ended.outcome == Outcome::TooManyRequests;
        if ended.is_probe {
            self.probe_failed(now, answers, limits);
        } else if self.suspension.is_none() {
            if busy && self.pace.is_none_or(|pace| pace.began_before(ended.began)) {
                self.pace = Some(match self.pace {
                    Some(pace) => pace.slower(self.answers, now),
                    None => Pace::after(self.answers, now),
                });
                self.suspend(now, limits);
            } else if self.failures_in_a_row >= self.needed(answers, limits) {
                self.suspend(now, limits);
            }
        }
        Learnt {
            busy,
            changed: ended.is_probe,
        }
    }

    /// Failures in a row after which the host is suspended, where the last one `answers`.
    fn needed(&self, answers: bool, limits: &Limits) -> u32 {
        let most = limits.failures.saturating_mul(1 << NEEDLESS);
        let needed = limits.failures.saturating_mul(1 << self.needless);
        if answers {
            needed.max((self.answers.all() / GOOD).min(most))
        } else {
            needed
        }
    }

    /// The host answers, if only to say no; whether that ends a suspension.
    fn answered(&mut self, now: Instant, is_probe: bool, limits: &Limits) -> bool {
        let failures = std::mem::take(&mut self.failures_in_a_row);
        self.answers.count(now);
        if !is_probe {
            if self.suspension.is_none() && !self.waited.is_zero() {
                self.waited = self.waited.saturating_sub(limits.wait / MAKE_UP);
            }
            return false;
        }
        if let Some(suspension) = self.suspension.take() {
            let waited = now.saturating_duration_since(suspension.since);
            self.waited = (self.waited + waited).min(limits.wait);
            self.needless = match suspension.probes {
                0 if failures >= limits.failures => (self.needless + 1).min(NEEDLESS),
                0 => self.needless,
                _ => 0,
            };
        }
        true
    }

    fn suspend(&mut self, now: Instant, limits: &Limits) {
        let left = limits.wait.saturating_sub(self.waited);
        let length = first_suspension(limits.wait);
        self.suspension = Some(Suspension {
            since: now,
            until: now
                + if left.is_zero() {
                    length
                } else {
                    length.min(left)
                },
            length,
            probes: 0,
            is_probed: false,
            lowest: None,
            is_waited_for: !left.is_zero(),
        });
    }

    fn probe_failed(&mut self, now: Instant, answers: bool, limits: &Limits) {
        let Some(suspension) = &mut self.suspension else {
            return;
        };
        suspension.is_probed = false;
        suspension.lowest = None;
        suspension.probes += 1;
        let longer = if answers && suspension.is_waited_for {
            suspension.length * 6 / 5
        } else {
            suspension.length * 2
        };
        suspension.length = longer.min(LONGEST);
        suspension.until = now + suspension.length;
        let waited = now.saturating_duration_since(suspension.since);
        let left = limits.wait.saturating_sub(self.waited + waited);
        suspension.is_waited_for = suspension.is_waited_for && !left.is_zero();
        if suspension.is_waited_for {
            // The last probe comes when the time is up.
            suspension.until = suspension.until.min(now + left);
        }
    }

    /// The one that should probe did not ask the host after all.
    pub(super) fn was_not_probed(&mut self) {
        if let Some(suspension) = &mut self.suspension {
            suspension.is_probed = false;
            suspension.lowest = None;
        }
    }

    /// As if its time were over.
    #[cfg(test)]
    pub(super) fn end_suspension(&mut self) {
        if let Some(suspension) = &mut self.suspension {
            suspension.until = Instant::now();
        }
    }

    /// Whether something is known that must not be forgotten.
    pub(super) fn is_remarkable(&self, now: Instant) -> bool {
        let waits = [self.paused_until, self.next].into_iter().flatten();
        self.suspension.is_some()
            || self.pace.is_some()
            || !self.waited.is_zero()
            || waits.into_iter().any(|until| until > now)
    }
}

impl Suspension {
    /// Whether the probe may start at `now`, by one that waited as `waiter`.
    fn may_probe(&self, now: Instant, waiter: Option<&Waiter>) -> bool {
        let is_due = !self.is_probed && now >= self.until;
        let has_turn = self.lowest.is_none() || self.lowest == waiter.map(|waiter| waiter.lot);
        is_due && (has_turn || now >= self.until + TURN)
    }

    /// Has a row with this lot wait; when it has to look again.
    fn draw(&mut self, now: Instant, lot: u64) -> Instant {
        if self.is_probed {
            return now + LOOK;
        }
        if now < self.until && self.lowest.is_none_or(|lowest| lot < lowest) {
            self.lowest = Some(lot);
            return self.until;
        }
        self.until + TURN
    }
}

/// Whether the host, or the way to it, is in trouble.
const fn is_bad(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::ServerError
            | Outcome::TooManyRequests
            | Outcome::RobotsUnreachable
            | Outcome::TimedOut
            | Outcome::Dns
            | Outcome::Connect
            | Outcome::Tls
            | Outcome::Broken
    )
}

#[cfg(test)]
mod tests;
