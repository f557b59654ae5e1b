//! A folder that says how it wants its pictures as transformers 5 does, against what transformers then
//! answers (`tests/golden/processors.py`).

use capfilt_image::Picture;
use capfilt_onnx::{ImportOptions, Texts, import};
use serde_json::Value;
use tempfile::TempDir;

use super::{assert_close, golden, json, loaded};
use crate::Device;
use crate::graph::SessionOptions;
use crate::matcher::{MatchEngine, MatchOptions, Question, TextScore};

#[test]
fn the_processor_of_transformers_5_decides_the_scores() {
    if loaded().is_none() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let expected = json(&golden("processor_scores.json"));
    let source = golden("blip/original/filter");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs_err::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let processor = folder.path().join("processor_config.json");
    fs_err::write(&processor, expected["processor"].to_string()).unwrap();
    let golden = json(&golden("processors.json"));
    let size = |name: &str| u32::try_from(golden[name].as_u64().unwrap()).unwrap();
    let rgb = golden["rgb"].as_array().unwrap().iter();
    let rgb = rgb.map(|sample| u8::try_from(sample.as_u64().unwrap()).unwrap());
    let picture = Picture::try_new(size("width"), size("height"), rgb.collect()).unwrap();
    let scores = |name: &str| {
        let output = folder.path().join(name);
        let package = import(folder.path(), &output, &ImportOptions::default()).unwrap();
        let texts = Texts::of(&package).unwrap();
        let answers = expected["answers"].as_array().unwrap().iter();
        let texts = answers.map(|answer| texts.judged(answer["text"].as_str().unwrap()).unwrap());
        let question = Question {
            pixels: package.manifest.image.tensor(&picture),
            texts: texts.collect(),
        };
        let options = SessionOptions {
            device: Device::Cpu,
            ..SessionOptions::default()
        };
        let mut engine = MatchEngine::open(&package, &MatchOptions::default(), &options).unwrap();
        let scores = engine.scores(&[question]).unwrap().remove(0);
        let pair = |score: TextScore| [score.match_probability.unwrap(), score.similarity];
        scores.into_iter().flat_map(pair).collect::<Vec<f32>>()
    };
    let number = |value: &Value| value.to_string().parse::<f32>().unwrap();
    let answers = expected["answers"].as_array().unwrap().iter();
    let answers =
        answers.flat_map(|answer| [number(&answer["match"]), number(&answer["similarity"])]);
    let answers: Vec<f32> = answers.collect();
    assert_close("processor_config.json", &scores("package"), &answers, 1e-4);
    // BLIP's own mean and deviation give others, so that the test can fail.
    fs_err::remove_file(&processor).unwrap();
    let worst = scores("other")
        .into_iter()
        .zip(&answers)
        .map(|(a, b)| (a - b).abs());
    assert!(worst.fold(0.0, f32::max) > 1e-2);
}
