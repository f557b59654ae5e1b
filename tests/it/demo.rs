//! The demo, from nothing to a page.

use tempfile::TempDir;

use crate::program::{capfilt, models_can_run};

#[test]
fn the_demo_makes_a_dataset_and_a_page_and_is_finished_the_second_time() {
    if !models_can_run() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("demo");
    let demo = || capfilt(["demo".as_ref(), "--output".as_ref(), output.as_os_str()]);
    let first = demo().expect_code(0).stderr;
    for line in ["   319  rows read", "   302  pictures that could be used"] {
        assert!(first.contains(line), "{line}\n{first}");
    }
    // Each trouble has a reason of its own.
    for reason in [
        "bad-url",
        "empty",
        "forbidden",
        "forbidden-address",
        "gone",
        "not-an-image",
        "not-found",
        "robots-tag",
        "robots-txt",
        "server-error",
        "tdm-reserved",
        "timed-out",
        "too-large",
        "too-many-pixels",
        "too-many-redirects",
        "too-small",
        "truncated",
    ] {
        let line = format!("     1  row                 {reason}");
        assert!(
            first.lines().any(|told| told.starts_with(&line)),
            "{reason}\n{first}"
        );
    }
    for title in ["kept, with the score", "replaced", "removed"] {
        assert!(first.lines().any(|line| line == title), "{title}\n{first}");
    }
    for shard in ["clipart-0", "clipart-1"] {
        let file = format!("{shard}.parquet");
        for name in ["scored", "dataset", "rejected"] {
            assert!(output.join(name).join(&file).is_file(), "{name}/{file}");
        }
    }
    let page = fs_err::read_to_string(output.join("report.html")).unwrap();
    assert_eq!(page.matches("<article>").count(), 60);
    assert_eq!(page.matches("data:image/png;base64,").count(), 60);

    let second = demo().expect_code(0).stderr;
    assert!(second.contains("was finished before"), "{second}");
    assert!(second.contains("   319  rows read"), "{second}");
}

#[test]
fn outside_a_checkout_the_demo_says_where_it_belongs() {
    let folder = TempDir::new().unwrap();
    // A program whose copy lies elsewhere has no checkout above it.
    let program = folder.path().join("capfilt");
    fs_err::copy(env!("CARGO_BIN_EXE_capfilt"), &program).unwrap();
    let output = std::process::Command::new(&program)
        .arg("demo")
        .current_dir(folder.path())
        .env_remove("CARGO_MANIFEST_DIR")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("pipelines/demo.toml") && told.contains("hint:"),
        "{told}"
    );
    assert!(!folder.path().join("out").exists());
}
