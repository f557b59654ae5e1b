//! The time that is left for a row.

use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::policy::Refusal;
use crate::units::Timeout;

/// Counts down while something is done for a row, and stands still while the row waits for a slot,
/// for memory or for an origin's rules: what others do must not use up a row's time.
#[derive(Debug)]
pub(crate) struct Clock {
    total: Timeout,
    left: Duration,
}

impl Clock {
    pub(crate) fn new(total: Timeout) -> Self {
        Self {
            total,
            left: total.0,
        }
    }

    /// Does `work` within the time that is left, and within `limit`, after which `late` was late.
    pub(crate) async fn within<T>(
        &mut self,
        limit: Timeout,
        late: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Refusal> {
        let start = Instant::now();
        let result = tokio::time::timeout(limit.0.min(self.left), work).await;
        self.left = self.left.saturating_sub(start.elapsed());
        result.map_err(|_| {
            let detail = if limit.0 < self.total.0 && !self.left.is_zero() {
                format!("no {late} within {limit}")
            } else {
                format!("not finished within {}", self.total)
            };
            Refusal::new(Outcome::TimedOut, detail)
        })
    }

    /// Waits for `pause`; false, at once, where that is longer than what is left.
    pub(crate) async fn wait(&mut self, pause: Duration) -> bool {
        if pause >= self.left {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.left = self.left.saturating_sub(pause);
        true
    }

    /// Time that was used.
    pub(crate) fn used(&self) -> Duration {
        self.total.0.saturating_sub(self.left)
    }
}
