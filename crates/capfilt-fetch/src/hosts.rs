//! Who may send a request now: limits over all hosts and for each host, and hosts that asked for
//! a pause or do not answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::options::FetchOptions;
use crate::outcome::Outcome;
use crate::policy::Refusal;

/// A host is suspended after this many failures in a row, or twice as many as it may have requests
/// in flight, whichever is more: all requests of a moment failing is not yet a pattern.
const FAILURES: u32 = 10;
/// How long a host is suspended at first; it doubles each time until one request gets through.
const SUSPENSION: Duration = Duration::from_secs(30);
const LONGEST_SUSPENSION: Duration = Duration::from_mins(10);

/// Hosts that nobody uses are forgotten beyond this number, unless they are on a pause.
const REMEMBERED: usize = 16_384;

/// All hosts.
#[derive(Debug)]
pub(crate) struct Hosts {
    all: Arc<Semaphore>,
    per_host: usize,
    /// In a row, after which a host is suspended.
    failures: u32,
    /// Between the starts of two requests to one host.
    interval: Option<Duration>,
    /// Longer pauses are not waited for.
    patience: Duration,
    known: Mutex<HashMap<String, Arc<Host>>>,
}

#[derive(Debug)]
struct Host {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the next request may start, by the interval.
    next: Option<Instant>,
    /// When the host wants to be asked again.
    paused_until: Option<Instant>,
    suspended_until: Option<Instant>,
    suspensions: u32,
    failures_in_a_row: u32,
}

/// The right to send requests to one host; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    // Fields drop in this order, which frees the host's slot last.
    _all: OwnedSemaphorePermit,
    _host: OwnedSemaphorePermit,
    host: Arc<Host>,
    failures: u32,
}

impl Hosts {
    pub(crate) fn new(options: &FetchOptions) -> Self {
        let per_host = options.per_host.get().min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(
                options.concurrency.get().min(Semaphore::MAX_PERMITS),
            )),
            per_host,
            failures: u32::try_from(per_host.saturating_mul(2))
                .unwrap_or(u32::MAX)
                .max(FAILURES),
            interval: options.per_host_interval.map(|interval| interval.0),
            patience: options.timeout.0,
            known: Mutex::default(),
        }
    }

    /// Waits until a request may be sent to `host`: for a slot of the host, for its interval and its
    /// pauses, and last for one of all slots, so that a crowded host keeps nobody else waiting.
    pub(crate) async fn enter(&self, host: &str) -> Result<Slot, Refusal> {
        let host = self.host(host);
        // Nothing closes these semaphores.
        let closed = |_| Refusal::new(Outcome::Broken, "the fetcher is closed");
        let slot = Arc::clone(&host.slots)
            .acquire_owned()
            .await
            .map_err(closed)?;
        loop {
            let now = Instant::now();
            let wait = host.state().start(now, self.interval, self.patience)?;
            if wait.is_zero() {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        let all = Arc::clone(&self.all)
            .acquire_owned()
            .await
            .map_err(closed)?;
        Ok(Slot {
            _all: all,
            _host: slot,
            host,
            failures: self.failures,
        })
    }

    /// Waits for one of all slots, where no host is asked.
    pub(crate) async fn enter_no_host(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() >= REMEMBERED {
            let now = Instant::now();
            hosts.retain(|_, host| Arc::strong_count(host) > 1 || host.state().is_paused(now));
        }
        let host = Arc::new(Host {
            slots: Arc::new(Semaphore::new(self.per_host)),
            state: Mutex::default(),
        });
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }

    /// Hosts that are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.known.lock().unwrap().len()
    }
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long a request that wants to start at `now` has to wait before it asks again; zero
    /// where it may start, which counts it.
    fn start(
        &mut self,
        now: Instant,
        interval: Option<Duration>,
        patience: Duration,
    ) -> Result<Duration, Refusal> {
        let left = |until: Option<Instant>| {
            until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
        };
        let suspended = left(self.suspended_until);
        if !suspended.is_zero() {
            return Err(Refusal::new(
                Outcome::HostSuspended,
                format!(
                    "{} requests in a row failed; asked again in {} s",
                    self.failures_in_a_row,
                    suspended.as_secs() + 1
                ),
            ));
        }
        let paused = left(self.paused_until);
        if paused > patience {
            return Err(Refusal::new(
                Outcome::TooManyRequests,
                format!("the host asks to wait {} s", paused.as_secs() + 1),
            ));
        }
        if !paused.is_zero() {
            return Ok(paused);
        }
        if let Some(interval) = interval {
            let wait = left(self.next);
            if !wait.is_zero() {
                return Ok(wait);
            }
            self.next = Some(now + interval);
        }
        Ok(Duration::ZERO)
    }

    fn is_paused(&self, now: Instant) -> bool {
        [self.paused_until, self.suspended_until, self.next]
            .into_iter()
            .flatten()
            .any(|until| until > now)
    }
}

impl Slot {
    /// Tells how a request ended, and what pause the answer asked for.
    pub(crate) fn report(&self, outcome: Outcome, pause: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.host.state();
        if let Some(until) = pause.and_then(|pause| now.checked_add(pause)) {
            state.paused_until = state.paused_until.max(Some(until));
        }
        match outcome {
            // The host, or the way to it, is in trouble.
            Outcome::ServerError
            | Outcome::TimedOut
            | Outcome::Dns
            | Outcome::Connect
            | Outcome::Tls
            | Outcome::Broken => {
                state.failures_in_a_row += 1;
                if state.failures_in_a_row >= self.failures
                    && state.suspended_until.is_none_or(|until| until <= now)
                {
                    let doublings = state.suspensions.min(16);
                    let pause = SUSPENSION
                        .saturating_mul(1 << doublings)
                        .min(LONGEST_SUSPENSION);
                    state.suspended_until = Some(now + pause);
                    state.suspensions += 1;
                }
            }
            // It answers, if only to say no. After a suspension the first request that fails
            // brings the next one, since the count goes on.
            _ => {
                state.failures_in_a_row = 0;
                state.suspensions = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests;
