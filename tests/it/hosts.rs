//! Hosts that fail for a while, limit requests, or are down: what comes of their rows.
//!
//! The shards have the shape of those that lost pictures once: bad URLs before or among good ones of
//! the same host. Bad ones answer 500, as long as they are asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;

use crate::shards::{png, texts, what_is_at, write_urls};
use crate::support::{FixtureServer, Response};
use crate::work::Work;

/// The default but for what a test must say.
fn work(server: &FixtureServer, paths: &[String], options: &str) -> Work {
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"alt\" }",
        &format!(
            "[[stage]]\nfetch = {{ allow-networks = [\"127.0.0.0/8\"]{options} }}\n[[stage]]\ndecode = {{}}\n"
        ),
    );
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    write_urls(&work.shard_path("a"), server, &paths, what_is_at);
    work
}

/// A server of which `/good/N` are pictures and `/bad/N` fail, for the numbers below `most`.
fn server(most: usize) -> FixtureServer {
    let server = FixtureServer::start();
    for number in 0..most {
        server.put(
            &format!("/good/{number}"),
            Response::ok("image/png", png(64, 48, 7)),
        );
        server.put(&format!("/bad/{number}"), Response::status(500));
    }
    server
}

fn paths(kind: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("/{kind}/{number}"))
}

/// How many rows ended how: reason, or `in`, and status.
fn ends(work: &Work) -> BTreeMap<(String, Option<i32>), usize> {
    let scored = work.read("scored", "a");
    let fetch = scored.column_by_name("fetch").unwrap().as_struct();
    let status = fetch.column_by_name("status").unwrap();
    let status = status.as_primitive::<Int32Type>();
    let mut ends = BTreeMap::new();
    for (row, reason) in texts(&scored, "reject").into_iter().enumerate() {
        let reason = reason.unwrap_or_else(|| "in".to_owned());
        let status = status.is_valid(row).then(|| status.value(row));
        *ends.entry((reason, status)).or_default() += 1;
    }
    ends
}

fn expected<const N: usize>(
    ends: [(&str, Option<i32>, usize); N],
) -> BTreeMap<(String, Option<i32>), usize> {
    let ends = ends.into_iter();
    ends.map(|(reason, status, rows)| ((reason.to_owned(), status), rows))
        .collect()
}

#[test]
fn bad_pictures_before_good_ones_of_a_host_cost_none_of_them() {
    for (bad, good) in [(12, 100), (60, 300)] {
        let server = server(300);
        let all: Vec<String> = paths("bad", bad).chain(paths("good", good)).collect();
        let work = work(&server, &all, "");
        let start = Instant::now();
        work.run().expect_code(0);
        let took = start.elapsed();
        let right = [("in", Some(200), good), ("server-error", Some(500), bad)];
        assert_eq!(ends(&work), expected(right));
        assert!(took < Duration::from_secs(45), "{bad} bad: {took:?}");
        work.assert_whole();
    }
}

#[test]
fn bad_pictures_among_good_ones_of_a_host_say_what_they_answered() {
    let server = server(300);
    // One in four is bad, a few of them side by side.
    let (mut bad, mut good) = (paths("bad", 100), paths("good", 300));
    let all: Vec<String> = (0..400)
        .filter_map(|row| match row * 7919 % 16 {
            0..4 => bad.next(),
            _ => good.next(),
        })
        .collect();
    assert_eq!(all.len(), 400);
    let work = work(&server, &all, "");
    work.run().expect_code(0);
    let right = [("in", Some(200), 300), ("server-error", Some(500), 100)];
    assert_eq!(ends(&work), expected(right));
}

#[test]
fn a_host_that_limits_requests_gives_all_pictures_slower() {
    let server = server(300);
    server.limit(60);
    let all: Vec<String> = paths("good", 300).collect();
    let work = work(&server, &all, "");
    let start = Instant::now();
    work.run().expect_code(0);
    let (took, refused) = (start.elapsed(), server.refused());
    assert_eq!(ends(&work), expected([("in", Some(200), 300)]));
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(refused <= 30, "{refused} were too many");
}

#[test]
fn a_host_that_is_down_costs_what_is_said_and_is_asked_by_a_later_run() {
    let server = server(200);
    for number in 0..200 {
        server.put(&format!("/good/{number}"), Response::status(503));
    }
    let all: Vec<String> = paths("good", 200).collect();
    let work = work(&server, &all, ", host-wait = \"3s\"");
    let start = Instant::now();
    work.run().expect_code(0);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let down = ends(&work);
    let asked = down[&("server-error".to_owned(), Some(503))];
    assert!((4..40).contains(&asked), "{down:?}");
    assert_eq!(down[&("host-suspended".to_owned(), None)], 200 - asked);
    let details = texts(&work.read("rejected", "a"), "detail").into_iter();
    let never = details
        .flatten()
        .filter(|detail| detail.starts_with("never asked: "));
    assert_eq!(never.count(), 200 - asked);

    for number in 0..200 {
        server.put(
            &format!("/good/{number}"),
            Response::ok("image/png", png(64, 48, 7)),
        );
    }
    work.run_with(&["--retry", "transient"]).expect_code(0);
    assert_eq!(ends(&work), expected([("in", Some(200), 200)]));
    work.assert_whole();
}
