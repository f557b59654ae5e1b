//! Runs from a store to a store that die, and stores that misbehave: started again, a run ends with
//! the rows of one that nothing disturbed.
//!
//! `CAPFILT_KILLS` says how many kills at random instants there are, `CAPFILT_SEED` repeats them.

#![cfg(unix)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::crash::{Random, Scene, died, same, setting};
use crate::program::Ran;
use crate::s3::{LEASE_MILLIS, S3};
use crate::shards::noise;
use crate::stop::wait_until;
use crate::support::Response;

/// A scene whose shards and outputs lie in a store.
struct Cloud {
    scene: Scene,
    s3: S3,
}

impl Cloud {
    fn new(scene: Scene, s3: S3) -> Self {
        s3.upload(&scene.work.path("in"), "in/");
        Self { scene, s3 }
    }

    fn output(name: &str) -> String {
        format!("s3://photos/outputs/{name}")
    }

    /// Makes `program` a run that makes the output of this name.
    fn run(&self, mut program: Command, name: &str) -> Command {
        program.arg("run").arg(self.scene.work.pipeline());
        program.args(["--input", "s3://photos/in/**/*.parquet"]);
        program.args(["--output", &Self::output(name)]);
        program
    }

    /// A run at whose start the server of the pictures has forgotten what it was asked for.
    fn program(&self, name: &str) -> Command {
        self.scene.forget();
        self.run(self.s3.program(), name)
    }

    /// A run as it is started again.
    fn go_on(&self, name: &str) -> Command {
        self.run(self.s3.program(), name)
    }
    /// A run that waits for its first picture, for some seconds yet.
    fn start_slowly(&self, output: &str) -> Child {
        let mut run = self.program(output);
        let slow = Response::ok("image/png", noise(40, 0)).after(Duration::from_secs(4));
        self.scene.server.put("/a/0/good", slow);
        let before = self.scene.server.requests("/a/0/good");
        let child = run.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
        wait_until("the first run", || {
            self.scene.server.requests("/a/0/good") > before
        });
        child.unwrap()
    }

    /// Goes on with an output, and holds it against the undisturbed one.
    fn finish(&self, name: &str) {
        let ran = Ran::from(self.go_on(name).output().unwrap()).expect_code(0);
        self.assert_same(name, &ran.stderr);
    }

    fn assert_same(&self, name: &str, told: &str) {
        let folder = self.scene.output(name);
        self.s3.download(&format!("outputs/{name}/"), &folder);
        let same = same(&self.scene.output("reference"), &folder);
        assert!(same.is_ok(), "{name}: {}\n{told}", same.unwrap_err());
    }
}

#[test]
fn a_run_to_a_store_that_dies_at_any_put_goes_on_to_the_same_rows() {
    let Some(s3) = S3::start() else { return };
    let cloud = Cloud::new(Scene::new(&[("a", 6)], 10), s3);
    for point in ["before-put", "after-put"] {
        for count in 1.. {
            let name = format!("{point}-{count}");
            let died = died(cloud.program(&name), point, count);
            cloud.finish(&name);
            if !died {
                assert!(count > 6, "there are only {count} puts");
                break;
            }
        }
    }
}

#[test]
fn rows_of_an_output_in_a_store_are_tried_again() {
    let Some(s3) = S3::start() else { return };
    let cloud = Cloud::new(Scene::new(&[("a", 14)], 5), s3);
    let first = Ran::from(cloud.program("out").output().unwrap()).expect_code(0);
    assert!(first.stderr.contains("came in"), "{}", first.stderr);
    // What was down is there now.
    for row in (4..14).step_by(6) {
        let picture = Response::ok("image/png", noise(40, row));
        cloud.scene.server.put(&format!("/a/{row}/down"), picture);
    }
    let mut again = cloud.go_on("out");
    let again = again.args(["--retry", "transient"]).output().unwrap();
    let again = Ran::from(again).expect_code(0);
    assert!(
        again.stderr.contains("retried    2 rows, 2 came in"),
        "{}",
        again.stderr
    );
    let mut on_disk = cloud.scene.go_on("reference");
    let on_disk = on_disk.args(["--retry", "transient"]).output().unwrap();
    Ran::from(on_disk).expect_code(0);
    cloud.assert_same("out", &again.stderr);
}

#[test]
fn an_upload_in_parts_that_dies_leaves_no_object() {
    let Some(s3) = S3::start() else { return };
    let scene = Scene::with_pictures(&[("a", 24)], 100, |row| noise(900, row));
    let cloud = Cloud::new(scene, s3);
    for (point, count) in [("before-part", 1), ("after-part", 2), ("before-put", 3)] {
        let name = format!("{point}-{count}");
        assert!(
            died(cloud.program(&name), point, count),
            "{point} was never reached"
        );
        let scored = cloud.s3.keys(&format!("outputs/{name}/scored/"));
        assert_eq!(scored, [] as [&str; 0], "{point}");
        assert!(
            cloud.s3.unfinished_uploads() > 0,
            "{point}: it went up at once"
        );
        cloud.finish(&name);
    }
}

#[test]
fn a_run_to_a_store_that_is_killed_at_any_instant_goes_on_to_the_same_rows() {
    let Some(s3) = S3::start() else { return };
    let cloud = Cloud::new(Scene::new(&[("a", 14), ("b", 5), ("deep/c", 8)], 5), s3);
    let started = Instant::now();
    Ran::from(cloud.program("timed").output().unwrap()).expect_code(0);
    let took = u64::try_from(started.elapsed().as_micros()).unwrap();
    let wanted = setting("CAPFILT_KILLS").unwrap_or(4);
    let seed = setting("CAPFILT_SEED").unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    let mut random = Random(seed);
    let mut killed = 0;
    for round in 0.. {
        if killed >= wanted {
            break;
        }
        let name = format!("{round}-of-seed-{seed}");
        let mut child = cloud.program(&name);
        let child = child.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(took)));
        child.kill().unwrap();
        killed += u64::from(child.wait().unwrap().code().is_none());
        cloud.finish(&name);
    }
}

/// What a faulty store does.
const FAULTS: [&str; 7] = [
    "500",
    "503",
    "slow",
    "cut-request",
    "lost-answer",
    "cut-answer",
    "short-answer",
];

#[test]
fn a_store_that_misbehaves_changes_no_row() {
    let seed = setting("CAPFILT_SEED").unwrap_or_else(|| RandomState::new().hash_one(0_u8) >> 12);
    let Some(s3) = S3::start_faulty(seed, 0.2) else {
        return;
    };
    let scene = Scene::with_pictures(&[("a", 14), ("deep/b", 9)], 5, |row| noise(400, row));
    let cloud = Cloud::new(scene, s3);
    let run = |name: &str| {
        let mut program = cloud.run(cloud.s3.program_with_faults(), name);
        // Locks that live as long as for users: a beat that is spoiled has its time.
        program.env_remove("CAPFILT_LEASE");
        Ran::from(program.output().unwrap())
    };
    // A single run may meet only some kinds of faults, by chance: others follow until all were met.
    for round in 0_u32.. {
        cloud.scene.forget();
        let name = format!("seed-{seed}-{round}");
        let mut ran = run(&name);
        let mut started = 1;
        // It fails clearly, or for single shards, or not at all.
        while ran.code != Some(0) {
            let is_clear = ran.code == Some(4) || ran.stderr.contains("s3://photos/");
            assert!(is_clear && started < 5, "{name}: {}", ran.stderr);
            ran = run(&name);
            started += 1;
        }
        cloud.assert_same(&name, &ran.stderr);
        let injected = cloud.s3.injected();
        if FAULTS.iter().all(|kind| injected[*kind].as_u64() > Some(0)) {
            return;
        }
        assert!(round < 9, "{name}: {injected}");
    }
}

#[test]
fn a_second_run_to_a_store_is_refused_and_the_first_goes_on() {
    let Some(s3) = S3::start() else { return };
    let cloud = Cloud::new(Scene::new(&[("a", 6)], 10), s3);
    let first = cloud.start_slowly("shared");
    let mut decide = cloud.s3.program();
    decide.args(["decide", &Cloud::output("shared")]);
    for mut second in [cloud.go_on("shared"), decide] {
        let started = Instant::now();
        let ran = Ran::from(second.output().unwrap()).expect_code(1);
        assert!(
            started.elapsed() < Duration::from_millis(LEASE_MILLIS),
            "it waited"
        );
        assert!(
            ran.stderr.contains("another run is writing to"),
            "{}",
            ran.stderr
        );
    }
    let first = Ran::from(first.wait_with_output().unwrap()).expect_code(0);
    assert!(first.stderr.contains("finished"), "{}", first.stderr);
    // It gave the lock back.
    let started = Instant::now();
    Ran::from(cloud.go_on("shared").output().unwrap()).expect_code(0);
    assert!(
        started.elapsed() < Duration::from_millis(LEASE_MILLIS),
        "it waited"
    );
}

#[test]
fn a_run_that_lost_its_lock_writes_nothing_more() {
    let Some(s3) = S3::start() else { return };
    let cloud = Cloud::new(Scene::new(&[("a", 6)], 10), s3);
    let first = cloud.start_slowly("lost");
    let lock = cloud.s3.get("outputs/lost/.lock");
    let mut taken: serde_json::Value = serde_json::from_str(&lock).unwrap();
    taken["owner"] = 7.into();
    cloud.s3.put("outputs/lost/.lock", &taken.to_string());
    let first = Ran::from(first.wait_with_output().unwrap()).expect_code(1);
    assert!(
        first.stderr.contains("another run took"),
        "{}",
        first.stderr
    );
    assert!(
        first.stderr.contains("nothing more is written"),
        "{}",
        first.stderr
    );
    let scored = cloud.s3.keys("outputs/lost/scored/");
    assert_eq!(scored, [] as [&str; 0]);
    cloud.scene.forget();
    cloud.finish("lost");
}
