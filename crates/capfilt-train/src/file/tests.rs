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
        ("epochs = 2.5", "epochs = -1.0", "not above 0"),
        (
            "epochs = 2.5",
            "epochs = 1.0\naverage = 1.0",
            "training.average",
        ),
        ("peak = 1e-3", "peak = -1.0", "learning-rate"),
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
