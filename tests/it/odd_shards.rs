//! Shards with columns and values that not every reader takes, and paths with letters that not every
//! program takes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::program::{Ran, capfilt, root};
use crate::readers::python;
use crate::shards::{self, Row, png, texts};
use crate::work::{WITHOUT_MODELS, Work};

/// Runs `odd_shards.py`.
fn script(python: &str, arguments: &[&str], work: &Work) -> Ran {
    let output = Command::new(python)
        .arg(root().join("tests/it/odd_shards.py"))
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", work.path("cache"))
        .output()
        .unwrap();
    Ran::from(output).expect_code(0)
}

/// A run over the shard that `odd_shards.py` makes of `kind`.
fn run_of(python: &str, kind: &str) -> (Work, Ran) {
    let work = Work::new(WITHOUT_MODELS);
    let shard = work.shard_path("a");
    script(python, &["make", kind, shard.to_str().unwrap()], &work);
    let ran = work.run();
    (work, ran)
}

fn details(work: &Work) -> Vec<(String, String, String)> {
    let rejected = work.read("rejected", "a");
    let [ids, reasons, details] = ["id", "reason", "detail"].map(|column| texts(&rejected, column));
    ids.into_iter()
        .zip(reasons)
        .zip(details)
        .map(|((id, reason), detail)| (id.unwrap(), reason.unwrap(), detail.unwrap_or_default()))
        .collect()
}

#[test]
fn every_type_of_pyarrow_passes_through_as_it_was() {
    let Some(python) = python() else { return };
    for kind in ["types", "bare"] {
        let (work, ran) = run_of(&python, kind);
        ran.expect_code(0);
        let (shard, output) = (work.shard_path("a"), work.output());
        let arguments = ["compare", shard.to_str().unwrap(), output.to_str().unwrap()];
        assert_eq!(
            script(&python, &arguments, &work).stdout.trim_end(),
            "as it was"
        );
    }
}

#[test]
fn text_that_is_no_utf_8_costs_its_row_and_a_web_text_only_itself() {
    let Some(python) = python() else { return };
    let (work, ran) = run_of(&python, "utf8");
    ran.expect_code(0);
    let scored = work.read("scored", "a");
    let reasons = texts(&scored, "reject");
    let bad = Some("bad-value".to_owned());
    assert_eq!(reasons, [None, bad.clone(), None, None, bad, None]);
    assert_eq!(
        texts(&scored, "text_dropped_by")[2],
        Some("source".to_owned())
    );
    let told = details(&work);
    let of = |row: u32, column: &str, what: &str| {
        (
            format!("a:{row}"),
            "bad-value".to_owned(),
            format!("row {row} of `a`, column `{column}`: {what}"),
        )
    };
    assert_eq!(
        told[0],
        of(1, "LICENSE", "`caf\u{fffd}` is no UTF-8: byte 3 is 0xe9")
    );
    assert_eq!(
        told[1],
        of(
            2,
            "text",
            "`caf\u{fffd} au lait` is no UTF-8: byte 3 is 0xe9"
        )
    );
    assert_eq!(
        told[2],
        of(4, "names", "`\u{fffd}` is no UTF-8: byte 0 is 0xff")
    );
    // The row whose text went still has its picture; a later pipeline starts from what was read.
    let counts = &work.run_json()["counts"];
    assert_eq!(counts["scored"]["rejected"]["bad-value"], 2);
    assert_eq!(counts["decided"]["removed"]["bad-value"], 1);
    assert_eq!(counts["decided"]["images_without_captions"], 2);
}

#[test]
fn far_times_of_int96_are_refused_by_name_and_near_ones_are_exact() {
    let Some(python) = python() else { return };
    let (work, ran) = run_of(&python, "int96");
    ran.expect_code(0);
    let told = details(&work);
    assert_eq!(told.len(), 3);
    for ((id, reason, detail), (row, time)) in told.iter().zip([
        (0, "9999-12-31 00:00:00"),
        (1, "1000-01-01 00:00:00"),
        (2, "0001-01-01 00:00:00"),
    ]) {
        assert_eq!(
            (id.as_str(), reason.as_str()),
            (format!("a:{row}").as_str(), "bad-value")
        );
        let expected = format!("row {row} of `a`, column `ts`: the time {time} of an INT96");
        assert!(detail.starts_with(&expected), "{detail}");
    }
    let dataset = work.read("dataset", "a");
    let times = dataset.column_by_name("ts").unwrap();
    let times = times.as_primitive::<arrow::datatypes::TimestampNanosecondType>();
    assert_eq!(times.values(), &[1_709_251_199_999_000_000, 0]);
}

#[test]
fn columns_of_one_name_are_numbered_and_said() {
    let Some(python) = python() else { return };
    let (work, ran) = run_of(&python, "duplicates");
    let ran = ran.expect_code(0);
    assert!(
        ran.stderr.contains("more than one column `x`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("`id` and `ID`"), "{}", ran.stderr);
    let output = work.output();
    let shown = script(&python, &["show", output.to_str().unwrap()], &work).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines[0].contains(r#""x": 1, "x_2": "three", "ID": "i", "s": {"n": 1, "n_2": "a"}"#),
        "{shown}"
    );
    assert!(
        lines[1].contains(r#""x": 2, "x_2": "four", "ID": "j", "s": {"n": 2, "n_2": "b"}"#),
        "{shown}"
    );
}

#[test]
fn a_mapped_column_that_is_there_twice_is_refused() {
    let Some(python) = python() else { return };
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"x\" }",
        WITHOUT_MODELS,
    );
    let shard = work.shard_path("a");
    script(
        &python,
        &["make", "duplicates", shard.to_str().unwrap()],
        &work,
    );
    let ran = work.run().expect_code(3);
    assert!(ran.stderr.contains("has 2 columns `x`"), "{}", ran.stderr);
}

#[test]
fn encrypted_files_are_named_for_what_they_are() {
    let Some(python) = python() else { return };
    for kind in ["encrypted-footer", "encrypted-columns"] {
        let work = Work::new(WITHOUT_MODELS);
        let shard = work.shard_path("b");
        script(&python, &["make", kind, shard.to_str().unwrap()], &work);
        work.shard("a", &[Row::good(1, "a red square")]);
        let ran = work.run();
        assert_ne!(ran.code, Some(0));
        let failed = &work.run_json()["failed"];
        let reason = failed[0]["reason"].as_str().unwrap();
        assert!(
            reason.contains("is encrypted") && reason.contains("decrypt it"),
            "{reason}"
        );
        // The other shard is finished.
        assert_eq!(work.read("dataset", "a").num_rows(), 1);
    }
}

#[test]
fn folders_that_say_something_of_their_rows_become_columns() {
    let stages =
        "[[stage]]\nwhere = \"input_lang <> 'de' or input_lang is null\"\n[[stage]]\ndecode = {}\n";
    let work = Work::new(stages);
    for (folder, text) in [
        ("split=train/lang=en", "one"),
        ("split=train/lang=de", "two"),
        ("split=a%20b/lang=__HIVE_DEFAULT_PARTITION__", "three"),
    ] {
        work.shard(&format!("{folder}/part-0"), &[Row::good(1, text)]);
    }
    work.run().expect_code(0);
    let of = |folder: &str| work.read("scored", &format!("{folder}/part-0"));
    let both = |folder: &str| {
        ["input_split", "input_lang", "reject"].map(|column| texts(&of(folder), column)[0].clone())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        both("split=train/lang=en"),
        [some("train"), some("en"), None]
    );
    assert_eq!(
        both("split=train/lang=de"),
        [some("train"), some("de"), some("where")]
    );
    let nobody = "split=a%20b/lang=__HIVE_DEFAULT_PARTITION__";
    assert_eq!(both(nobody), [some("a b"), None, None]);
    let dataset = work.read("dataset", "split=train/lang=en/part-0");
    assert_eq!(texts(&dataset, "input_lang"), [some("en")]);
    if let Some(python) = python() {
        // Readers that make columns of folders find them beside ours.
        let output = work.output();
        let shown = script(&python, &["show", output.to_str().unwrap()], &work).stdout;
        assert!(shown.contains(r#""input_lang": "en""#), "{shown}");
    }
    // Nothing is made twice.
    let again = work.run().expect_code(0);
    assert!(!again.stderr.contains("made again"), "{}", again.stderr);
}

/// Letters that globs, URLs, stores' keys or shells give a meaning.
const ODD: [&str; 8] = ["a[1]", "b c", "d%20e", "f#1", "ü", "g'h\"", "i{j}", "-k"];

#[test]
fn paths_may_have_any_letters() {
    let work = Work::new(WITHOUT_MODELS);
    for (seed, name) in (0..).zip(ODD) {
        let folder = work.path(&format!("run {name}"));
        fs_err::create_dir_all(&folder).unwrap();
        let pipeline = folder.join("pipeline.toml");
        let text = format!(
            "name = \"test\"\n[source]\nshards = [\"in/*.parquet\", \"{name}.parquet\"]\n{WITHOUT_MODELS}\n\
             [sink]\noutput = \"out {name}\"\n",
            name = name.replace('"', "\\\""),
        );
        fs_err::write(&pipeline, text).unwrap();
        shards::write(&folder.join("in/x.parquet"), &[Row::good(seed, "one")]);
        shards::write(
            &folder.join(format!("{name}.parquet")),
            &[Row::good(seed, "two")],
        );
        let ran = capfilt([Path::new("run"), &pipeline]).expect_code(0);
        assert!(!ran.stderr.contains("failed"), "{}", ran.stderr);
        for piece in ["x", name] {
            let file = folder.join(format!("out {name}/dataset/{piece}.parquet"));
            assert_eq!(shards::read(&file).num_rows(), 1, "{piece}");
        }
        let input = folder.join(format!("{name}.parquet"));
        let output = folder.join("other");
        let arguments = [
            "--input",
            input.to_str().unwrap(),
            "--output",
            output.to_str().unwrap(),
        ];
        let pipeline = pipeline.to_str().unwrap();
        capfilt(["run", pipeline].into_iter().chain(arguments)).expect_code(0);
        assert_eq!(shards::files(&output.join("dataset")).len(), 1);
    }
}

#[test]
fn an_output_is_not_read_however_its_path_is_written() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard("a", &[Row::good(1, "one")]);
    work.run().expect_code(0);
    let output = work.output();
    let mut ways = vec![
        format!("{}/./scored/*.parquet", output.display()),
        format!("{}/../out/dataset", output.display()),
        format!("{}/in/../out/**/*.parquet", work.path("").display()),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&output, work.path("link")).unwrap();
        ways.push(format!("{}/scored", work.path("link").display()));
    }
    for way in ways {
        let ran = work.run_with(&["--input", &way]).expect_code(3);
        assert!(
            ran.stderr.contains("is output of this pipeline"),
            "{way}: {}",
            ran.stderr
        );
    }
}

#[test]
fn pieces_of_an_earlier_input_are_said_and_counted() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard("a", &[Row::good(1, "one"), Row::good(2, "two")]);
    work.shard("b", &[Row::good(3, "three")]);
    work.run().expect_code(0);
    let dataset = |name: &str| work.run_json()["counts"]["dataset"][name].clone();
    assert_eq!(dataset("pieces"), 2);
    assert_eq!(dataset("pieces-of-other-inputs"), 0);
    let only = work.shard_path("b");
    let ran = work
        .run_with(&["--input", only.to_str().unwrap()])
        .expect_code(0);
    assert!(
        ran.stderr
            .contains("1 finished pieces of 1 shards that this input does not have stay"),
        "{}",
        ran.stderr
    );
    assert_eq!(work.run_json()["counts"]["pieces"], 1);
    assert_eq!(dataset("pieces"), 2);
    assert_eq!(dataset("images"), 3);
    assert_eq!(dataset("captions"), 3);
    assert_eq!(dataset("pieces-of-other-inputs"), 1);
    let pipeline = work.pipeline();
    let check = [
        "check",
        pipeline.to_str().unwrap(),
        "--input",
        only.to_str().unwrap(),
    ];
    let checked = capfilt(check).expect_code(0);
    assert!(
        checked.stdout.contains("1 finished pieces of 1 shards"),
        "{}",
        checked.stdout
    );
}

#[test]
fn options_that_nothing_can_meet_are_doubted() {
    let doubts = |stages: &str| {
        let work = Work::new(stages);
        work.shard("a", &[Row::good(1, "one")]);
        let ran = capfilt(["check", work.pipeline().to_str().unwrap()]).expect_code(0);
        ran.stderr
    };
    assert_eq!(doubts(WITHOUT_MODELS), "");
    let said = doubts("[[stage]]\ndecode = { min-side = 300, max-pixels = \"80000\" }\n");
    assert!(
        said.contains("`stage.decode`: no picture has a shorter side of 300"),
        "{said}"
    );
    let wide = "[[stage]]\ndecode = { min-side = 200 }\n[[stage]]\nwhere = ";
    for (condition, is_doubted) in [
        ("width < 200", true),
        ("aspect < 1", true),
        ("width > 400 and width < 300", true),
        ("width >= 200 and aspect <= 3", false),
        ("width < 300 or text = 'x'", false),
    ] {
        let said = doubts(&format!("{wide}\"{condition}\"\n"));
        assert_eq!(
            said.contains("no row can meet"),
            is_doubted,
            "{condition}: {said}"
        );
    }
}

/// Writes a shard of three pictures with a text and a note each, in which the text of row 0 and the note of
/// row 1 are no UTF-8.
fn damaged_shard(path: &Path) {
    let urls = (0..3).map(|seed| {
        let picture = STANDARD.encode(png(96, 80, seed));
        format!("data:image/png;base64,{picture}")
    });
    let texts = |first: char| -> ArrayRef {
        let texts = ["A", "B", "C"].map(|last| format!("{first}{last}"));
        Arc::new(StringArray::from(texts.to_vec()))
    };
    shards::write_columns(
        path,
        vec![
            ("url", Arc::new(urls.map(Some).collect::<StringArray>())),
            ("text", texts('t')),
            ("note", texts('n')),
        ],
    );
    // As they lie in their pages, which this writer does not compress.
    let mut bytes = fs_err::read(path).unwrap();
    for value in [b"\x02\0\0\0tA", b"\x02\0\0\0nB"] {
        let places: Vec<usize> = (0..bytes.len() - value.len())
            .filter(|at| bytes[*at..].starts_with(value))
            .collect();
        assert_eq!(places.len(), 1);
        bytes[places[0] + 4] = 0xff;
    }
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn rows_that_could_not_be_read_stay_out_when_later_stages_change() {
    let source = "columns = { url = \"url\", text = \"text\" }";
    let work = Work::with_source(source, "[[stage]]\nfetch = {}\n[[stage]]\ndecode = {}\n");
    damaged_shard(&work.shard_path("a"));
    work.run().expect_code(0);
    let text = work.pipeline_text();
    let new = "[[stage]]\nwhere-text = \"text <> 'tC'\"\n\n[sink]";
    work.write_pipeline(&text.replace("[sink]", new));
    let ran = work.run().expect_code(0);
    assert!(
        ran.stderr.contains("`fetch`, `decode` stand"),
        "{}",
        ran.stderr
    );
    let scored = work.read("scored", "a");
    let bad = Some("bad-value".to_owned());
    assert_eq!(texts(&scored, "reject"), [None, bad, None]);
    let dropped_by = ["source", "", "where-text"].map(|by| (!by.is_empty()).then(|| by.to_owned()));
    assert_eq!(texts(&scored, "text_dropped_by"), dropped_by);
    // It is what a run from nothing gives.
    let changed = work.rows("scored");
    let rejected = work.rows("rejected");
    fs_err::remove_dir_all(work.output()).unwrap();
    work.run().expect_code(0);
    assert_eq!(work.rows("scored"), changed);
    assert_eq!(work.rows("rejected"), rejected);
}
