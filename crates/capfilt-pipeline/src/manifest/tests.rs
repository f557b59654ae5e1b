use tempfile::TempDir;

use super::*;

fn put(output: &Location, name: &str, content: &str) {
    let path = output.join("runs").join(name);
    path.replace(content.as_bytes()).unwrap();
}

fn state(state: &str) -> String {
    format!("{{\"format\": 1, \"state\": \"{state}\", \"more\": {{}}}}")
}

#[test]
fn only_finished_and_partial_runs_bring_new_output() {
    let folder = TempDir::new().unwrap();
    let output = &folder.path().into();
    let mut new = NewOutput::default();
    assert_eq!(new.newest(output).unwrap(), None, "there is no folder yet");
    put(output, "2026-11-24T22-31-05Z.json", &state("failed"));
    assert_eq!(new.newest(output).unwrap(), None);
    let mut last = "2026-11-24T22-31-05Z".to_owned();
    for (second, kind) in ["finished", "stopped", "partial", "running", "failed"]
        .into_iter()
        .enumerate()
    {
        let name = format!("2026-11-24T22-31-1{second}Z");
        put(output, &format!("{name}.json"), &state(kind));
        if matches!(kind, "finished" | "partial") {
            last = name;
        }
        assert_eq!(new.newest(output).unwrap(), Some(last.as_str()), "{kind}");
    }
    // Who comes later, and looks for the first time, finds the same.
    let mut late = NewOutput::default();
    assert_eq!(late.newest(output).unwrap(), Some(last.as_str()));
}

#[test]
fn a_second_run_of_one_second_is_newer_than_the_first() {
    let folder = TempDir::new().unwrap();
    let output = &folder.path().into();
    let mut new = NewOutput::default();
    for name in [
        "2026-11-24T22-31-05Z",
        "2026-11-24T22-31-05Z-02",
        "2026-11-24T22-31-05Z-10",
        "2026-11-24T22-31-06Z",
    ] {
        put(output, &format!("{name}.json"), &state("finished"));
        assert_eq!(new.newest(output).unwrap(), Some(name));
    }
}

#[test]
fn what_is_no_manifest_is_stepped_over() {
    let folder = TempDir::new().unwrap();
    let output = &folder.path().into();
    for (name, content) in [
        ("2026-11-24T22-31-05Z.json", "no json"),
        (
            "2026-11-24T22-31-06Z.json",
            "{\"state\": \"of a version to come\"}",
        ),
        ("zzz.json", "{\"state\": \"finished\"}"),
        ("2026-13-24T22-31-05Z.json", "{\"state\": \"finished\"}"),
        ("2026-11-24T22-31-07Z.txt", "{\"state\": \"finished\"}"),
    ] {
        put(output, name, content);
    }
    assert_eq!(NewOutput::default().newest(output).unwrap(), None);
}
