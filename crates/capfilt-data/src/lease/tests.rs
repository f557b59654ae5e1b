use super::*;
use crate::location::Location;

const SHORT: Duration = Duration::from_millis(600);

fn lock() -> (Location, Object) {
    let output = Object::in_memory();
    let lock = output.join(".lock".as_ref());
    (Location::Object(output), lock)
}

/// A holder that was killed: it shows no sign of life any more and gives nothing back.
fn killed(lock: &Object) {
    let sign = serde_json::to_vec(&Sign::new()).unwrap();
    ask(lock, {
        let lock = lock.clone();
        async move { lock.put_if(PutMode::Overwrite, sign).await }
    })
    .unwrap()
    .unwrap();
}

#[test]
fn a_lease_is_held_by_one_and_given_back() {
    let (_, lock) = lock();
    let first = Lease::take_for(&lock, SHORT).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        let second = Lease::take_for(&lock, SHORT).unwrap_err();
        let process = std::process::id();
        assert!(matches!(second, LeaseError::Held { process: holder, .. } if holder == process));
        assert!(
            started.elapsed() < SHORT,
            "it waited for more than a sign of life"
        );
    }
    drop(first);
    let started = Instant::now();
    drop(Lease::take_for(&lock, SHORT).unwrap());
    assert!(started.elapsed() < SHORT);
}

#[test]
fn the_lease_of_a_dead_holder_runs_out() {
    let (_, lock) = lock();
    killed(&lock);
    let started = Instant::now();
    let _lease = Lease::take_for(&lock, SHORT).unwrap();
    assert!(started.elapsed() >= SHORT);
}

#[test]
fn of_two_that_wait_for_a_dead_holder_one_gets_the_lease() {
    let (_, lock) = lock();
    killed(&lock);
    let taken = thread::scope(|scope| {
        let takers = [(); 4].map(|()| scope.spawn(|| Lease::take_for(&lock, SHORT)));
        takers.map(|taker| taker.join().unwrap())
    });
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
}

#[test]
fn who_lost_the_lease_writes_nothing_more() {
    let (output, lock) = lock();
    let _lost = Lease::take_for(&lock, SHORT).unwrap();
    output.join("a").replace(b"mine").unwrap();
    killed(&lock);
    thread::sleep(SHORT);
    let error = output.join("a").replace(b"late").unwrap_err();
    let kind = error.kind.to_string();
    assert!(kind.contains("the lock on the output"), "{kind}");
    assert_eq!(output.join("a").read().unwrap(), b"mine");
}

#[test]
fn what_is_no_lock_is_left_alone() {
    let (output, lock) = lock();
    output.join(".lock").replace(b"somebody's").unwrap();
    let error = Lease::take_for(&lock, SHORT).unwrap_err().to_string();
    assert!(
        error.contains("is not what capfilt writes there"),
        "{error}"
    );
}
