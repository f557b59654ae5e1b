use std::collections::BTreeSet;

use capfilt_train::TrainFile;

use crate::file::BootstrapFile;
use crate::file::tests::folder;
use crate::step::{Kind, Layout, Step, StepError};
use crate::steps::steps;

const ARMS: &str = r#"
[[arm]]
name = "both"
[[arm]]
name = "raw"
captioner = false
filter = false
[[arm]]
name = "continued"
next = "continued"
[[arm]]
name = "shared"
models = "shared"
[[arm]]
name = "replicated"
captioner = false
filter = false
replicate = "both"
"#;

fn names(steps: &[Step]) -> Vec<&str> {
    let names = steps.iter().map(|step| step.name.as_str());
    names.filter(|name| !name.contains("-test")).collect()
}

#[test]
fn arms_share_what_they_have_in_common() {
    let (_folder, path) = folder(ARMS);
    let file = BootstrapFile::load(&path, None).unwrap();
    let (steps, runs) = steps(&file);
    let expected = [
        "seed-0/m0",
        "seed-0/m0.captioner",
        "seed-0/m0.filter",
        "seed-0/both.data",
        "seed-0/both",
        "seed-0/m0.filter.judged",
        "seed-0/continued",
        "seed-0/m0.shared",
        "seed-0/shared.data",
        "seed-0/shared",
        "seed-0/m0.shared.judged",
        "seed-0/replicated",
    ];
    assert_eq!(names(&steps), expected);
    // Raw pairs and a new model: the first model is that already.
    assert_eq!(runs[1].model, "seed-0/m0");
    assert_eq!(runs[2].data, runs[0].data);
}

#[test]
fn a_step_comes_after_what_it_needs_and_seeds_share_nothing() {
    let (_folder, path) = folder(ARMS);
    let mut file = BootstrapFile::load(&path, None).unwrap();
    file.seeds = vec![3, 4];
    file.rounds = 2.try_into().unwrap();
    let (steps, runs) = steps(&file);
    let mut done = BTreeSet::new();
    for step in &steps {
        for need in &step.needs {
            assert!(done.contains(need.as_str()), "{} needs {need}", step.name);
            assert!(need.starts_with(&format!("seed-{}/", step.seed)));
        }
        assert!(done.insert(step.name.as_str()), "{} twice", step.name);
    }
    // The second round starts from the model that the first ended with.
    assert!(done.contains("seed-3/both.captioner"));
    assert_eq!(runs[0].model, "seed-3/both.round-2");
    assert_eq!(runs[0].data.as_deref(), Some("seed-3/both.round-2.data"));
}

/// The output folder as it is when everything before the step `replicated` is done.
fn with_results(output: &std::path::Path, kept: u64) -> Layout {
    let checkpoint = output.join("seed-0/m0/checkpoints");
    fs_err::create_dir_all(checkpoint.join("00000008")).unwrap();
    fs_err::create_dir_all(checkpoint.join("best")).unwrap();
    let counts = format!(
        r#"{{"counts": {{"scored": {{"candidates": {{"web": 8}}}}, "decided": {{"kept": {{"web": 3, "synthetic": {kept}}}}}}}}}"#
    );
    for run in ["both", "shared"] {
        let folder = output.join(format!("seed-0/{run}.data"));
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join("run.json"), &counts).unwrap();
    }
    Layout::new(output)
}

#[test]
fn files_say_what_commands_take() {
    let (folder, path) = folder(ARMS);
    let file = BootstrapFile::load(&path, None).unwrap();
    let output = folder.path().join("out");
    let layout = with_results(&output, 9);
    let (steps, _) = steps(&file);
    for step in &steps {
        let text = step.file(&file, &layout);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", step.name));
        let file = folder.path().join("step.toml");
        match (&step.kind, text) {
            (Kind::Train(_), Some(text)) => {
                fs_err::write(&file, text).unwrap();
                let file = TrainFile::load(&file, None).unwrap();
                let start = file.start.model;
                match step.name.as_str() {
                    "seed-0/m0.captioner" => {
                        assert_eq!(start, Some(output.join("seed-0/m0/checkpoints/00000008")));
                        assert_eq!(file.data.len(), 1);
                    }
                    "seed-0/both" => {
                        assert_eq!(start, None);
                        let dataset = output.join("seed-0/both.data/dataset");
                        assert_eq!(file.data[1].shards, dataset.to_string_lossy());
                    }
                    "seed-0/replicated" => {
                        // 12 texts were kept of 8.
                        assert!((file.data[1].weight.get() - 1.5).abs() < 1e-9);
                    }
                    _ => {}
                }
            }
            (Kind::Run { filter, .. }, Some(text)) => {
                assert_eq!(text.contains("[keep]"), filter.is_some());
                assert!(text.contains("nucleus"), "{text}");
            }
            (Kind::Eval { .. }, None) => {}
            (_, text) => panic!("{}: {text:?}", step.name),
        }
    }
}

#[test]
fn an_arm_may_keep_other_texts() {
    let (folder, path) = folder(
        "[[arm]]\nname = \"both\"\n[[arm]]\nname = \"similar\"\nkeep = { by = \"similarity\", threshold = 0.25 }",
    );
    let file = BootstrapFile::load(&path, None).unwrap();
    let layout = with_results(folder.path(), 1);
    let (steps, runs) = steps(&file);
    assert_eq!(
        runs.iter()
            .map(|run| run.judged.as_deref())
            .collect::<Vec<_>>(),
        [
            Some("seed-0/m0.filter.judged"),
            Some("seed-0/m0.filter.judged-for-similar")
        ]
    );
    assert_eq!(runs[1].data.as_deref(), Some("seed-0/similar.data"));
    let step = |name: &str| steps.iter().find(|step| step.name == name).unwrap();
    for (data, judged, where_, by) in [
        ("both.data", "m0.filter.judged", "match > 0.5", "match"),
        (
            "similar.data",
            "m0.filter.judged-for-similar",
            "similarity > 0.25",
            "similarity",
        ),
    ] {
        let text = step(&format!("seed-0/{data}"))
            .file(&file, &layout)
            .unwrap()
            .unwrap();
        assert!(text.contains(&format!("where = \"{where_}\"")), "{text}");
        let arguments = step(&format!("seed-0/{judged}")).arguments(&file, &layout);
        let at = arguments
            .iter()
            .position(|argument| argument == "--by")
            .unwrap();
        assert_eq!(arguments[at + 1], by);
    }
}

#[test]
fn a_run_that_kept_nothing_is_told() {
    let (folder, path) = folder(ARMS);
    let file = BootstrapFile::load(&path, None).unwrap();
    let layout = with_results(folder.path(), 0);
    let run = folder.path().join("seed-0/both.data/run.json");
    fs_err::write(
        run,
        r#"{"counts": {"scored": {"candidates": {"web": 8}}, "decided": {"kept": {}}}}"#,
    )
    .unwrap();
    let (steps, _) = steps(&file);
    for name in ["seed-0/both", "seed-0/replicated"] {
        let step = steps.iter().find(|step| step.name == name).unwrap();
        let error = step.file(&file, &layout).unwrap_err();
        assert!(
            matches!(error, StepError::NothingKept { .. }),
            "{name}: {error}"
        );
    }
}
