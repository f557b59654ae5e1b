//! A pipeline that is named from another folder, or moved with its data, does nothing again.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::program::{Ran, command, models_can_run, root};
use crate::shards::{self, Row, files, png, what_is_at, write_urls};
use crate::support::{FixtureServer, Response};

const PATHS: [&str; 4] = ["/a.png", "/b.png", "/gone.png", "/c.png"];

const PIPELINE: &str = r#"
name = "places"
device = "cpu"
[source]
shards = "in/*.parquet"
columns = { url = "url", text = "alt" }
rows-per-piece = 2
[[stage]]
fetch = { retries = 0, folder = "photos", opt-out-domains = ["lists/domains.txt"], allow-networks = ["127.0.0.0/8"] }
[[stage]]
decode = {}
[[stage]]
dedup = { against = ["eval/*.parquet"] }
MODELS
[sink]
output = "out"
"#;

const MODELS: &str = r#"
[[stage]]
caption = { model = "models/captioner", decoding = "greedy" }
[[stage]]
score = { model = "models/filter" }
[keep]
threshold = 0.1
"#;

/// Everything that a pipeline names, in the folder `p` below `folder`.
fn lay_out(folder: &Path, server: &FixtureServer, models: &str) {
    let below = |path: &str| folder.join("p").join(path);
    for (path, seed) in [("/a.png", 1), ("/b.png", 2), ("/c.png", 3)] {
        server.put(path, Response::ok("image/png", png(96, 80, seed)));
    }
    write_urls(&below("in/a.parquet"), server, &PATHS, what_is_at);
    shards::write(
        &below("eval/set.parquet"),
        &[Row::good(9, "an evaluation set")],
    );
    for made in ["photos", "lists"] {
        fs_err::create_dir_all(below(made)).unwrap();
    }
    fs_err::write(below("lists/domains.txt"), "example.org\n").unwrap();
    fs_err::os::unix::fs::symlink(root().join("pipelines/demo"), below("models")).unwrap();
    fs_err::write(below("fetch.toml"), PIPELINE.replace("MODELS", models)).unwrap();
}

/// Runs a pipeline from `folder`, where no model can be opened.
fn run(folder: &Path, pipeline: &str) -> Ran {
    let nowhere = folder.join("no-such-runtime.so");
    let mut command = command();
    command
        .args(["run", pipeline])
        .current_dir(folder)
        .env("ORT_DYLIB_PATH", nowhere);
    command.output().unwrap().into()
}

/// Bytes and time of change of every file of an output but its lock.
fn stamps(output: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let stamp = |file: PathBuf| {
        let path = output.join(&file);
        let changed = fs_err::metadata(&path).unwrap().modified().unwrap();
        (file, fs_err::read(path).unwrap(), changed)
    };
    let found = files(output).into_iter();
    found
        .filter(|file| file.as_os_str() != ".lock")
        .map(stamp)
        .collect()
}

fn does_nothing_again(models: &str) {
    let server = FixtureServer::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    lay_out(&folder, &server, models);
    let first = command()
        .args(["run", "p/fetch.toml"])
        .current_dir(&folder)
        .output()
        .unwrap();
    Ran::from(first).expect_code(0);
    let before = stamps(&folder.join("p/out"));
    let requests = PATHS.map(|path| server.requests(path));
    assert_eq!(requests, [1; 4]);
    let unchanged = |from: &Path, pipeline: &str, output: &Path| {
        let ran = run(from, pipeline).expect_code(0);
        assert!(
            ran.stderr.contains("there is nothing to do"),
            "{pipeline}: {}",
            ran.stderr
        );
        assert_eq!(
            PATHS.map(|path| server.requests(path)),
            requests,
            "{pipeline}"
        );
        assert_eq!(stamps(output), before, "{pipeline}");
    };
    let (p, out) = (folder.join("p"), folder.join("p/out"));
    unchanged(&p, "fetch.toml", &out);
    unchanged(&p, "./../p/fetch.toml", &out);
    unchanged(Path::new("/"), p.join("fetch.toml").to_str().unwrap(), &out);

    // What says when it starts, and comments, are no matter.
    let text = fs_err::read_to_string(p.join("fetch.toml")).unwrap();
    fs_err::write(
        p.join("fetch.toml"),
        format!("# A comment.\nschedule = \"0 3 * * *\"\n{text}"),
    )
    .unwrap();
    let ran = run(&p, "fetch.toml").expect_code(0);
    assert!(
        ran.stderr.contains("there is nothing to do"),
        "{}",
        ran.stderr
    );
    fs_err::write(p.join("fetch.toml"), text).unwrap();
    run(&p, "fetch.toml").expect_code(0);
    let before = stamps(&out);

    let moved = folder.join("moved/data");
    fs_err::create_dir(folder.join("moved")).unwrap();
    fs_err::rename(&p, &moved).unwrap();
    let ran = run(&folder, "moved/data/fetch.toml").expect_code(0);
    assert!(
        ran.stderr.contains("there is nothing to do"),
        "{}",
        ran.stderr
    );
    assert_eq!(PATHS.map(|path| server.requests(path)), requests);
    assert_eq!(stamps(&moved.join("out")), before);
}

#[test]
fn what_was_copied_is_known_by_its_content() {
    let server = FixtureServer::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    lay_out(&folder, &server, "");
    run(&folder, "p/fetch.toml").expect_code(0);
    let (from, to) = (folder.join("p"), folder.join("copy"));
    for file in files(&from)
        .into_iter()
        .filter(|file| !file.starts_with("models"))
    {
        fs_err::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        fs_err::copy(from.join(&file), to.join(&file)).unwrap();
        // It was copied at another time than it was made.
        let copy = fs_err::OpenOptions::new()
            .write(true)
            .open(to.join(&file))
            .unwrap();
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        copy.file().set_modified(then).unwrap();
    }
    fs_err::create_dir_all(to.join("photos")).unwrap();
    let before = stamps(&to.join("out"));
    let ran = run(&folder, "copy/fetch.toml").expect_code(0);
    assert!(
        ran.stderr.contains("there is nothing to do"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("changed"), "{}", ran.stderr);
    assert_eq!(stamps(&to.join("out")), before);
    assert_eq!(PATHS.map(|path| server.requests(path)), [1; 4]);

    // Other rows in a file of the same name are not.
    write_urls(
        &to.join("in/a.parquet"),
        &server,
        &["/b.png", "/a.png", "/gone.png", "/c.png"],
        what_is_at,
    );
    let ran = run(&folder, "copy/fetch.toml").expect_code(0);
    assert!(
        ran.stderr
            .contains("the shards of 2 finished pieces changed"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_pipeline_does_nothing_again_elsewhere() {
    does_nothing_again("");
}

#[test]
fn a_pipeline_with_models_does_nothing_again_elsewhere() {
    if models_can_run() {
        does_nothing_again(MODELS);
    }
}
