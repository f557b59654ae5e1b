use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::load::{Overrides, load};

const PIPELINE: &str = r#"
name = "recipes"
[source]
shards = "in/*.parquet"
[[stage]]
where-text = "length(text) > 2"
[[stage]]
fetch = {}
[[stage]]
decode = {}
[[stage]]
dedup = {}
[[stage]]
caption = { model = "captioner" }
[[stage]]
name = "filter"
score = { model = "filter" }
[sink]
output = "out"
"#;

/// The recipe of a pipeline file with `settings`; its models are those of the demo.
fn recipe_of(text: &str, settings: &[&str]) -> Recipe {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    fs_err::write(&path, text).unwrap();
    let overrides = Overrides {
        set: settings.iter().map(|set| (*set).to_owned()).collect(),
        ..Overrides::default()
    };
    let pipeline =
        load(&path, &overrides).unwrap_or_else(|error| panic!("{settings:?}: {error:?}"));
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/demo");
    let packages = pipeline.stages.iter().filter_map(|stage| {
        let folder = stage.verb.model()?;
        let package = Package::open(&demo.join(folder.file_name()?)).unwrap();
        Some((folder.to_owned(), Arc::new(package)))
    });
    let source = pipeline.file.source.text_source;
    // What the evaluation sets are is no matter of where they lie.
    let compares =
        |stage: &Stage| matches!(&stage.verb, Verb::Dedup(dedup) if !dedup.against.is_empty());
    let sets = pipeline.stages.iter().any(compares).then_some("sets");
    Recipe::new(source, &pipeline.stages, &packages.collect(), sets)
}

fn recipe(settings: &[&str]) -> Recipe {
    recipe_of(PIPELINE, settings)
}

/// The stages that run again after a change, or `-` where there is none.
fn runs_again(wanted: &Recipe, stored: &Recipe) -> String {
    let Some(change) = wanted.change_from(stored) else {
        return "-".to_owned();
    };
    let again = wanted.stages[change.stand..].iter();
    again
        .map(|stage| stage.name.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

const NOTHING: &str = "-";
const ALL: &str = "where-text fetch decode dedup caption filter";
const DECODE: &str = "decode dedup caption filter";
const DEDUP: &str = "dedup caption filter";
const CAPTION: &str = "caption filter";
const SCORE: &str = "filter";

/// For every option of every stage: a change of it, and what runs again.
const TABLE: &[(&str, &str)] = &[
    ("stage.where-text='length(text) > 3'", ALL),
    ("stage.fetch.concurrency=7", NOTHING),
    ("stage.fetch.per-host=7", NOTHING),
    ("stage.fetch.per-host-interval='1s'", NOTHING),
    ("stage.fetch.memory='64 MiB'", NOTHING),
    ("stage.fetch.timeout='30s'", NOTHING),
    ("stage.fetch.connect-timeout='3s'", NOTHING),
    ("stage.fetch.first-byte-timeout='3s'", NOTHING),
    ("stage.fetch.idle-timeout='3s'", NOTHING),
    ("stage.fetch.host-wait='3s'", NOTHING),
    ("stage.fetch.retries=9", NOTHING),
    ("stage.fetch.contact='us@example.org'", NOTHING),
    ("stage.fetch.name-servers=['9.9.9.9']", NOTHING),
    ("stage.fetch.proxy='http://proxy:3128'", NOTHING),
    ("stage.fetch.max-size='1 MiB'", ALL),
    ("stage.fetch.max-redirects=1", ALL),
    ("stage.fetch.schemes=['https']", ALL),
    ("stage.fetch.content-types=['image/png']", ALL),
    ("stage.fetch.folder='pictures'", ALL),
    ("stage.fetch.buckets=['s3://bucket']", ALL),
    ("stage.fetch.robots-txt=false", ALL),
    ("stage.fetch.x-robots-tag=false", ALL),
    ("stage.fetch.tdm-reservation=false", ALL),
    // They are held against the rows that are there.
    ("stage.fetch.opt-out-domains=['domains.txt']", NOTHING),
    ("stage.fetch.opt-out-urls=['urls.txt']", NOTHING),
    ("stage.fetch.allow-networks=['10.0.0.0/8']", ALL),
    ("stage.fetch.unverified-hosts=['intranet']", ALL),
    ("stage.decode.max-pixels='1 MP'", DECODE),
    ("stage.decode.min-side=100", DECODE),
    ("stage.decode.orientation='ignore'", DECODE),
    ("stage.decode.alpha='drop'", DECODE),
    // Models and hashes need the pixels anyway.
    ("stage.decode.check='structure'", NOTHING),
    ("stage.decode.resize={ shorter-side = 256 }", DECODE),
    ("stage.dedup.distance=1", DEDUP),
    ("stage.dedup.against=['eval/*.parquet']", DEDUP),
    ("stage.caption.model='filter'", CAPTION),
    ("stage.caption.decoding='greedy'", CAPTION),
    ("stage.caption.decoding={ nucleus = { p = 0.8 } }", CAPTION),
    ("stage.caption.prompt='a photo of'", CAPTION),
    ("stage.caption.seed=8", CAPTION),
    ("stage.caption.batch=3", NOTHING),
    ("stage.filter.score.model='captioner'", SCORE),
    ("stage.filter.score.first-token='cls'", SCORE),
    ("stage.filter.score.batch=3", NOTHING),
    ("source.rows-per-piece=3", NOTHING),
    ("keep.threshold=0.9", NOTHING),
    ("store.images='kept'", NOTHING),
    ("device='cpu'", NOTHING),
    ("schedule='0 3 * * *'", NOTHING),
];

#[test]
fn what_runs_again_after_each_option_changed() {
    let stored = recipe(&[]);
    for (setting, expected) in TABLE {
        let changed = recipe(&[setting]);
        assert_eq!(runs_again(&changed, &stored), *expected, "{setting}");
        assert_eq!(changed == stored, *expected == NOTHING, "{setting}");
        assert_eq!(
            changed.digest() == stored.digest(),
            *expected == NOTHING,
            "{setting}"
        );
        // And back.
        assert_eq!(
            runs_again(&stored, &changed).is_empty(),
            expected.is_empty(),
            "{setting}"
        );
    }
}

/// What names something, with everything in sight of it.
const NAMED: &[&str] = &[
    "stage.fetch.folder='photos'",
    "stage.fetch.opt-out-domains=['lists/domains.txt']",
    "stage.fetch.allow-networks=['10.0.0.0/8', '127.0.0.0/8']",
    "stage.dedup.against=['eval/*.parquet']",
];

#[test]
fn where_things_lie_and_how_that_is_spelled_does_not_count() {
    // Each is in a folder of its own.
    let stored = recipe(NAMED);
    assert_eq!(recipe(NAMED), stored);
    for spelled in [
        "stage.fetch.folder='./x/../photos/'",
        "stage.fetch.opt-out-domains=['/elsewhere/domains.txt']",
        "stage.fetch.content-types=['text/plain', 'Binary/*', 'image/*', 'application/*', 'image/*']",
        "stage.fetch.allow-networks=['127.0.0.0/8', '10.0.0.0/8']",
        "stage.dedup.against=['./eval/../eval']",
        "source.shards='elsewhere'",
        "after='other.toml'",
        "sink.output='elsewhere'",
    ] {
        assert_eq!(recipe(&[NAMED, &[spelled]].concat()), stored, "{spelled}");
    }
    let text = serde_json::json!(stored).to_string();
    for path in ["domains.txt", "eval/", "captioner", "/tmp"] {
        assert!(!text.contains(path), "{path} is in {text}");
    }
    let other = recipe(&[NAMED, &["stage.fetch.folder='/photos'"]].concat());
    assert_eq!(runs_again(&other, &stored), ALL);
}

/// The recipe that version 1 stored of `recipe`, where the pipeline file was named as `file`.
fn first_version(recipe: &Recipe, file: &str) -> Recipe {
    let mut stored = serde_json::json!(recipe);
    stored.as_object_mut().unwrap().remove("version");
    for stage in stored["stages"].as_array_mut().unwrap() {
        stage["key"] = "by another rule".into();
        let name = stage["verb"].as_str().unwrap().to_owned();
        let options = &mut stage["options"];
        if name == "fetch" {
            options["folder"] = format!("{file}photos").into();
            options["opt-out-domains"] = serde_json::json!([format!("{file}lists/domains.txt")]);
            // It came later.
            options.as_object_mut().unwrap().remove("tdm-reservation");
        }
        if name == "dedup" {
            options["against"] = serde_json::json!([format!("{file}eval/*.parquet")]);
        }
    }
    serde_json::from_value(stored).unwrap()
}

#[test]
fn what_version_1_stored_stands_wherever_it_was_started() {
    let wanted = recipe(NAMED);
    for file in ["", "p/", "./p/../p/", "/srv/us/p/"] {
        let stored = first_version(&wanted, file);
        assert_eq!(stored.version, 1);
        assert!(stored.named_opt_outs());
        assert_eq!(wanted.change_from(&stored), None, "{file}");
        let elsewhere = recipe(&[NAMED, &["stage.fetch.folder='pictures'"]].concat());
        assert_eq!(runs_again(&elsewhere, &stored), ALL, "{file}");
        let why = elsewhere.change_from(&stored).unwrap().why;
        assert_eq!(why, "`fetch` changed (`folder`)");
        let stricter = recipe(&[NAMED, &["stage.fetch.tdm-reservation=false"]].concat());
        assert_eq!(runs_again(&stricter, &stored), ALL);
        let caption = recipe(&[NAMED, &["stage.caption.seed=3"]].concat());
        assert_eq!(runs_again(&caption, &stored), CAPTION);
    }
    let mut other_sets = first_version(&wanted, "p/");
    other_sets.stages[3].options[SETS] = "other sets".into();
    assert_eq!(runs_again(&wanted, &other_sets), DEDUP);
    let mut other_model = first_version(&wanted, "p/");
    other_model.stages[5].package = Some("another".to_owned());
    assert_eq!(runs_again(&wanted, &other_model), SCORE);
}

/// An option that is added later has to say what runs again after it changed.
#[test]
fn the_table_has_every_option() {
    let schema = serde_json::to_value(schemars::schema_for!(crate::PipelineFile)).unwrap();
    let keys = |value: &Value| -> BTreeSet<String> {
        value["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let stages = keys(&schema["$defs"]["StageTable"]);
    let verbs: BTreeSet<&str> = [
        "caption",
        "decode",
        "dedup",
        "fetch",
        "name",
        "score",
        "where",
        "where-text",
    ]
    .into();
    assert_eq!(
        stages,
        verbs.iter().map(|verb| (*verb).to_owned()).collect()
    );
    let mut in_table: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (setting, _) in TABLE {
        let path = setting
            .split('=')
            .next()
            .unwrap()
            .replace("filter.score", "score");
        let mut steps = path.split('.').skip(1);
        if let (Some(verb), Some(option)) = (steps.next(), steps.next()) {
            let verb = verbs.get(verb).unwrap();
            in_table.entry(verb).or_default().insert(option.to_owned());
        }
    }
    for (verb, options) in [
        ("fetch", "FetchOptions"),
        ("decode", "Decode"),
        ("dedup", "Dedup"),
        ("caption", "Caption"),
        ("score", "Score"),
    ] {
        assert_eq!(in_table[verb], keys(&schema["$defs"][options]), "{verb}");
    }
}

/// `PIPELINE` with other stages, from `from` to `to`.
fn edited(from: &str, to: &str) -> Recipe {
    assert!(PIPELINE.contains(from), "{from}");
    recipe_of(&PIPELINE.replacen(from, to, 1), &[])
}

#[test]
fn what_runs_again_after_stages_came_and_went() {
    let stored = recipe(&[]);
    let beam =
        "[[stage]]\nname = \"beam\"\ncaption = { model = \"captioner\", decoding = \"beam\" }\n";
    let filter = "[[stage]]\nname = \"filter\"";
    let score = "score = { model = \"filter\" }\n";
    let where_ = "[[stage]]\nwhere = \"width > 9\"\n";
    for (from, to, again, why) in [
        (
            filter,
            format!("{beam}{filter}"),
            "beam filter",
            "`beam` is new",
        ),
        (score, format!("{score}{beam}"), "beam", "`beam` is new"),
        (
            filter,
            format!("{where_}{filter}"),
            "where filter",
            "`where` is new",
        ),
        (
            "[[stage]]\ncaption",
            format!("{where_}[[stage]]\ncaption"),
            "where caption filter",
            "`where` is new",
        ),
        (
            "[[stage]]\nname = \"filter\"\nscore = { model = \"filter\" }\n",
            String::new(),
            "",
            "`filter` is gone",
        ),
        (
            "[[stage]]\ncaption = { model = \"captioner\" }\n",
            String::new(),
            "filter",
            "`caption` is gone",
        ),
        (
            "[[stage]]\nfetch = {}\n",
            String::new(),
            "where-text decode dedup caption filter",
            "`fetch` is gone",
        ),
        (
            "name = \"filter\"",
            "name = \"judge\"".to_owned(),
            "judge",
            "`judge` is new",
        ),
    ] {
        let wanted = edited(from, &to);
        let change = wanted.change_from(&stored).unwrap();
        assert_eq!(runs_again(&wanted, &stored), again, "{to}");
        assert_eq!(change.why, why, "{to}");
    }
    let human = recipe(&["source.text-source='human'"]);
    let change = human.change_from(&stored).unwrap();
    assert_eq!(change.stand, 6);
    assert_eq!(change.why, "`source.text-source` changed");
}

#[test]
fn a_change_says_which_options() {
    let stored = recipe(&[]);
    let why = |settings: &[&str]| recipe(settings).change_from(&stored).unwrap().why;
    assert_eq!(
        why(&["stage.decode.min-side=9", "stage.decode.alpha='drop'"]),
        "`decode` changed (`alpha`, `min-side`)"
    );
    assert_eq!(
        why(&["stage.filter.score.model='captioner'"]),
        "`filter` changed (the model)"
    );
    assert_eq!(
        why(&["stage.where-text='true'"]),
        "`where-text` changed (the condition)"
    );
}

#[test]
fn pictures_that_were_stored_smaller_are_fetched_again_for_another_decode() {
    let smaller = recipe(&["stage.decode.resize={ shorter-side = 256 }"]);
    assert_eq!(runs_again(&recipe(&[]), &smaller), ALL);
    let caption = recipe(&[
        "stage.decode.resize={ shorter-side = 256 }",
        "stage.caption.seed=3",
    ]);
    assert_eq!(runs_again(&caption, &smaller), CAPTION);
}

#[test]
fn structure_counts_where_nothing_needs_pixels() {
    let text = PIPELINE
        .split("[[stage]]\ndedup")
        .next()
        .unwrap()
        .to_owned()
        + "[sink]\noutput = \"out\"\n";
    let stored = recipe_of(&text, &[]);
    let structure = recipe_of(&text, &["stage.decode.check='structure'"]);
    assert_eq!(runs_again(&structure, &stored), "decode");
    // A picture may have passed that a model cannot read.
    assert_eq!(runs_again(&recipe(&[]), &structure), DECODE);
    assert_eq!(runs_again(&recipe(&[]), &stored), DEDUP);
}
