//! How many bytes of pictures may be in memory at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::units::ByteSize;

/// Bytes are reserved in units of this.
const UNIT: u64 = 4 << 10;

/// A number of bytes that all bodies under way share. A body that needs more waits until others are
/// done. So that bodies that wait for each other never wait for ever, one of them at a time may go
/// beyond: what is in memory is at most the budget and one largest body.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    beyond: Arc<Semaphore>,
}

/// What one body has reserved; free again when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    memory: Memory,
    bytes: u64,
    within: Vec<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(crate) fn new(budget: ByteSize) -> Self {
        let units = usize::try_from(budget.0 / UNIT).unwrap_or(usize::MAX);
        Self {
            free: Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS))),
            beyond: Arc::new(Semaphore::new(1)),
        }
    }

    /// A reservation of nothing yet.
    pub(crate) fn reserve(&self) -> Reserved {
        Reserved {
            memory: self.clone(),
            bytes: 0,
            within: Vec::new(),
            beyond: None,
        }
    }
}

impl Reserved {
    /// Waits until the body may have `bytes` in all.
    pub(crate) async fn grow(&mut self, bytes: u64) {
        if self.beyond.is_some() || bytes <= self.bytes {
            return;
        }
        let units = (bytes - self.bytes).div_ceil(UNIT);
        let asked = u32::try_from(units).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.memory.free).acquire_many_owned(asked);
        let beyond = Arc::clone(&self.memory.beyond).acquire_owned();
        // Neither is ever closed.
        tokio::select! {
            biased;
            Ok(permit) = more => {
                self.within.push(permit);
                self.bytes += units * UNIT;
            }
            Ok(permit) = beyond => self.beyond = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests;
