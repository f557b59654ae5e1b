use std::time::Duration;

use futures::future::join_all;

use super::*;

async fn is_ready(work: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(Duration::from_millis(20), work)
        .await
        .is_ok()
}

#[tokio::test]
async fn a_body_waits_until_others_are_done() {
    let memory = Memory::new(ByteSize(10 * UNIT));
    let mut first = memory.reserve();
    first.grow(6 * UNIT).await;
    let mut second = memory.reserve();
    second.grow(4 * UNIT).await;
    // The budget is spent: one may go beyond, the next one waits.
    let mut third = memory.reserve();
    assert!(is_ready(third.grow(UNIT)).await);
    let mut fourth = memory.reserve();
    assert!(!is_ready(fourth.grow(UNIT)).await);
    drop(first);
    assert!(is_ready(fourth.grow(UNIT)).await);
}

#[tokio::test]
async fn bodies_that_all_need_more_come_through() {
    let memory = Memory::new(ByteSize(8 * UNIT));
    let bodies = (0..8).map(|_| {
        let mut body = memory.reserve();
        async move {
            for size in 1..=8 {
                body.grow(size * UNIT).await;
                tokio::task::yield_now().await;
            }
        }
    });
    assert!(is_ready(async { drop(join_all(bodies).await) }).await);
}

#[tokio::test]
async fn a_body_larger_than_the_budget_is_not_stuck() {
    let memory = Memory::new(ByteSize(UNIT));
    let mut body = memory.reserve();
    assert!(is_ready(body.grow(100 * UNIT)).await);
    assert!(is_ready(body.grow(1_000 * UNIT)).await);
}
