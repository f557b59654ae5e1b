//! Hosts that fail are waited for, those that are asked too much are asked less, and what was
//! answered is what comes of a row.

use std::collections::BTreeMap;

use super::*;

fn patient(wait: Duration) -> FetchOptions {
    FetchOptions {
        retries: 0,
        robots_txt: false,
        tdm_reservation: false,
        host_wait: Timeout(wait),
        ..options()
    }
}

/// Fetches all at once, begun in their order, as a pipeline does.
async fn rows(fetcher: &Fetcher, urls: Vec<String>, was_asked: bool) -> Vec<Fetched> {
    let fetches = urls
        .iter()
        .map(|url| fetcher.fetch_into(url, &Unlimited, was_asked));
    futures::future::join_all(fetches).await
}

fn urls(server: &Server, parts: &[(usize, &str)]) -> Vec<String> {
    let parts = parts.iter();
    parts
        .flat_map(|(rows, path)| std::iter::repeat_n(server.url(path), *rows))
        .collect()
}

/// How many rows ended how.
fn counts(fetched: &[Fetched]) -> BTreeMap<(Outcome, Option<u16>), usize> {
    let mut counts = BTreeMap::new();
    for one in fetched {
        *counts.entry((one.outcome, one.status)).or_default() += 1;
    }
    counts
}

const FINE: (Outcome, Option<u16>) = (Outcome::Ok, Some(200));
const FAILED: (Outcome, Option<u16>) = (Outcome::ServerError, Some(500));

#[tokio::test]
async fn bad_pictures_of_a_host_do_not_cost_the_good_ones() {
    // Where many are bad, a draw of who probes may hit bad ones only, until nobody waits any more.
    for (bad, good, status, most) in [
        (12, 100, 500, 4_000),
        (60, 300, 500, 8_000),
        (60, 300, 503, 8_000),
        (100, 400, 500, 8_000),
    ] {
        let server = Server::start().await;
        let fetcher = Fetcher::new(&patient(Duration::from_secs(8))).unwrap();
        let start = Instant::now();
        let path = format!("/status/{status}");
        let all = urls(&server, &[(bad, &path), (good, "/ok")]);
        let fetched = rows(&fetcher, all, false).await;
        let failed = (Outcome::ServerError, Some(status));
        let expected = BTreeMap::from([(FINE, good), (failed, bad)]);
        assert_eq!(counts(&fetched), expected);
        let took = start.elapsed();
        assert!(
            took < Duration::from_millis(most),
            "{bad} of {status}: {took:?}"
        );
        // At the end of the piece the bad ones are asked for again: nobody waits long for them.
        let start = Instant::now();
        let again = rows(&fetcher, urls(&server, &[(bad, &path)]), true).await;
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{bad} bad: {:?}",
            start.elapsed()
        );
        for one in &again {
            let was_asked = (one.outcome, one.attempts) == (Outcome::ServerError, 1);
            let never = (one.outcome, one.attempts) == (Outcome::HostSuspended, 0);
            assert!(was_asked || never, "{one:?}");
        }
    }
}

#[tokio::test]
async fn bad_and_good_pictures_in_any_order_all_come() {
    let server = Server::start().await;
    let fetcher = Fetcher::new(&patient(Duration::from_secs(8))).unwrap();
    let parts: Vec<(usize, &str)> = (0..40)
        .flat_map(|number| [(number % 13, "/status/500"), (number % 7 * 10, "/ok")])
        .collect();
    let sum = |path| {
        parts
            .iter()
            .filter(|part| part.1 == path)
            .map(|part| part.0)
            .sum()
    };
    let fetched = rows(&fetcher, urls(&server, &parts), false).await;
    let expected = BTreeMap::from([(FINE, sum("/ok")), (FAILED, sum("/status/500"))]);
    assert_eq!(counts(&fetched), expected);
}

#[tokio::test]
async fn a_host_that_comes_back_is_asked_for_all() {
    let server = Server::start().await;
    let fetcher = Fetcher::new(&patient(Duration::from_secs(4))).unwrap();
    // Fails 14 times: ten before it is suspended, and four probes.
    let fetched = rows(&fetcher, urls(&server, &[(400, "/fails/14")]), false).await;
    assert_eq!(
        counts(&fetched),
        BTreeMap::from([(FINE, 386), (FAILED, 14)])
    );
    assert_eq!(server.seen().requests["/fails/14"], 400);
}

#[tokio::test]
async fn a_host_that_is_down_all_along_costs_what_is_said() {
    let server = Server::start().await;
    let other = Server::start().await;
    let fetcher = Fetcher::new(&patient(Duration::from_secs(1))).unwrap();
    let start = Instant::now();
    let all = urls(&server, &[(2_000, "/status/500")]);
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Another name of loopback is another host.
        let url = other.url("/ok").replace("127.0.0.1", "127.0.0.2");
        let another_host = fetcher.fetch(&url).await;
        let took = start.elapsed();
        assert!(
            took < Duration::from_millis(900),
            "{another_host:?}, {took:?}"
        );
    };
    let (fetched, ()) = tokio::join!(rows(&fetcher, all, false), others);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    let counts = counts(&fetched);
    let asked = counts[&FAILED];
    assert!((13..=30).contains(&asked), "{counts:?}");
    assert_eq!(counts[&(Outcome::HostSuspended, None)], 2_000 - asked);
    for one in fetched
        .iter()
        .filter(|one| one.outcome == Outcome::HostSuspended)
    {
        assert_eq!((one.attempts, one.bytes), (0, 0));
        let detail = one.detail.as_deref().unwrap();
        assert!(detail.starts_with("never asked: "), "{detail}");
        assert!(detail.contains("the last with `server-error`"), "{detail}");
    }
    // In the rest of the run it is not waited for.
    let start = Instant::now();
    rows(&fetcher, urls(&server, &[(1_000, "/status/500")]), false).await;
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn a_host_without_rules_counts_as_one_that_fails() {
    // The first port is closed: robots.txt cannot be had, and no picture is asked for.
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/ok", closed.local_addr().unwrap());
    drop(closed);
    let options = FetchOptions {
        robots_txt: true,
        ..patient(Duration::from_secs(1))
    };
    let fetcher = Fetcher::new(&options).unwrap();
    let start = Instant::now();
    let fetched = rows(&fetcher, vec![url; 500], false).await;
    let took = start.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    let counts = counts(&fetched);
    let asked = counts[&(Outcome::Connect, None)];
    assert!((13..=30).contains(&asked), "{counts:?}");
    assert_eq!(counts[&(Outcome::HostSuspended, None)], 500 - asked);
}

#[tokio::test]
async fn a_host_that_starts_late_is_asked_for_its_rules_again() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let options = FetchOptions {
        robots_txt: true,
        ..patient(Duration::from_secs(6))
    };
    let fetcher = Fetcher::new(&options).unwrap();
    let all = vec![format!("http://{address}/ok"); 300];
    let late = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        Server::at(address, Files::new()).await
    };
    let (fetched, server) = tokio::join!(rows(&fetcher, all, false), late);
    let counts = counts(&fetched);
    let early = counts[&(Outcome::Connect, None)];
    assert!((10..=16).contains(&early), "{counts:?}");
    assert_eq!(counts[&FINE], 300 - early);
    assert_eq!(server.seen().requests["/robots.txt"], 1);
}

#[tokio::test]
async fn a_host_that_limits_requests_without_saying_when_gives_all() {
    let server = Server::start().await;
    let fetcher = Fetcher::new(&patient(Duration::from_mins(2))).unwrap();
    let start = Instant::now();
    let all = urls(&server, &[(250, "/limited/50")]);
    let fetched = rows(&fetcher, all, false).await;
    assert_eq!(counts(&fetched), BTreeMap::from([(FINE, 250)]));
    let (took, refused) = (start.elapsed(), server.seen().limited.refused);
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert!(refused <= 20, "{refused} refused");
}

#[tokio::test]
async fn a_host_that_refuses_all_requests_as_too_many_is_left_within_the_bound() {
    let server = Server::start().await;
    let fetcher = Fetcher::new(&patient(Duration::from_secs(1))).unwrap();
    let start = Instant::now();
    let fetched = rows(&fetcher, urls(&server, &[(500, "/status/429")]), false).await;
    let took = start.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    let counts = counts(&fetched);
    let asked = counts[&(Outcome::TooManyRequests, Some(429))];
    assert!((4..=20).contains(&asked), "{counts:?}");
    assert_eq!(counts[&(Outcome::HostSuspended, None)], 500 - asked);
    assert!(server.seen().requests["/status/429"] <= 20);
}
