//! `capfilt remove`: what was asked for is gone, stays gone in every later run, and is gone too where
//! the program was killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use capfilt_data::footer::{hex, hex_digest};

use crate::program::{Ran, capfilt, command};
use crate::shards::{self, files, texts, what_is_at, write_columns, write_urls};
use crate::support::{FixtureServer, Response};
use crate::work::Work;

/// A picture that says `mark` where nothing compresses it.
fn marked(mark: &str, seed: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 48, 40);
    encoder.set_color(png::ColorType::Rgb);
    encoder
        .add_text_chunk("Comment".to_owned(), mark.to_owned())
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    let pixels: Vec<u8> = (0..48 * 40 * 3_u32)
        .map(|at| (at * (u32::from(seed) + 3) % 251) as u8)
        .collect();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    bytes
}

/// The files below `folder` in which `mark` stands, whatever column it is in and however that is
/// compressed.
fn holding(folder: &Path, mark: &str) -> Vec<PathBuf> {
    let hex = hex(mark.as_bytes());
    let holds = |file: &PathBuf| {
        let path = folder.join(file);
        if file.extension().is_none_or(|ending| ending != "parquet") {
            let bytes = fs_err::read(path).unwrap();
            return bytes.windows(mark.len()).any(|at| at == mark.as_bytes());
        }
        let batch = shards::read(&path);
        let options = FormatOptions::default();
        batch.columns().iter().any(|column| {
            let shown = ArrayFormatter::try_new(column, &options).unwrap();
            (0..batch.num_rows()).any(|row| {
                let text = shown.value(row).to_string();
                text.contains(mark) || text.contains(&hex)
            })
        })
    };
    files(folder).into_iter().filter(holds).collect()
}

/// The reasons in `scored` of a piece; `in` for rows that are.
fn reasons(work: &Work, piece: &str) -> Vec<String> {
    let reasons = texts(&work.read("scored", piece), "reject").into_iter();
    reasons
        .map(|reason| reason.unwrap_or_else(|| "in".to_owned()))
        .collect()
}

fn list(work: &Work, requests: &[String]) -> PathBuf {
    let path = work.path("requests.txt");
    fs_err::write(&path, requests.join("\n")).unwrap();
    path
}

/// Takes out what `requests` ask for.
fn remove(work: &Work, requests: &[String], more: &[&str]) -> Ran {
    let (output, list) = (work.output(), list(work, requests));
    let mut arguments = vec![
        "remove",
        output.to_str().unwrap(),
        "--list",
        list.to_str().unwrap(),
    ];
    arguments.extend(more);
    capfilt(arguments)
}

fn column(texts: Vec<String>) -> ArrayRef {
    Arc::new(StringArray::from(texts))
}

const HOSTS: [&str; 8] = [
    "one.example",
    "img.two.example",
    "two.example",
    "three.example",
    "four.example",
    "nottwo.example",
    "five.example",
    "six.example",
];

fn mark(row: usize) -> String {
    format!("MARK-{row}-MARK")
}

/// Rows that bring their pictures, with a mark in every column, in pieces of three.
fn marked_work() -> Work {
    let work = Work::with_source(
        "columns = { image = \"image\", url = \"url\", text = \"text\" }\nrows-per-piece = 3",
        "[[stage]]\ndecode = {}\n[[stage]]\nwhere = \"url not like '%four%'\"\n",
    );
    let all = |text: &dyn Fn(usize) -> String| column((0..HOSTS.len()).map(text).collect());
    let pictures: Vec<Vec<u8>> = (0..8_u8)
        .map(|row| marked(&mark(row.into()), row))
        .collect();
    write_columns(
        &work.shard_path("a"),
        vec![
            (
                "image",
                Arc::new(BinaryArray::from_iter_values(&pictures)) as ArrayRef,
            ),
            (
                "url",
                all(&|row| format!("https://{}/{}.png", HOSTS[row], mark(row))),
            ),
            ("text", all(&|row| format!("a text {}", mark(row)))),
            ("licence", all(&|row| format!("ask {}", mark(row)))),
        ],
    );
    work
}

#[test]
fn every_form_takes_out_its_rows_and_leaves_nothing_of_them_but_their_ids() {
    let work = marked_work();
    work.run().expect_code(0);
    let output = work.output();
    capfilt(["report", output.to_str().unwrap()]).expect_code(0);
    assert!(!holding(&output, &mark(0)).is_empty());
    let untouched = fs_err::read(output.join("scored/a/6.parquet")).unwrap();
    let digest = hex_digest(&marked(&mark(4), 4));
    let requests = [
        "# by mail".to_owned(),
        format!("id:{}", "a:0"),
        "domain:two.example".to_owned(),
        format!("url:https://three.example/{}.png", mark(3)),
        format!("sha256:{digest}"),
        "domain:nobody.example".to_owned(),
    ];
    let before: Vec<PathBuf> = files(&output);
    let dry = remove(&work, &requests, &["--dry-run"]).expect_code(0);
    assert!(
        dry.stderr.contains("5 would be taken out"),
        "{}",
        dry.stderr
    );
    assert!(dry.stderr.contains("nothing was written"), "{}", dry.stderr);
    assert_eq!(files(&output), before);
    assert!(!holding(&output, &mark(0)).is_empty());

    let ran = remove(&work, &requests, &[]).expect_code(0);
    for line in [
        "requests   5, 5 of them new",
        "rows       5 taken out, 0 were before",
        "pieces     3, 2 written anew",
        "no row     1 requests\n  line 6: domain:nobody.example",
        "`report.html` may have shown such rows and was deleted",
        "everything that was asked for is done",
    ] {
        assert!(ran.stderr.contains(line), "`{line}`\n{}", ran.stderr);
    }
    work.assert_whole();
    for row in 0..HOSTS.len() {
        let held = holding(&output, &mark(row));
        assert_eq!(held.is_empty(), row < 5, "{row}: {held:?}");
    }
    assert!(!output.join("report.html").exists());
    let gone = vec!["removed"; 3];
    assert_eq!(reasons(&work, "a/0"), gone);
    assert_eq!(reasons(&work, "a/3"), ["removed", "removed", "in"]);
    let rejected = work.read("rejected", "a/3");
    assert_eq!(
        texts(&rejected, "id"),
        ["a:3", "a:4"].map(|id| Some(id.to_owned()))
    );
    assert_eq!(
        texts(&rejected, "stage"),
        vec![Some("remove".to_owned()); 2]
    );
    assert_eq!(
        texts(&rejected, "detail")[1],
        Some(format!("sha256:{digest}"))
    );
    assert!(work.read("dataset", "a/0").num_rows() == 0);
    let counts = &work.run_json()["counts"];
    assert_eq!(counts["scored"]["rejected"]["removed"], 5);
    assert_eq!(counts["decided"]["images"], 3);
    assert_eq!(
        fs_err::read(output.join("scored/a/6.parquet")).unwrap(),
        untouched
    );
    // What was asked for stands there as digests.
    let record = fs_err::read_to_string(output.join("removed.json")).unwrap();
    assert!(record.contains("domain-sha256:") && !record.contains("example"));

    let again = work.run().expect_code(0);
    assert!(
        again.stderr.contains("there is nothing to do"),
        "{}",
        again.stderr
    );
    let again = remove(&work, &requests, &[]).expect_code(0);
    for line in [
        "requests   5, 0 of them new",
        "rows       0 taken out, 5 were before",
        "no row     1 requests",
    ] {
        assert!(again.stderr.contains(line), "`{line}`\n{}", again.stderr);
    }
}

#[test]
fn a_list_with_a_line_that_is_none_changes_nothing() {
    let work = marked_work();
    work.run().expect_code(0);
    let ran = remove(&work, &["id:a:0".to_owned(), "a.example".to_owned()], &[]).expect_code(3);
    assert!(
        ran.stderr
            .contains("line 2: got `a.example`, expected `id:..`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("requests.txt"), "{}", ran.stderr);
    assert!(!work.output().join("removed.json").exists());
    assert_eq!(reasons(&work, "a/0"), ["in"; 3]);

    let nowhere = work.path("nowhere");
    let list = list(&work, &["id:a:0".to_owned()]);
    let ran = capfilt([
        "remove",
        nowhere.to_str().unwrap(),
        "--list",
        list.to_str().unwrap(),
    ])
    .expect_code(1);
    assert!(
        ran.stderr.contains("run the pipeline first"),
        "{}",
        ran.stderr
    );
    assert!(!nowhere.exists());

    fs_err::write(work.output().join("removed.json"), "{}").unwrap();
    let ran = work.run().expect_code(1);
    assert!(ran.stderr.contains("put a copy of it"), "{}", ran.stderr);
}

const PATHS: [&str; 4] = ["/a.png", "/b.png", "/c.png", "/d.png"];

#[test]
fn every_later_run_keeps_to_the_requests() {
    let server = FixtureServer::start();
    for (row, path) in (0..).zip(PATHS) {
        let picture = marked(&mark(row.into()), row);
        server.put(path, Response::ok("image/png", picture));
    }
    server.put(
        "/elsewhere.png",
        Response::ok("image/png", marked(&mark(2), 2)),
    );
    let work = Work::with_source(
        "columns = { url = \"url\", text = \"alt\" }\nrows-per-piece = 4",
        "[[stage]]\nfetch = { max-size = \"1 MiB\", retries = 0, allow-networks = [\"127.0.0.0/8\"] }\n\
         [[stage]]\ndecode = {}\n[[stage]]\nwhere = \"width > 9\"\n",
    );
    write_urls(&work.shard_path("a"), &server, &PATHS, what_is_at);
    work.run().expect_code(0);
    let requests = [
        "id:a:0".to_owned(),
        format!("url:{}", server.url("/b.png")),
        format!("sha256:{}", hex_digest(&marked(&mark(2), 2))),
    ];
    remove(&work, &requests, &[]).expect_code(0);
    let asked = || PATHS.map(|path| server.requests(path));
    let expect = |what: &str, requests: [usize; 4]| {
        assert_eq!(
            reasons(&work, "a"),
            ["removed", "removed", "removed", "in"],
            "{what}"
        );
        for row in 0..3 {
            let held = holding(&work.output(), &mark(row));
            assert!(held.is_empty(), "{what}: {row}: {held:?}");
        }
        assert!(!holding(&work.output(), &mark(3)).is_empty(), "{what}");
        assert_eq!(asked(), requests, "{what}");
        work.assert_whole();
    };
    expect("at once", [1, 1, 1, 1]);
    let edit = |from: &str, to: &str| {
        let text = work.pipeline_text();
        assert!(text.contains(from));
        work.write_pipeline(&text.replace(from, to));
    };

    edit("width > 9", "width > 10");
    let ran = work.run().expect_code(0);
    assert!(ran.stderr.contains("`where` run again"), "{}", ran.stderr);
    expect("what stands is used again", [1, 1, 1, 1]);

    edit("1 MiB", "2 MiB");
    work.run().expect_code(0);
    expect("from the shard", [1, 1, 2, 2]);

    write_urls(&work.shard_path("a"), &server, &PATHS, |path| {
        format!("{} now", what_is_at(path))
    });
    work.run_with(&["--changed"]).expect_code(0);
    expect("a shard that changed", [1, 1, 3, 3]);

    let paths = ["/b.png", "/elsewhere.png"];
    write_urls(&work.shard_path("b"), &server, &paths, what_is_at);
    work.run().expect_code(0);
    expect("a shard that is new", [1, 1, 3, 3]);
    assert_eq!(reasons(&work, "b"), ["removed", "removed"]);
    assert_eq!(server.requests("/elsewhere.png"), 1);

    let output = work.output();
    let decide = [
        "decide",
        output.to_str().unwrap(),
        "--set",
        "keep.where=text like '%now'",
    ];
    capfilt(decide).expect_code(0);
    expect("another decision", [1, 1, 3, 3]);
    assert_eq!(work.read("dataset", "a").num_rows(), 1);

    let ran = work.run_with(&["--retry", "removed"]).expect_code(2);
    assert!(ran.stderr.contains("unknown reason"), "{}", ran.stderr);
}

#[test]
fn a_picture_is_known_by_its_bytes_as_they_came_and_as_they_are_stored() {
    let resized = "[[stage]]\ndecode = { resize = { shorter-side = 20 } }\n";
    let work = Work::new(resized);
    let pictures = [
        marked(&mark(0), 0),
        marked(&mark(1), 1),
        marked(&mark(2), 2),
    ];
    let rows: Vec<shards::Row> = pictures
        .iter()
        .map(|bytes| shards::Row::with_picture(bytes.clone(), "a text"))
        .collect();
    work.shard("a", &rows);
    work.run().expect_code(0);
    let stored = work.read("scored", "a");
    let stored = stored.column_by_name("image").unwrap().as_struct();
    let stored = stored.column(0).as_binary::<i32>().value(1).to_vec();
    assert_ne!(stored, pictures[1]);
    let requests = [
        format!("sha256:{}", hex_digest(&stored)),
        format!("sha256:{}", hex_digest(&pictures[2])),
    ];
    remove(&work, &requests, &[]).expect_code(0);
    assert_eq!(reasons(&work, "a"), ["in", "removed", "in"]);
    // Only when it comes again are the bytes there that it came as.
    let text = work.pipeline_text();
    work.write_pipeline(&text.replace("20", "21"));
    work.run().expect_code(0);
    assert_eq!(reasons(&work, "a"), ["in", "in", "removed"]);
    work.write_pipeline(&text);
    work.run().expect_code(0);
    assert_eq!(reasons(&work, "a"), ["in", "removed", "removed"]);
}

#[cfg(unix)]
#[test]
fn a_removal_that_dies_at_any_step_is_finished_by_the_next_command() {
    use crate::crash::{Scene, died, leave_a_file, points, readable, same};
    use capfilt_data::Step;
    let scene = Scene::new(&[("a", 8)], 4);
    let list = scene.work.path("requests.txt");
    let requests = ["id:a:0", "url:", "id:a:5", "domain:nobody.example"];
    let url = scene.server.url("/a/2/gone");
    fs_err::write(
        &list,
        requests.join("\n").replace("url:", &format!("url:{url}")),
    )
    .unwrap();
    let remove = |output: &str| {
        let mut command = command();
        command.arg("remove").arg(scene.output(output));
        command.arg("--list").arg(&list);
        command
    };
    let copy = |to: &str| {
        let (from, to) = (scene.output("reference"), scene.output(to));
        fs_err::write(from.join("report.html"), "a page").unwrap();
        let copied = Command::new("cp").arg("-r").args([from, to]).status();
        assert!(copied.unwrap().success());
    };
    copy("removed");
    Ran::from(remove("removed").output().unwrap()).expect_code(0);
    let is_applied = |output: &str| {
        let text = fs_err::read_to_string(scene.output(output).join("removed.json")).ok()?;
        Some(text.contains("\"applied\": true"))
    };
    let (mut by_run, mut ends) = (0, 0);
    for (step, point) in points().filter(|(step, _)| *step != Step::MakeFolder) {
        for count in 1.. {
            let name = format!("{point}-{count}");
            copy(&name);
            if step == Step::Delete {
                leave_a_file(&scene.output(&name).join("scored"));
            }
            let died = died(remove(&name), &point, count);
            readable(&scene.output(&name));
            ends += usize::from(died);
            // Once it is written down what shall go, any command that writes finishes it.
            match is_applied(&name) {
                Some(false) if ends % 2 == 0 => {
                    Ran::from(scene.go_on(&name).output().unwrap()).expect_code(0);
                    by_run += 1;
                }
                Some(_) => {
                    let output = scene.output(&name);
                    capfilt(["remove", output.to_str().unwrap()]).expect_code(0);
                }
                None => drop(Ran::from(remove(&name).output().unwrap()).expect_code(0)),
            }
            assert_eq!(is_applied(&name), Some(true), "{name}");
            let same = same(&scene.output("removed"), &scene.output(&name));
            assert!(same.is_ok(), "{name}: {}", same.unwrap_err());
            for gone in ["/a/0/good", "/a/2/gone", "/a/5/untold"] {
                let held = holding(&scene.output(&name), gone);
                assert!(held.is_empty(), "{name}: `{gone}` is in {held:?}");
            }
            assert!(!scene.output(&name).join("report.html").exists(), "{name}");
            if !died {
                assert!(count > 1, "`{point}` was never reached");
                break;
            }
        }
    }
    assert!(
        by_run > 10,
        "only {by_run} of {ends} were finished by a run"
    );
}

#[test]
fn a_damaged_piece_is_refused_and_made_again_without_the_row() {
    let work = marked_work();
    work.run().expect_code(0);
    let path = work.output().join("scored/a/0.parquet");
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[100] ^= 1;
    fs_err::write(&path, &bytes).unwrap();
    let requests = ["id:a:0".to_owned(), "id:a:3".to_owned()];
    let ran = remove(&work, &requests, &[]).expect_code(1);
    assert!(
        ran.stderr.contains("`capfilt run` makes it again"),
        "{}",
        ran.stderr
    );
    assert_eq!(reasons(&work, "a/3")[0], "removed");
    let ran = work.run().expect_code(0);
    assert!(
        ran.stderr.contains("is damaged and deleted"),
        "{}",
        ran.stderr
    );
    assert_eq!(reasons(&work, "a/0"), ["removed", "in", "in"]);
    for row in [0, 3] {
        assert!(holding(&work.output(), &mark(row)).is_empty());
    }
    work.assert_whole();
}
