//! Trying again: at the end of a piece, and on a finished run.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;

use crate::program::capfilt;
use crate::shards::{png, texts, what_is_at, write_urls};
use crate::support::{FixtureServer, Response};
use crate::work::Work;

/// A folder with one shard `a` of these paths, fetched once in a pass.
fn work(server: &FixtureServer, paths: &[&str], rows_per_piece: usize, timeout: &str) -> Work {
    let fetch = format!("timeout = \"{timeout}\", retries = 0, allow-networks = [\"127.0.0.0/8\"]");
    let work = Work::with_source(
        &format!(
            "columns = {{ url = \"url\", text = \"alt\" }}\nrows-per-piece = {rows_per_piece}"
        ),
        &format!("[[stage]]\nfetch = {{ {fetch} }}\n[[stage]]\ndecode = {{}}\n"),
    );
    write_urls(&work.shard_path("a"), server, paths, what_is_at);
    work
}

fn picture(seed: u8) -> Response {
    Response::ok("image/png", png(64, 48, seed))
}

/// The reasons in `scored` of a piece; `in` for rows that are.
fn reasons(work: &Work, piece: &str) -> Vec<String> {
    let reasons = texts(&work.read("scored", piece), "reject").into_iter();
    reasons
        .map(|reason| reason.unwrap_or_else(|| "in".to_owned()))
        .collect()
}

fn requests<const N: usize>(server: &FixtureServer, paths: [&str; N]) -> [usize; N] {
    paths.map(|path| server.requests(path))
}

#[test]
fn what_fails_in_passing_is_tried_again_at_the_end_of_the_piece() {
    let server = FixtureServer::start();
    server.put("/good.png", picture(1));
    server.put_each("/late.png", [Response::status(503), picture(2)]);
    server.put("/down.png", Response::status(503));
    let paths = ["/late.png", "/good.png", "/gone.png", "/down.png"];
    let work = work(&server, &paths, 10, "5s");
    let ran = work.run().expect_code(0);
    assert_eq!(
        reasons(&work, "a"),
        ["in", "in", "not-found", "server-error"]
    );
    assert_eq!(requests(&server, paths), [2, 1, 1, 2]);
    let scored = work.read("scored", "a");
    let fetch = scored.column_by_name("fetch").unwrap().as_struct();
    let attempts = fetch.column_by_name("attempts").unwrap();
    assert_eq!(attempts.as_primitive::<Int32Type>().values(), &[2, 1, 1, 2]);
    assert_eq!(texts(&work.read("dataset", "a"), "id").len(), 2);
    assert_eq!(texts(&work.read("rejected", "a"), "reason").len(), 2);
    let counts = &work.run_json()["counts"];
    assert_eq!(
        (&counts["retried"], &counts["recovered"]),
        (&2.into(), &1.into())
    );
    assert_eq!(counts["scored"]["rejected"]["server-error"], 1);
    assert!(ran.stderr.contains("2 rows, 1 came in"), "{}", ran.stderr);
    work.assert_whole();

    let again = work.run().expect_code(0);
    assert!(
        again.stderr.contains("there is nothing to do"),
        "{}",
        again.stderr
    );
    assert_eq!(requests(&server, paths), [2, 1, 1, 2]);
}

#[test]
fn a_finished_run_brings_in_what_was_mended_and_asks_for_nothing_else() {
    let server = FixtureServer::start();
    let paths = [
        "/a.png",
        "/slow.png",
        "/gone.png",
        "/down.png",
        "/b.png",
        "/c.png",
    ];
    for (seed, path) in (1..).zip(["/a.png", "/b.png", "/c.png"]) {
        server.put(path, picture(seed));
    }
    server.put("/slow.png", picture(8).after(Duration::from_secs(3)));
    server.put("/down.png", Response::status(503));
    let first = work(&server, &paths, 2, "1s");
    first.run().expect_code(0);
    assert_eq!(reasons(&first, "a/0"), ["in", "timed-out"]);
    assert_eq!(reasons(&first, "a/2"), ["not-found", "server-error"]);
    assert_eq!(requests(&server, paths), [1, 2, 1, 2, 1, 1]);

    server.put("/slow.png", picture(8));
    server.put("/down.png", picture(9));
    let untouched = fs_err::read(first.output().join("scored/a/4.parquet")).unwrap();
    let ran = first.run_with(&["--retry", "transient"]).expect_code(0);
    assert!(
        ran.stderr.contains("rows of 2 finished pieces"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("2 rows, 2 came in"), "{}", ran.stderr);
    assert_eq!(requests(&server, paths), [1, 3, 1, 3, 1, 1]);
    let after = fs_err::read(first.output().join("scored/a/4.parquet")).unwrap();
    assert_eq!(after, untouched);
    first.assert_whole();

    let undisturbed = work(&server, &paths, 2, "1s");
    undisturbed.run().expect_code(0);
    for kind in ["scored", "dataset", "rejected"] {
        assert_eq!(first.rows(kind), undisturbed.rows(kind), "{kind}");
    }
    let decided = |work: &Work| work.run_json()["counts"]["decided"].clone();
    assert_eq!(decided(&first), decided(&undisturbed));
}

#[test]
fn only_rows_of_the_named_reasons_are_tried_again() {
    let server = FixtureServer::start();
    server.put("/down.png", Response::status(503));
    let paths = ["/gone.png", "/down.png", "/nowhere.png"];
    let work = work(&server, &paths, 10, "5s");
    work.run().expect_code(0);
    assert_eq!(requests(&server, paths), [1, 2, 1]);
    server.put("/gone.png", picture(1));
    server.put("/down.png", picture(2));
    work.run_with(&["--retry", "not-found"]).expect_code(0);
    assert_eq!(reasons(&work, "a"), ["in", "server-error", "not-found"]);
    assert_eq!(requests(&server, paths), [2, 2, 2]);

    let ran = work.run_with(&["--retry", "gone,timed-out"]).expect_code(0);
    let nothing = "no row of it left for such a reason; there is nothing to do";
    assert!(ran.stderr.contains(nothing), "{}", ran.stderr);
    assert_eq!(requests(&server, paths), [2, 2, 2]);
}

#[test]
fn what_is_no_reason_of_a_row_is_refused() {
    for (name, hint) in [
        ("timedout", "did you mean `timed-out`?"),
        ("below-threshold", "expected `transient`, `missing-url`"),
    ] {
        let ran = capfilt(["run", "no.toml", "--retry", name]).expect_code(2);
        assert!(
            ran.stderr.contains(&format!("unknown reason `{name}`")),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn trying_again_holds_back_no_other_piece_and_can_be_stopped() {
    use crate::stop::{start, stopped, wait_until};
    let server = FixtureServer::start();
    let stall = picture(2).after(Duration::from_mins(1));
    server.put_each("/stall.png", [Response::status(503), stall]);
    server.put("/good.png", picture(1));
    let paths = [
        "/stall.png",
        "/good.png",
        "/good.png",
        "/good.png",
        "/good.png",
    ];
    let work = work(&server, &paths, 1, "50s");
    let child = start(&work);
    wait_until("all other pieces", || {
        server.requests("/stall.png") == 2
            && (1..5).all(|row| {
                work.output()
                    .join(format!("rejected/a/{row}.parquet"))
                    .exists()
            })
    });
    assert!(!work.output().join("dataset/a/0.parquet").exists());
    let (ran, took) = stopped(child, "INT");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    work.assert_whole();
    assert_eq!(reasons(&work, "a/0"), ["server-error"]);

    // The run that goes on owes that row its second try.
    server.put("/stall.png", picture(2));
    let ran = work.run().expect_code(0);
    assert!(
        ran.stderr
            .contains("rows of 1 finished pieces are tried again"),
        "{}",
        ran.stderr
    );
    assert_eq!(requests(&server, ["/stall.png", "/good.png"]), [3, 4]);
    assert_eq!(reasons(&work, "a/0"), ["in"]);
    work.assert_whole();
}
