//! CLIP, `CoCa` and FILIP against the numbers that `open_clip` gave (`tests/golden/contrastive.py`).

use capfilt_onnx::{Family, Texts};

use super::*;
use crate::captioner::CaptionEngine;
use crate::decoding::{Decoding, Greedy};
use crate::device::Device;
use crate::graph::SessionOptions;
use crate::matcher::{MatchEngine, Question, TextScore};
use crate::{CaptionOptions, MatchOptions, Precision};

const SIMILARITY: f32 = 1e-5;

fn cpu() -> SessionOptions {
    SessionOptions {
        device: Device::Cpu,
        ..SessionOptions::default()
    }
}

/// What a model was asked and said.
struct Reference {
    numbers: BTreeMap<String, Array>,
    texts: Vec<String>,
    /// Ids of each text, filled up to the model's longest.
    ids: Vec<Vec<u32>>,
    json: Value,
}

fn reference(model: &str) -> Reference {
    let json = json(&golden(&format!("open_clip/{model}/texts.json")));
    Reference {
        numbers: arrays(&golden(&format!("open_clip/{model}/numbers.safetensors"))),
        texts: serde_json::from_value(json["texts"].clone()).unwrap(),
        ids: serde_json::from_value(json["ids"].clone()).unwrap(),
        json,
    }
}

fn package_of(checkpoint: &Path, folder: &TempDir, task: Task, precision: Precision) -> Package {
    let options = ImportOptions {
        task: Some(task),
        precision,
        ..ImportOptions::default()
    };
    let output = folder.path().join(format!("{task}-{precision}"));
    import(checkpoint, &output, &options).unwrap()
}

fn package(model: &str, folder: &TempDir, task: Task) -> Package {
    let checkpoint = golden(&format!("open_clip/{model}"));
    package_of(&checkpoint, folder, task, Precision::Fp32)
}

/// Rows of a model's longest as `input_ids` and `attention_mask`.
fn text_inputs(ids: &[Vec<u32>], lengths: &[usize]) -> BTreeMap<String, DynValue> {
    let shape = [ids.len(), ids[0].len()];
    let flat: Vec<i64> = ids.iter().flatten().map(|&id| i64::from(id)).collect();
    let mask: Vec<i64> = lengths
        .iter()
        .flat_map(|&length| (0..shape[1]).map(move |place| i64::from(place < length)))
        .collect();
    BTreeMap::from([
        ("input_ids".to_owned(), super::ids(&flat, shape)),
        ("attention_mask".to_owned(), super::ids(&mask, shape)),
    ])
}

fn text_features(package: &Package, ids: &[Vec<u32>], lengths: &[usize]) -> Vec<f32> {
    let mut text = session(package, "text");
    floats(&run(&mut text, &text_inputs(ids, lengths))["text_feat"])
}

#[test]
fn features_of_pictures_and_texts_are_those_of_open_clip() {
    if loaded().is_none() {
        return;
    }
    for (model, family) in [
        ("clip", Family::Clip),
        ("coca", Family::Coca),
        ("filip", Family::Filip),
    ] {
        let folder = TempDir::new().unwrap();
        let reference = reference(model);
        let package = package(model, &folder, Task::Filter);
        assert_eq!(package.manifest.family, family);
        let texts = Texts::of(&package).unwrap();
        let tokens: Vec<Vec<u32>> = reference
            .texts
            .iter()
            .map(|text| texts.judged(text).unwrap())
            .collect();
        let mut lengths = Vec::new();
        for (tokens, ids) in tokens.iter().zip(&reference.ids) {
            assert_eq!(tokens, &ids[..tokens.len()], "{model}");
            assert!(ids[tokens.len()..].iter().all(|&id| id == 0), "{model}");
            lengths.push(tokens.len());
        }
        assert_eq!(
            lengths.iter().max(),
            Some(&reference.ids[0].len()),
            "one is cut"
        );

        let numbers = &reference.numbers;
        let mut vision = session(&package, "vision");
        let inputs = BTreeMap::from([("pixel_values".to_owned(), numbers["pixel_values"].value())]);
        let images = floats(&run(&mut vision, &inputs)["image_feat"]);
        let what = format!("{model}: image features");
        assert_close(&what, &images, &numbers["image_feat"].values, FEATURES);

        let features = text_features(&package, &reference.ids, &lengths);
        let what = format!("{model}: text features");
        assert_close(&what, &features, &numbers["text_feat"].values, FEATURES);
    }
}

#[test]
fn the_mask_of_the_class_token_can_be_the_right_one() {
    if loaded().is_none() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    fs_err::create_dir(&checkpoint).unwrap();
    for file in ["open_clip_model.safetensors", "tokenizer.json"] {
        fs_err::copy(golden("open_clip/coca").join(file), checkpoint.join(file)).unwrap();
    }
    let mut config = json(&golden("open_clip/coca/open_clip_config.json"));
    config["model_cfg"]["text_cfg"]["correct_cls_mask"] = true.into();
    let path = checkpoint.join("open_clip_config.json");
    fs_err::write(path, config.to_string()).unwrap();
    let package = package_of(&checkpoint, &folder, Task::Filter, Precision::Fp32);
    let reference = reference("coca");
    let lengths: Vec<usize> = reference
        .ids
        .iter()
        .map(|ids| ids.iter().take_while(|&&id| id != 0).count())
        .collect();
    let got = text_features(&package, &reference.ids, &lengths);
    let expected = &reference.numbers["correct.text_feat"].values;
    assert_close("coca: text features, right mask", &got, expected, FEATURES);
    let other = &reference.numbers["text_feat"].values;
    assert!(got.iter().zip(other).any(|(a, b)| (a - b).abs() > 0.01));
}

#[test]
fn every_step_of_writing_gives_the_logits_of_open_clip() {
    if loaded().is_none() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let package = package("coca", &folder, Task::Captioner);
    let reference = reference("coca");
    let numbers = &reference.numbers;
    let pixels = &numbers["pixel_values"];
    let pictures = usize::try_from(pixels.shape[0]).unwrap();
    let mut vision = session(&package, "vision");
    let inputs = BTreeMap::from([("pixel_values".to_owned(), pixels.value())]);
    let seen = run(&mut vision, &inputs);
    let embeds = floats(&seen["image_embeds"]);
    let expected = &numbers["image_embeds"].values;
    assert_close("coca: image tokens", &embeds, expected, FEATURES);
    let mut inputs = run(&mut session(&package, "cross"), &seen);
    let text = &package.manifest.text;
    let head = text.width / text.heads;
    for layer in 0..text.layers {
        for part in ["key", "value"] {
            let empty = Tensor::<f32>::from_array(([pictures, text.heads, 0, head], Vec::new()));
            inputs.insert(format!("past_{part}.{layer}"), empty.unwrap().into_dyn());
        }
    }
    let rows: Vec<i64> = (0..).take(pictures).collect();
    let rows = Tensor::from_array(([pictures], rows)).unwrap().into_dyn();
    inputs.insert("rows".to_owned(), rows);
    let mut decoder = session(&package, "decoder");
    let longest = reference.ids.last().unwrap();
    let mut place = 0;
    // Several tokens at once, as a prompt is fed, then one by one.
    for step in [&longest[..3], &longest[3..4], &longest[4..5], &longest[5..]] {
        let tokens = step.iter().map(|&id| i64::from(id));
        let tokens: Vec<i64> = tokens.cycle().take(pictures * step.len()).collect();
        let shape = [pictures, step.len()];
        inputs.insert("input_ids".to_owned(), ids(&tokens, shape));
        let outputs = run(&mut decoder, &inputs);
        place += step.len();
        let logits = floats(&outputs["logits"]);
        for (index, logits) in logits.chunks(text.vocabulary).enumerate() {
            let all = &numbers[&format!("logits.{index}")].values;
            let expected = &all[(place - 1) * text.vocabulary..][..text.vocabulary];
            let what = format!("coca: logits of picture {index} after {place} tokens");
            assert_close(&what, logits, expected, FEATURES);
        }
        for (name, value) in outputs {
            if let Some(rest) = name.strip_prefix("present_") {
                inputs.insert(format!("past_{rest}"), value);
            }
        }
    }
}

#[test]
fn greedy_captions_are_those_of_open_clip() {
    if loaded().is_none() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let package = package("coca", &folder, Task::Captioner);
    let reference = reference("coca");
    let options = CaptionOptions {
        decoding: Some(Decoding::Greedy(Greedy::default())),
        ..CaptionOptions::default()
    };
    let mut engine = CaptionEngine::open(&package, &options, &cpu()).unwrap();
    let pixels = &reference.numbers["pixel_values"].values;
    let pictures: Vec<&[f32]> = pixels.chunks(engine.encoder.pixels()).collect();
    let found = engine
        .hypotheses(&pictures, &vec![[0; 32]; pictures.len()])
        .unwrap();
    let texts = Texts::of(&package).unwrap();
    let captions: Vec<Vec<u32>> =
        serde_json::from_value(reference.json["captions"].clone()).unwrap();
    let words: Vec<String> = serde_json::from_value(reference.json["words"].clone()).unwrap();
    assert_eq!(found.len(), captions.len());
    for ((found, caption), words) in found.iter().zip(&captions).zip(&words) {
        assert_eq!(found.tokens, *caption);
        assert_eq!(texts.caption(&found.tokens, 1).unwrap(), *words);
    }
}

/// The similarity of every picture with every text.
fn similarities(package: &Package, reference: &Reference) -> Vec<Vec<TextScore>> {
    let mut engine = MatchEngine::open(package, &MatchOptions::default(), &cpu()).unwrap();
    let questions: Vec<Question> = questions(package, reference, engine.encoder.pixels());
    engine.scores(&questions).unwrap()
}

fn questions(package: &Package, reference: &Reference, size: usize) -> Vec<Question> {
    let texts = Texts::of(package).unwrap();
    let pixels = &reference.numbers["pixel_values"].values;
    let judged = |text: &String| texts.judged(text).unwrap();
    pixels
        .chunks(size)
        .map(|pixels| Question {
            pixels: pixels.to_vec(),
            texts: reference.texts.iter().map(judged).collect(),
        })
        .collect()
}

fn expected_similarities(reference: &Reference) -> Vec<f32> {
    let numbers = &reference.numbers;
    if let Some(similarity) = numbers.get("similarity") {
        return similarity.values.clone();
    }
    let (images, texts) = (&numbers["image_feat"], &numbers["text_feat"]);
    let width = usize::try_from(images.shape[1]).unwrap();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    let of_image = |image| texts.values.chunks(width).map(move |text| dot(image, text));
    images.values.chunks(width).flat_map(of_image).collect()
}

#[test]
fn similarities_are_those_of_the_features_in_every_precision() {
    if loaded().is_none() {
        return;
    }
    for model in ["clip", "coca", "filip"] {
        let folder = TempDir::new().unwrap();
        let reference = reference(model);
        let expected = expected_similarities(&reference);
        for (precision, tolerance) in [
            (Precision::Fp32, SIMILARITY),
            (Precision::Fp16, 2e-3),
            (Precision::Int8, 8e-2),
        ] {
            let checkpoint = golden(&format!("open_clip/{model}"));
            let package = package_of(&checkpoint, &folder, Task::Filter, precision);
            let scores: Vec<TextScore> = similarities(&package, &reference).concat();
            assert!(scores.iter().all(|score| score.match_probability.is_none()));
            let got: Vec<f32> = scores.iter().map(|score| score.similarity).collect();
            let what = format!("{model}: similarities, {precision}");
            assert_close(&what, &got, &expected, tolerance);
        }
    }
}

#[test]
fn a_similarity_does_not_depend_on_its_neighbours() {
    if loaded().is_none() {
        return;
    }
    for model in ["clip", "coca", "filip"] {
        let folder = TempDir::new().unwrap();
        let reference = reference(model);
        let package = package(model, &folder, Task::Filter);
        let mut engine = MatchEngine::open(&package, &MatchOptions::default(), &cpu()).unwrap();
        let together = similarities(&package, &reference);
        let questions = questions(&package, &reference, engine.encoder.pixels());
        for (question, together) in questions.iter().zip(&together) {
            for (text, together) in question.texts.iter().zip(together) {
                let alone = Question {
                    pixels: question.pixels.clone(),
                    texts: vec![text.clone()],
                };
                let alone = engine.scores(&[alone]).unwrap();
                let bits = |score: &TextScore| score.similarity.to_bits();
                assert_eq!(bits(&alone[0][0]), bits(together), "{model}");
            }
        }
    }
}

#[tokio::test]
async fn features_have_the_similarity_of_the_scores() {
    if loaded().is_none() {
        return;
    }
    let texts = ["a dog", "two dogs on a red sofa"].map(str::to_owned);
    for model in ["clip", "coca", "filip"] {
        let folder = TempDir::new().unwrap();
        let package = package(model, &folder, Task::Filter);
        let matcher = crate::Matcher::open(&package, &MatchOptions::default(), &cpu()).unwrap();
        let pixels = vec![0.5; 3 * 24 * 24];
        let image = matcher.image_features(pixels.clone()).await.unwrap();
        let of_texts = matcher.text_features(&texts).await.unwrap();
        let scores = matcher.score(pixels, texts.to_vec()).await.unwrap();
        for (text, score) in of_texts.iter().zip(&scores) {
            let similarity = matcher.similarity().of(&image, text);
            assert_eq!(similarity.to_bits(), score.similarity.to_bits(), "{model}");
        }
    }
}
