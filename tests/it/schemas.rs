//! The committed schemas are fresh, and what the repository carries keeps them.

use serde_json::Value;

use crate::program::{capfilt, command, root};
use crate::shards::Row;
use crate::work::{WITHOUT_MODELS, Work};

#[test]
fn the_committed_schemas_are_fresh() {
    let ran = capfilt(["schema", "--check"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn every_schema_is_printed_as_it_lies_in_the_folder() {
    let names = capfilt(["schema"]).expect_code(0).stdout;
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(
        names,
        [
            "pipeline",
            "train",
            "bootstrap",
            "model",
            "run",
            "input",
            "output"
        ]
    );
    for name in names {
        let printed = capfilt(["schema", name]).expect_code(0).stdout;
        let schema: Value = serde_json::from_str(&printed).unwrap();
        assert!(schema["title"].is_string(), "`{name}` has no title");
        let committed =
            fs_err::read_to_string(root().join(format!("schemas/{name}.json"))).unwrap();
        assert_eq!(printed, committed, "`{name}`");
    }
}

#[test]
fn a_stale_schema_is_told_with_the_command_that_mends_it() {
    let folder = tempfile::TempDir::new().unwrap();
    fs_err::create_dir_all(folder.path().join("schemas")).unwrap();
    fs_err::write(folder.path().join("schemas/run.json"), "{}\n").unwrap();
    let check = |name: &str| {
        let output = command()
            .current_dir(folder.path())
            .args(["schema", name, "--check"])
            .output();
        crate::program::Ran::from(output.unwrap()).expect_code(1)
    };
    let ran = check("run");
    assert!(
        ran.stderr.contains("capfilt schema run > schemas/run.json"),
        "{}",
        ran.stderr
    );
    let ran = check("model");
    assert!(ran.stderr.contains("schemas/model.json"), "{}", ran.stderr);
}

#[test]
fn every_pipeline_of_the_repository_names_the_schema_and_can_be_read() {
    let mut seen = 0;
    for entry in fs_err::read_dir(root().join("pipelines"))
        .unwrap()
        .map(Result::unwrap)
    {
        let path = entry.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        seen += 1;
        let text = fs_err::read_to_string(&path).unwrap();
        let kind = ["pipeline", "bootstrap"]
            .into_iter()
            .find(|kind| text.starts_with(&format!("#:schema ../schemas/{kind}.json\n")));
        assert!(kind.is_some(), "{}", path.display());
        assert!(
            text.starts_with('#'),
            "{} does not say what it is for",
            path.display()
        );
        if kind == Some("bootstrap") {
            // Its data is looked at last, and is made by a script.
            let ran = capfilt(["bootstrap", path.to_str().unwrap(), "--plan"]);
            assert!(
                ran.code == Some(0) || ran.stderr.contains("`human.shards`"),
                "{}: {}",
                path.display(),
                ran.stderr
            );
            continue;
        }
        // Its shards and models are the reader's own, so only what the file itself says is judged here.
        let ran = capfilt(["check", path.to_str().unwrap()]);
        let told = ran.stderr.as_str();
        let about_the_file = ["unknown", "invalid", "expected"]
            .iter()
            .any(|word| told.contains(word));
        assert!(
            ran.code == Some(0) || !about_the_file,
            "{}: {told}",
            path.display()
        );
    }
    assert!(seen >= 1, "no pipeline was found");
}

#[test]
fn run_json_has_what_its_schema_requires() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard("a", &[Row::good(1, "one")]);
    work.run().expect_code(0);
    let schema: Value = serde_json::from_str(&capfilt(["schema", "run"]).stdout).unwrap();
    let run = work.run_json();
    let known = schema["properties"].as_object().unwrap();
    for key in run.as_object().unwrap().keys() {
        assert!(known.contains_key(key), "`{key}` is not in the schema");
    }
    for key in schema["required"].as_array().unwrap() {
        assert!(run.get(key.as_str().unwrap()).is_some(), "{key} is missing");
    }
}
