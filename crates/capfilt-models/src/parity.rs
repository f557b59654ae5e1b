//! Graphs and samplers against the numbers that the real transformers gave (`tests/golden`).
//!
//! Whole captions and scores are compared in `tests/it/parity.rs`, through the public interface.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use capfilt_onnx::{ImportOptions, Package, Task, import};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor};
use serde_json::Value;
use tempfile::TempDir;

use crate::runtime;
use crate::scores::{self, Candidate};

mod batches;
mod open_clip;
mod preprocess;

const SHAPES: [&str; 4] = ["wide-patches", "prompted", "deep-text", "original"];
const FEATURES: f32 = 1e-4;
const LOGITS: f32 = 1e-3;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(path)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// An `f32` array of any shape.
#[derive(Clone)]
struct Array {
    shape: Vec<i64>,
    values: Vec<f32>,
}

impl Array {
    /// The `index`-th part along the first axis, which stays with length 1.
    fn part(&self, index: usize) -> Self {
        let size = self.values.len() / usize::try_from(self.shape[0]).unwrap();
        let mut shape = self.shape.clone();
        shape[0] = 1;
        Self {
            shape,
            values: self.values[index * size..][..size].to_vec(),
        }
    }

    fn value(&self) -> DynValue {
        Tensor::from_array((self.shape.clone(), self.values.clone()))
            .unwrap()
            .into_dyn()
    }
}

/// All arrays of a safetensors file: a length, a JSON header, the values.
fn arrays(path: &Path) -> BTreeMap<String, Array> {
    let bytes = fs_err::read(path).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    let array = |entry: &Value| {
        assert_eq!(entry["dtype"], "F32");
        let [from, to] = [0, 1].map(|end| entry["data_offsets"][end].as_u64().unwrap());
        let data = &data[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
        Array {
            shape: entry["shape"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_i64().unwrap())
                .collect(),
            values: data
                .as_chunks()
                .0
                .iter()
                .copied()
                .map(f32::from_le_bytes)
                .collect(),
        }
    };
    let entries = header.iter().filter(|(name, _)| *name != "__metadata__");
    entries
        .map(|(name, entry)| (name.clone(), array(entry)))
        .collect()
}

#[track_caller]
fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: number of values");
    let worst = got
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    // A NaN is not within any tolerance.
    assert!(
        got.iter().all(|value| value.is_finite()),
        "{what}: not finite"
    );
    assert!(
        worst <= tolerance,
        "{what}: differs by {worst}, tolerance {tolerance}"
    );
    eprintln!("{what}: {} values within {worst:.1e}", got.len());
}

/// Opens graphs of packages; `None` where there is no runtime.
fn loaded() -> Option<&'static runtime::Loaded> {
    match runtime::find(None) {
        Ok(library) => Some(runtime::load(&library, None).unwrap()),
        Err(error) => {
            crate::test_skips::skipped(format_args!("{error}"));
            None
        }
    }
}

fn session(package: &Package, graph: &str) -> Session {
    let loaded = loaded().unwrap();
    let builder = Session::builder(&loaded.environment);
    builder
        .unwrap()
        .commit_from_file(package.graph(graph))
        .unwrap()
}

fn run(session: &mut Session, inputs: &BTreeMap<String, DynValue>) -> BTreeMap<String, DynValue> {
    let given: Vec<(&str, SessionInputValue<'_>)> = inputs
        .iter()
        .map(|(name, value)| (name.as_str(), value.into()))
        .collect();
    let names: Vec<String> = session
        .outputs()
        .iter()
        .map(|output| output.name().to_owned())
        .collect();
    let mut outputs = session.run(given).unwrap();
    names
        .into_iter()
        .map(|name| (name.clone(), outputs.remove(name).unwrap()))
        .collect()
}

fn floats(value: &DynValue) -> Vec<f32> {
    value.try_extract_tensor::<f32>().unwrap().1.to_vec()
}

fn ids(values: &[i64], shape: [usize; 2]) -> DynValue {
    Tensor::from_array((shape, values.to_vec()))
        .unwrap()
        .into_dyn()
}

fn imported(folder: &TempDir, shape: &str, task: &str) -> Package {
    let options = ImportOptions::default();
    let output = folder.path().join(format!("{shape}-{task}"));
    import(&golden(&format!("blip/{shape}/{task}")), &output, &options).unwrap()
}

fn check_features(package: &Package, name: &str, numbers: &BTreeMap<String, Array>) {
    let mut vision = session(package, "vision");
    let pixels = &numbers["pixel_values"];
    let inputs = BTreeMap::from([("pixel_values".to_owned(), pixels.value())]);
    let outputs = run(&mut vision, &inputs);
    let embeds = floats(&outputs["image_embeds"]);
    if package.manifest.tasks == [Task::Captioner] {
        let expected = &numbers["image_embeds"].values;
        assert_close(
            &format!("{name}: image features"),
            &embeds,
            expected,
            FEATURES,
        );
        return;
    }
    let count = usize::try_from(pixels.shape[0]).unwrap();
    let width = package.manifest.vision.width;
    let first = embeds
        .chunks(embeds.len() / count)
        .flat_map(|image| &image[..width]);
    let expected = &numbers["filter.image_cls"].values[..count * width];
    let first: Vec<f32> = first.copied().collect();
    assert_close(
        &format!("{name}: filter's class token"),
        &first,
        expected,
        FEATURES,
    );
    let features = floats(&outputs["image_feat"]);
    let expected = &numbers["filter.image_feat"].values[..features.len()];
    assert_close(
        &format!("{name}: filter's image features"),
        &features,
        expected,
        FEATURES,
    );
}

/// Feeds the reference's own greedy caption token by token through the cache.
fn check_logits(
    package: &Package,
    name: &str,
    numbers: &BTreeMap<String, Array>,
    expected: &Value,
) {
    let (mut cross, mut decoder) = (session(package, "cross"), session(package, "decoder"));
    let sizes = &package.manifest.text;
    let start = expected["start"].as_array().unwrap().len();
    for picture in 0.. {
        let Some(logits) = numbers.get(&format!("logits.{picture}")) else {
            assert!(picture >= 4, "{name}: too few logits");
            break;
        };
        let embeds = numbers["image_embeds"].part(picture).value();
        let mut inputs = run(
            &mut cross,
            &BTreeMap::from([("image_embeds".to_owned(), embeds)]),
        );
        inputs.insert(
            "rows".to_owned(),
            Tensor::from_array(([1], vec![0_i64])).unwrap().into_dyn(),
        );
        for kind in ["key", "value"] {
            for layer in 0..sizes.layers {
                let shape = [1, sizes.heads, 0, sizes.width / sizes.heads];
                let empty = Tensor::from_array((shape, Vec::<f32>::new()))
                    .unwrap()
                    .into_dyn();
                inputs.insert(format!("past_{kind}.{layer}"), empty);
            }
        }
        let caption = expected["greedy"]["captions"][picture]["ids"]
            .as_array()
            .unwrap();
        let caption: Vec<i64> = caption.iter().map(|id| id.as_i64().unwrap()).collect();
        let mut got = Vec::new();
        let mut fed = 0;
        for end in start..caption.len() {
            inputs.insert(
                "input_ids".to_owned(),
                ids(&caption[fed..end], [1, end - fed]),
            );
            fed = end;
            for (output, value) in run(&mut decoder, &inputs) {
                match output.strip_prefix("present_") {
                    Some(rest) => _ = inputs.insert(format!("past_{rest}"), value),
                    None => got.extend(floats(&value)),
                }
            }
        }
        let steps = caption.len() - start;
        let what = format!("{name}: logits of picture {picture} at {steps} steps");
        assert_close(&what, &got, &logits.values, LOGITS);
    }
}

#[test]
fn imported_graphs_give_the_features_and_logits_of_transformers() {
    if loaded().is_none() {
        return;
    }
    let folder = TempDir::new().unwrap();
    for shape in SHAPES {
        let numbers = arrays(&golden(&format!("blip/{shape}/expected.safetensors")));
        let expected = json(&golden(&format!("blip/{shape}/expected.json")));
        let captioner = imported(&folder, shape, "captioner");
        check_features(&captioner, shape, &numbers);
        check_logits(&captioner, shape, &numbers, &expected);
        check_features(&imported(&folder, shape, "filter"), shape, &numbers);
    }
}

#[test]
fn trained_graphs_give_the_features_and_logits_of_transformers() {
    if loaded().is_none() {
        return;
    }
    let root = golden("../..");
    let folder = TempDir::new().unwrap();
    let numbers = arrays(&golden("blip/demo/fp16.safetensors"));
    let committed = |task| Package::open(&root.join("pipelines/demo").join(task)).unwrap();
    check_features(&committed("captioner"), "demo fp16", &numbers);
    check_features(&committed("filter"), "demo fp16", &numbers);
    let expected = json(&golden("blip/demo/fp16.json"));
    check_logits(&committed("captioner"), "demo fp16", &numbers, &expected);
    let checkpoints = root.join("../shared/models/mini-blip");
    if !checkpoints.is_dir() {
        crate::test_skips::skipped(format_args!(
            "no checkpoints at `{}`",
            checkpoints.display()
        ));
        return;
    }
    let numbers = arrays(&golden("blip/mini/fp32.safetensors"));
    let expected = json(&golden("blip/mini/fp32.json"));
    for task in ["captioner", "filter"] {
        let output = folder.path().join(task);
        let package = import(&checkpoints.join(task), &output, &ImportOptions::default()).unwrap();
        check_features(&package, "mini fp32", &numbers);
        if task == "captioner" {
            check_logits(&package, "mini fp32", &numbers, &expected);
        }
    }
}

/// A row of kept candidates as transformers writes it: minus infinity where a token was dropped.
fn row(kept: &[Candidate], vocabulary: usize) -> Vec<f32> {
    let mut row = vec![f32::NEG_INFINITY; vocabulary];
    for candidate in kept {
        row[candidate.token as usize] = candidate.score;
    }
    row
}

fn assert_same_row(what: &str, got: &[f32], expected: &[f32], ties: bool) {
    let (mut got, mut expected) = (got.to_vec(), expected.to_vec());
    if ties {
        // Which of several equal tokens the cut drops is nobody's promise.
        got.sort_by(f32::total_cmp);
        expected.sort_by(f32::total_cmp);
    }
    for (token, (a, b)) in got.iter().zip(&expected).enumerate() {
        let same = (a.is_infinite() && a.to_bits() == b.to_bits())
            || (a - b).abs() <= 1e-6 * b.abs().max(1.0);
        assert!(same, "{what}: {a} instead of {b} at {token}");
    }
}

#[test]
fn sampling_scores_are_those_of_transformers_after_every_processor() {
    let numbers = arrays(&golden("nucleus.safetensors"));
    let settings = json(&golden("nucleus.json"));
    let end = u32::try_from(settings["end"].as_u64().unwrap()).unwrap();
    let cases = settings["cases"].as_array().unwrap();
    assert!(cases.len() >= 36);
    for (index, case) in cases.iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "settings have few digits")]
        let number = |name: &str| case[name].as_f64().unwrap() as f32;
        let whole = |name: &str| usize::try_from(case[name].as_u64().unwrap()).unwrap();
        let history = case["history"].as_array().unwrap();
        let history: Vec<u32> = history
            .iter()
            .map(|id| u32::try_from(id.as_u64().unwrap()).unwrap())
            .collect();
        let expected = |step: &str| numbers[step].part(index).values;
        let mut row_scores = expected("logits");
        let ties = row_scores.iter().all(|score| score.fract() == 0.0);
        let what = |step: &str| format!("case {index}, {step}");

        scores::penalise(&mut row_scores, &history, number("repetition_penalty"));
        let step = "repetition-penalty";
        assert_same_row(&what(step), &row_scores, &expected(step), false);
        if history.len() < whole("min_length") {
            scores::ban(&mut row_scores, end);
        }
        assert_same_row(
            &what("min-length"),
            &row_scores,
            &expected("min-length"),
            false,
        );
        scores::temper(&mut row_scores, number("temperature"));
        assert_same_row(
            &what("temperature"),
            &row_scores,
            &expected("temperature"),
            false,
        );
        let mut kept = Vec::new();
        scores::top_k(&row_scores, whole("top_k"), &mut kept);
        let vocabulary = row_scores.len();
        assert_same_row(
            &what("top-k"),
            &row(&kept, vocabulary),
            &expected("top-k"),
            false,
        );
        scores::top_p(&mut kept, number("p"));
        assert_same_row(
            &what("top-p"),
            &row(&kept, vocabulary),
            &expected("top-p"),
            ties,
        );
        let mut probabilities = vec![0.0; vocabulary];
        for (candidate, probability) in kept.iter().zip(scores::probabilities(&kept)) {
            #[expect(clippy::cast_possible_truncation, reason = "compared with f32")]
            let probability = probability as f32;
            probabilities[candidate.token as usize] = probability;
        }
        assert_same_row(
            &what("softmax"),
            &probabilities,
            &expected("probabilities"),
            ties,
        );
    }
}
