//! `capfilt bootstrap`: the whole loop on a few emoji, stopped on the way, and what it is good for.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, capfilt, command, models_can_run, root, skipped};
use crate::stop::{stopped, wait_until};

/// The smoke version's data, or nothing, visibly.
fn data(folder: &Path) -> Option<PathBuf> {
    let python = std::env::var("CAPFILT_PYTHON").unwrap_or_else(|_unset| "python3".to_owned());
    let output = folder.join("data");
    let prepared = Command::new(&python)
        .arg(root().join("pipelines/mini-blip/prepare.py"))
        .arg(&output)
        .args(["--share", "0.4"])
        .output();
    match prepared.map(Ran::from) {
        Ok(ran) if ran.code == Some(0) => Some(output),
        Ok(ran) => {
            let reason = ran.stderr.lines().last().unwrap_or_default().to_owned();
            skipped(format_args!(
                "`pipelines/mini-blip/prepare.py` makes no data here (needs npm and, in CAPFILT_PYTHON, its requirements): {reason}"
            ));
            None
        }
        Err(error) => {
            skipped(format_args!("no `{python}`: {error}"));
            None
        }
    }
}

/// The smoke version, on data in `folder`.
fn smoke(folder: &Path, data: &Path) -> String {
    let text = fs_err::read_to_string(root().join("pipelines/mini-blip/smoke.toml")).unwrap();
    let demo = root().join("pipelines/demo");
    let text = text
        .replace("../../out/mini-blip-smoke-data", data.to_str().unwrap())
        .replace("../demo", demo.to_str().unwrap());
    let file = folder.join("smoke.toml");
    fs_err::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn the_loop_goes_on_where_it_was_stopped_and_filtering_pays() {
    if !models_can_run() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let Some(data) = data(folder.path()) else {
        return;
    };
    let file = smoke(folder.path(), &data);
    let output = folder.path().join("out");
    let arguments = ["bootstrap", &file, "--output", output.to_str().unwrap()];

    let child = command()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let progress = output.join("seed-0/m0/progress.jsonl");
    wait_until("the first steps", || progress.exists());
    let (ran, _) = stopped(child, "TERM");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("stopping `seed-0/m0`"),
        "{}",
        ran.stderr
    );

    let ran = capfilt(arguments).expect_code(0);
    assert!(
        ran.stderr.contains("seed-0/m0: going on after step"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("| both | "), "{}", ran.stdout);
    let page = fs_err::read_to_string(output.join("report.html")).unwrap();

    let results = fs_err::read_to_string(output.join("bootstrap.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let both = &results["results"][0];
    let filter = &both["filter"];
    let count = |name: &str| number(&filter[name]);
    let (right, wrong) = (count("right_kept"), count("wrong_kept"));
    let wrong_before = count("wrong") / (count("wrong") + count("right"));
    let wrong_after = wrong / (wrong + right);
    assert!(wrong_after <= wrong_before * 2.0 / 3.0, "{filter}");
    assert!(right >= 0.7 * count("right"), "{filter}");
    // The table of the page has the numbers of the file.
    let kept = 100.0 * number(&both["texts"]["web-kept"]) / number(&both["texts"]["web"]);
    assert!(
        page.contains(&format!("<td class=\"number\">{kept:.0}</td>")),
        "{kept}"
    );

    let again = capfilt(arguments).expect_code(0);
    let steps = again
        .stderr
        .lines()
        .filter(|line| line.starts_with("step "));
    assert!(steps.clone().count() > 5, "{}", again.stderr);
    for step in steps {
        assert!(step.ends_with("done before"), "{step}");
    }
    looks_well(&output.join("report.html"));
}

/// The page in a browser, from disk: nothing complains, and every picture is drawn.
fn looks_well(page: &Path) {
    let script = root().join("tests/it/look_at_page.py");
    let python = std::env::var("CAPFILT_PYTHON").unwrap_or_else(|_unset| "python3".to_owned());
    let looked = Command::new(python)
        .arg(script)
        .arg(page)
        .output()
        .map(Ran::from);
    match looked {
        Ok(ran) if ran.code == Some(0) => {}
        Ok(ran) if ran.code == Some(77) => skipped(format_args!("{}", ran.stderr.trim())),
        Ok(ran) => panic!("{}", ran.stderr),
        Err(error) => skipped(format_args!("no Python: {error}")),
    }
}
