//! `capfilt bootstrap`: the whole loop with models too small to be good, stopped on the way, and its page in a browser.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, capfilt, command, models_can_run, python, root, skipped};
use crate::stop::{stopped, wait_until};

/// A loop over the demo's pictures and titles: two arms, and a filter that keeps everything.
fn file(folder: &Path) -> String {
    let demo = root().join("pipelines/demo");
    let pictures = demo.join("pictures.parquet");
    let text = format!(
        r#"
seeds = [3]
keep = {{ threshold = 0.0 }}
tokenizer = "{tokenizer}"
[model]
vision = {{ image-size = 32, patch = 8, width = 32, layers = 1, heads = 2 }}
text = {{ width = 32, layers = 1, heads = 2, positions = 24 }}
projection = 16
tokens = 24
queue = 16
[human]
shards = "{pictures}"
columns = {{ text = "title" }}
[web]
shards = "{pictures}"
text = "title"
[held-out.same]
shards = "{pictures}"
text = "title"
[loading]
augmentation = {{ policy = "none" }}
most-corrupt = 0.5
[pretrain]
training = {{ batch = 16, steps = 40, log-every = 1 }}
learning-rate = {{ peak = 1e-3 }}
[finetune-captioner]
training = {{ batch = 16, steps = 4 }}
learning-rate = {{ peak = 1e-4 }}
[finetune-filter]
training = {{ batch = 16, steps = 4 }}
learning-rate = {{ peak = 1e-4 }}
[[arm]]
name = "both"
decoding = {{ nucleus = {{ min-length = 2, max-length = 8 }} }}
[[arm]]
name = "raw"
captioner = false
filter = false
"#,
        tokenizer = demo.join("captioner/tokenizer.json").display(),
        pictures = pictures.display(),
    );
    let file = folder.join("loop.toml");
    fs_err::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_loop_goes_on_where_it_was_stopped_and_tells_what_came_of_it() {
    if !models_can_run() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let file = file(folder.path());
    let output = folder.path().join("out");
    let arguments = ["bootstrap", &file, "--output", output.to_str().unwrap()];

    let child = command()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let progress = output.join("seed-3/m0/progress.jsonl");
    wait_until("the first steps", || progress.exists());
    let (ran, _) = stopped(child, "TERM");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("stopping `seed-3/m0`"),
        "{}",
        ran.stderr
    );
    let plan = capfilt([&arguments[..], &["--plan"]].concat()).expect_code(0);
    assert!(
        plan.stdout
            .contains("seed-3/m0                               begun"),
        "{}",
        plan.stdout
    );

    // Captioner and filter side by side.
    let ran = capfilt([&arguments[..], &["--jobs", "2"]].concat()).expect_code(0);
    assert!(
        ran.stderr.contains("seed-3/m0: going on after step"),
        "{}",
        ran.stderr
    );
    let results = fs_err::read_to_string(output.join("bootstrap.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let [both, raw] = [0, 1].map(|place| &results["results"][place]);
    assert_eq!((&both["arm"], &raw["arm"]), (&"both".into(), &"raw".into()));
    assert_eq!(raw["model"], "seed-3/m0");
    let texts = &both["texts"];
    assert_eq!(texts["web-kept"], texts["web"]);
    assert!(texts["synthetic"].as_u64() > Some(200), "{texts}");
    // The tables on stdout and on the page have the numbers of the file.
    let cider = both["held-out"]["same"]["cider_d"].as_f64().unwrap();
    let page = fs_err::read_to_string(output.join("report.html")).unwrap();
    for (cell, table) in [
        (format!("<td class=\"number\">{cider:.2}</td>"), &page),
        (format!(" | {cider:.2} | "), &ran.stdout),
    ] {
        assert!(table.contains(&cell), "no {cell} in {table}");
    }
    looks_well(&output.join("report.html"));

    let again = capfilt(arguments).expect_code(0);
    let steps = again
        .stderr
        .lines()
        .filter(|line| line.starts_with("step "));
    assert_eq!(steps.clone().count(), 9, "{}", again.stderr);
    for step in steps {
        assert!(step.ends_with("done before"), "{step}");
    }
}

/// The page in a browser, from disk: nothing complains, and every picture is drawn.
fn looks_well(page: &Path) {
    let looked = Command::new(python())
        .arg(root().join("tests/it/look_at_page.py"))
        .arg(page)
        .output();
    match looked.map(Ran::from) {
        Ok(ran) if ran.code == Some(0) => {}
        Ok(ran) if ran.code == Some(77) => skipped(format_args!("{}", ran.stderr.trim())),
        Ok(ran) => panic!("{}{}", ran.stdout, ran.stderr),
        Err(error) => skipped(format_args!("no Python to look at the page: {error}")),
    }
}
