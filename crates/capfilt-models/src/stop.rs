//! Ending work that is under way, also inside a long batch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ort::session::RunOptions;

/// A switch that ends all models that were opened with it. Clones are the same switch; it cannot be
/// switched back.
#[derive(Clone, Default)]
pub struct Stop(Arc<Switch>);

#[derive(Default)]
struct Switch {
    stopped: AtomicBool,
    runs: Mutex<Vec<Weak<RunOptions>>>,
}

impl Stop {
    /// A switch that is not yet used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every running batch between two nodes of its graph and refuses further ones with
    /// [`ModelError::Cancelled`](crate::ModelError::Cancelled).
    pub fn stop(&self) {
        let runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.stopped.store(true, Ordering::SeqCst);
        for run in runs.iter().filter_map(Weak::upgrade) {
            terminate(&run);
        }
    }

    /// Whether [`Stop::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Lets the switch end runs that use these options.
    pub(crate) fn watch(&self, run: &Arc<RunOptions>) {
        let mut runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|run| run.strong_count() > 0);
        runs.push(Arc::downgrade(run));
        if self.is_stopped() {
            terminate(run);
        }
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stop").field(&self.is_stopped()).finish()
    }
}

fn terminate(run: &RunOptions) {
    if let Err(error) = run.terminate() {
        tracing::warn!(%error, "a running batch could not be ended early");
    }
}
