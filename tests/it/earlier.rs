//! What version 1 of the fingerprints left stands: `tests/golden/earlier` was made by the program of commit
//! 497e7fa, started as `capfilt run p/pipeline.toml`. Its pictures, and the server that had the others, are gone.

use std::path::Path;
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;

use crate::program::{Ran, command, package, root};
use crate::shards::{self, files, texts};
use crate::work::rows;

/// When its shards were written, in seconds since 1970.
const WRITTEN: u64 = 1_764_547_200;

/// A copy of it in `folder`, with the models beside it.
fn copy_to(folder: &Path) {
    let made = root().join("tests/golden/earlier");
    for file in files(&made) {
        let (from, to) = (made.join(&file), folder.join(&file));
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(from, &to).unwrap();
        if file.starts_with("in") || file.starts_with("eval") {
            let shard = fs_err::OpenOptions::new().write(true).open(&to).unwrap();
            shard
                .file()
                .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN))
                .unwrap();
        }
    }
    fs_err::os::unix::fs::symlink(root().join("pipelines/demo"), folder.join("models")).unwrap();
}

/// Runs the program in `folder`, where no model can be opened.
fn run(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = command();
    let nowhere = folder.join("no-such-runtime.so");
    command
        .args(arguments)
        .current_dir(folder)
        .env("ORT_DYLIB_PATH", nowhere);
    command.output().unwrap().into()
}

/// The bytes of every file of the output that holds rows.
fn content(output: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let kinds = ["scored", "dataset", "rejected"];
    let found = files(output).into_iter();
    found
        .filter(|file| kinds.iter().any(|kind| file.starts_with(kind)))
        .map(|file| (file.clone(), fs_err::read(output.join(file)).unwrap()))
        .collect()
}

#[test]
fn it_is_resumed_from_elsewhere_without_a_request_a_model_or_a_stage() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("moved/to/here");
    copy_to(&place);
    let output = place.join("out");
    let before = content(&output);
    assert!(before.len() >= 9, "{before:?}");
    let same = |from: &Path, pipeline: &str| {
        let ran = run(from, &["run", pipeline]).expect_code(0);
        assert!(
            ran.stderr.contains("there is nothing to do"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("changed"), "{}", ran.stderr);
        assert!(content(&output) == before, "{}", ran.stderr);
        ran
    };
    // It could not say which lists it was held against, so that it is held against those that are there.
    let first = same(&place, "pipeline.toml");
    assert!(
        first.stderr.contains("3 finished pieces are held against"),
        "{}",
        first.stderr
    );
    let second = same(folder.path(), "moved/to/here/pipeline.toml");
    assert!(!second.stderr.contains("held against"), "{}", second.stderr);
    same(
        Path::new("/"),
        place.join("pipeline.toml").to_str().unwrap(),
    );

    // What was learnt stands for whatever needs no model, too.
    let decide = run(
        folder.path(),
        &["decide", output.to_str().unwrap(), "--threshold", "1.0"],
    );
    let decide = decide.expect_code(0);
    assert!(!decide.stderr.contains("not finished"), "{}", decide.stderr);
    assert!(rows(&output, "dataset").is_empty());
    let only: Vec<_> = content(&output);
    assert!(
        only.iter()
            .zip(&before)
            .all(|(now, then)| !now.0.starts_with("scored") || now == then)
    );
}

#[test]
fn it_has_a_row_of_each_kind() {
    let scored = root().join("tests/golden/earlier/out/scored/shard");
    let mut reasons = Vec::new();
    for piece in ["0", "4", "8"] {
        let batch = shards::read(&scored.join(format!("{piece}.parquet")));
        let reason = |reason: Option<String>| reason.unwrap_or_else(|| "in".to_owned());
        reasons.extend(texts(&batch, "reject").into_iter().map(reason));
        assert_eq!(
            batch
                .column_by_name("image")
                .unwrap()
                .as_struct()
                .num_columns(),
            2
        );
    }
    let expected = [
        "in",
        "in",
        "not-found",
        "duplicate",
        "in",
        "opted-out",
        "too-small",
        "evaluation-set",
        "missing-url",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn a_list_that_changed_since_is_applied_to_it() {
    let folder = tempfile::tempdir().unwrap();
    copy_to(folder.path());
    let output = folder.path().join("out");
    fs_err::write(folder.path().join("lists/domains.txt"), "127.0.0.1\n").unwrap();
    let ran = run(folder.path(), &["run", "pipeline.toml"]).expect_code(0);
    assert!(ran.stderr.contains("4 rows leave"), "{}", ran.stderr);
    let scored = shards::read(&output.join("scored/shard/0.parquet"));
    let reasons = texts(&scored, "reject");
    let expected = [
        None,
        Some("opted-out"),
        Some("opted-out"),
        Some("opted-out"),
    ];
    assert_eq!(reasons, expected.map(|reason| reason.map(str::to_owned)));
    let again = run(folder.path(), &["run", "pipeline.toml"]).expect_code(0);
    assert!(
        again.stderr.contains("there is nothing to do"),
        "{}",
        again.stderr
    );
    assert!(!again.stderr.contains("held against"), "{}", again.stderr);
}

#[test]
fn packages_of_then_have_the_digests_that_they_had() {
    for (name, digest) in [("captioner", CAPTIONER), ("filter", FILTER)] {
        let package = capfilt_onnx::Package::open(&package(name)).unwrap();
        assert_eq!(package.digest().as_str(), digest);
        let text = fs_err::read_to_string(package.folder.join("model.json")).unwrap();
        let model: serde_json::Value = serde_json::from_str(&text).unwrap();
        let checkpoint = model["checkpoint"]["name"].as_str().unwrap();
        assert!(!checkpoint.contains('/'), "{checkpoint}");
    }
}

/// SHA-256 of its `model.json`.
const CAPTIONER: &str = "5362469b06b409ee8d3e0289989870f86a1d3a15b6b1aefbaf69a633e72b3ee3";
/// SHA-256 of its `model.json`.
const FILTER: &str = "3a581fec02562edb318be4e8bc79dacbed1db11027aa1fc0c02931c00091a1e0";
