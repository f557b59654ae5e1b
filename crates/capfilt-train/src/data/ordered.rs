//! Work on other threads whose results come in the order of the jobs.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The results of jobs, in their order.
///
/// One thread takes jobs from their iterator and others work on them. Of every job that was taken,
/// the place of its result waits in a queue of `ahead` places: the queue bounds how many jobs and
/// results there are, whichever thread is slow. Dropping this ends the threads.
pub(super) struct Ordered<R> {
    places: Receiver<Receiver<R>>,
}

impl<R: Send + 'static> Ordered<R> {
    /// Starts `workers` threads that do `work`, at most `ahead` jobs ahead of the caller.
    pub(super) fn start<J: Send + 'static>(
        jobs: impl Iterator<Item = J> + Send + 'static,
        workers: usize,
        ahead: usize,
        work: impl Fn(J) -> R + Send + Sync + 'static,
    ) -> Self {
        let (to_places, places) = sync_channel::<Receiver<R>>(ahead.max(1));
        let (to_workers, queue) = sync_channel::<(J, SyncSender<R>)>(workers.max(1));
        let (queue, work) = (Arc::new(Mutex::new(queue)), Arc::new(work));
        for _ in 0..workers.max(1) {
            let (queue, work) = (Arc::clone(&queue), Arc::clone(&work));
            thread::spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((job, place)) = job else { return };
                    // Nobody waits any more where this was dropped.
                    let _abandoned = place.send(work(job));
                }
            });
        }
        thread::spawn(move || {
            for job in jobs {
                let (to_place, place) = sync_channel(1);
                if to_places.send(place).is_err() || to_workers.send((job, to_place)).is_err() {
                    return;
                }
            }
        });
        Self { places }
    }
}

/// Ends after the last job, or where a thread panicked.
impl<R> Iterator for Ordered<R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        self.places.recv().ok()?.recv().ok()
    }
}

#[cfg(test)]
mod tests;
