//! Who may send a request now: one limit over all hosts and one for each host.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Free slots. A host is remembered only while somebody holds or awaits one of its slots, so the
/// memory is bounded by the fetches in flight and not by the hosts seen.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<HashMap<String, Host>>,
}

#[derive(Debug)]
struct Host {
    slots: Arc<Semaphore>,
    users: usize,
}

/// A slot that is held; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    // Fields drop in this order: the host's slot is free before the host is forgotten.
    _all: OwnedSemaphorePermit,
    _host: Option<OwnedSemaphorePermit>,
    _user: Option<User>,
}

#[derive(Debug)]
struct User {
    slots: Arc<Slots>,
    host: String,
}

impl Slots {
    pub(crate) fn new(concurrency: NonZeroUsize, per_host: NonZeroUsize) -> Self {
        let most = Semaphore::MAX_PERMITS;
        Self {
            all: Arc::new(Semaphore::new(concurrency.get().min(most))),
            per_host: per_host.get().min(most),
            hosts: Mutex::default(),
        }
    }

    /// Waits for a slot of `host` and then for one of all, so that a crowded host keeps nobody
    /// else waiting. `None` only if the slots were closed, which never happens.
    pub(crate) async fn take(self: &Arc<Self>, host: Option<&str>) -> Option<Slot> {
        let (user, host) = match host {
            Some(host) => {
                let (user, slots) = self.join(host);
                (Some(user), Some(slots.acquire_owned().await.ok()?))
            }
            None => (None, None),
        };
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Slot {
            _all: all,
            _host: host,
            _user: user,
        })
    }

    fn join(self: &Arc<Self>, host: &str) -> (User, Arc<Semaphore>) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = hosts.entry(host.to_owned()).or_insert_with(|| Host {
            slots: Arc::new(Semaphore::new(self.per_host)),
            users: 0,
        });
        entry.users += 1;
        let slots = Arc::clone(&entry.slots);
        (
            User {
                slots: Arc::clone(self),
                host: host.to_owned(),
            },
            slots,
        )
    }

    /// Hosts that are remembered.
    #[cfg(test)]
    pub(crate) fn hosts(&self) -> usize {
        self.hosts.lock().unwrap().len()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut hosts = self
            .slots
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = hosts.entry(std::mem::take(&mut self.host)) {
            entry.get_mut().users -= 1;
            if entry.get().users == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
