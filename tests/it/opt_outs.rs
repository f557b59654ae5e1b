//! Lists of opt-outs that changed: rows that they name leave at once, rows that they name no more are
//! fetched, and the rows are those of a run from nothing.

use std::path::PathBuf;
use std::time::SystemTime;

use capfilt_data::footer::hex_digest;

use crate::program::{capfilt, command, models_can_run};
use crate::reuse::{Scene, stages_with_models};
use crate::shards::{self, files, texts};

const WITHOUT_MODELS: &str = "[[stage]]\nwhere-text = \"length(text) > 4\"\n\
     [[stage]]\nfetch = { retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n\
     [[stage]]\ndecode = { min-side = 16 }\n\
     [[stage]]\nwhere = \"width > 50\"\n";

/// A pipeline with these stages and lists that name nobody.
fn scene(stages: &str) -> Scene {
    let stages = stages.replace(
        "retries = 0",
        "retries = 0, opt-out-urls = [\"lists/urls.txt\"], opt-out-domains = [\"lists/domains.txt\"]",
    );
    let scene = Scene::new(&stages);
    fs_err::create_dir(scene.work.path("lists")).unwrap();
    name(&scene, &[]);
    domains(&scene, "# nobody asked us yet\n");
    scene
}

/// Has the list name the URLs of these paths.
fn name(scene: &Scene, paths: &[&str]) {
    let digest = |path: &&str| hex_digest(scene.server.url(path).as_bytes()) + "\n";
    let list: String = paths.iter().map(digest).collect();
    fs_err::write(scene.work.path("lists/urls.txt"), list).unwrap();
}

fn domains(scene: &Scene, list: &str) {
    fs_err::write(scene.work.path("lists/domains.txt"), list).unwrap();
}

#[test]
fn rows_are_those_of_a_new_run_after_each_change_of_a_list() {
    if !models_can_run() {
        return;
    }
    let scene = scene(&stages_with_models());
    scene.work.run().expect_code(0);

    // One that had captions, one whose text was dropped, and one that was not there.
    name(&scene, &["/a.png", "/untold.png", "/gone.png"]);
    scene.assert_redone(&[], &[], "3 rows leave: lists of opt-outs name them now");
    let scored = scene.work.read("scored", "a/0");
    assert_eq!(texts(&scored, "reject")[0].as_deref(), Some("opted-out"));

    name(&scene, &["/gone.png", "/b.png"]);
    scene.assert_redone(
        &["/a.png", "/untold.png"],
        &["caption", "score"],
        "rows of 2 finished pieces are fetched: no list names them any more",
    );

    // With an edit of a later stage.
    scene.edit("threshold = 0.5", "where = \"match > 0.1\"");
    scene.edit("[keep]", "[[stage]]\nwhere = \"width > 50\"\n[keep]");
    name(&scene, &["/a.png"]);
    scene.assert_redone(
        &["/b.png", "/gone.png"],
        &["caption", "score"],
        "`where` is new; `where` run again",
    );

    // All leave, and the reason says by which list.
    domains(&scene, "127.0.0.1\n");
    scene.assert_redone(&[], &[], "6 rows leave");
    domains(&scene, "");
    scene.assert_redone(
        &[
            "/small.png",
            "/page.png",
            "/b.png",
            "/gone.png",
            "/c.png",
            "/untold.png",
        ],
        &["caption", "score"],
        "are fetched",
    );
    scene.edit("opt-out-urls = [\"lists/urls.txt\"], ", "");
    scene.assert_redone(&["/a.png"], &["caption", "score"], "are fetched");
}

/// Bytes and time of change of every file of the output but its lock.
fn stamps(scene: &Scene) -> Vec<(PathBuf, SystemTime)> {
    let output = scene.work.output();
    let stamp = |file: PathBuf| {
        let changed = fs_err::metadata(output.join(&file))
            .unwrap()
            .modified()
            .unwrap();
        (file, changed)
    };
    files(&output)
        .into_iter()
        .filter(|file| file.as_os_str() != ".lock")
        .map(stamp)
        .collect()
}

#[test]
fn lists_that_say_the_same_change_nothing() {
    let scene = scene(WITHOUT_MODELS);
    name(&scene, &["/b.png"]);
    scene.work.run().expect_code(0);
    let before = stamps(&scene);
    let unchanged = || {
        let (asked, ran) = scene.asked(|| scene.work.run().expect_code(0));
        assert!(asked.is_empty(), "{asked:?}");
        assert!(
            ran.stderr.contains("there is nothing to do"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("held against"), "{}", ran.stderr);
        assert_eq!(stamps(&scene), before);
    };
    unchanged();
    let list = |name: &str| scene.work.path(&format!("lists/{name}.txt"));
    fs_err::rename(list("urls"), list("moved")).unwrap();
    scene.edit("lists/urls.txt", "./lists/moved.txt");
    unchanged();

    // A list that names nobody new is held against the rows once, and writes none of them again.
    fs_err::write(
        list("moved"),
        fs_err::read_to_string(list("moved")).unwrap() + "# one line\n",
    )
    .unwrap();
    let scored: Vec<_> = before
        .iter()
        .filter(|(file, _)| !file.ends_with("run.json"))
        .collect();
    let ran = scene.work.run().expect_code(0);
    assert!(
        ran.stderr.contains("2 finished pieces are held against"),
        "{}",
        ran.stderr
    );
    let after = stamps(&scene);
    let after: Vec<_> = after
        .iter()
        .filter(|(file, _)| !file.ends_with("run.json"))
        .collect();
    assert_eq!(after, scored);
    let ran = scene.work.run().expect_code(0);
    assert!(!ran.stderr.contains("held against"), "{}", ran.stderr);
}

#[test]
fn what_a_list_says_survives_a_killed_run() {
    let scene = scene(WITHOUT_MODELS);
    scene.work.run().expect_code(0);
    let mut named = ["/a.png", "/b.png"];
    for step in [
        "before-rename:1",
        "after-rename:1",
        "after-rename:2",
        "after-rename:3",
        "after-rename:4",
    ] {
        named.reverse();
        name(&scene, &named[..1]);
        let pipeline = scene.work.pipeline();
        let mut run = command();
        run.arg("run").arg(&pipeline).env("CAPFILT_END", step);
        assert!(!run.output().unwrap().status.success(), "{step}");
        scene.work.run().expect_code(0);
        let (asked, ran) = scene.asked(|| scene.work.run().expect_code(0));
        assert!(asked.is_empty(), "{step}: {asked:?}");
        assert!(
            ran.stderr.contains("there is nothing to do"),
            "{step}: {}",
            ran.stderr
        );
        scene.work.assert_whole();
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("out");
        scene
            .work
            .run_with(&["--output", elsewhere.to_str().unwrap()])
            .expect_code(0);
        for kind in ["scored", "dataset", "rejected"] {
            assert_eq!(
                scene.work.rows(kind),
                crate::work::rows(&elsewhere, kind),
                "{step}: {kind}"
            );
        }
    }
}

#[test]
fn released_rows_are_compared_with_others_where_duplicates_leave() {
    let stages = WITHOUT_MODELS.replace(
        "[[stage]]\nwhere = ",
        "[[stage]]\ndedup = {}\n[[stage]]\nwhere = ",
    );
    let scene = scene(&stages);
    // The same picture as `/a.png`.
    scene.server.put(
        "/c.png",
        crate::support::Response::ok("image/png", shards::png(96, 96, 1)),
    );
    name(&scene, &["/c.png"]);
    scene.work.run().expect_code(0);
    assert!(
        !scene
            .work
            .rows("scored")
            .join("\n")
            .contains("the same bytes")
    );
    name(&scene, &[]);
    scene.assert_redone(&["/c.png"], &[], "are fetched");
    let rows = scene.work.rows("scored").join("\n");
    assert!(rows.contains("the same bytes as row 0 of `a`"), "{rows}");
}

#[test]
fn a_list_that_is_not_there_is_told_before_anything_runs() {
    let scene = scene(WITHOUT_MODELS);
    fs_err::remove_file(scene.work.path("lists/urls.txt")).unwrap();
    let pipeline = scene.work.pipeline();
    for command in ["check", "run"] {
        let (asked, ran) =
            scene.asked(|| capfilt([command, pipeline.to_str().unwrap()]).expect_code(3));
        assert!(asked.is_empty());
        assert!(
            ran.stderr.contains("cannot read the list of opt-outs"),
            "{}",
            ran.stderr
        );
    }
    assert!(!scene.work.output().exists());
}
