use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::Fingerprint;
use crate::checkpoint::{self, CheckpointError};
use crate::data::DataError;
use crate::{Event, Outcome, TrainError, TrainFile, train};

/// What commit 497e7fa left of a training of 4 steps, whose fingerprints are of version 1.
const VERSION_1: &str = "tests/golden/train/version-1";

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs_err::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of the training.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        copy(&root.join(VERSION_1), &folder.path().join("p"));
        Self(folder)
    }

    /// Without its last checkpoint.
    fn half() -> Self {
        let world = Self::new();
        world.forget();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("p").join(name)
    }

    /// Removes the last checkpoint.
    fn forget(&self) {
        fs_err::remove_dir_all(self.path("out/checkpoints/00000004")).unwrap();
    }

    fn edit(&self, from: &str, to: &str) {
        let path = self.path("train.toml");
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs_err::write(path, text.replace(from, to)).unwrap();
    }

    /// Trains the file under one of its names: the steps that were done before, and those that are made.
    fn go(&self, file: &str) -> Result<(u64, Vec<u64>), TrainError> {
        let file = TrainFile::load(&self.0.path().join(file), None).unwrap();
        let (mut before, mut made) = (0, Vec::new());
        let outcome = train(&file, &|| false, &mut |event| match event {
            Event::Begun { done, .. } => before = done,
            Event::Step(line) => made.push(line.step),
            _ => {}
        })?;
        assert!(matches!(outcome, Outcome::Finished { .. }), "{outcome:?}");
        Ok((before, made))
    }

    fn other_keys(&self) -> Vec<String> {
        match self.go("p/train.toml") {
            Err(TrainError::Checkpoint(CheckpointError::OtherFile { keys, .. })) => keys,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, step: u64) -> Value {
        let path = self.path(&format!("out/checkpoints/{step:08}/state.json"));
        serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
    }

    fn weights(&self, step: u64) -> Vec<f32> {
        let path = self.path(&format!("out/checkpoints/{step:08}"));
        let checkpoint = capfilt_onnx::Checkpoint::open(&path).unwrap();
        let read = |name: &str| {
            let shape = checkpoint.shape(name).unwrap();
            checkpoint.read(name, shape).unwrap()
        };
        checkpoint.names().flat_map(read).collect()
    }
}

#[test]
fn a_training_of_version_1_is_finished_under_every_name_and_wherever_it_lies() {
    let world = World::new();
    for name in ["p/train.toml", "p/../p/./train.toml"] {
        assert_eq!(world.go(name).unwrap(), (4, Vec::new()), "{name}");
    }
    let moved = World::new();
    fs_err::rename(moved.path(""), moved.0.path().join("q")).unwrap();
    assert_eq!(moved.go("q/train.toml").unwrap(), (4, Vec::new()));
}

#[test]
fn a_training_of_version_1_goes_on_under_every_name() {
    let finished = World::new();
    for name in ["p/train.toml", "p/../p/./train.toml"] {
        let world = World::half();
        assert_eq!(world.go(name).unwrap(), (2, vec![3, 4]), "{name}");
        // Other processors add up in another order.
        let pairs = world.weights(4).into_iter().zip(finished.weights(4));
        for (got, expected) in pairs {
            assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
        }
    }
}

#[test]
fn a_checkpoint_says_no_path() {
    let world = World::half();
    world.go("p/train.toml").unwrap();
    let state = world.state(4);
    assert_eq!(state["version"], 2);
    let folder = world.0.path().to_string_lossy().into_owned();
    for path in [
        folder.as_str(),
        "vocab.txt",
        "parquet",
        "safetensors",
        "toml",
    ] {
        assert!(!state.to_string().contains(path), "{path}: {state}");
    }
    assert_eq!(world.go("p/train.toml").unwrap(), (4, Vec::new()));
}

#[test]
fn what_changes_no_number_does_not_count() {
    for upgraded in [false, true] {
        let world = World::half();
        if upgraded {
            world.go("p/train.toml").unwrap();
        }
        world.edit("schedule = \"0 3 * * *\"\nafter = \"pipeline.toml\"\n", "");
        world.edit("log-every = 1", "log-every = 1\nrecompute = true");
        world.edit("every = 2", "every = 3");
        let steps = if upgraded {
            (4, Vec::new())
        } else {
            (2, vec![3, 4])
        };
        assert_eq!(world.go("p/train.toml").unwrap(), steps);
    }
}

#[test]
fn what_changes_numbers_counts() {
    for upgraded in [false, true] {
        let world = World::half();
        if upgraded {
            world.go("p/train.toml").unwrap();
        }
        world.edit("peak = 1e-3", "peak = 2e-3");
        world.edit("steps = 4", "steps = 5");
        assert_eq!(world.other_keys(), ["learning-rate", "training"]);
        world.edit("peak = 2e-3", "peak = 1e-3");
        world.edit("steps = 5", "steps = 4");
        fs_err::remove_file(world.path("data/two.parquet")).unwrap();
        let error = world.go("p/train.toml").unwrap_err();
        assert!(
            matches!(error, TrainError::Data(DataError::Moved)),
            "{error}"
        );
    }
}

#[test]
fn what_a_path_names_counts_by_its_content() {
    let world = World::half();
    world.go("p/train.toml").unwrap();
    // The same words under another name.
    fs_err::rename(world.path("words"), world.path("other")).unwrap();
    world.edit("words/vocab.txt", "other");
    assert_eq!(world.go("p/train.toml").unwrap(), (4, Vec::new()));
    let words = fs_err::read_to_string(world.path("other/vocab.txt")).unwrap();
    fs_err::write(
        world.path("other/vocab.txt"),
        words.replace("square", "circle"),
    )
    .unwrap();
    assert_eq!(world.other_keys(), ["tokenizer"]);
    fs_err::write(world.path("other/vocab.txt"), words).unwrap();

    let start = world.path("start/model.safetensors");
    let tensor = vec![("visual.class_embedding".to_owned(), vec![4], vec![0.0; 4])];
    capfilt_onnx::save_tensors(&start, tensor).unwrap();
    assert_eq!(world.other_keys(), ["start.model"]);
    // It is not needed any more.
    fs_err::remove_file(start).unwrap();
    assert_eq!(world.go("p/train.toml").unwrap(), (4, Vec::new()));
}

#[test]
fn what_was_best_on_other_held_out_data_is_forgotten() {
    let world = World::half();
    world.go("p/train.toml").unwrap();
    let best = || {
        let file = TrainFile::load(&world.path("train.toml"), None).unwrap();
        let vocabulary = file.model.vocabulary(file.tokenizer.as_deref()).unwrap();
        let now = Fingerprint::of(&file, &vocabulary).unwrap();
        let path = world.path("out/checkpoints/00000004");
        checkpoint::state(&path, &now).unwrap().best
    };
    assert!(best().is_some());
    world.edit("{ shards = \"data/one.parquet\" }", "{ shards = \"data\" }");
    assert_eq!(best(), None);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let world = World::new();
    let mut state = world.state(4);
    state["version"] = 3.into();
    let path = world.path("out/checkpoints/00000004/state.json");
    fs_err::write(path, state.to_string()).unwrap();
    let error = world.go("p/train.toml").unwrap_err().to_string();
    assert!(error.contains("newer version"), "{error}");
}
