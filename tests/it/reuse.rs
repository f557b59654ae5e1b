//! Pipelines that were edited: what was learnt before and still holds is used again, and the rows are
//! those of a run from nothing.

use crate::program::{Ran, capfilt, command, models_can_run, package};
use crate::shards::{Row, files, png, texts, what_is_at, write_urls};
use crate::support::{FixtureServer, Response};
use crate::work::{Work, rows};

const KINDS: [&str; 3] = ["scored", "dataset", "rejected"];

/// What the server has: pictures, one that is too small, a page, and nothing.
const PATHS: [&str; 7] = [
    "/a.png",
    "/small.png",
    "/page.png",
    "/b.png",
    "/gone.png",
    "/c.png",
    "/untold.png",
];

pub(crate) struct Scene {
    pub(crate) server: FixtureServer,
    pub(crate) work: Work,
}

impl Scene {
    /// A pipeline with these stages over one shard of a row for each path, in pieces of four.
    pub(crate) fn new(stages: &str) -> Self {
        let server = FixtureServer::start();
        for (path, side, seed) in [
            ("/a.png", 96, 1),
            ("/b.png", 64, 2),
            ("/c.png", 48, 3),
            ("/untold.png", 96, 4),
            ("/small.png", 12, 5),
        ] {
            server.put(path, Response::ok("image/png", png(side, side, seed)));
        }
        let page = Response::ok("image/png", b"<html></html>".to_vec());
        server.put("/page.png", page);
        let work = Work::with_source(
            "columns = { url = \"url\", text = \"alt\" }\nrows-per-piece = 4",
            stages,
        );
        write_urls(&work.shard_path("a"), &server, &PATHS, |path| match path {
            "/untold.png" => "no".to_owned(),
            path => what_is_at(path),
        });
        Self { server, work }
    }

    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = self.work.pipeline_text();
        assert!(text.contains(from), "`{from}` is not in\n{text}");
        self.work.write_pipeline(&text.replacen(from, to, 1));
    }

    /// The paths that `act` asked for.
    pub(crate) fn asked(&self, act: impl FnOnce() -> Ran) -> (Vec<&'static str>, Ran) {
        let before = PATHS.map(|path| self.server.requests(path));
        let ran = act();
        let asked = PATHS.iter().zip(before);
        let asked = asked.filter(|(path, before)| self.server.requests(path) > *before);
        (asked.map(|(path, _)| *path).collect(), ran)
    }

    /// Runs the edited pipeline, and asserts what it asked for, which models it opened, what it said,
    /// and that its rows are those of a run from nothing.
    #[track_caller]
    pub(crate) fn assert_redone(&self, asked: &[&str], opened: &[&str], why: &str) {
        let (got, ran) = self.asked(|| self.work.run().expect_code(0));
        assert_eq!(got, asked, "{}", ran.stderr);
        assert_eq!(models_of(&ran), opened, "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "expected `{why}`\n{}", ran.stderr);
        self.work.assert_whole();
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("out");
        self.work
            .run_with(&["--output", elsewhere.to_str().unwrap()])
            .expect_code(0);
        for kind in KINDS {
            assert_eq!(
                self.work.rows(kind),
                rows(&elsewhere, kind),
                "{why}: {kind}"
            );
        }
        let counts = |output: &std::path::Path| {
            let text = fs_err::read_to_string(output.join("run.json")).unwrap();
            let run: serde_json::Value = serde_json::from_str(&text).unwrap();
            (
                run["counts"]["scored"].clone(),
                run["counts"]["decided"].clone(),
            )
        };
        assert_eq!(counts(&self.work.output()), counts(&elsewhere), "{why}");
        let again = self.work.run().expect_code(0);
        assert!(
            again.stderr.contains("there is nothing to do"),
            "{}",
            again.stderr
        );
    }
}

/// The stages whose models were opened, sorted.
pub(crate) fn models_of(ran: &Ran) -> Vec<String> {
    let lines = ran
        .stderr
        .lines()
        .filter(|line| line.contains("model opened"));
    let mut stages: Vec<String> = lines
        .filter_map(|line| {
            Some(
                line.split_once("stage=")?
                    .1
                    .split(['"', ' '])
                    .find(|name| !name.is_empty())?
                    .to_owned(),
            )
        })
        .collect();
    stages.sort();
    stages
}

pub(crate) fn stages_with_models() -> String {
    format!(
        "[[stage]]\nwhere-text = \"length(text) > 4\"\n\
         [[stage]]\nfetch = {{ retries = 0, allow-networks = [\"127.0.0.0/8\"] }}\n\
         [[stage]]\ndecode = {{ min-side = 16 }}\n\
         [[stage]]\ncaption = {{ model = \"{captioner}\", decoding = \"greedy\" }}\n\
         [[stage]]\nscore = {{ model = \"{filter}\" }}\n\
         [keep]\nthreshold = 0.5\n",
        captioner = package("captioner").display(),
        filter = package("filter").display(),
    )
}

#[test]
fn what_still_holds_is_used_again_and_the_rows_are_those_of_a_new_run() {
    if !models_can_run() {
        return;
    }
    let scene = Scene::new(&stages_with_models());
    scene.work.run().expect_code(0);

    scene.edit("threshold = 0.5", "threshold = 0.1");
    scene.assert_redone(&[], &[], "2 pieces are decided again from their scores");

    let score = format!("score = {{ model = \"{}\" }}", package("filter").display());
    scene.edit(&score, &score.replace(" }", ", first-token = \"cls\" }"));
    scene.assert_redone(
        &[],
        &["score"],
        "2 finished pieces are made again: `score` changed (`first-token`); `score` run again, \
         `where-text`, `fetch`, `decode`, `caption` stand",
    );

    let beam = format!(
        "[[stage]]\nname = \"beam\"\ncaption = {{ model = \"{}\", decoding = \"beam\" }}\n[[stage]]\nscore",
        package("captioner").display()
    );
    scene.edit("[[stage]]\nscore", &beam);
    scene.assert_redone(
        &[],
        &["beam", "score"],
        "`beam` is new; `beam`, `score` run again",
    );

    scene.edit("[keep]", "[[stage]]\nwhere = \"width > 50\"\n[keep]");
    scene.assert_redone(&[], &[], "`where` is new; `where` run again");

    scene.edit("width > 50", "width > 30");
    scene.assert_redone(&[], &[], "`where` changed (the condition)");

    scene.edit(
        "rows-per-piece = 4",
        "rows-per-piece = 4\ntext-source = \"human\"",
    );
    scene.assert_redone(
        &[],
        &[],
        "`source.text-source` changed; no stage runs again",
    );

    // What `decode` found to be no picture is not stored: it alone is fetched again.
    scene.edit("min-side = 16", "min-side = 60");
    scene.assert_redone(
        &["/page.png"],
        &["beam", "caption", "score"],
        "`decode` changed (`min-side`); `decode`, `caption`, `beam`, `score`, `where` run again, \
         `where-text`, `fetch` stand",
    );

    scene.edit("length(text) > 4", "length(text) > 1");
    scene.assert_redone(
        &PATHS,
        &["beam", "caption", "score"],
        "2 finished pieces are made again: `where-text` changed (the condition)",
    );
}

#[test]
fn deciding_anew_needs_neither_server_nor_models() {
    if !models_can_run() {
        return;
    }
    let Scene { server, work } = Scene::new(&stages_with_models());
    work.run().expect_code(0);
    drop(server);
    let text = work.pipeline_text();
    work.write_pipeline(&text.replace("threshold = 0.5", "threshold = 0.2"));
    let run = |arguments: &[&str]| {
        let mut command = command();
        let nowhere = work.path("no-such-runtime.so");
        command.args(arguments).env("ORT_DYLIB_PATH", nowhere);
        Ran::from(command.output().unwrap()).expect_code(0)
    };
    let pipeline = work.pipeline();
    run(&["run", pipeline.to_str().unwrap()]);
    let output = work.output();
    assert!(!work.rows("dataset").is_empty());
    run(&["decide", output.to_str().unwrap(), "--threshold", "1.0"]);
    assert!(work.rows("dataset").is_empty());
}

#[test]
fn check_says_what_would_run_again_and_does_nothing() {
    let scene = Scene::new(
        "[[stage]]\nfetch = { retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n\
         [[stage]]\ndecode = { min-side = 16 }\n[[stage]]\nwhere = \"width > 9\"\n",
    );
    scene.work.run().expect_code(0);
    scene.edit("width > 9", "width > 90");
    let before: Vec<_> = all(&scene.work);
    let pipeline = scene.work.pipeline();
    let (asked, ran) =
        scene.asked(|| capfilt(["check", pipeline.to_str().unwrap()]).expect_code(0));
    assert!(asked.is_empty());
    let why = "2 pieces will be made again in part: `where` changed (the condition); `where` run again, \
               `fetch`, `decode` stand";
    assert!(ran.stdout.contains(why), "{}", ran.stdout);
    assert_eq!(all(&scene.work), before);
}

fn all(work: &Work) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    files(&work.output())
        .into_iter()
        .map(|file| {
            (
                file.clone(),
                fs_err::read(work.output().join(file)).unwrap(),
            )
        })
        .collect()
}

#[test]
fn only_pictures_that_were_not_stored_are_fetched_again() {
    if !models_can_run() {
        return;
    }
    let scene = Scene::new(&stages_with_models());
    scene.edit("[keep]", "[store]\nimages = \"kept\"\n[keep]");
    scene.edit("threshold = 0.5", "threshold = 1.0");
    scene.work.run().expect_code(0);
    assert!(texts(&scene.work.read("dataset", "a/0"), "id").is_empty());

    // Everything that is kept now was dropped before; a threshold in between needs what it keeps.
    scene.edit("threshold = 1.0", "threshold = 0.0");
    scene.assert_redone(
        &["/a.png", "/b.png", "/c.png", "/untold.png"],
        &["caption", "score"],
        "pictures were stored for another decision only; no stage runs again",
    );
    scene.edit("threshold = 0.0", "threshold = 0.9");
    let (asked, _) = scene.asked(|| scene.work.run().expect_code(0));
    assert!(
        asked.is_empty(),
        "a tighter decision needs no picture: {asked:?}"
    );

    // Another stage that reads pictures needs all of them again; `images` are dropped only when the
    // file is made anew, so all are still there.
    scene.edit("decoding = \"greedy\"", "decoding = \"beam\"");
    let (asked, ran) = scene.asked(|| scene.work.run().expect_code(0));
    assert!(asked.is_empty(), "{asked:?}\n{}", ran.stderr);
}

#[test]
fn a_damaged_file_is_not_used_again() {
    let scene = Scene::new(
        "[[stage]]\nfetch = { retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n\
         [[stage]]\ndecode = { min-side = 16 }\n[[stage]]\nwhere = \"width > 9\"\n",
    );
    scene.work.run().expect_code(0);
    let path = scene.work.output().join("scored/a/0.parquet");
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[100] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    scene.edit("width > 9", "width > 50");
    scene.assert_redone(&PATHS[..4], &[], "a finished piece is made again");
}

#[test]
fn shards_that_are_cut_otherwise_leave_no_row_twice() {
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"text\" }\nrows-per-piece = 4",
        crate::work::WITHOUT_MODELS,
    );
    let shard = |rows: u8| {
        (0..rows)
            .map(|seed| Row::good(seed, "a text"))
            .collect::<Vec<_>>()
    };
    work.shard("a", &shard(3));
    work.shard("b", &shard(6));
    work.run().expect_code(0);
    let old = ["a.parquet", "b/0.parquet", "b/4.parquet"];
    assert_eq!(
        files(&work.output().join("scored")),
        old.map(std::path::PathBuf::from)
    );

    // One shard grows past a piece; and another pipeline, later, cuts all of them smaller.
    work.shard("a", &shard(9));
    let ran = work.run().expect_code(0);
    assert!(
        ran.stderr.contains("1 finished pieces give way to others"),
        "{}",
        ran.stderr
    );
    for kind in KINDS {
        let names = [
            "a/0.parquet",
            "a/4.parquet",
            "a/8.parquet",
            "b/0.parquet",
            "b/4.parquet",
        ];
        assert_eq!(
            files(&work.output().join(kind)),
            names.map(std::path::PathBuf::from),
            "{kind}"
        );
    }
    let text = work.pipeline_text();
    work.write_pipeline(&text.replace("rows-per-piece = 4", "rows-per-piece = 10"));
    work.run().expect_code(0);
    for kind in KINDS {
        let names = ["a.parquet", "b.parquet"].map(std::path::PathBuf::from);
        assert_eq!(files(&work.output().join(kind)), names, "{kind}");
    }
    assert_eq!(work.rows("dataset").len(), 15);

    // A shard that is gone takes nothing with it.
    fs_err::remove_file(work.shard_path("a")).unwrap();
    work.run().expect_code(0);
    assert_eq!(work.rows("dataset").len(), 15);
    work.assert_whole();
}

/// Bytes and time of change of every file of a kind.
fn stamps(work: &Work, kind: &str) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let folder = work.output().join(kind);
    let stamp = |file: std::path::PathBuf| {
        let about = fs_err::metadata(folder.join(&file)).unwrap();
        (file, about.modified().unwrap())
    };
    files(&folder).into_iter().map(stamp).collect()
}

#[test]
fn a_decision_rewrites_only_datasets_that_change() {
    if !models_can_run() {
        return;
    }
    let scene = Scene::new(&stages_with_models());
    let work = &scene.work;
    work.run().expect_code(0);
    let scores: Vec<f32> = {
        let text = work.rows("scored").join("\n");
        let values = text.split("kind: match, value: ").skip(1);
        values
            .map(|rest| {
                rest.split([',', '}'])
                    .next()
                    .unwrap()
                    .trim()
                    .parse()
                    .unwrap()
            })
            .collect()
    };
    // Between two thresholds without a score between them, nothing changes.
    let mut sorted = scores.clone();
    sorted.sort_by(f32::total_cmp);
    let gap = sorted
        .windows(2)
        .max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])))
        .unwrap();
    let (low, high) = (
        gap[0] + (gap[1] - gap[0]) * 0.3,
        gap[0] + (gap[1] - gap[0]) * 0.6,
    );
    let output = work.output();
    let decide = |threshold: f32, more: &[&str]| {
        let threshold = threshold.to_string();
        let mut arguments = vec![
            "decide",
            output.to_str().unwrap(),
            "--threshold",
            &threshold,
        ];
        arguments.extend(more);
        capfilt(arguments).expect_code(0)
    };
    decide(low, &[]);
    let (scored, dataset) = (stamps(work, "scored"), stamps(work, "dataset"));
    let ran = decide(high, &[]);
    assert!(
        ran.stderr
            .contains("2, 0 already decided so, 0 with another dataset"),
        "{}",
        ran.stderr
    );
    assert_eq!(stamps(work, "dataset"), dataset);
    assert_eq!(stamps(work, "scored"), scored);
    let said = work.rows("rejected").join("\n");
    assert!(
        said.contains(&format!("expected more than {high}")),
        "{said}"
    );

    // Nothing scores more than this.
    assert!(!work.rows("dataset").is_empty());
    let dry = decide(1.0, &["--dry-run"]);
    let ran = decide(1.0, &[]);
    for ran in [&dry, &ran] {
        assert!(
            !ran.stderr.contains(" 0 with another dataset"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(stamps(work, "scored"), scored);
    assert!(work.rows("dataset").is_empty());
}

#[test]
fn a_text_that_comes_back_brings_its_picture_along() {
    let scene = Scene::new(
        "[[stage]]\nfetch = { retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n\
         [[stage]]\ndecode = { min-side = 16 }\n[[stage]]\nwhere-text = \"length(text) > 4\"\n\
         [store]\nimages = \"kept\"\n",
    );
    scene.work.run().expect_code(0);
    scene.edit("length(text) > 4", "length(text) > 1");
    scene.assert_redone(
        &["/untold.png"],
        &[],
        "`where-text` changed (the condition)",
    );
}

#[test]
fn nothing_is_decided_about_pieces_that_a_run_has_still_to_finish() {
    let scene = Scene::new(
        "[[stage]]\nfetch = { retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n\
         [[stage]]\ndecode = { min-side = 16 }\n[[stage]]\ndedup = {}\n",
    );
    // It dies once the first piece has come up to the search for duplicates.
    let pipeline = scene.work.pipeline();
    let mut run = command();
    run.arg("run")
        .arg(&pipeline)
        .env("CAPFILT_END", "after-rename:3");
    assert!(!run.output().unwrap().status.success());
    assert!(!files(&scene.work.output().join("scored")).is_empty());
    let output = scene.work.output();
    let rule = "keep.where=length(text) > 1";
    let ran = capfilt(["decide", output.to_str().unwrap(), "--set", rule]).expect_code(0);
    assert!(
        ran.stderr.contains("more are not finished"),
        "{}",
        ran.stderr
    );
    assert!(files(&output.join("dataset")).is_empty());
    scene.work.run().expect_code(0);
    scene.work.assert_whole();
}
