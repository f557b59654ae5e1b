//! BLIP base at its real size, with random weights: slow, so only when asked for.

use std::path::PathBuf;

use capfilt_models::{Decoding, FirstToken};
use capfilt_onnx::Precision;
use serde::Deserialize;
use tempfile::TempDir;

use super::reference::{
    captioner, captions, demo_pictures, imported, matcher, plain, runtime_is_here, scores,
};

/// Answers of transformers about a few pictures of the demo, by `tests/golden/full_size.py`.
#[derive(Deserialize)]
struct Answers {
    /// Names of the pictures.
    pictures: Vec<String>,
    prompt: String,
    greedy: capfilt_models::Greedy,
    captions: Vec<Vec<u32>>,
    /// Least margin of each caption's steps.
    margins: Vec<f32>,
    log_probs: Vec<f32>,
    texts: Vec<String>,
    /// Match probability with `[ENC]` and similarity of every text with every picture.
    scores: Vec<Vec<(f32, f32)>>,
}

#[test]
fn a_full_size_model_agrees_with_transformers() {
    let Some(folder) = std::env::var_os("CAPFILT_FULL_SIZE").map(PathBuf::from) else {
        crate::program::skipped(format_args!(
            "slow; make a folder with `python tests/golden/full_size.py FOLDER` and name it in `CAPFILT_FULL_SIZE`"
        ));
        return;
    };
    if !runtime_is_here() {
        return;
    }
    let answers: Answers =
        serde_json::from_slice(&fs_err::read(folder.join("expected.json")).unwrap()).unwrap();
    let place = TempDir::new().unwrap();
    let pictures = demo_pictures();

    let package = imported(&place, &folder.join("captioner"), Precision::Fp32, plain());
    let model = captioner(
        &package,
        &Decoding::Greedy(answers.greedy.clone()),
        Some(&answers.prompt),
        4,
    );
    let tensors: Vec<Vec<f32>> = answers
        .pictures
        .iter()
        .map(|name| model.preprocess().tensor(&pictures[name]))
        .collect();
    let got = captions(&model, &tensors);
    for (index, got) in got.iter().enumerate() {
        if got.token_ids == answers.captions[index] {
            assert!((got.log_prob - answers.log_probs[index]).abs() < 1e-2);
        } else {
            assert!(
                answers.margins[index] < 1e-4,
                "{:?}",
                (got, &answers.captions[index])
            );
        }
    }
    drop(model);

    let package = imported(&place, &folder.join("filter"), Precision::Fp32, plain());
    let model = matcher(&package, FirstToken::Enc, 4);
    let questions: Vec<_> = tensors
        .into_iter()
        .map(|pixels| (pixels, answers.texts.clone()))
        .collect();
    let mut worst = 0.0_f32;
    for (got, expected) in scores(&model, &questions).iter().zip(&answers.scores) {
        for (got, (probability, similarity)) in got.iter().zip(expected) {
            worst = worst.max((got.match_probability.unwrap() - probability).abs());
            worst = worst.max((got.similarity - similarity).abs());
        }
    }
    eprintln!(
        "full size: {} captions, scores within {worst:.1e}",
        got.len()
    );
    assert!(worst <= 1e-4, "scores differ by {worst}");
}
