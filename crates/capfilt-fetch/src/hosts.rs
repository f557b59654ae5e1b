//! Who may send a request now: limits over all hosts and for each host, and hosts that asked for
//! a pause, are asked too much or do not answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::options::FetchOptions;
use crate::outcome::Outcome;
use crate::policy::Refusal;

use state::{Ended, Limits, Start, State, Waiter};
pub(crate) use state::{Wait, first_suspension};

mod pace;
mod state;

/// Hosts that nobody uses are forgotten beyond this number, unless something is known of them.
const REMEMBERED: usize = 16_384;

/// All hosts.
#[derive(Debug)]
pub(crate) struct Hosts {
    all: Arc<Semaphore>,
    per_host: usize,
    limits: Arc<Limits>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    hosts: HashMap<String, Arc<Host>>,
    /// How many there are when it is next looked which may be forgotten.
    most: usize,
}

#[derive(Debug)]
struct Host {
    slots: Arc<Semaphore>,
    limits: Arc<Limits>,
    state: Mutex<State>,
    /// Rows that wait while the host is suspended, outside of the slots.
    changed: Notify,
}

/// The right to send requests to one host; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    // Fields drop in this order, which frees the host's slot last.
    _all: OwnedSemaphorePermit,
    turn: Turn,
    _host: OwnedSemaphorePermit,
    began: Instant,
}

/// A request that a host was promised.
#[derive(Debug)]
struct Turn {
    host: Arc<Host>,
    /// Whether it probes a suspended host, and did not yet.
    is_probe: bool,
}

impl Hosts {
    pub(crate) fn new(options: &FetchOptions) -> Self {
        let per_host = options.per_host.get().min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(
                options.concurrency.get().min(Semaphore::MAX_PERMITS),
            )),
            per_host,
            limits: Arc::new(Limits::new(options)),
            known: Mutex::default(),
        }
    }

    /// Waits until a request may be sent to `host`: until it is not suspended, as far as `wait` says,
    /// for a slot of the host, for its interval and its pauses, and last for one of all slots, so that
    /// a crowded host keeps nobody else waiting.
    pub(crate) async fn enter(&self, host: &str, wait: Wait) -> Result<Slot, Refusal> {
        let host = self.host(host);
        // Nothing closes these semaphores.
        let closed = |_| Refusal::new(Outcome::Broken, "the fetcher is closed");
        let mut waiter = None;
        let (slot, began, is_probe) = 'open: loop {
            let slot = Arc::clone(&host.slots)
                .acquire_owned()
                .await
                .map_err(closed)?;
            loop {
                let now = Instant::now();
                let start = host.state().start(now, waiter.as_ref(), &self.limits)?;
                match start {
                    Start::Now { is_probe } => break 'open (slot, now, is_probe),
                    Start::After(pause) => tokio::time::sleep(pause).await,
                    Start::Suspended => break,
                }
            }
            drop(slot);
            // Boxed: few wait here, and all others carry its room along.
            let waiter = waiter.get_or_insert_with(|| Waiter::new(wait));
            Box::pin(host.wait(waiter)).await?;
        };
        let turn = Turn { host, is_probe };
        let all = Arc::clone(&self.all)
            .acquire_owned()
            .await
            .map_err(closed)?;
        Ok(Slot {
            _all: all,
            turn,
            _host: slot,
            began,
        })
    }

    /// Waits for one of all slots, where no host is asked.
    pub(crate) async fn enter_no_host(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = known.hosts.get(name) {
            return Arc::clone(host);
        }
        if known.hosts.len() >= known.most.max(REMEMBERED) {
            known.forget(Instant::now());
        }
        let host = Arc::new(Host {
            slots: Arc::new(Semaphore::new(self.per_host)),
            limits: Arc::clone(&self.limits),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        known.hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }

    /// Hosts that are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.known.lock().unwrap().hosts.len()
    }
}

impl Known {
    fn forget(&mut self, now: Instant) {
        self.hosts
            .retain(|_, host| Arc::strong_count(host) > 1 || host.state().is_remarkable(now));
        // Looking at all of them again for every new one would cost more than they do.
        self.most = 2 * self.hosts.len();
    }
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the host may be suspended no longer.
    async fn wait(&self, waiter: &mut Waiter) -> Result<(), Refusal> {
        let mut changed = std::pin::pin!(self.changed.notified());
        // Listening begins before looking, so that no change is missed.
        changed.as_mut().enable();
        let Some(until) = self.state().wait(Instant::now(), waiter)? else {
            return Ok(());
        };
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(until.into()) => {}
        }
        Ok(())
    }
}

impl Slot {
    /// Tells how a request ended, what pause the answer asked for, and whether it `is_retry`: the same
    /// one failed a moment ago. Whether the host said that requests come too fast, so that the same one is worth sending again later.
    pub(crate) fn report(
        &mut self,
        outcome: Outcome,
        pause: Option<Duration>,
        is_retry: bool,
    ) -> bool {
        let ended = Ended {
            outcome,
            pause,
            began: self.began,
            is_retry,
            is_probe: std::mem::take(&mut self.turn.is_probe),
        };
        let now = Instant::now();
        let host = &self.turn.host;
        let learnt = host.state().end(now, ended, &host.limits);
        if learnt.changed {
            host.changed.notify_waiters();
        }
        learnt.busy
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_probe {
            self.host.state().was_not_probed();
            // One of those that wait may.
            self.host.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
