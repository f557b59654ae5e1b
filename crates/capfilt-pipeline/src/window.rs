//! How far rows of a piece may run ahead of the first one that is not written yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Rows that may be under way in one piece.
const ROWS: u64 = 4_096;
/// Bytes of pictures that may be under way in all pieces of a run.
const BYTES: u64 = 64 << 20;

/// The bytes of pictures under way, over all pieces of a run.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    bytes: Mutex<u64>,
    freed: Notify,
}

/// The rows of one piece that are under way: a slow row holds back the rows behind it only once
/// the window is full, and the window bounds what the writer must hold until the slow row comes.
#[derive(Debug)]
pub(crate) struct Window {
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The first row that is not written.
    next: u64,
    /// Bytes of the picture of each row under way.
    bytes: HashMap<u64, u64>,
    /// Whether the piece has read its last row.
    read: bool,
}

impl Window {
    /// A window that begins at the row `first`.
    pub(crate) fn new(budget: Arc<Budget>, first: u64) -> Self {
        Self {
            budget,
            state: Mutex::new(State {
                next: first,
                bytes: HashMap::new(),
                read: false,
            }),
        }
    }

    /// Waits until `row` may start. The first row that is not written may always start: whatever
    /// holds the bytes is ahead of it and cannot wait for it.
    pub(crate) async fn admit(&self, row: u64) {
        loop {
            let mut freed = std::pin::pin!(self.budget.freed.notified());
            // Listening begins before looking, so that no wake-up is missed.
            freed.as_mut().enable();
            if self.admits(row) {
                return;
            }
            freed.await;
        }
    }

    fn admits(&self, row: u64) -> bool {
        let next = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next;
        let bytes = *self
            .budget
            .bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        row <= next || (row < next + ROWS && bytes < BYTES)
    }

    /// Counts the picture of `row`.
    pub(crate) fn hold(&self, row: u64, bytes: u64) {
        let before = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.bytes.insert(row, bytes).unwrap_or(0)
        };
        let mut all = self
            .budget
            .bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *all = (*all + bytes).saturating_sub(before);
    }

    /// Everything before `next` is written.
    pub(crate) fn advance(&self, next: u64) {
        let freed: u64 = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let done: Vec<u64> = (state.next..next).collect();
            state.next = next;
            done.iter().filter_map(|row| state.bytes.remove(row)).sum()
        };
        self.give_back(freed);
    }

    /// The piece has read its last row: another one may begin.
    pub(crate) fn read(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read = true;
    }

    /// Whether the piece has read its last row.
    pub(crate) fn is_read(&self) -> bool {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read
    }

    fn give_back(&self, freed: u64) {
        let mut all = self
            .budget
            .bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *all = all.saturating_sub(freed);
        drop(all);
        self.budget.freed.notify_waiters();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let held = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut state.bytes).into_values().sum()
        };
        self.give_back(held);
    }
}

#[cfg(test)]
mod tests;
