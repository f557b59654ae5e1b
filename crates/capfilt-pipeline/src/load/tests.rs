use super::*;

const GOOD: &str = r#"
name = "test"
[source]
shards = "data/*.parquet"
[[stage]]
fetch = {}
[[stage]]
caption = { model = "models/captioner" }
[[stage]]
score = { model = "models/filter" }
[keep]
threshold = 0.5
[sink]
output = "out"
"#;

fn parsed(text: &str) -> Result<Pipeline, PipelineErrorKind> {
    parse(text, Path::new("folder/p.toml"), &Overrides::default())
}

fn with(settings: &[&str]) -> Result<Pipeline, PipelineErrorKind> {
    let set = settings
        .iter()
        .map(|setting| (*setting).to_owned())
        .collect();
    parse(
        GOOD,
        Path::new("folder/p.toml"),
        &Overrides {
            set,
            ..Overrides::default()
        },
    )
}

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect()
}

#[test]
fn paths_are_relative_to_the_file() {
    // The current folder of tests is that of the crate.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("folder");
    for path in [
        "folder/p.toml",
        "./folder/p.toml",
        folder.join("p.toml").to_str().unwrap(),
    ] {
        let pipeline = parse(GOOD, Path::new(path), &Overrides::default()).unwrap();
        assert_eq!(pipeline.output, folder.join("out").into());
        assert_eq!(
            pipeline.file.source.shards.0,
            [folder.join("data/*.parquet").to_str().unwrap()]
        );
        let model = folder.join("models/captioner");
        assert_eq!(pipeline.stages[2].verb.model(), Some(&*model));
    }
}

#[test]
fn paths_of_the_command_line_are_not() {
    let overrides = Overrides {
        inputs: vec!["x.parquet".to_owned()],
        output: Some(PathBuf::from("y")),
        set: Vec::new(),
    };
    let pipeline = parse(GOOD, Path::new("folder/p.toml"), &overrides).unwrap();
    assert_eq!(pipeline.output, Path::new("y").into());
    assert_eq!(pipeline.file.source.shards.0, ["x.parquet"]);
}

#[test]
fn pictures_are_decoded_before_the_first_model() {
    assert_eq!(
        names(&parsed(GOOD).unwrap()),
        ["fetch", "decode", "caption", "score"]
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_known_one() {
    let text = GOOD.replace("fetch = {}", "fetch = { concurency = 8 }");
    let error = parsed(&text).unwrap_err();
    let PipelineErrorKind::Syntax {
        line,
        column,
        message,
        snippet,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*line, *column), (6, 11), "{snippet}");
    assert!(
        message.starts_with("unknown field `concurency`"),
        "{message}"
    );
    assert!(
        message.ends_with("did you mean `concurrency`?"),
        "{message}"
    );
    assert_eq!(
        snippet,
        "  |\n6 | fetch = { concurency = 8 }\n  |           ^^^^^^^^^^"
    );
}

#[test]
fn a_wrong_type_is_refused_with_its_place() {
    let text = GOOD.replace("threshold = 0.5", "threshold = \"high\"");
    let PipelineErrorKind::Syntax { line, message, .. } = parsed(&text).unwrap_err() else {
        panic!("expected a syntax error")
    };
    assert_eq!(line, 12);
    assert!(
        message.contains("invalid type: string \"high\""),
        "{message}"
    );
}

#[test]
fn a_size_that_is_none_is_refused_with_what_would_do() {
    let text = GOOD.replace("fetch = {}", "fetch = { max-size = \"big\" }");
    let PipelineErrorKind::Syntax { line, message, .. } = parsed(&text).unwrap_err() else {
        panic!("expected a syntax error")
    };
    assert_eq!(line, 6);
    assert!(message.starts_with("`big` is not a size"), "{message}");
}

#[test]
fn a_stage_has_exactly_one_verb() {
    let error = parsed(&GOOD.replace("fetch = {}", "name = \"x\""))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("`stage.0`: it does nothing; expected one of `where`"),
        "{error}"
    );
    let error = parsed(&GOOD.replace("fetch = {}", "fetch = {}\ndecode = {}")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`stage.0`: it has both `fetch` and `decode`; begin a `[[stage]]` for each"
    );
}

#[test]
fn two_stages_of_one_verb_need_names() {
    let text = format!("{GOOD}[[stage]]\nscore = {{ model = \"m\" }}\n");
    let error = parsed(&text).unwrap_err().to_string();
    assert_eq!(
        error,
        "`stage.3`: there is another stage `score`; give each a `name` of its own"
    );
    let named = text.replace(
        "score = { model = \"m\" }",
        "name = \"clip\"\nscore = { model = \"m\" }",
    );
    assert!(
        parsed(&named.replace("threshold = 0.5", "where = \"score > 0.5 and clip > 0.2\"")).is_ok()
    );
}

#[test]
fn stages_that_need_each_other_come_in_order() {
    let late = format!("{GOOD}[[stage]]\ndecode = {{}}\n");
    assert_eq!(
        parsed(&late).unwrap_err().to_string(),
        "`stage.decode`: it must come before `caption`, which needs pictures"
    );
}

#[test]
fn settings_reach_stages_by_verb_name_or_index() {
    let pipeline = with(&[
        "stage.fetch.concurrency=8",
        "keep.threshold=0.7",
        "name=mine",
    ])
    .unwrap();
    let Verb::Fetch(fetch) = &pipeline.stages[0].verb else {
        panic!("no fetch")
    };
    assert_eq!(fetch.concurrency.get(), 8);
    assert_eq!(pipeline.file.keep.as_ref().unwrap().threshold, Some(0.7));
    assert_eq!(pipeline.file.name, "mine");
    let pipeline = with(&["stage.1.caption.seed=9", "stage.fetch.timeout=3s"]).unwrap();
    let Verb::Caption(caption) = &pipeline.stages[2].verb else {
        panic!("no caption")
    };
    assert_eq!(caption.seed, 9);
}

#[test]
fn a_keep_rule_that_is_set_replaces_the_other() {
    let pipeline = with(&["keep.where=match > 0.9 and similarity > 0.1"]).unwrap();
    assert_eq!(pipeline.file.keep.as_ref().unwrap().threshold, None);
    assert_eq!(pipeline.keep.describe(), "match > 0.9 and similarity > 0.1");
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let message = |setting: &str| with(&[setting]).unwrap_err().to_string();
    assert!(message("stage.fetch.concurency=8").contains("did you mean `concurrency`?"));
    assert_eq!(message("keep"), "`--set keep`: expected `key.path=value`");
    assert_eq!(
        message("stage.clip.seed=1"),
        "`--set stage.clip.seed=1`: there is no stage `clip`"
    );
    assert_eq!(
        message("stage.7.seed=1"),
        "`--set stage.7.seed=1`: there is no entry 7, only 3"
    );
}

#[test]
fn what_a_run_needs_must_be_named() {
    let message = |from: &str| parsed(&GOOD.replace(from, "")).unwrap_err().to_string();
    assert!(message("shards = \"data/*.parquet\"\n").starts_with("`source.shards`: no shards"));
    assert!(message("output = \"out\"\n").starts_with("`sink.output`: no output folder"));
}

#[test]
fn nothing_is_decided_about_a_dataset_for_later() {
    let error = with(&["store.dataset=later", "keep.threshold=0.5"]).unwrap_err();
    assert!(error.to_string().contains("remove one of them"), "{error}");
}

#[test]
fn a_pipeline_file_survives_writing_and_reading() {
    let file = parsed(GOOD).unwrap().file;
    let json = serde_json::to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<PipelineFile>(&json).unwrap(), file);
}

#[test]
fn every_pipeline_of_the_repository_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let mut seen = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_toml = path.extension().is_some_and(|ending| ending == "toml");
        // Other kinds of files lie there, too; each names its schema.
        let is_pipeline = is_toml
            && fs_err::read_to_string(&path)
                .unwrap()
                .contains("schemas/pipeline.json");
        if is_pipeline {
            load(&path, &Overrides::default()).unwrap();
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} pipelines");
}
