//! `capfilt schedule`: real schedulers with real runs. What starts when, over days and changes of
//! clocks, is tested beside the code, where time can be handed in.
//!
//! `CAPFILT_SCHEDULE_MINUTES` says for how many minutes a pipeline of every minute is run.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::StringArray;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, capfilt, command, skipped};
use crate::shards::{self, Row, png};
use crate::stop::wait_until;
use crate::support::{FixtureServer, Response};
use crate::work::manifests;

/// A folder of pipelines beside their inputs and outputs.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: TempDir::new().unwrap(),
        };
        fs_err::create_dir(desk.pipelines()).unwrap();
        desk
    }

    fn pipelines(&self) -> PathBuf {
        self.folder.path().join("pipelines")
    }

    /// A pipeline over pictures in `shards`, relative to the folder of everything.
    fn put(&self, name: &str, keys: &str, shards: &str) {
        let source =
            format!("shards = \"../{shards}\"\ncolumns = {{ image = \"image\", text = \"text\" }}");
        self.write(name, keys, &source, "[[stage]]\ndecode = {}");
    }

    /// A pipeline over one URL.
    fn put_fetching(&self, name: &str, keys: &str, url: &str) {
        let shard = self.folder.path().join(format!("{name}-in/a.parquet"));
        let url = Arc::new(StringArray::from(vec![url]));
        shards::write_columns(&shard, vec![("url", url)]);
        let source = format!("shards = \"../{name}-in/*.parquet\"\ncolumns = {{ url = \"url\" }}");
        let stages = "[[stage]]\nfetch = { timeout = \"60s\", robots-txt = false, tdm-reservation = false, \
                      allow-networks = [\"127.0.0.0/8\"] }";
        self.write(name, keys, &source, stages);
    }

    fn write(&self, name: &str, keys: &str, source: &str, stages: &str) {
        let text = format!(
            "name = \"{name}\"\n{keys}\n[source]\n{source}\n{stages}\n[sink]\noutput = \"../{name}\"\n"
        );
        fs_err::write(self.pipelines().join(format!("{name}.toml")), text).unwrap();
    }

    /// Writes the shard `in/<name>.parquet` with one picture.
    fn shard(&self, name: &str, seed: u8) {
        let path = self.folder.path().join(format!("in/{name}.parquet"));
        shards::write(&path, &[Row::good(seed, "a red square")]);
    }

    fn run(&self, name: &str) -> Ran {
        let file = self.pipelines().join(format!("{name}.toml"));
        capfilt(["run", file.to_str().unwrap()])
    }

    fn schedule(&self, more: &[&str]) -> Ran {
        let folder = self.pipelines();
        capfilt([&["schedule", folder.to_str().unwrap()], more].concat())
    }

    fn once(&self) -> Ran {
        self.schedule(&["--once"])
    }

    /// Starts a scheduler in the background.
    fn start(&self) -> Scheduler {
        let started = command()
            .args(["schedule", self.pipelines().to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Scheduler(started.unwrap())
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The manifests of a pipeline, oldest first.
    fn manifests(&self, name: &str) -> Vec<Value> {
        manifests(&self.output(name))
    }

    /// The words of a file's line in the table.
    fn status(&self, file: &str) -> String {
        let table = self.schedule(&["--status"]).expect_code(0).stdout;
        let line = table.lines().find(|line| line.starts_with(file));
        line.unwrap_or_else(|| panic!("no `{file}` in\n{table}"))
            .to_owned()
    }

    /// What the scheduler keeps of a file.
    fn record(&self, file: &str) -> Value {
        let path = self.pipelines().join(".capfilt-schedule.json");
        let state: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
        state["files"][file].clone()
    }

    /// Whether a run holds the output of a pipeline.
    fn is_held(&self, name: &str) -> bool {
        let lock = fs_err::File::open(self.output(name).join(".lock"));
        lock.is_ok_and(|lock| lock.into_parts().0.try_lock_shared().is_err())
    }
}

/// A scheduler in the background; a test that fails leaves none behind.
struct Scheduler(Child);

impl Scheduler {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.0.id().to_string()])
            .status();
        assert!(sent.expect("`kill` exists").success());
    }

    /// Waits for it to end.
    fn ended(mut self) -> Ran {
        let mut stderr = String::new();
        let said = self.0.stderr.as_mut().unwrap();
        said.read_to_string(&mut stderr).unwrap();
        Ran {
            code: self.0.wait().unwrap().code(),
            stdout: String::new(),
            stderr,
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // One that has ended by itself is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn once_runs_a_chain_in_order_and_later_only_what_has_news() {
    let desk = Desk::new();
    desk.shard("a", 1);
    // The names sort against the order.
    desk.put("z", "schedule = \"0 3 1 1 *\"", "in/*.parquet");
    desk.put("m", "after = \"z.toml\"", "z/scored/*.parquet");
    desk.put(
        "b",
        "after = \"m.toml\"\nschedule = \"0 3 1 1 *\"",
        "m/scored/*.parquet",
    );
    desk.put("by-hand", "", "in/*.parquet");
    let ran = desk.once().expect_code(0);
    let starts: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.contains("INFO started"))
        .filter_map(|line| {
            line.split_once("file=\"")?
                .1
                .split_once('"')
                .map(|(file, _)| file)
        })
        .collect();
    assert_eq!(starts, ["z.toml", "m.toml", "b.toml"], "{}", ran.stderr);
    assert!(ran.stderr.contains("z.toml: finished `"), "{}", ran.stderr);
    assert!(desk.output("b").join("scored/a.parquet").exists());
    assert!(!desk.output("by-hand").exists());
    let again = desk.once().expect_code(0);
    assert!(!again.stderr.contains("started"), "{}", again.stderr);

    // New input, and a run by hand: the others follow, and do just what is new.
    desk.shard("b", 2);
    desk.run("z").expect_code(0);
    let ran = desk.once().expect_code(0);
    for (file, starts) in [("z", 0), ("m", 1), ("b", 1)] {
        let start = format!("{file}.toml\" run=");
        let told = ran
            .stderr
            .lines()
            .filter(|line| line.contains("INFO started"));
        assert_eq!(
            told.filter(|line| line.contains(&start)).count(),
            starts,
            "{}",
            ran.stderr
        );
        let rows = desk
            .manifests(file)
            .iter()
            .map(|run| run["timings"]["rows"].clone())
            .collect::<Vec<_>>();
        assert_eq!(rows, [1, 1], "{file}");
    }
}

#[test]
fn the_exit_code_of_once_is_that_of_the_worst_run() {
    let desk = Desk::new();
    desk.shard("a", 1);
    desk.put("good", "schedule = \"0 3 1 1 *\"", "in/a.parquet");
    desk.put("partial", "schedule = \"0 3 1 1 *\"", "in/*.parquet");
    fs_err::write(desk.folder.path().join("in/bad.parquet"), "no shard").unwrap();
    desk.once().expect_code(4);
    desk.put(
        "later",
        "after = \"partial.toml\"",
        "partial/scored/*.parquet",
    );
    desk.once().expect_code(0);
    desk.put("failed", "schedule = \"0 3 1 1 *\"", "nowhere/*.parquet");
    desk.once().expect_code(1);
    assert!(desk.status("failed.toml").contains("3 bad configuration"));
    assert!(
        desk.status("partial.toml")
            .contains("4 finished, but shards failed")
    );
    assert_eq!(desk.record("failed.toml")["last-result"]["exit-code"], 3);
}

#[test]
fn a_folder_with_a_file_that_cannot_be_used_is_refused_before_anything_runs() {
    let desk = Desk::new();
    desk.shard("a", 1);
    desk.put("a", "schedule = \"0 3 1 1 *\"", "in/*.parquet");
    for (keys, told) in [
        ("schedule = \"0 25 * * *\"", "expected five cron fields"),
        (
            "schedule = { cron = \"0 3 * * *\", time-zone = \"Berlin\" }",
            "like `Europe/Berlin`",
        ),
        (
            "schedule = { corn = \"0 3 * * *\" }",
            "did you mean `cron`?",
        ),
        ("schedule = 3", "a cron line like"),
        ("after = \"nothing.toml\"", "there is no file"),
        ("after = \"b.toml\"", "b.toml after b.toml is a circle"),
    ] {
        desk.put("b", keys, "in/*.parquet");
        for mode in [&["--once"][..], &[]] {
            let ran = desk.schedule(mode).expect_code(3);
            assert!(ran.stderr.contains(told), "{}", ran.stderr);
        }
        // The keys of one file alone are checked by the other commands too.
        if keys.starts_with("schedule") {
            let file = desk.pipelines().join("b.toml");
            for command in ["check", "run"] {
                let ran = capfilt([command, file.to_str().unwrap()]).expect_code(3);
                assert!(ran.stderr.contains(told), "{}", ran.stderr);
                assert!(ran.stderr.contains("schedule = "), "{}", ran.stderr);
            }
        }
    }
    assert!(!desk.output("a").exists());
    assert!(desk.status("b.toml").contains("cannot be used"));
    let ran = capfilt(["schedule", desk.folder.path().join("no").to_str().unwrap()]).expect_code(3);
    assert!(
        ran.stderr.contains("cannot use the folder"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_scheduler_at_work_is_alone_and_notices_what_is_added_and_edited() {
    let desk = Desk::new();
    desk.shard("a", 1);
    desk.put("a", "", "in/*.parquet");
    let scheduler = desk.start();
    wait_until("the scheduler", || {
        desk.schedule(&["--status"]).stderr.is_empty()
    });
    let other = desk.once().expect_code(1);
    assert!(
        other.stderr.contains("another scheduler is at work"),
        "{}",
        other.stderr
    );
    desk.put("b", "after = \"a.toml\"", "a/scored/*.parquet");
    wait_until("the new file", || desk.status("b.toml").contains("waiting"));
    desk.run("a").expect_code(0);
    wait_until("the run", || desk.status("b.toml").contains("0 done"));
    assert_eq!(desk.manifests("b").len(), 1);
    desk.put("b", "schedule = \"0 3 1 1 *\"", "a/scored/*.parquet");
    wait_until("the edit", || !desk.record("b.toml")["next"].is_null());
    fs_err::write(desk.pipelines().join("b.toml"), "schedule = 3").unwrap();
    wait_until("the damage", || desk.record("b.toml")["next"].is_null());
    scheduler.signal("INT");
    let ran = scheduler.ended().expect_code(0);
    assert!(
        ran.stderr.contains("the other files go on"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        ran.stderr.matches("cannot use the pipeline").count(),
        1,
        "{}",
        ran.stderr
    );
    // One that is gone is in nobody's way.
    fs_err::remove_file(desk.pipelines().join("b.toml")).unwrap();
    desk.once().expect_code(0);
}

/// A scheduler whose one run waits for a server that does not answer.
fn waiting_run(desk: &Desk, url: &str) -> Scheduler {
    desk.shard("a", 1);
    desk.put("a", "", "in/*.parquet");
    desk.run("a").expect_code(0);
    desk.put_fetching("b", "after = \"a.toml\"", url);
    desk.start()
}

#[test]
fn a_signal_stops_the_runs_and_the_state_says_so() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/never.png", server.local_addr().unwrap());
    for name in ["TERM", "INT"] {
        let desk = Desk::new();
        let scheduler = waiting_run(&desk, &url);
        let _connection = server.accept().unwrap();
        assert!(desk.is_held("b"));
        assert!(desk.status("b.toml").ends_with("running"));
        let sent = Instant::now();
        scheduler.signal(name);
        let ran = scheduler.ended().expect_code(0);
        assert!(
            sent.elapsed() < Duration::from_secs(3),
            "{:?}",
            sent.elapsed()
        );
        assert!(!desk.is_held("b"), "a run is left behind");
        assert!(ran.stderr.contains("ended: cut off"), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("b.toml: error: interrupted"),
            "{}",
            ran.stderr
        );
        let record = desk.record("b.toml");
        assert_eq!(record["last-result"], "cut-off");
        assert!(
            record["last-end"].as_str() > record["last-start"].as_str(),
            "{record}"
        );
        assert_eq!(
            record["seen"].as_str().unwrap().len(),
            "2026-11-24T22-31-05Z".len()
        );
        // It goes on with the next scheduler, by itself.
        let line = desk.status("b.toml");
        assert!(line.contains("cut off") && line.contains("now"), "{line}");
    }
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/never.png", server.local_addr().unwrap());
    let desk = Desk::new();
    let mut scheduler = waiting_run(&desk, &url);
    let _connection = server.accept().unwrap();
    scheduler.signal("TERM");
    let mut lines = BufReader::new(scheduler.0.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("stopping")));
    let sent = Instant::now();
    scheduler.signal("TERM");
    assert!(!scheduler.0.wait().unwrap().success());
    assert!(
        sent.elapsed() < Duration::from_secs(1),
        "{:?}",
        sent.elapsed()
    );
    wait_until("the run to end", || !desk.is_held("b"));
    assert!(desk.status("b.toml").contains("cut off"));
}

#[test]
fn runs_outlive_a_scheduler_that_dies_and_block_no_other() {
    let server = FixtureServer::start();
    server.put(
        "/slow.png",
        Response::ok("image/png", png(32, 32, 1)).after(Duration::from_secs(2)),
    );
    let desk = Desk::new();
    let mut scheduler = waiting_run(&desk, &server.url("/slow.png"));
    wait_until("the request", || server.requests("/slow.png") == 1);
    scheduler.0.kill().unwrap();
    scheduler.0.wait().unwrap();
    wait_until("the run to end", || !desk.is_held("b"));
    assert_eq!(desk.manifests("b")[0]["state"], "finished");
    // The next scheduler cannot know how it ended, and finds nothing to do.
    assert!(desk.status("b.toml").contains("cut off"));
    let ran = desk.once().expect_code(0);
    assert!(
        ran.stderr.contains("there is nothing to do"),
        "{}",
        ran.stderr
    );
    assert_eq!(desk.manifests("b").len(), 1);
}

#[test]
fn logs_are_json_lines_with_the_name_of_the_file() {
    let desk = Desk::new();
    desk.shard("a", 1);
    desk.put("a", "schedule = \"0 3 1 1 *\"", "in/*.parquet");
    let ran = desk
        .schedule(&["--once", "--log-format", "json"])
        .expect_code(0);
    let lines: Vec<Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    assert!(
        lines.iter().all(|line| line["file"] == "a.toml"),
        "{}",
        ran.stderr
    );
    let said = |start: &str| {
        let starts = |line: &&Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with(start))
        };
        lines
            .iter()
            .find(starts)
            .unwrap_or_else(|| panic!("no `{start}` in {}", ran.stderr))
    };
    let (started, ended) = (said("started"), said("ended: 0 done"));
    assert_eq!(started["run"], ended["run"]);
    assert_eq!(ended["exit_code"], 0);
    assert_eq!(started["because"], "it was never started");
    said("rows       1");
    let quiet = desk.schedule(&["--once", "-q"]).expect_code(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_state_that_cannot_be_read_says_what_to_do() {
    let desk = Desk::new();
    for (state, told) in [
        ("{\"format\": 9}", "written by a newer capfilt"),
        ("{\"format\": 1, \"files\": 3}", "remove it"),
        ("", "remove it"),
    ] {
        fs_err::write(desk.pipelines().join(".capfilt-schedule.json"), state).unwrap();
        for mode in ["--once", "--status"] {
            let ran = desk.schedule(&[mode]).expect_code(1);
            assert!(ran.stderr.contains(told), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_pipeline_of_every_minute_follows_an_input_that_grows() {
    let Some(minutes) = std::env::var("CAPFILT_SCHEDULE_MINUTES").ok() else {
        return skipped(format_args!(
            "CAPFILT_SCHEDULE_MINUTES says for how many minutes to run"
        ));
    };
    let minutes: u8 = minutes.parse().expect("a number of minutes");
    let desk = Desk::new();
    desk.shard("0", 0);
    desk.put("a", "schedule = \"* * * * *\"", "in/*.parquet");
    desk.put("b", "after = \"a.toml\"", "a/scored/*.parquet");
    let scheduler = desk.start();
    for minute in 1..=minutes {
        let seen = |name: &str| desk.manifests(name).len() == usize::from(minute);
        let started = Instant::now();
        while !(seen("a") && seen("b")) {
            assert!(
                started.elapsed() < Duration::from_secs(75),
                "minute {minute}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        desk.shard(&minute.to_string(), minute);
    }
    scheduler.signal("TERM");
    let ran = scheduler.ended().expect_code(0);
    for name in ["a", "b"] {
        for manifest in desk.manifests(name) {
            assert_eq!(manifest["state"], "finished");
            assert_eq!(manifest["timings"]["rows"], 1, "just the new piece");
        }
    }
    for manifest in desk.manifests("a") {
        let second = manifest["timings"]["started"].as_u64().unwrap() % 60;
        assert!(second < 5, "started {second} s after the minute");
    }
    let starts = ran.stderr.matches("INFO started").count();
    assert_eq!(starts, 2 * usize::from(minutes), "{}", ran.stderr);
}
