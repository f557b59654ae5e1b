//! `capfilt train`: from the command line to packages, killed and stopped on the way.

#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{Ran, capfilt, command, models_can_run, root};
use crate::stop::{stopped, wait_until};

/// A CLIP of the demo's pictures and titles that makes 60 steps.
fn training(folder: &Path) -> String {
    let demo = root().join("pipelines/demo");
    let text = format!(
        r#"
seed = 5
tokenizer = "{tokenizer}"
checkpoints = {{ every = 10 }}
[model]
family = "clip"
vision = {{ image-size = 32, patch = 8, width = 32, layers = 2, heads = 2 }}
text = {{ width = 32, layers = 2, heads = 2, positions = 16 }}
embed = 16
[[data]]
shards = "{pictures}"
columns = {{ text = "title" }}
[training]
batch = 16
steps = 60
log-every = 1
[learning-rate]
peak = 1e-3
[held-out]
data = {{ shards = "{pictures}", columns = {{ text = "title" }} }}
every = 60
"#,
        tokenizer = demo.join("captioner/tokenizer.json").display(),
        pictures = demo.join("pictures.parquet").display(),
    );
    let file = folder.join("train.toml");
    fs_err::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn start(file: &str, output: &Path) -> Child {
    command()
        .args(["train", file, "--output", output.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn lines(output: &Path) -> usize {
    let progress = fs_err::read_to_string(output.join("progress.jsonl"));
    progress.map_or(0, |progress| progress.lines().count())
}

#[test]
fn a_training_that_is_killed_and_stopped_ends_with_the_same_weights() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = training(folder.path());
    let (undisturbed, disturbed) = (
        folder.path().join("undisturbed"),
        folder.path().join("disturbed"),
    );
    let told = capfilt(["train", &file, "--output", undisturbed.to_str().unwrap()])
        .expect_code(0)
        .told();
    for expected in ["for 60 steps", "held out", "package", "page"] {
        assert!(told.contains(expected), "{told}");
    }

    let mut child = start(&file, &disturbed);
    wait_until("15 steps", || lines(&disturbed) >= 15);
    child.kill().unwrap();
    child.wait().unwrap();
    let child = start(&file, &disturbed);
    wait_until("30 steps", || lines(&disturbed) >= 30);
    let (ran, _) = stopped(child, "TERM");
    let told = ran.expect_code(1).told();
    assert!(told.contains("going on after step 10"), "{told}");
    assert!(told.contains("saved"), "{told}");
    capfilt(["train", &file, "--output", disturbed.to_str().unwrap()]).expect_code(0);
    let weights = |output: &Path| {
        fs_err::read(output.join("checkpoints/00000060/model.safetensors")).unwrap()
    };
    assert!(
        weights(&undisturbed) == weights(&disturbed),
        "the weights differ"
    );
    assert_eq!(lines(&disturbed), lines(&undisturbed));

    let page = fs_err::read_to_string(disturbed.join("report.html")).unwrap();
    assert!(page.contains("loss: contrastive"), "{page}");
    if models_can_run() {
        let picture = root().join("tests/golden/images/grey-1-bit.png");
        let scored = capfilt([
            "score",
            "--model",
            disturbed.join("filter").to_str().unwrap(),
            "--text",
            "a red car",
            picture.to_str().unwrap(),
        ]);
        assert!(scored.expect_code(0).stdout.contains("\"similarity\""));
    }
}

#[test]
fn mistakes_are_told_before_anything_is_trained() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = training(folder.path());
    let good = fs_err::read_to_string(&file).unwrap();
    let output = folder.path().join("out");
    for (from, to, code, expected) in [
        ("embed = 16", "embeds = 16", 3, "embeds"),
        ("\"title\"", "\"titles\"", 3, "no column `titles`"),
        (
            "batch = 16",
            "batch = 100000",
            3,
            "a batch of 100000 is larger than the data",
        ),
        (
            "pictures.parquet",
            "pictures-that-are-not-there.parquet",
            3,
            "pictures-that-are-not-there",
        ),
        ("width = 32", "width = 33", 3, "multiple of"),
        ("tokenizer.json", "model.json", 3, "tokenizer"),
    ] {
        fs_err::write(&file, good.replace(from, to)).unwrap();
        let told = capfilt(["train", &file, "--output", output.to_str().unwrap()])
            .expect_code(code)
            .told();
        assert!(told.contains(expected), "`{to}`: {told}");
        assert!(!output.join("checkpoints").exists(), "`{to}`");
    }
}

/// What commit 497e7fa left of a training, started as `capfilt train version-1/train.toml`, is taken up from other
/// folders and under other names: no step is made again.
#[test]
fn a_training_of_version_1_is_taken_up_from_any_folder() {
    let folder = tempfile::TempDir::new().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(root().join("tests/golden/train/version-1"))
        .arg(folder.path().join("p"))
        .status();
    assert!(copied.unwrap().success());
    let elsewhere = folder.path().join("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    let absolute = folder.path().join("p/train.toml");
    let train = |from: &Path, name: &Path| {
        let ran = command().arg("train").arg(name).current_dir(from).output();
        Ran::from(ran.unwrap()).expect_code(0).told()
    };
    let from = [
        (folder.path(), Path::new("p/train.toml")),
        (elsewhere.as_path(), Path::new("../p/train.toml")),
        (elsewhere.as_path(), absolute.as_path()),
    ];
    for (from, name) in from {
        let told = train(from, name);
        assert!(told.contains("nothing to learn: all 4 steps"), "{told}");
        assert!(!told.contains("step 4/4"), "{told}");
    }
    for (from, name) in from {
        fs_err::remove_dir_all(folder.path().join("p/out/checkpoints/00000004")).unwrap();
        let told = train(from, name);
        assert!(told.contains("going on after step 2"), "{told}");
        assert!(told.contains("step 4/4"), "{told}");
    }
}

/// A full disk costs nothing that is finished.
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = training(folder.path());
    let output = folder.path().join("out");
    // The shell's limit on the size of a file stands for a full disk: weights do not fit.
    let binary = command().get_program().to_owned();
    let ran = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 40; exec \"$0\" train \"$1\" --output \"$2\"")
        .arg(binary)
        .args([&file, output.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{told}");
    assert!(
        told.contains("cannot write") || told.contains("cannot save"),
        "{told}"
    );
    let left = fs_err::read_dir(output.join("checkpoints"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "{told}");
    capfilt(["train", &file, "--output", output.to_str().unwrap()]).expect_code(0);
}
