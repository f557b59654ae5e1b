use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    tokio::time::timeout(20 * MS, hosts.enter(host, Wait::ForHost))
        .await
        .is_ok()
}

#[tokio::test]
async fn a_crowded_host_keeps_nobody_else_waiting() {
    let hosts = hosts(|_| {});
    let held = [
        hosts.enter("a", Wait::ForHost).await.unwrap(),
        hosts.enter("a", Wait::ForHost).await.unwrap(),
    ];
    let mut queue = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let hosts = Arc::clone(&hosts);
        queue.spawn(async move { hosts.enter("a", Wait::ForHost).await.map(drop) });
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
        hosts.enter("a", Wait::ForHost).await.unwrap(),
        hosts.enter("b", Wait::ForHost).await.unwrap(),
        hosts.enter("c", Wait::ForHost).await.unwrap(),
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
        drop(hosts.enter("a", Wait::ForHost).await.unwrap());
    }
    assert!(start.elapsed() >= 60 * MS, "{:?}", start.elapsed());
    let start = Instant::now();
    drop(hosts.enter("b", Wait::ForHost).await.unwrap());
    assert!(start.elapsed() < 15 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_host_is_left_alone_while_it_wants_to_be() {
    let hosts = hosts(|options| options.timeout = Timeout(Duration::from_secs(2)));
    let mut slot = hosts.enter("a", Wait::ForHost).await.unwrap();
    slot.report(Outcome::TooManyRequests, Some(80 * MS), false);
    drop(slot);
    let start = Instant::now();
    drop(hosts.enter("a", Wait::ForHost).await.unwrap());
    assert!(start.elapsed() >= 75 * MS, "{:?}", start.elapsed());
    // A pause that is longer than a row may take ends the row at once, for now.
    let mut slot = hosts.enter("a", Wait::ForHost).await.unwrap();
    slot.report(
        Outcome::TooManyRequests,
        Some(Duration::from_hours(1)),
        false,
    );
    let refusal = hosts.enter("a", Wait::ForHost).await.unwrap_err();
    assert_eq!(refusal.outcome, Outcome::TooManyRequests);
    assert_eq!(refusal.detail, "never asked: the host asks to wait 3600 s");
    assert!(is_free(&hosts, "b").await);
}

#[tokio::test]
async fn a_host_that_keeps_failing_is_suspended() {
    let hosts = hosts(|_| {});
    for _ in 0..9 {
        hosts
            .enter("a", Wait::ForHost)
            .await
            .unwrap()
            .report(Outcome::TimedOut, None, false);
    }
    // Any answer starts the count again.
    hosts
        .enter("a", Wait::ForHost)
        .await
        .unwrap()
        .report(Outcome::NotFound, None, false);
    for _ in 0..10 {
        hosts
            .enter("a", Wait::ForHost)
            .await
            .unwrap()
            .report(Outcome::Connect, None, false);
    }
    let refusal = hosts.enter("a", Wait::No).await.unwrap_err();
    assert_eq!(refusal.outcome, Outcome::HostSuspended);
    assert!(refusal.outcome.is_transient());
    let start =
        "never asked: 10 requests to the host in a row ended badly, the last with `connect`;";
    assert!(refusal.detail.starts_with(start), "{}", refusal.detail);
    assert!(is_free(&hosts, "b").await);
}

/// Suspends `a`, of which no request is under way.
async fn suspend(hosts: &Hosts) {
    let mut slot = hosts.enter("a", Wait::ForHost).await.unwrap();
    for _ in 0..10 {
        slot.report(Outcome::ServerError, None, false);
    }
}

/// Rows that wait for `a`; each tells how it entered, and `answers` what then.
fn crowd(
    hosts: &Arc<Hosts>,
    rows: usize,
    answers: impl Fn(usize) -> Outcome + Copy + Send + 'static,
) -> tokio::task::JoinSet<(usize, bool)> {
    let mut crowd = tokio::task::JoinSet::new();
    for row in 0..rows {
        let hosts = Arc::clone(hosts);
        crowd.spawn(async move {
            let Ok(mut slot) = hosts.enter("a", Wait::ForHost).await else {
                return (row, false);
            };
            tokio::time::sleep(MS).await;
            slot.report(answers(row), None, false);
            (row, true)
        });
    }
    crowd
}

#[tokio::test]
async fn one_request_probes_before_all_others() {
    let hosts = hosts(|options| options.host_wait = Timeout(Duration::from_secs(4)));
    suspend(&hosts).await;
    let entered = Arc::new(AtomicUsize::new(0));
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let (hosts, entered) = (Arc::clone(&hosts), Arc::clone(&entered));
        crowd.spawn(async move {
            let mut slot = hosts.enter("a", Wait::ForHost).await.unwrap();
            if entered.fetch_add(1, Ordering::SeqCst) == 0 {
                tokio::time::sleep(120 * MS).await;
                assert_eq!(entered.load(Ordering::SeqCst), 1);
            }
            slot.report(Outcome::Ok, None, false);
        });
    }
    tokio::time::sleep(20 * MS).await;
    assert_eq!(entered.load(Ordering::SeqCst), 0, "suspended for 62 ms");
    crowd.join_all().await;
    assert_eq!(entered.load(Ordering::SeqCst), 500);
}

#[tokio::test]
async fn who_probes_is_drawn() {
    // The first row that fails means the next suspension, twice as long.
    let hosts = hosts(|options| options.host_wait = Timeout(Duration::from_secs(4)));
    suspend(&hosts).await;
    let bad = |row| match row {
        0..200 => Outcome::ServerError,
        _ => Outcome::Ok,
    };
    let rows = crowd(&hosts, 1_000, bad).join_all().await;
    let asked = rows.iter().filter(|(_, asked)| *asked).count();
    assert_eq!(asked, 1_000);
}

#[tokio::test]
async fn a_probe_that_is_given_up_leaves_it_to_another() {
    let hosts = hosts(|options| options.host_wait = Timeout(Duration::from_secs(64)));
    suspend(&hosts).await;
    hosts.host("a").state().end_suspension();
    let probe = hosts.enter("a", Wait::ForHost).await.unwrap();
    assert!(probe.turn.is_probe);
    let waiting = crowd(&hosts, 100, |_| Outcome::NotFound);
    tokio::time::sleep(20 * MS).await;
    drop(probe);
    let done = tokio::time::timeout(Duration::from_secs(2), waiting.join_all());
    assert!(done.await.unwrap().iter().all(|(_, asked)| *asked));
}

#[tokio::test]
async fn a_host_that_is_down_costs_what_is_said_and_one_probe() {
    let hosts = hosts(|options| options.host_wait = Timeout(Duration::from_millis(640)));
    suspend(&hosts).await;
    let start = Instant::now();
    let waiting = crowd(&hosts, 300, |_| Outcome::Connect);
    assert!(is_free(&hosts, "b").await, "others go on");
    let rows = waiting.join_all().await;
    let took = start.elapsed();
    assert!(took > 500 * MS && took < 2_000 * MS, "{took:?}");
    let probes = rows.iter().filter(|(_, asked)| *asked).count();
    assert!((6..=8).contains(&probes), "{probes}");
    // It is waited for no more.
    let start = Instant::now();
    let refusal = hosts.enter("a", Wait::ForHost).await.unwrap_err();
    assert_eq!(refusal.outcome, Outcome::HostSuspended);
    assert!(start.elapsed() < 50 * MS);
}

#[tokio::test]
async fn hosts_are_forgotten_when_nobody_needs_them() {
    let hosts = hosts(|_| {});
    hosts.enter("paused", Wait::ForHost).await.unwrap().report(
        Outcome::TooManyRequests,
        Some(Duration::from_hours(1)),
        false,
    );
    for number in 0..3 * REMEMBERED {
        drop(
            hosts
                .enter(&format!("host-{number}"), Wait::ForHost)
                .await
                .unwrap(),
        );
    }
    assert!(
        hosts.remembered() <= REMEMBERED + 1,
        "{}",
        hosts.remembered()
    );
    assert!(hosts.enter("paused", Wait::ForHost).await.is_err());
}
