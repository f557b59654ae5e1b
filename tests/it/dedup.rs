//! The `dedup` stage: in a run, over runs, against evaluation sets, and after a run was killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use arrow::array::AsArray;
use capfilt_image::{DecodeOptions, Quality, decode, encode_jpeg, resize};

use crate::crash::same;
use crate::program::{Ran, command, models_can_run, package, root};
use crate::shards::{self, Row, files, texts, what_is_at, write_urls};
use crate::support::{FixtureServer, Response};
use crate::work::{Work, rows};

/// Pictures that have little in common, from the demo.
fn pictures(count: usize) -> Vec<Vec<u8>> {
    let batch = shards::read(&root().join("pipelines/demo/pictures.parquet"));
    let images = batch.column_by_name("image").unwrap().as_struct();
    let bytes = images.column(0).as_binary::<i32>();
    let mut hashes: Vec<u64> = Vec::new();
    let mut found = Vec::new();
    for bytes in bytes.iter().flatten() {
        let picture = decode(bytes, &DecodeOptions::default()).unwrap();
        let Some(hash) = capfilt_image::perceptual_hash(&picture) else {
            continue;
        };
        let is_near = |known: &u64| (known ^ hash).count_ones() < 12;
        if !hashes.iter().any(is_near) {
            hashes.push(hash);
            found.push(bytes.to_vec());
        }
        if found.len() == count {
            return found;
        }
    }
    panic!("only {} pictures differ enough", found.len());
}

/// The picture as another site would have it: smaller, and as JPEG.
fn copy(bytes: &[u8]) -> Vec<u8> {
    let picture = decode(bytes, &DecodeOptions::default()).unwrap();
    let smaller = resize(&picture, picture.width() * 4 / 5, picture.height() * 4 / 5);
    encode_jpeg(&smaller, Quality::try_from(85).unwrap()).unwrap()
}

const STAGES: &str =
    "[[stage]]\ndecode = {}\n[[stage]]\ndedup = {}\n[[stage]]\nwhere = \"width > 9\"\n";

fn work(stages: &str) -> Work {
    Work::with_source(
        "columns = { image = \"image\", text = \"text\" }\nrows-per-piece = 3",
        stages,
    )
}

fn shard(work: &Work, name: &str, pictures: &[&[u8]]) {
    let rows = pictures.iter().zip(0..);
    let rows: Vec<Row> = rows
        .map(|(bytes, row)| Row::with_picture(bytes.to_vec(), &format!("text {row} of {name}")))
        .collect();
    work.shard(name, &rows);
}

/// Of each row that left: its id, the reason and what was said.
fn removed(work: &Work) -> BTreeMap<String, (String, String)> {
    let folder = work.output().join("rejected");
    let mut removed = BTreeMap::new();
    for file in files(&folder) {
        let batch = shards::read(&folder.join(file));
        let plain = |name| {
            texts(&batch, name)
                .into_iter()
                .map(Option::unwrap_or_default)
        };
        for ((id, reason), detail) in plain("id").zip(plain("reason")).zip(plain("detail")) {
            removed.insert(id, (reason, detail));
        }
    }
    removed
}

fn ids(work: &Work) -> Vec<String> {
    let folder = work.output().join("dataset");
    let of = |file| {
        texts(&shards::read(&folder.join(file)), "id")
            .into_iter()
            .flatten()
    };
    files(&folder).into_iter().flat_map(of).collect()
}

fn gone(reason: &str, detail: &str) -> (String, String) {
    (reason.to_owned(), detail.to_owned())
}

#[test]
fn the_first_of_each_picture_stays_in_a_run_and_over_runs() {
    let work = work(STAGES);
    let all = pictures(5);
    let copies: Vec<Vec<u8>> = all.iter().map(|bytes| copy(bytes)).collect();
    shard(
        &work,
        "a",
        &[
            &all[0],
            &all[1],
            &copies[0],
            &all[0],
            b"no picture",
            &all[2],
        ],
    );
    shard(&work, "b", &[&copies[2], &all[3], &all[1]]);
    work.run().expect_code(0);
    work.assert_whole();
    let told = removed(&work);
    assert_eq!(
        told["a:3"],
        gone("duplicate", "the same bytes as row 0 of `a`")
    );
    assert_eq!(
        told["b:2"],
        gone("duplicate", "the same bytes as row 1 of `a`")
    );
    for (copy, of) in [("a:2", "row 0 of `a`"), ("b:0", "row 5 of `a`")] {
        let (reason, detail) = &told[copy];
        assert_eq!(reason, "duplicate");
        assert!(
            detail.starts_with(&format!("looks like {of}, ")),
            "{detail}"
        );
    }
    assert_eq!(told["a:4"].0, "not-an-image");
    assert_eq!(ids(&work), ["a:0", "a:1", "a:5", "b:1"]);
    assert_eq!(
        work.run_json()["counts"]["scored"]["rejected"]["duplicate"],
        4
    );
    let again = work.run().expect_code(0);
    assert!(
        again.stderr.contains("there is nothing to do"),
        "{}",
        again.stderr
    );

    // What came before stays, wherever the new shard stands in the order of names.
    let before = rows(&work.output(), "scored");
    shard(&work, "_earlier", &[&copies[3], &all[4], &all[0]]);
    work.run().expect_code(0);
    let told = removed(&work);
    assert!(
        told["_earlier:0"]
            .1
            .starts_with("looks like row 1 of `b`, "),
        "{told:?}"
    );
    assert_eq!(
        told["_earlier:2"],
        gone("duplicate", "the same bytes as row 0 of `a`")
    );
    assert_eq!(ids(&work), ["_earlier:1", "a:0", "a:1", "a:5", "b:1"]);
    let after = rows(&work.output(), "scored");
    assert!(before.iter().all(|row| after.contains(row)));
}

#[test]
fn a_jpeg_in_one_scan_for_each_component_is_the_same_picture() {
    let jpeg = |name| fs_err::read(root().join("tests/golden/jpeg").join(name)).unwrap();
    let (one_scan, three_scans) = (jpeg("demo.jpg"), jpeg("ni_demo.jpg"));
    let work = work(STAGES);
    shard(&work, "a", &[&one_scan, &three_scans]);
    work.run().expect_code(0);
    assert_eq!(
        removed(&work)["a:1"],
        gone("duplicate", "looks like row 0 of `a`, 0 of 64 bits differ")
    );
}

#[test]
fn another_distance_is_searched_among_what_is_stored() {
    let server = FixtureServer::start();
    let all = pictures(30);
    let hash = |bytes: &[u8]| {
        let picture = decode(bytes, &DecodeOptions::default()).unwrap();
        capfilt_image::perceptual_hash(&picture).unwrap()
    };
    let differs = |one: &&Vec<u8>| (1..4).contains(&(hash(one) ^ hash(&copy(one))).count_ones());
    let first = all.iter().find(differs).unwrap();
    let other = all.iter().find(|one| *one != first).unwrap();
    let paths = ["/a.png", "/copy.jpg", "/b.png", "/same.png"];
    for (path, bytes) in paths.iter().zip([first, &copy(first), other, first]) {
        server.put(path, Response::ok("image/png", bytes.clone()));
    }
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"alt\" }\nrows-per-piece = 3",
        "[[stage]]\nfetch = { retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n[[stage]]\ndedup = {}\n",
    );
    write_urls(&work.shard_path("a"), &server, &paths, what_is_at);
    work.run().expect_code(0);
    assert_eq!(ids(&work), ["a:0", "a:2"]);
    let asked = || paths.map(|path| server.requests(path));
    assert_eq!(asked(), [1; 4]);
    let text = work.pipeline_text();
    work.write_pipeline(&text.replace("dedup = {}", "dedup = { distance = 0 }"));
    let ran = work.run().expect_code(0);
    let why = "`dedup` changed (`distance`); `dedup` run again, `fetch`, `decode` stand";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    assert_eq!(ids(&work), ["a:0", "a:1", "a:2"]);
    assert_eq!(asked(), [1; 4]);
}

#[test]
fn what_is_tried_again_is_compared_too() {
    let server = FixtureServer::start();
    let all = pictures(3);
    let late = [
        Response::status(503),
        Response::ok("image/png", all[0].clone()),
    ];
    server.put_each("/late.png", late);
    server.put("/a.png", Response::ok("image/png", all[0].clone()));
    server.put("/down.png", Response::status(503));
    server.put("/b.png", Response::ok("image/png", all[1].clone()));
    let paths = ["/a.png", "/late.png", "/down.png", "/b.png"];
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"alt\" }",
        "[[stage]]\nfetch = { retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n[[stage]]\ndedup = {}\n",
    );
    write_urls(&work.shard_path("a"), &server, &paths, what_is_at);
    work.run().expect_code(0);
    let told = removed(&work);
    assert_eq!(
        told["a:1"],
        gone("duplicate", "the same bytes as row 0 of `a`")
    );
    assert_eq!(told["a:2"].0, "server-error");

    server.put("/down.png", Response::ok("image/png", copy(&all[1])));
    work.run_with(&["--retry", "transient"]).expect_code(0);
    assert_eq!(ids(&work), ["a:0", "a:2"]);
    assert!(
        removed(&work)["a:3"]
            .1
            .starts_with("looks like row 2 of `a`, ")
    );
    assert_eq!(server.requests("/a.png"), 1);
}

#[test]
fn pictures_of_evaluation_sets_are_kept_apart() {
    let all = pictures(4);
    let copies: Vec<Vec<u8>> = all.iter().map(|bytes| copy(bytes)).collect();
    let work = work(&STAGES.replace("dedup = {}", "dedup = { against = [\"eval/*.parquet\"] }"));
    shard(&work, "a", &[&all[0], &copies[1], &all[2], &all[1]]);
    let eval = work.path("eval/coco.parquet");
    shards::write(
        &eval,
        &[
            Row::with_picture(all[3].clone(), ""),
            Row::with_picture(all[1].clone(), ""),
        ],
    );
    work.run().expect_code(0);
    work.assert_whole();
    let told = removed(&work);
    assert_eq!(
        told["a:3"],
        gone("evaluation-set", "the same bytes as row 1 of `coco`")
    );
    assert_eq!(told["a:1"].0, "evaluation-set");
    assert_eq!(ids(&work), ["a:0", "a:2"]);
    let again = work.run().expect_code(0);
    assert!(
        again.stderr.contains("there is nothing to do"),
        "{}",
        again.stderr
    );

    // Another set is hashed, and everything compared with it again.
    shards::write(&eval, &[Row::with_picture(all[3].clone(), "")]);
    shard(&work, "b", &[&copies[3], &all[1]]);
    work.run().expect_code(0);
    let told = removed(&work);
    assert_eq!(told["b:0"].0, "evaluation-set");
    assert_eq!(told["b:1"].0, "duplicate");
    assert_eq!(ids(&work), ["a:0", "a:1", "a:2"]);

    shards::write_columns(
        &eval,
        vec![(
            "text",
            std::sync::Arc::new(arrow::array::StringArray::from(vec!["no picture"])),
        )],
    );
    let ran = work.run().expect_code(3);
    assert!(
        ran.stderr.contains("has no column `image`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn duplicates_are_not_captioned() {
    if !models_can_run() {
        return;
    }
    let captioner = package("captioner");
    let caption = format!(
        "[[stage]]\ncaption = {{ model = \"{}\", decoding = \"greedy\" }}\n",
        captioner.display()
    );
    let work = work(&format!("[[stage]]\ndedup = {{}}\n{caption}"));
    let all = pictures(2);
    shard(&work, "a", &[&all[0], &all[0], &all[1]]);
    work.run().expect_code(0);
    let candidates = shards::listed_texts(&work.read("scored", "a"), "candidates");
    assert_eq!(
        candidates.iter().map(Vec::len).collect::<Vec<_>>(),
        [2, 1, 2]
    );
}

/// The program that makes `output`, ended at a step.
fn ended(work: &Work, output: &Path, at: &str) -> Ran {
    let mut command: Command = command();
    command
        .arg("run")
        .arg(work.pipeline())
        .arg("--output")
        .arg(output);
    command.env("CAPFILT_END", at).output().unwrap().into()
}

#[test]
fn a_run_that_was_killed_goes_on_among_the_same_pictures() {
    let work = work(&STAGES.replace("dedup = {}", "dedup = { against = [\"eval/*.parquet\"] }"));
    let all = pictures(6);
    let copies: Vec<Vec<u8>> = all.iter().map(|bytes| copy(bytes)).collect();
    shard(
        &work,
        "a",
        &[&all[0], &all[1], &copies[0], &copies[5], &all[2]],
    );
    shard(
        &work,
        "b",
        &[&copies[2], &all[3], &all[1], &all[0], &copies[4]],
    );
    shards::write(
        &work.path("eval/set.parquet"),
        &[Row::with_picture(all[4].clone(), "")],
    );
    work.run().expect_code(0);
    let reference = work.output();
    let mut ends = 0;
    for step in ["before-rename", "after-rename"] {
        for count in 1.. {
            let output = work.path(&format!("{step}-{count}"));
            let ran = ended(&work, &output, &format!("{step}:{count}"));
            if ran.code == Some(0) {
                break;
            }
            ends += 1;
            work.run_with(&["--output", output.to_str().unwrap()])
                .expect_code(0);
            if let Err(difference) = same(&reference, &output) {
                panic!("{step}:{count}: {difference}");
            }
        }
    }
    assert!(ends > 30, "only {ends} steps");
}

#[test]
fn a_shard_that_is_cut_otherwise_is_no_copy_of_itself() {
    let work = work(STAGES);
    let all = pictures(4);
    shard(&work, "a", &[&all[0], &all[1]]);
    work.run().expect_code(0);
    assert_eq!(ids(&work), ["a:0", "a:1"]);
    // It grows past a piece: the old one goes, and must not take the same pictures with it.
    shard(&work, "a", &[&all[0], &all[1], &all[2], &all[3], &all[0]]);
    work.run().expect_code(0);
    assert_eq!(ids(&work), ["a:0", "a:1", "a:2", "a:3"]);
    assert_eq!(removed(&work).len(), 1);
}

#[test]
fn a_damaged_piece_is_compared_again() {
    let work = work(STAGES);
    let all = pictures(3);
    shard(&work, "a", &[&all[0], &all[1]]);
    shard(&work, "b", &[&copy(&all[0]), &all[2]]);
    work.run().expect_code(0);
    assert_eq!(ids(&work), ["a:0", "a:1", "b:1"]);
    let path = work.output().join("scored/b.parquet");
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[100] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    // What follows from it would be decided anew.
    let text = work.pipeline_text();
    work.write_pipeline(&text.replace("[sink]", "[keep]\nwhere = \"length(text) > 1\"\n[sink]"));
    let ran = work.run().expect_code(4);
    assert!(
        ran.stderr.contains("the next run makes it again"),
        "{}",
        ran.stderr
    );
    work.run().expect_code(0);
    assert_eq!(ids(&work), ["a:0", "a:1", "b:1"]);
    work.assert_whole();
}

#[test]
fn sets_that_are_named_no_longer_take_nothing() {
    let work = work(&STAGES.replace(
        "dedup = {}",
        "dedup = { against = [\"x.parquet\", \"y.parquet\"] }",
    ));
    let all = pictures(3);
    shard(&work, "a", &[&all[0], &all[1], &all[2]]);
    shards::write(
        &work.path("x.parquet"),
        &[Row::with_picture(all[0].clone(), "")],
    );
    shards::write(
        &work.path("y.parquet"),
        &[Row::with_picture(all[1].clone(), "")],
    );
    work.run().expect_code(0);
    assert_eq!(ids(&work), ["a:2"]);
    let text = work.pipeline_text();
    work.write_pipeline(&text.replace("\"x.parquet\", \"y.parquet\"", "\"x.parquet\""));
    work.run().expect_code(0);
    assert_eq!(ids(&work), ["a:1", "a:2"]);
}
