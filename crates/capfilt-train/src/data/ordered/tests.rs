use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

#[test]
fn no_more_jobs_are_taken_than_fit_the_queue() {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let jobs = (0..1_000).inspect(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    // The first job is slow: the others overtake it, and still wait for it.
    let mut results = Ordered::start(jobs, 3, 5, |job| {
        if job == 0 {
            thread::sleep(Duration::from_millis(200));
        }
        job
    });
    thread::sleep(Duration::from_millis(400));
    // Five wait in the queue, and one more for a place in it.
    assert_eq!(taken.load(Ordering::SeqCst), 6);
    assert_eq!(results.next(), Some(0));
    assert_eq!(results.collect::<Vec<_>>(), (1..1_000).collect::<Vec<_>>());
}

#[test]
fn a_panic_ends_the_results() {
    let results = Ordered::start(0..10, 1, 2, |job| {
        assert!(job < 3, "on purpose");
        job
    });
    assert_eq!(results.collect::<Vec<_>>(), [0, 1, 2]);
}
