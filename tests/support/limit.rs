//! A limit of requests, as hosts have them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Takes only so many requests in any second.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerSecond {
    taken: VecDeque<Instant>,
    /// Requests that were not taken.
    pub(crate) refused: usize,
}

impl PerSecond {
    /// Takes one request more if there were not `most` in the last second.
    pub(crate) fn takes(&mut self, most: usize) -> bool {
        let second = Duration::from_secs(1);
        while self
            .taken
            .front()
            .is_some_and(|one| one.elapsed() >= second)
        {
            self.taken.pop_front();
        }
        let takes = self.taken.len() < most;
        if takes {
            self.taken.push_back(Instant::now());
        } else {
            self.refused += 1;
        }
        takes
    }
}
