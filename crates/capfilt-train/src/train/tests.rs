#![expect(
    clippy::cast_precision_loss,
    reason = "ids and counts of tests are small"
)]

use std::cell::Cell;

use tempfile::TempDir;

use super::*;
use crate::data::tests::{rows, write};

pub(crate) const VISION: &str =
    "vision = { image-size = 16, patch = 8, width = 16, layers = 2, heads = 2 }";
const TEXT: &str = "text = { width = 16, layers = 2, heads = 2, positions = 16 }";

/// `[model]` of every family.
pub(crate) fn models() -> [(&'static str, String); 6] {
    let blip = |mode: &str| {
        format!(
            "family = \"blip\"\nmode = \"{mode}\"\n{VISION}\n{TEXT}\nprojection = 8\ntokens = 12\nqueue = 8\nprompt = \"a picture of \""
        )
    };
    let coca = format!(
        "family = \"coca\"\nupper-layers = 2\nembed = 16\nqueries = 4\npooler-heads = 2\n{VISION}\n{TEXT}"
    );
    [
        ("pretrain", blip("pretrain")),
        ("captioner", blip("finetune-captioner")),
        ("filter", blip("finetune-filter")),
        (
            "clip",
            format!("family = \"clip\"\nembed = 8\n{VISION}\n{TEXT}"),
        ),
        ("coca", coca),
        (
            "filip",
            format!("family = \"filip\"\nembed = 8\n{VISION}\n{TEXT}"),
        ),
    ]
}

/// A folder with 24 pictures, a vocabulary, and training files.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        write(&folder.path().join("data.parquet"), &rows(0..24, 2), 8, &[]);
        let digits: Vec<String> = (0..24).map(|number| number.to_string()).collect();
        let words = format!(
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nrow\ncaption\na\npicture\nof\n{}",
            digits.join("\n")
        );
        fs_err::write(folder.path().join("vocab.txt"), words).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The training file of `model`, with `more` in front.
    pub(crate) fn file(&self, model: &str, training: &str, more: &str) -> TrainFile {
        let text = format!(
            "output = \"out\"\nseed = 3\ntokenizer = \"vocab.txt\"\n{more}\n[model]\n{model}\n\
             [[data]]\nshards = \"data.parquet\"\n[learning-rate]\npeak = 1e-3\nwarm-up = 2\n\
             [loading]\nshuffle-buffer = {{ rows = 8, mebibytes = 1 }}\n[training]\nbatch = 4\n{training}\n"
        );
        let path = self.path().join("train.toml");
        fs_err::write(&path, text).unwrap();
        TrainFile::load(&path, None).unwrap()
    }
}

fn train_all(file: &TrainFile) -> Outcome {
    train(file, &|| false, &mut |_| {}).unwrap()
}

fn weights(output: &Path, step: u64) -> Vec<u8> {
    fs_err::read(output.join(format!("checkpoints/{step:08}/model.safetensors"))).unwrap()
}

#[test]
fn a_training_that_was_cut_off_ends_with_the_same_weights() {
    let folder = Folder::new();
    for (name, model) in models() {
        let training = "log-every = 1\nsteps = 6\naccumulate = 2\nclip-norm = 1.0\naverage = 0.9";
        let mut file = folder.file(&model, training, "checkpoints = { every = 2 }");
        let undisturbed = folder.path().join(format!("{name}-undisturbed"));
        file.output = Some(undisturbed.clone());
        assert!(
            matches!(train_all(&file), Outcome::Finished { .. }),
            "{name}"
        );

        // It stops after step 3, and then loses what comes after its checkpoint of step 4, as if it
        // had been killed in step 5.
        let disturbed = folder.path().join(format!("{name}-disturbed"));
        file.output = Some(disturbed.clone());
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        };
        let outcome = train(&file, &stop, &mut |_| {}).unwrap();
        assert!(
            matches!(outcome, Outcome::Stopped { step: 3, .. }),
            "{name}: {outcome:?}"
        );
        train_all(&file);
        fs_err::remove_dir_all(disturbed.join("checkpoints/00000006")).unwrap();
        train_all(&file);
        assert!(
            weights(&undisturbed, 6) == weights(&disturbed, 6),
            "{name}: the weights differ"
        );
        let lines = fs_err::read_to_string(disturbed.join("progress.jsonl")).unwrap();
        let steps: Vec<u64> = lines
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["step"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        assert_eq!(steps, [1, 2, 3, 4, 5, 6], "{name}");
        // The last two, and no half one.
        let left = fs_err::read_dir(disturbed.join("checkpoints"))
            .unwrap()
            .count();
        assert_eq!(left, 2, "{name}");
    }
}

#[test]
fn recomputed_activations_give_the_same_weights() {
    let folder = Folder::new();
    let [_, _, _, (_, clip), ..] = models();
    let mut last = Vec::new();
    for recompute in [false, true] {
        let mut file = folder.file(&clip, &format!("steps = 3\nrecompute = {recompute}"), "");
        let output = folder.path().join(recompute.to_string());
        file.output = Some(output.clone());
        train_all(&file);
        last.push(weights(&output, 3));
    }
    assert!(last[0] == last[1], "the weights differ");
}

#[test]
fn the_loss_falls_and_the_best_is_kept() {
    let folder = Folder::new();
    let [_, _, _, (_, clip), ..] = models();
    let more = "held-out = { data = { shards = \"data.parquet\" }, every = 20 }\ncheckpoints = { every = 10, keep = 1 }";
    let file = folder.file(&clip, "log-every = 1\nsteps = 60", more);
    let mut losses = Vec::new();
    let mut best = (0, f64::MIN);
    train(&file, &|| false, &mut |event| match event {
        Event::Step(line) => losses.push(line.total),
        Event::HeldOut(line) => {
            let score = line.held_out.score().unwrap();
            if score > best.1 {
                best = (line.step, score);
            }
        }
        _ => {}
    })
    .unwrap();
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    assert!(
        mean(&losses[50..]) < 0.8 * mean(&losses[..10]),
        "{losses:?}"
    );
    let kept = checkpoint::list(&folder.path().join("out/checkpoints")).unwrap();
    let steps: Vec<u64> = kept.into_iter().map(|(step, _)| step).collect();
    let mut expected = vec![best.0, 60];
    expected.dedup();
    assert_eq!(steps, expected);
}

/// Models that have not learnt to end write as much as they may.
#[test]
fn captions_of_held_out_pictures_are_no_longer_than_the_model_has_positions() {
    let folder = Folder::new();
    let [(_, blip), (_, captioner), _, _, (_, coca), _] = models();
    let more = "held-out = { data = { shards = \"data.parquet\" }, every = 1 }";
    for model in [blip, captioner, coca] {
        let model = model.replace("tokens = 12", "tokens = 16");
        let output = folder.path().join("out");
        if output.exists() {
            fs_err::remove_dir_all(&output).unwrap();
        }
        train_all(&folder.file(&model, "steps = 1", more));
    }
}

#[test]
fn a_loss_that_is_no_number_ends_it_with_its_rows() {
    let folder = Folder::new();
    let [_, _, _, (_, clip), ..] = models();
    let file = folder.file(&clip, "log-every = 1\nsteps = 2", "");
    train_all(&file);
    let last = folder.path().join("out/checkpoints/00000002");
    let checkpoint = capfilt_onnx::Checkpoint::open(&last).unwrap();
    let tensors: Vec<_> = checkpoint
        .names()
        .map(|name| {
            let shape = checkpoint.shape(name).unwrap().to_vec();
            let mut values = checkpoint.read(name, &shape).unwrap();
            if name == "visual.conv1.weight" {
                values.fill(f32::MAX);
            }
            (name.to_owned(), shape, values)
        })
        .collect();
    fs_err::create_dir(folder.path().join("start")).unwrap();
    capfilt_onnx::save_tensors(&folder.path().join("start/model.safetensors"), tensors).unwrap();
    let file = folder.file(
        &clip,
        "log-every = 1\nsteps = 2",
        "start = { model = \"start\" }",
    );
    let mut file = file;
    file.output = Some(folder.path().join("other"));
    let error = train(&file, &|| false, &mut |_| {}).unwrap_err();
    let TrainError::NotFinite {
        step,
        ids,
        checkpoint,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*step, ids.len(), checkpoint), (0, 4, &None));
    assert!(error.to_string().contains(&ids[0]), "{error}");
}

#[test]
fn another_training_file_and_another_family_are_refused() {
    let folder = Folder::new();
    let [_, _, (_, filter), (_, clip), ..] = models();
    let file = folder.file(&clip, "log-every = 1\nsteps = 2", "");
    train_all(&file);
    let other = folder.file(&clip, "steps = 3", "");
    let error = train(&other, &|| false, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("another `training`"), "{error}");
    // Where it goes and how often it speaks does not count.
    let mut same = file.clone();
    same.training.log_every = std::num::NonZeroU64::new(7).unwrap();
    train_all(&same);

    let mut other = folder.file(
        &filter,
        "steps = 1",
        "start = { model = \"out/checkpoints/00000002\" }",
    );
    other.output = Some(folder.path().join("filter"));
    let error = train(&other, &|| false, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("has no parameter of a blip"), "{error}");
}

#[test]
fn two_trainings_do_not_write_to_one_output() {
    let folder = Folder::new();
    let [_, _, _, (_, clip), ..] = models();
    let file = folder.file(&clip, "log-every = 1\nsteps = 2", "");
    let mut met = false;
    train(&file, &|| false, &mut |event| {
        if let Event::Step(_) = event {
            let error = train(&file, &|| false, &mut |_| {}).unwrap_err();
            assert!(matches!(error, TrainError::Busy { .. }), "{error}");
            met = true;
        }
    })
    .unwrap();
    assert!(met);
}
