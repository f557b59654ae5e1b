//! Outputs that something happened to since: nothing wrong follows from them, and what to do is told.

use std::path::Path;

use crate::crash::{Scene, same};
use crate::program::{Ran, capfilt};

/// Two pieces, finished in `damaged` as in `reference`.
fn finished() -> Scene {
    let scene = Scene::new(&[("a", 12)], 6);
    scene.run("damaged").expect_code(0);
    scene
}

fn remove_derived(output: &Path) {
    for kind in ["dataset", "rejected"] {
        fs_err::remove_file(output.join(kind).join("a/0.parquet")).unwrap();
    }
}

/// Turns one bit in the middle of a picture that is stored, where no reader of Parquet sees it.
fn turn_a_bit(file: &Path) {
    let mut bytes = fs_err::read(file).unwrap();
    let picture = bytes.windows(4).position(|window| window == b"IDAT");
    bytes[picture.expect("a picture is stored as it came") + 8] ^= 1;
    fs_err::write(file, bytes).unwrap();
}

#[test]
fn a_scored_file_that_is_damaged_is_made_again_before_anything_follows_from_it() {
    let scene = finished();
    let output = scene.output("damaged");
    turn_a_bit(&output.join("scored/a/0.parquet"));
    remove_derived(&output);

    let ran = capfilt(["decide", output.to_str().unwrap()]).expect_code(1);
    assert!(
        ran.stderr.contains("scored/a/0.parquet` is damaged"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("`capfilt run` makes it again"),
        "{}",
        ran.stderr
    );
    assert!(!output.join("dataset/a/0.parquet").exists());

    let ran = scene.run("damaged").expect_code(0);
    assert!(
        ran.stderr.contains("a finished piece is made again"),
        "{}",
        ran.stderr
    );
    assert_eq!(same(&scene.output("reference"), &output), Ok(()));
}

#[test]
fn rows_are_not_merged_into_a_scored_file_that_is_damaged() {
    let scene = finished();
    let output = scene.output("damaged");
    turn_a_bit(&output.join("scored/a/0.parquet"));
    scene
        .run_with("damaged", &["--retry", "transient"])
        .expect_code(0);
    assert_eq!(same(&scene.output("reference"), &output), Ok(()));
}

#[test]
fn files_that_were_cut_are_made_again() {
    let scene = finished();
    let output = scene.output("damaged");
    for (kind, bytes) in [
        ("scored", 0),
        ("scored", 100),
        ("dataset", 0),
        ("rejected", 50),
    ] {
        let file = fs_err::OpenOptions::new()
            .write(true)
            .open(output.join(kind).join("a/0.parquet"));
        file.unwrap().set_len(bytes).unwrap();
        scene.run("damaged").expect_code(0);
        assert_eq!(same(&scene.output("reference"), &output), Ok(()), "{kind}");
    }
    let cut = fs_err::OpenOptions::new()
        .write(true)
        .open(output.join("scored/a/6.parquet"));
    cut.unwrap().set_len(100).unwrap();
    let ran = capfilt(["decide", output.to_str().unwrap()]).expect_code(1);
    assert!(
        ran.stderr.contains("is not a whole Parquet file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_record_that_cannot_be_read_says_what_to_do() {
    let scene = finished();
    let output = scene.output("damaged");
    let record = output.join("run.json");
    let whole = fs_err::read_to_string(&record).unwrap();
    let newer = whole.replacen("\"format\": 2", "\"format\": 3, \"more\": 0", 1);
    let remove = "remove it and run the pipeline again, finished pieces stay";
    for (text, told) in [
        ("", remove),
        (&whole[..whole.len() / 2], remove),
        (&newer, "was written by a newer capfilt"),
    ] {
        fs_err::write(&record, text).unwrap();
        let decided = capfilt(["decide", output.to_str().unwrap()]);
        for ran in [scene.run("damaged"), decided] {
            let ran: Ran = ran.expect_code(1);
            assert!(ran.stderr.contains(told), "{}", ran.stderr);
        }
    }
    fs_err::remove_file(&record).unwrap();
    let ran = scene.run("damaged").expect_code(0);
    assert!(
        !ran.stderr.contains("again"),
        "a piece was made again:\n{}",
        ran.stderr
    );
    assert_eq!(same(&scene.output("reference"), &output), Ok(()));
}
