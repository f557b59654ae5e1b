//! Runs that die: at every step by which files come to stand, and at any instant. Started again,
//! they end with the rows of a run that nothing disturbed.
//!
//! `CAPFILT_KILLS` says how many kills at random instants there are.

#![cfg(unix)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use capfilt_data::Step;
use serde_json::Value;

use crate::program::{Ran, command, root};
use crate::shards::{files, png, what_is_at, write_urls};
use crate::stop::wait_until;
use crate::support::{FixtureServer, Response};
use crate::work::{Work, assert_whole, manifests, rows};

const KINDS: [&str; 3] = ["scored", "dataset", "rejected"];

/// A pipeline over pictures from a server, some of which come only when they are asked for again.
pub(crate) struct Scene {
    pub(crate) server: FixtureServer,
    pub(crate) work: Work,
    paths: Vec<String>,
    picture: fn(u32) -> Vec<u8>,
}

impl Scene {
    /// Shards of these names and numbers of rows.
    pub(crate) fn new(shards: &[(&str, usize)], rows_per_piece: usize) -> Self {
        let picture = |row: u32| png(32, 32, row.try_into().unwrap());
        Self::with_pictures(shards, rows_per_piece, picture)
    }

    /// The same with larger pictures, made from the number of their row.
    pub(crate) fn with_pictures(
        shards: &[(&str, usize)],
        rows_per_piece: usize,
        picture: fn(u32) -> Vec<u8>,
    ) -> Self {
        let server = FixtureServer::start();
        let source = format!(
            "columns = {{ url = \"url\", text = \"alt\" }}\nrows-per-piece = {rows_per_piece}"
        );
        let stages = "[[stage]]\nwhere-text = \"length(text) > 4\"\n\
                      [[stage]]\nfetch = { timeout = \"5s\", retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n\
                      [[stage]]\ndecode = { min-side = 16 }\n";
        let work = Work::with_source(&source, stages);
        let mut paths = Vec::new();
        for (shard, count) in shards {
            let kinds = ["good", "late", "gone", "small", "down", "untold"];
            let of_shard: Vec<String> = (0..*count)
                .map(|row| format!("/{shard}/{row}/{}", kinds[row % kinds.len()]))
                .collect();
            write_urls(&work.shard_path(shard), &server, &of_shard, |path| {
                if path.ends_with("untold") {
                    "no".to_owned()
                } else {
                    what_is_at(path)
                }
            });
            paths.extend(of_shard);
        }
        let scene = Self {
            server,
            work,
            paths,
            picture,
        };
        scene.run("reference").expect_code(0);
        scene
    }

    /// One piece, so that steps come in the same order every time.
    fn of_one_piece() -> Self {
        Self::new(&[("a", 6)], 10)
    }

    /// Where an output of this name lies.
    pub(crate) fn output(&self, name: &str) -> PathBuf {
        self.work.path(&format!("outputs/{name}"))
    }

    /// The program that makes this output. The server has forgotten what it was asked for before.
    pub(crate) fn program(&self, output: &str) -> Command {
        self.forget();
        self.go_on(output)
    }

    /// Makes the server forget what it was asked for.
    pub(crate) fn forget(&self) {
        for (row, path) in (0..).zip(&self.paths) {
            let picture = || Response::ok("image/png", (self.picture)(row));
            let down = Response::status(503);
            match path.rsplit('/').next().unwrap() {
                "late" => self.server.put_each(path, [down, picture()]),
                "down" => self.server.put(path, down),
                "small" => self
                    .server
                    .put(path, Response::ok("image/png", png(8, 8, 0))),
                "gone" => {}
                _ => self.server.put(path, picture()),
            }
        }
    }

    /// The program that makes this output, with the server as it is.
    pub(crate) fn go_on(&self, output: &str) -> Command {
        let mut command = command();
        command.arg("run").arg(self.work.pipeline());
        command.arg("--output").arg(self.output(output));
        command
    }

    pub(crate) fn run(&self, output: &str) -> Ran {
        self.run_with(output, &[])
    }

    /// Makes an output with more arguments.
    pub(crate) fn run_with(&self, output: &str, more: &[&str]) -> Ran {
        self.program(output).args(more).output().unwrap().into()
    }

    /// Goes on with an output that a program left behind, and holds it against the undisturbed one.
    fn finish(&self, output: &str) {
        readable(&self.output(output));
        let ran = Ran::from(self.go_on(output).output().unwrap()).expect_code(0);
        let same = same(&self.output("reference"), &self.output(output));
        assert!(
            same.is_ok(),
            "{output}: {}\n{}",
            same.unwrap_err(),
            ran.stderr
        );
    }

    /// Lets pyarrow hold all outputs against the one of this name.
    fn compare(&self, reference: &str) {
        let Some(python) = crate::readers::python() else {
            return;
        };
        let compared = Command::new(python)
            .arg(root().join("tests/it/compare_outputs.py"))
            .arg(self.output(reference))
            .arg(self.work.path("outputs"))
            .output();
        Ran::from(compared.unwrap()).expect_code(0);
    }
}

/// Asserts that what stands under a final name can be read to its end.
pub(crate) fn readable(output: &Path) {
    for file in files(output) {
        let hidden = file.file_name().unwrap().to_string_lossy().starts_with('.');
        if !hidden && file.extension().is_some_and(|ending| ending == "parquet") {
            crate::shards::read(&output.join(file));
        }
    }
}

/// What of two outputs differs.
pub(crate) fn same(reference: &Path, output: &Path) -> Result<(), String> {
    for kind in KINDS {
        let [expected, found] = [reference, output].map(|output| files(&output.join(kind)));
        if expected != found {
            return Err(format!("the files of `{kind}` are {found:?}"));
        }
        let [expected, found] = [reference, output].map(|output| rows(output, kind));
        if expected != found {
            return Err(format!("`{kind}` has {found:#?}, expected {expected:#?}"));
        }
    }
    assert_whole(output);
    let record = |output: &Path| -> Value {
        let text = fs_err::read_to_string(output.join("run.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let [expected, found] = [reference, output].map(record);
    for fact in [
        "/state",
        "/counts/pieces",
        "/counts/scored",
        "/counts/decided",
    ] {
        if expected.pointer(fact) != found.pointer(fact) {
            return Err(format!(
                "`run.json` says {:?} in {fact}",
                found.pointer(fact)
            ));
        }
    }
    // However often a run died: what came of it in the end is kept, for who waits for new output.
    let manifests = manifests(output);
    for fact in ["/counts/scored", "/counts/decided"] {
        let newest = manifests.last().and_then(|newest| newest.pointer(fact));
        if newest != found.pointer(fact) {
            return Err(format!("the newest manifest says {newest:?} in {fact}"));
        }
    }
    Ok(())
}

/// Every point at which the program can be made to end on its way to an output on disk.
pub(crate) fn points() -> impl Iterator<Item = (Step, String)> {
    let in_stores = [Step::Part, Step::Put];
    let on_disk = Step::ALL
        .into_iter()
        .filter(move |step| !in_stores.contains(step));
    on_disk.flat_map(|step| {
        ["before", "after"].map(|side| (step, format!("{side}-{}", step.as_str())))
    })
}

/// Runs the program; false where it got to its end before it came to `point` for the `count`th time.
pub(crate) fn died(mut command: Command, point: &str, count: usize) -> bool {
    const SIGABRT: i32 = 6;
    let output = command
        .env("CAPFILT_END", format!("{point}:{count}"))
        .output()
        .unwrap();
    if output.status.signal() == Some(SIGABRT) {
        return true;
    }
    Ran::from(output).expect_code(0);
    false
}

/// A hidden file as a killed program leaves one, in a folder of an output.
pub(crate) fn leave_a_file(folder: &Path) {
    fs_err::create_dir_all(folder).unwrap();
    fs_err::write(folder.join(".capfilt-old.unfinished"), "half").unwrap();
}

#[test]
fn a_run_that_dies_at_any_step_goes_on_to_the_same_rows() {
    let scene = Scene::of_one_piece();
    for (step, point) in points() {
        for count in 1.. {
            let name = format!("{point}-{count}");
            if step == Step::Delete {
                leave_a_file(&scene.output(&name).join("scored"));
            }
            let died = died(scene.program(&name), &point, count);
            scene.finish(&name);
            if !died {
                assert!(count > 1, "`{point}` was never reached");
                break;
            }
        }
    }
    scene.compare("reference");
}

#[test]
fn a_decision_that_dies_at_any_step_is_taken_again() {
    let scene = Scene::of_one_piece();
    let decide = |output: &str| {
        let mut command = command();
        command.arg("decide").arg(scene.output(output));
        command.args(["--set", "keep.where=text not like '%late'"]);
        command
    };
    let copy = |to: &str| {
        let (from, to) = (scene.output("reference"), scene.output(to));
        let copied = Command::new("cp").arg("-r").args([from, to]).status();
        assert!(copied.unwrap().success());
    };
    copy("decided");
    Ran::from(decide("decided").output().unwrap()).expect_code(0);
    for (step, point) in points().filter(|(step, _)| *step != Step::MakeFolder) {
        for count in 1.. {
            let name = format!("{point}-{count}");
            copy(&name);
            if step == Step::Delete {
                leave_a_file(&scene.output(&name).join("dataset"));
            }
            let died = died(decide(&name), &point, count);
            readable(&scene.output(&name));
            Ran::from(decide(&name).output().unwrap()).expect_code(0);
            let same = same(&scene.output("decided"), &scene.output(&name));
            assert!(same.is_ok(), "{name}: {}", same.unwrap_err());
            if !died {
                assert!(count > 1, "`{point}` was never reached");
                break;
            }
        }
    }
    fs_err::remove_dir_all(scene.output("reference")).unwrap();
    scene.compare("decided");
}

#[test]
fn a_page_that_dies_at_any_step_is_whole_or_not_there() {
    let scene = Scene::of_one_piece();
    let output = scene.output("reference");
    let report = || {
        let mut command = command();
        command.arg("report").arg(&output);
        command
    };
    let not_here = [Step::MakeFolder, Step::Delete];
    for (_, point) in points().filter(|(step, _)| !not_here.contains(step)) {
        assert!(died(report(), &point, 1), "`{point}` was never reached");
        assert!(!died(report(), &point, 2), "the page is written twice");
        let page = fs_err::read_to_string(output.join("report.html")).unwrap();
        assert!(page.trim_end().ends_with("</html>"), "{point}");
        fs_err::remove_file(output.join("report.html")).unwrap();
    }
    scene.finish("reference");
}

/// Numbers that are the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

pub(crate) fn setting(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().expect("a number"))
}

#[test]
fn a_run_that_is_killed_at_any_instant_goes_on_to_the_same_rows() {
    const SIGKILL: i32 = 9;
    let scene = Scene::new(&[("a", 14), ("b", 5), ("deep/c", 8)], 5);
    let started = Instant::now();
    scene.run("timed").expect_code(0);
    let took = u64::try_from(started.elapsed().as_micros()).unwrap();

    let wanted = setting("CAPFILT_KILLS").unwrap_or(12);
    let seed = setting("CAPFILT_SEED").unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    let mut random = Random(seed);
    let mut killed = 0;
    for round in 0.. {
        if killed >= wanted {
            break;
        }
        let name = format!("{round}-of-seed-{seed}");
        let mut next = scene.program(&name);
        // Several in a row: what goes on with what was left may die, too.
        for _ in 0..=random.below(3) {
            let mut child = next
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(random.below(took)));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            if status.signal() != Some(SIGKILL) {
                assert!(status.success(), "{name}: {status}");
                break;
            }
            killed += 1;
            next = scene.go_on(&name);
        }
        scene.finish(&name);
    }
    scene.compare("reference");
}

#[test]
fn a_second_program_is_refused_at_once_and_the_first_goes_on() {
    let scene = Scene::of_one_piece();
    let mut first = scene.program("shared");
    let slow = Response::ok("image/png", png(32, 32, 0)).after(Duration::from_secs(4));
    scene.server.put("/a/0/good", slow);
    let before = scene.server.requests("/a/0/good");
    let first = first
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the first run", || {
        scene.server.requests("/a/0/good") > before
    });

    let output = scene.output("shared");
    let run = || {
        let mut command = scene.go_on("shared");
        command.args(["--retry", "transient"]);
        command
    };
    let decide = || {
        let mut command = command();
        command.arg("decide").arg(&output);
        command
    };
    for mut second in [run(), decide()] {
        let started = Instant::now();
        let ran = Ran::from(second.output().unwrap()).expect_code(1);
        assert!(started.elapsed() < Duration::from_secs(2), "it waited");
        assert!(
            ran.stderr.contains("another run is writing to"),
            "{}",
            ran.stderr
        );
    }
    let first = Ran::from(first.wait_with_output().unwrap()).expect_code(0);
    assert!(first.stderr.contains("finished"), "{}", first.stderr);
    assert_eq!(same(&scene.output("reference"), &output), Ok(()));
}

#[test]
fn a_lock_that_a_dead_program_left_blocks_nobody() {
    let scene = Scene::of_one_piece();
    let mut first = scene.program("shared");
    let slow = Response::ok("image/png", png(32, 32, 0)).after(Duration::from_mins(1));
    scene.server.put("/a/0/good", slow);
    let before = scene.server.requests("/a/0/good");
    let mut first = first.stderr(Stdio::null()).spawn().unwrap();
    wait_until("the first run", || {
        scene.server.requests("/a/0/good") > before
    });
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(scene.output("shared").join(".lock").exists());
    scene.run("shared").expect_code(0);
    scene.finish("shared");
}
