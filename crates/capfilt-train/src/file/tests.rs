use tempfile::TempDir;

use super::*;

const FILE: &str = r#"
output = "out"
tokenizer = "words/vocab.txt"

[model]
family = "blip"
vision = { image-size = 32, patch = 8, width = 16, layers = 1, heads = 2 }
text = { width = 16, layers = 1, heads = 2, positions = 16 }
tokens = 12
queue = 64

[[data]]
shards = "data/*.parquet"

[training]
batch = 32
epochs = 2.5

[learning-rate]
peak = 1e-3
"#;

fn load(text: &str) -> Result<TrainFile, FileError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("train.toml");
    fs_err::write(&path, text).unwrap();
    TrainFile::load(&path, None)
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("train.toml");
    fs_err::write(&path, FILE).unwrap();
    let file = TrainFile::load(&path, Some(Path::new("elsewhere"))).unwrap();
    assert_eq!(
        file.tokenizer.unwrap(),
        folder.path().join("words/vocab.txt")
    );
    assert_eq!(
        Path::new(&file.data[0].shards),
        folder.path().join("data/*.parquet")
    );
    assert_eq!(file.output.unwrap(), Path::new("elsewhere"));
}

#[test]
fn epochs_become_steps() {
    let file = load(FILE).unwrap();
    assert_eq!((file.steps(100), file.steps_per_epoch(100)), (8, 3));
    assert_eq!(file.steps(1), 1);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (from, to, expected) in [
        (
            "queue = 64",
            "queue = 65",
            "`queue` is 65: expected a multiple of the batch, 32",
        ),
        (
            "batch = 32",
            "batch = 1",
            "`batch` is 1: expected at least 2",
        ),
        (
            "tokens = 12",
            "tokens = 17",
            "`tokens` is 17: expected 4 to `text.positions`, 16",
        ),
        (
            "patch = 8",
            "patch = 7",
            "expected a multiple of `vision.patch`, 7",
        ),
        (
            "heads = 2, positions",
            "heads = 3, positions",
            "expected a multiple of `text.heads`, 3",
        ),
        ("queue = 64", "queues = 64", "queues"),
        ("batch = 32", "batches = 32", "batches"),
        ("family = \"blip\"", "family = \"clap\"", "clap"),
        ("epochs = 2.5", "epochs = 2.5\nsteps = 3", "both given"),
        ("epochs = 2.5", "", "neither"),
        ("output = \"out\"", "", "no `output`"),
        ("[[data]]", "[start]\nvision = \"vit\"\n[[data]]", ""),
    ] {
        assert!(FILE.contains(from), "{from}");
        let loaded = load(&FILE.replace(from, to));
        match (loaded, expected) {
            (Ok(_), "") => {}
            (Ok(_), _) => panic!("`{to}` is accepted"),
            (Err(error), _) => {
                let said = error.to_string();
                assert!(
                    !expected.is_empty() && said.contains(expected),
                    "`{to}`: {said}"
                );
            }
        }
    }
}

/// A training file whose `[model]` is of another family, with `more` in it.
fn of(family: &str, more: &str) -> String {
    const SIZES: &str = "vision = { image-size = 32, patch = 8, width = 16, layers = 1, heads = 2 }\n\
                         text = { width = 16, layers = 1, heads = 2, positions = 16 }";
    let (start, rest) = FILE.split_once("[model]").unwrap();
    let (_, end) = rest.split_once("[[data]]").unwrap();
    format!("{start}[model]\nfamily = \"{family}\"\n{SIZES}\n{more}\n[[data]]{end}")
}

fn with(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    FILE.replace(from, to)
}

/// Whether each of the files is refused with the key, what was got and what was expected.
fn assert_refused<const N: usize>(cases: [(String, &str, &str, &str); N]) {
    for (text, key, got, expected) in cases {
        let said = match load(&text) {
            Ok(_) => panic!("{key} = {got} is accepted"),
            Err(error) => error.to_string(),
        };
        for part in [key, got, expected] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    }
}

const SHARE: &str = "at least 0 and below 1";
const SIZE: &str = "1 to 1048576";

#[test]
fn numbers_of_models_out_of_range_are_refused() {
    let blip = |more: &str| with("queue = 64", &format!("queue = 64\n{more}"));
    let coca = |more: &str| {
        of(
            "coca",
            &format!("upper-layers = 1\nembed = 16\npooler-heads = 2\n{more}"),
        )
    };
    let wide = with(
        "width = 16, layers = 1, heads = 2 }\ntext",
        "width = 0, layers = 1, heads = 2 }\ntext",
    );
    let none = coca("contrastive-weight = 0\ncaption-weight = 0");
    assert_refused([
        (with("queue = 64", "queue = 0"), "queue", "0", "nonzero"),
        (blip("dropout = 1.0"), "dropout", "1", SHARE),
        (blip("dropout = -0.1"), "dropout", "-0.1", SHARE),
        (blip("momentum = 1.5"), "momentum", "1.5", SHARE),
        (
            blip("alpha = 1.5"),
            "alpha",
            "1.5",
            "at least 0 and at most 1",
        ),
        (blip("smoothing = nan"), "smoothing", "NaN", SHARE),
        (blip("projection = 0"), "projection", "0", SIZE),
        (wide, "vision.width", "0", SIZE),
        (
            with("image-size = 32", "image-size = 32768"),
            "vision.image-size",
            "32768",
            "1 to 16384",
        ),
        (
            coca("contrastive-weight = -1.0"),
            "contrastive-weight",
            "-1",
            "at least 0",
        ),
        (
            coca("caption-weight = inf"),
            "caption-weight",
            "inf",
            "at most 1000000",
        ),
        (none, "contrastive-weight", "0", "`caption-weight` is 0 too"),
        (coca("queries = 1"), "queries", "1", "at least 2"),
        (
            of("filip", "kept-tokens = 0.0"),
            "kept-tokens",
            "0",
            "above 0 and at most 1",
        ),
        (of("clip", "embed = 0"), "embed", "0", SIZE),
    ]);
}

#[test]
fn numbers_of_trainings_out_of_range_are_refused() {
    let training = |more: &str| with("epochs = 2.5", &format!("epochs = 2.5\n{more}"));
    let after = |more: &str| format!("{FILE}{more}\n");
    let optimizer = |more: &str| after(&format!("[optimizer]\n{more}"));
    assert_refused([
        (training("average = 1.0"), "average", "1", SHARE),
        (training("clip-norm = 0.0"), "clip-norm", "0", "above 0"),
        (training("log-every = 0"), "log-every", "0", "nonzero"),
        (training("accumulate = 0"), "accumulate", "0", "nonzero"),
        (
            training("accumulate = 2000000"),
            "training.accumulate",
            "2000000",
            SIZE,
        ),
        (
            with("epochs = 2.5", "epochs = -1.0"),
            "epochs",
            "-1",
            "above 0",
        ),
        (with("epochs = 2.5", "steps = 0"), "steps", "0", "nonzero"),
        (
            with("peak = 1e-3", "peak = 0.0"),
            "peak",
            "0",
            "above 0 and at most 10",
        ),
        (
            after("least = -1e-3"),
            "least",
            "-0.001",
            "at least 0 and at most 10",
        ),
        (
            after("warm-up-from = 11.0"),
            "warm-up-from",
            "11",
            "at most 10",
        ),
        (
            after("decay = { every-epoch = 1.5 }"),
            "every-epoch",
            "1.5",
            "at most 1",
        ),
        (
            optimizer("kind = \"adamw\"\nbetas = [0.9, 1.0]"),
            "betas",
            "1",
            SHARE,
        ),
        (
            optimizer("kind = \"lamb\"\nepsilon = 0.0"),
            "epsilon",
            "0",
            "above 0",
        ),
        (
            optimizer("kind = \"adafactor\"\nweight-decay = -0.1"),
            "weight-decay",
            "-0.1",
            "at least 0",
        ),
        (after("[checkpoints]\nevery = 0"), "every", "0", "nonzero"),
        (after("[checkpoints]\nkeep = 0"), "keep", "0", "nonzero"),
    ]);
}

#[test]
fn numbers_of_data_out_of_range_are_refused() {
    let data = |more: &str| with("shards = ", &format!("{more}\nshards = "));
    let after = |more: &str| format!("{FILE}{more}\n");
    let part = "above 0 and at most 1";
    assert_refused([
        (
            after("[loading]\nmost-corrupt = 1.0"),
            "most-corrupt",
            "1",
            SHARE,
        ),
        (
            after("[loading.augmentation]\ncrop = [0.0, 1.0]"),
            "crop",
            "0",
            part,
        ),
        (
            after("[loading.shuffle-buffer]\nrows = 0"),
            "rows",
            "0",
            "nonzero",
        ),
        (
            after("[held-out]\nevery = 0\ndata = { shards = \"a\" }"),
            "every",
            "0",
            "nonzero",
        ),
        (data("weight = 0.0"), "weight", "0", "above 0"),
        (
            data("caption-weights = { web = -1.0 }"),
            "web",
            "-1",
            "at least 0",
        ),
    ]);
}

#[test]
fn defaults_are_in_their_ranges() {
    let file = load(FILE).unwrap();
    let text = toml::to_string(&file).unwrap();
    assert_eq!(load(&text).unwrap().model, file.model);
}

#[test]
fn the_examples_can_be_loaded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/train");
    let mut loaded = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        TrainFile::load(&entry.unwrap().path(), None).unwrap();
        loaded += 1;
    }
    assert_eq!(loaded, 2);
}
