//! One writer at a time below a prefix of a store.
//!
//! A store has no locks that end with a process, so a holder shows that it lives: it changes a small
//! object again and again. Whoever finds that object unchanged for as long as a lease takes it over.
//! No clocks are compared, only how long each side has waited; every change is conditional on the
//! content that was read before it.
//!
//! ```text
//! holder     put-if-absent ──beat──beat──beat── † killed
//! second run       ├─ sees a beat: refused
//! next run                              ├──── unchanged for a lease ────┤ put-if-unchanged, holds it
//! ```

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use object_store::{Error, PutMode, PutResult, UpdateVersion};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::object::Object;
use crate::object_error::is_passing;
use crate::step::Step;

/// How long a holder that gives no sign of life still holds.
const LEASE: Duration = Duration::from_secs(30);
/// The variable that makes leases shorter, in milliseconds; for tests only.
const VARIABLE: &str = "CAPFILT_LEASE";
/// Signs of life in a lease.
const BEATS: u32 = 3;
/// How long giving it back may take: then the lease runs out by itself.
const RELEASE: Duration = Duration::from_secs(1);
/// How often it is tried to take one, and how long is waited in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

fn lease() -> Duration {
    static SHORTER: OnceLock<Option<Duration>> = OnceLock::new();
    let shorter = SHORTER.get_or_init(|| {
        let millis = std::env::var(VARIABLE).ok()?.parse().ok()?;
        Some(Duration::from_millis(millis))
    });
    shorter.unwrap_or(LEASE)
}

/// Why a lease cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process has it, and lives.
    #[error("process {process} on `{host}` holds `{lock}`")]
    Held {
        /// The object.
        lock: String,
        /// The holder's machine.
        host: String,
        /// The holder's number there.
        process: u32,
    },
    /// The store ignores conditions.
    #[error(
        "the store of `{lock}` ignores conditional writes (`If-None-Match`), without which two runs \
         could write to one output; write to a folder on this machine and copy it"
    )]
    Unconditional {
        /// The object.
        lock: String,
    },
    /// The store refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is in the object.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Sign {
    /// A number drawn by the holder; none once it was given back.
    owner: Option<u64>,
    host: String,
    process: u32,
    /// Counts signs of life.
    beat: u64,
}

impl Sign {
    fn new() -> Self {
        let host = fs_err::read_to_string("/proc/sys/kernel/hostname")
            .or_else(|_none| std::env::var("HOSTNAME"))
            .unwrap_or_default();
        Self {
            owner: Some(RandomState::new().hash_one(std::process::id())),
            host: host.trim().to_owned(),
            process: std::process::id(),
            beat: 0,
        }
    }
}

/// Holds a prefix of a store: nothing is written below it by this process once the lease ran out.
#[derive(Debug)]
pub struct Lease {
    lock: Object,
    /// Asks for the end.
    end: Option<oneshot::Sender<()>>,
    /// Says that it came.
    ended: mpsc::Receiver<()>,
}

impl Lease {
    /// Takes the lease that the object `lock` stands for. Where another holder gave no sign of life
    /// yet, waits for one, at most as long as a lease.
    pub fn take(lock: &Object) -> Result<Self, LeaseError> {
        Self::take_for(lock, lease())
    }

    fn take_for(lock: &Object, lease: Duration) -> Result<Self, LeaseError> {
        let store = lock.store();
        let (sign, version, since) = take(lock, lease)?;
        store.write_until(Some(since + lease));
        let (end, asked) = oneshot::channel();
        let ended = store.start(beat(lock.clone(), lease, sign, version, asked));
        Ok(Self {
            lock: lock.clone(),
            end: Some(end),
            ended,
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let asked = self.end.take().map(|end| end.send(()));
        // It may have been lost before.
        if asked == Some(Ok(())) && self.ended.recv_timeout(RELEASE).is_err() {
            tracing::warn!(
                "`{}` could not be given back; it runs out by itself",
                self.lock
            );
        }
        self.lock.store().write_until(None);
    }
}

/// What the object holds, and what its next change is conditional on. None where there is none.
async fn read(lock: Object) -> Result<Option<(Sign, UpdateVersion)>, LeaseError> {
    match lock.read_versioned().await {
        Ok((bytes, version)) => {
            let sign = serde_json::from_slice(&bytes).map_err(|_other| {
                io::Error::other(format!(
                    "`{lock}` is not what capfilt writes there; remove it if no run is under way"
                ))
            })?;
            Ok(Some((sign, version)))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(lock.refused("read", &error).into()),
    }
}

async fn put(lock: Object, mode: PutMode, sign: Sign) -> Result<PutResult, Error> {
    let json = serde_json::to_vec(&sign).map_err(|error| Error::Generic {
        store: "capfilt",
        source: Box::new(error),
    })?;
    lock.put_if(mode, json).await
}

/// Also gives since when it counts.
fn take(lock: &Object, lease: Duration) -> Result<(Sign, UpdateVersion, Instant), LeaseError> {
    let mine = Sign::new();
    let mut mode = PutMode::Create;
    let mut attempt = 1;
    loop {
        let since = Instant::now();
        match Step::Put.take(|| ask(lock, put(lock.clone(), mode, mine.clone())))? {
            Ok(version) => {
                check_conditions(lock, &mine)?;
                return Ok((mine, version.into(), since));
            }
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) if attempt == ATTEMPTS || !is_passing(&error) => {
                return Err(lock.refused("write", &error).into());
            }
            Err(_passing) => {}
        }
        mode = match ask(lock, read(lock.clone()))?? {
            None => PutMode::Create,
            // The answer to a request of ours was lost.
            Some((sign, version)) if sign.owner == mine.owner => {
                return Ok((mine, version, since));
            }
            Some((sign, version)) if sign.owner.is_none() => PutMode::Update(version),
            Some((sign, version)) => PutMode::Update(outlive(lock, lease, &sign, version)?),
        };
        if attempt == ATTEMPTS {
            return Err(io::Error::other(format!("`{lock}` changes all the time")).into());
        }
        attempt += 1;
        thread::sleep(PAUSE);
    }
}

/// Waits for a sign of life of the holder, and refuses where there is one; else gives the content
/// that may be replaced.
fn outlive(
    lock: &Object,
    lease: Duration,
    sign: &Sign,
    version: UpdateVersion,
) -> Result<UpdateVersion, LeaseError> {
    tracing::warn!(
        "`{lock}` is held by process {} on `{}`; waiting up to {} s for a sign of life of it",
        sign.process,
        sign.host,
        lease.as_secs()
    );
    let since = Instant::now();
    while since.elapsed() < lease {
        thread::sleep(lease / (10 * BEATS));
        match ask(lock, read(lock.clone()))?? {
            None => break,
            Some((now, version)) if now.owner.is_none() => return Ok(version),
            Some((now, _)) if (now.owner, now.beat) != (sign.owner, sign.beat) => {
                return Err(LeaseError::Held {
                    lock: lock.to_string(),
                    host: now.host,
                    process: now.process,
                });
            }
            Some(_unchanged) => {}
        }
    }
    Ok(version)
}

/// A store that does not know conditions would give the same lease to everybody.
fn check_conditions(lock: &Object, mine: &Sign) -> Result<(), LeaseError> {
    match ask(lock, put(lock.clone(), PutMode::Create, mine.clone()))? {
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(()),
        Ok(_) => Err(LeaseError::Unconditional {
            lock: lock.to_string(),
        }),
        Err(error) => Err(lock.refused("write", &error).into()),
    }
}

fn ask<T: Send + 'static>(
    lock: &Object,
    request: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    lock.store().wait(request)
}

/// Shows signs of life until the end is asked for, or the lease is lost.
async fn beat(
    lock: Object,
    lease: Duration,
    mut sign: Sign,
    mut version: UpdateVersion,
    mut end: oneshot::Receiver<()>,
) {
    let pause = lease / BEATS;
    loop {
        let is_end = timeout(pause, &mut end).await.is_ok();
        let since = Instant::now();
        let next = Sign {
            owner: sign.owner.filter(|_| !is_end),
            beat: sign.beat + 1,
            ..sign.clone()
        };
        let mode = PutMode::Update(version.clone());
        let put = timeout(pause, put(lock.clone(), mode, next.clone())).await;
        if is_end {
            return;
        }
        match put {
            Ok(Ok(put)) => {
                (sign, version) = (next, put.into());
                lock.store().write_until(Some(since + lease));
                continue;
            }
            Ok(Err(Error::Precondition { .. } | Error::AlreadyExists { .. })) => {}
            Ok(Err(error)) => {
                let error = lock.refused("write", &error);
                tracing::warn!("a lock could not be renewed; trying again: {error}");
            }
            Err(_elapsed) => tracing::warn!("`{lock}` could not be renewed in time; trying again"),
        }
        // Whatever was answered, or not: the object says whose it is.
        match timeout(pause, read(lock.clone())).await {
            Ok(Ok(Some((found, now)))) if found.owner == sign.owner => {
                (sign, version) = (found, now);
            }
            Ok(Ok(_)) => {
                lock.store().write_until(Some(since));
                tracing::error!("another run took `{lock}`; nothing more is written");
                return;
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
