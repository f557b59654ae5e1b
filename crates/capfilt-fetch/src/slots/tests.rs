use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

fn slots(concurrency: usize, per_host: usize) -> Arc<Slots> {
    let count = |n| NonZeroUsize::new(n).unwrap();
    Arc::new(Slots::new(count(concurrency), count(per_host)))
}

async fn is_free(slots: &Arc<Slots>, host: &str) -> bool {
    timeout(Duration::from_millis(20), slots.take(Some(host)))
        .await
        .is_ok()
}

#[tokio::test]
async fn a_full_host_keeps_its_own_waiting_and_nobody_else() {
    let slots = slots(2, 1);
    let held = slots.take(Some("a")).await.unwrap();
    assert!(!is_free(&slots, "a").await);
    let mut waiting = JoinSet::new();
    waiting.spawn({
        let slots = Arc::clone(&slots);
        async move { slots.take(Some("a")).await.is_some() }
    });
    assert!(is_free(&slots, "b").await);
    drop(held);
    assert!(waiting.join_next().await.unwrap().unwrap());
}

#[tokio::test]
async fn all_hosts_share_one_limit() {
    let slots = slots(2, 9);
    let _first = slots.take(Some("a")).await.unwrap();
    let _second = slots.take(None).await.unwrap();
    assert!(!is_free(&slots, "b").await);
}

#[tokio::test]
async fn hosts_are_forgotten_when_nobody_uses_them() {
    let slots = slots(1, 1);
    let held = slots.take(Some("a")).await.unwrap();
    // One that gives up while it waits must not leave its host behind either.
    assert!(!is_free(&slots, "b").await);
    assert_eq!(slots.hosts(), 1);
    drop(held);
    assert_eq!(slots.hosts(), 0);
}
