//! How far rows of a piece may run ahead of the first one that is not written yet.
//!
//! Three bounds hold together. Rows that are under way cost little until their picture is there, so
//! many may be: they wait for their host, and hosts are asked side by side. The bytes of pictures
//! are few: once they are used up, no further picture is begun, neither read from the shard
//! ([`Window::admit`]) nor fetched ([`Window::room`]). And what is next to be written may always go
//! on, or nothing would ever free what the rows behind it hold.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

/// Rows that may be under way in all pieces of a run. Behind a URL that takes its ten seconds, as
/// many as this pass meanwhile; most of them are done and wait in about a kilobyte.
const ROWS: usize = 196_608;
/// Rows that may wait for their hosts at once: as many as hosts are interleaved over. One takes a
/// few kilobytes.
pub(crate) const FETCHING: usize = 8_192;
/// Bytes of pictures that may be under way in all pieces of a run.
const BYTES: u64 = 64 << 20;
/// Bytes of pictures of these that may wait in memory until an earlier row is written, in all pieces
/// of a run. The rest is for pictures that come: if all waited, none could.
pub(crate) const PARKED: u64 = BYTES / 2;
/// Rows from the first one that is not written that may fetch their picture however many bytes are
/// under way: with only that one row, a full window would ask its host for one picture at a time.
const NEAR: u64 = 32;

/// What is under way in all pieces of a run.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    held: Mutex<Held>,
    freed: Notify,
    /// Rows that wait for room to fetch their picture, by their piece's turn and their number.
    waiting: Mutex<BTreeMap<(u64, u64), oneshot::Sender<()>>>,
    /// Turns that were given to pieces.
    turns: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    rows: usize,
    bytes: u64,
    /// Bytes of these that wait for an earlier row.
    parked: u64,
}

impl Held {
    fn has_rows(self) -> bool {
        self.rows < ROWS
    }

    fn has_bytes(self) -> bool {
        self.bytes < BYTES
    }
}

impl Budget {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Held {
        *self.held()
    }

    fn give_back(&self, freed: Held) {
        let mut held = self.held();
        held.rows = held.rows.saturating_sub(freed.rows);
        held.bytes = held.bytes.saturating_sub(freed.bytes);
        held.parked = held.parked.saturating_sub(freed.parked);
        drop(held);
        self.freed.notify_waiters();
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the first rows that wait for room, of whichever piece, now that so many pictures less are
    /// under way: two for each, since pictures may be smaller than those before. Who finds no room waits
    /// again.
    fn wake(&self, pictures: usize) {
        let mut waiting = self.waiting();
        let mut more = 2 * pictures.max(1);
        while more > 0
            && self.now().has_bytes()
            && let Some((_, first)) = waiting.pop_first()
        {
            // Nobody waits for a row that was given up.
            more -= usize::from(first.send(()).is_ok());
        }
    }
}

/// The rows of one piece that are under way: a slow row holds back the rows behind it only once
/// the window is full, and the window bounds what the writer must hold until the slow row comes.
#[derive(Debug)]
pub(crate) struct Window {
    budget: Arc<Budget>,
    /// Pieces that began earlier come first.
    turn: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The first row that is not written.
    next: u64,
    /// Bytes of the picture of each row under way.
    bytes: BTreeMap<u64, u64>,
    /// Bytes of pictures that wait for an earlier row.
    parked: u64,
    /// Whether the piece has read its last row.
    read: bool,
}

impl Window {
    /// A window that begins at the row `first`.
    pub(crate) fn new(budget: Arc<Budget>, first: u64) -> Self {
        let turn = budget.turns.fetch_add(1, Ordering::Relaxed);
        Self {
            budget,
            turn,
            state: Mutex::new(State {
                next: first,
                bytes: BTreeMap::new(),
                parked: 0,
                read: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `row` may start. The first row that is not written may always start: whatever
    /// holds the bytes is ahead of it and cannot wait for it.
    pub(crate) async fn admit(&self, row: u64) {
        loop {
            let mut freed = std::pin::pin!(self.budget.freed.notified());
            // Listening begins before looking, so that no wake-up is missed.
            freed.as_mut().enable();
            let held = self.budget.now();
            if row <= self.state().next || (held.has_rows() && held.has_bytes()) {
                return;
            }
            freed.await;
        }
    }

    /// Whether the picture of `row` may be fetched now.
    pub(crate) fn has_room(&self, row: u64) -> bool {
        row < self.state().next + NEAR || self.budget.now().has_bytes()
    }

    /// Waits until the picture of `row` may be fetched, or nearly so: [`Window::has_room`] says
    /// whether it still may when its turn comes. No more rows are woken than there is likely room for,
    /// the first ones first, however many wait.
    pub(crate) async fn room(&self, row: u64) {
        while !self.has_room(row) {
            let (wake, woken) = oneshot::channel();
            self.budget.waiting().insert((self.turn, row), wake);
            // What was freed between looking and waiting woke nobody.
            if self.has_room(row) {
                return;
            }
            // An error is as good as being woken: it is looked again.
            drop(woken.await);
        }
    }

    /// Counts the row, and the bytes of its picture.
    pub(crate) fn hold(&self, row: u64, bytes: u64) {
        let before = self.state().bytes.insert(row, bytes);
        let mut held = self.budget.held();
        held.rows += usize::from(before.is_none());
        held.bytes = (held.bytes + bytes).saturating_sub(before.unwrap_or(0));
    }

    /// Everything before `next` is written.
    pub(crate) fn advance(&self, next: u64) {
        let mut state = self.state();
        let mut freed = Held::default();
        while let Some(first) = state.bytes.first_entry()
            && *first.key() < next
        {
            freed.rows += 1;
            freed.bytes += first.remove();
        }
        state.next = next;
        drop(state);
        self.budget.give_back(freed);
        let near = {
            let mut waiting = self.budget.waiting();
            let numbers = (self.turn, 0)..(self.turn, next + NEAR);
            waiting.extract_if(numbers, |_, _| true).collect::<Vec<_>>()
        };
        for (_, near) in near {
            let _given_up = near.send(());
        }
        self.budget.wake(freed.rows);
    }

    /// The pictures of `rows` are in memory no longer, or there are none.
    pub(crate) fn spill(&self, rows: &[u64]) {
        let mut state = self.state();
        let bytes = rows.iter().filter_map(|row| {
            let held = state.bytes.get_mut(row)?;
            Some(std::mem::take(held))
        });
        let freed = Held {
            bytes: bytes.sum(),
            ..Held::default()
        };
        drop(state);
        self.budget.give_back(freed);
        self.budget.wake(rows.len());
    }

    /// Whether so many bytes of pictures may wait in memory for an earlier row. They do then, and if
    /// they `must`, until [`Window::unpark`].
    pub(crate) fn park(&self, bytes: u64, must: bool) -> bool {
        let mut state = self.state();
        let mut held = self.budget.held();
        let may = must || held.parked + bytes <= PARKED;
        if may {
            held.parked += bytes;
            state.parked += bytes;
        }
        may
    }

    /// So many bytes of pictures wait no longer.
    pub(crate) fn unpark(&self, bytes: u64) {
        let mut state = self.state();
        state.parked = state.parked.saturating_sub(bytes);
        let mut held = self.budget.held();
        held.parked = held.parked.saturating_sub(bytes);
    }

    /// The piece has read its last row: another one may begin.
    pub(crate) fn read(&self) {
        self.state().read = true;
    }

    /// Whether the piece has read its last row.
    pub(crate) fn is_read(&self) -> bool {
        self.state().read
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut state = self.state();
        let bytes = std::mem::take(&mut state.bytes);
        let freed = Held {
            rows: bytes.len(),
            bytes: bytes.into_values().sum(),
            parked: state.parked,
        };
        drop(state);
        self.budget.give_back(freed);
        self.budget.wake(freed.rows);
    }
}

#[cfg(test)]
mod tests;
