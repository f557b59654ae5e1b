//! Stopping: Ctrl-C, SIGTERM. Nothing half-written, and the next run finishes.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{Ran, command, models_can_run};
use crate::shards::Row;
use crate::work::Work;

/// Starts `capfilt run` in the background.
pub(crate) fn start(work: &Work) -> Child {
    command()
        .args(["run", work.pipeline().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Sends a signal by name.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(sent.expect("`kill` exists").success());
}

/// Waits until `done`, for a minute at most.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "waited in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends the signal, and gives what was told and how long it took to end.
pub(crate) fn stopped(mut child: Child, name: &str) -> (Ran, Duration) {
    let sent = Instant::now();
    signal(&child, name);
    let status = child.wait().unwrap();
    let took = sent.elapsed();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    (
        Ran {
            code: status.code(),
            stdout: String::new(),
            stderr,
        },
        took,
    )
}

/// Many pieces of slow work: each picture is scaled down by a model.
fn many_pieces() -> Work {
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"text\" }\nrows-per-piece = 8",
        &Work::model_stages(),
    );
    let rows: Vec<Row> = (0..160)
        .map(|seed| Row::good(seed, "a red square"))
        .collect();
    work.shard("a", &rows);
    work
}

#[test]
fn a_signal_stops_within_two_seconds_and_the_next_run_finishes() {
    if !models_can_run() {
        return;
    }
    let whole = many_pieces();
    whole.run().expect_code(0);
    for name in ["INT", "TERM"] {
        let work = many_pieces();
        let child = start(&work);
        wait_until("the first piece", || {
            work.output().join("scored/a/0.parquet").exists()
        });
        let (ran, took) = stopped(child, name);
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("again"),
            "it is not told how to go on:\n{}",
            ran.stderr
        );
        let kept = crate::shards::files(&work.output().join("scored")).len();
        assert!((1..20).contains(&kept), "{kept} pieces were finished");
        for kind in ["scored", "dataset", "rejected"] {
            for file in crate::shards::files(&work.output().join(kind)) {
                if file.extension().is_some_and(|ending| ending == "parquet") {
                    crate::shards::read(&work.output().join(kind).join(file));
                }
            }
        }
        work.run().expect_code(0);
        for kind in ["scored", "dataset", "rejected"] {
            assert_eq!(work.rows(kind), whole.rows(kind), "{kind} after {name}");
        }
        work.assert_whole();
    }
}

#[test]
fn a_run_that_waits_for_a_slow_server_stops_too() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/never.png", server.local_addr().unwrap());
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"text\" }",
        "[[stage]]\nfetch = { timeout = \"60s\", allow-networks = [\"127.0.0.0/8\"] }\n[[stage]]\ndecode = {}\n",
    );
    let column = |text: &str| std::sync::Arc::new(arrow::array::StringArray::from(vec![text; 3]));
    crate::shards::write_columns(
        &work.shard_path("a"),
        vec![("url", column(&url)), ("text", column("a text"))],
    );
    let child = start(&work);
    let _connection = server.accept().unwrap();
    let (ran, took) = stopped(child, "INT");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!work.output().join("scored/a.parquet").exists());
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/never.png", server.local_addr().unwrap());
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"text\" }",
        "[[stage]]\nfetch = { timeout = \"60s\", allow-networks = [\"127.0.0.0/8\"] }\n",
    );
    let column = |text: &str| std::sync::Arc::new(arrow::array::StringArray::from(vec![text]));
    crate::shards::write_columns(
        &work.shard_path("a"),
        vec![("url", column(&url)), ("text", column("a text"))],
    );
    let mut child = start(&work);
    let _connection = server.accept().unwrap();
    signal(&child, "INT");
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let sent = Instant::now();
    // It may have ended by itself by now, and that is as good.
    drop(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .stderr(Stdio::null())
            .status(),
    );
    let status = child.wait().unwrap();
    assert!(!status.success());
    assert!(
        sent.elapsed() < Duration::from_secs(1),
        "{:?}",
        sent.elapsed()
    );
}
