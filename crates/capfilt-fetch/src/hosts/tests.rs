use std::num::NonZeroUsize;

use super::*;
use crate::units::Timeout;

const MS: Duration = Duration::from_millis(1);

fn hosts(change: impl FnOnce(&mut FetchOptions)) -> Arc<Hosts> {
    let mut options = FetchOptions {
        concurrency: NonZeroUsize::new(3).unwrap(),
        per_host: NonZeroUsize::new(2).unwrap(),
        ..FetchOptions::default()
    };
    change(&mut options);
    Arc::new(Hosts::new(&options))
}

async fn is_free(hosts: &Hosts, host: &str) -> bool {
    tokio::time::timeout(20 * MS, hosts.enter(host))
        .await
        .is_ok()
}

#[tokio::test]
async fn a_crowded_host_keeps_nobody_else_waiting() {
    let hosts = hosts(|_| {});
    let held = [
        hosts.enter("a").await.unwrap(),
        hosts.enter("a").await.unwrap(),
    ];
    let mut queue = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let hosts = Arc::clone(&hosts);
        queue.spawn(async move { hosts.enter("a").await.map(drop) });
    }
    tokio::time::sleep(5 * MS).await;
    assert!(!is_free(&hosts, "a").await);
    assert!(is_free(&hosts, "b").await);
    drop(held);
    while let Some(done) = queue.join_next().await {
        done.unwrap().unwrap();
    }
}

#[tokio::test]
async fn slots_are_limited_over_all_hosts() {
    let hosts = hosts(|_| {});
    let held = [
        hosts.enter("a").await.unwrap(),
        hosts.enter("b").await.unwrap(),
        hosts.enter("c").await.unwrap(),
    ];
    assert!(!is_free(&hosts, "d").await);
    drop(held);
    assert!(is_free(&hosts, "d").await);
}

#[tokio::test]
async fn requests_to_one_host_keep_their_distance() {
    let hosts = hosts(|options| options.per_host_interval = Some(Timeout(20 * MS)));
    let start = Instant::now();
    for _ in 0..4 {
        drop(hosts.enter("a").await.unwrap());
    }
    assert!(start.elapsed() >= 60 * MS, "{:?}", start.elapsed());
    let start = Instant::now();
    drop(hosts.enter("b").await.unwrap());
    assert!(start.elapsed() < 15 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_host_is_left_alone_while_it_wants_to_be() {
    let hosts = hosts(|options| options.timeout = Timeout(Duration::from_secs(2)));
    let slot = hosts.enter("a").await.unwrap();
    slot.report(Outcome::TooManyRequests, Some(80 * MS));
    drop(slot);
    let start = Instant::now();
    drop(hosts.enter("a").await.unwrap());
    assert!(start.elapsed() >= 75 * MS, "{:?}", start.elapsed());
    // A pause that is longer than a row may take ends the row at once, for now.
    let slot = hosts.enter("a").await.unwrap();
    slot.report(Outcome::TooManyRequests, Some(Duration::from_hours(1)));
    let refusal = hosts.enter("a").await.unwrap_err();
    assert_eq!(refusal.outcome, Outcome::TooManyRequests);
    assert_eq!(refusal.detail, "the host asks to wait 3600 s");
    assert!(is_free(&hosts, "b").await);
}

#[tokio::test]
async fn a_host_that_keeps_failing_is_suspended() {
    let hosts = hosts(|_| {});
    for _ in 0..9 {
        hosts
            .enter("a")
            .await
            .unwrap()
            .report(Outcome::TimedOut, None);
    }
    // Any answer starts the count again.
    hosts
        .enter("a")
        .await
        .unwrap()
        .report(Outcome::NotFound, None);
    for _ in 0..10 {
        hosts
            .enter("a")
            .await
            .unwrap()
            .report(Outcome::Connect, None);
    }
    let refusal = hosts.enter("a").await.unwrap_err();
    assert_eq!(refusal.outcome, Outcome::HostSuspended);
    assert!(refusal.outcome.is_transient());
    assert!(is_free(&hosts, "b").await);
}

#[tokio::test]
async fn a_suspension_ends_and_comes_back_longer() {
    let hosts = hosts(|_| {});
    let slot = hosts.enter("a").await.unwrap();
    for _ in 0..10 {
        slot.report(Outcome::ServerError, None);
    }
    let end = |hosts: &Hosts| {
        let host = hosts.host("a");
        let mut state = host.state();
        let until = state.suspended_until.unwrap();
        state.suspended_until = Some(Instant::now());
        until.saturating_duration_since(Instant::now())
    };
    assert!(end(&hosts) + Duration::from_secs(1) > SUSPENSION);
    drop(slot);
    let slot = hosts.enter("a").await.unwrap();
    slot.report(Outcome::ServerError, None);
    assert!(end(&hosts) + Duration::from_secs(1) > SUSPENSION * 2);
    drop(slot);
    let slot = hosts.enter("a").await.unwrap();
    slot.report(Outcome::Ok, None);
    slot.report(Outcome::ServerError, None);
    assert!(is_free(&hosts, "a").await);
}

#[tokio::test]
async fn hosts_are_forgotten_when_nobody_needs_them() {
    let hosts = hosts(|_| {});
    hosts
        .enter("paused")
        .await
        .unwrap()
        .report(Outcome::TooManyRequests, Some(Duration::from_hours(1)));
    for number in 0..3 * REMEMBERED {
        drop(hosts.enter(&format!("host-{number}")).await.unwrap());
    }
    assert!(
        hosts.remembered() <= REMEMBERED + 1,
        "{}",
        hosts.remembered()
    );
    assert!(hosts.enter("paused").await.is_err());
}
