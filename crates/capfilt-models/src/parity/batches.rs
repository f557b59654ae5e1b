//! Engines answer batches of exactly 1 to 16 pictures, and nobody's answer depends on the batch.

use std::path::PathBuf;

use capfilt_onnx::{ImportOptions, Precision, import};
use tempfile::TempDir;

use super::{arrays, golden, loaded};
use crate::captioner::{CaptionEngine, CaptionOptions};
use crate::graph::SessionOptions;
use crate::matcher::{MatchEngine, MatchOptions, Question};
use crate::search::Hypothesis;
use crate::{Beam, Decoding, Device, Greedy, Nucleus};

const MOST: usize = 16;

/// A random checkpoint, and the trained one where it is.
fn checkpoints() -> Vec<(PathBuf, PathBuf)> {
    let mut found = vec![(
        golden("blip/deep-text"),
        golden("blip/deep-text/expected.safetensors"),
    )];
    let trained = golden("../../../shared/models/mini-blip");
    if trained.is_dir() {
        found.push((trained, golden("blip/mini/fp32.safetensors")));
    } else {
        crate::test_skips::skipped(format_args!(
            "no trained checkpoints at `{}`",
            trained.display()
        ));
    }
    found
}

/// Sixteen different pictures, mixed from the four of the reference numbers.
fn pictures(numbers: &std::path::Path) -> Vec<Vec<f32>> {
    let pixels = &arrays(numbers)["pixel_values"];
    let four: Vec<Vec<f32>> = (0..4).map(|index| pixels.part(index).values).collect();
    let mix = |first: &[f32], second: &[f32]| {
        first
            .iter()
            .zip(second)
            .map(|(a, b)| 0.5 * a + 0.5 * b)
            .collect()
    };
    let pairs = four
        .iter()
        .flat_map(|first| four.iter().map(move |second| (first, second)));
    // Half of each of two, the upper half of the first once more: (a, b) differs from (b, a).
    pairs
        .map(|(first, second)| {
            let mut picture: Vec<f32> = mix(first, second);
            let upper = picture.len() / 2;
            picture[..upper].copy_from_slice(&first[..upper]);
            picture
        })
        .collect()
}

fn options(precision: Precision) -> ImportOptions {
    ImportOptions {
        precision,
        ..ImportOptions::default()
    }
}

fn cpu() -> SessionOptions {
    SessionOptions {
        device: Device::Cpu,
        ..SessionOptions::default()
    }
}

fn bits(found: &[Hypothesis]) -> Vec<(&[u32], u32)> {
    found
        .iter()
        .map(|one| (&one.tokens[..], one.log_prob.to_bits()))
        .collect()
}

#[test]
fn captions_of_batches_of_1_to_16_are_bit_equal() {
    if loaded().is_none() {
        return;
    }
    for precision in [Precision::Fp32, Precision::Int8] {
        for (checkpoint, numbers) in checkpoints() {
            let folder = TempDir::new().unwrap();
            let package = folder.path().join("captioner");
            let package =
                import(&checkpoint.join("captioner"), &package, &options(precision)).unwrap();
            let pictures = pictures(&numbers);
            let pictures: Vec<&[f32]> = pictures.iter().map(Vec::as_slice).collect();
            let seeds: Vec<[u8; 32]> = (0..MOST).map(|i| [u8::try_from(i).unwrap(); 32]).collect();
            for decoding in [
                Decoding::Greedy(Greedy::default()),
                Decoding::Beam(Beam::default()),
                Decoding::Nucleus(Nucleus::default()),
            ] {
                let what = format!("{precision:?}, {decoding:?}");
                let asked = CaptionOptions {
                    decoding: Some(decoding),
                    ..CaptionOptions::default()
                };
                let mut engine = CaptionEngine::open(&package, &asked, &cpu()).unwrap();
                let mut alone = Vec::new();
                for (picture, seed) in pictures.iter().zip(&seeds) {
                    alone.extend(engine.hypotheses(&[picture], &[*seed]).unwrap());
                }
                for batch in 2..=MOST {
                    // Other pictures lead the batch every time.
                    let first = (batch * 5) % (MOST + 1 - batch);
                    let range = first..first + batch;
                    let got = engine
                        .hypotheses(&pictures[range.clone()], &seeds[range.clone()])
                        .unwrap();
                    assert_eq!(got.len(), batch);
                    assert_eq!(bits(&got), bits(&alone[range]), "{what}, batch of {batch}");
                }
                let reverse: Vec<&[f32]> = pictures.iter().rev().copied().collect();
                let reverse_seeds: Vec<[u8; 32]> = seeds.iter().rev().copied().collect();
                let mut got = engine.hypotheses(&reverse, &reverse_seeds).unwrap();
                got.reverse();
                assert_eq!(bits(&got), bits(&alone), "{what}, backwards");
            }
        }
    }
}

#[test]
fn scores_of_batches_of_1_to_16_are_bit_equal() {
    if loaded().is_none() {
        return;
    }
    for precision in [Precision::Fp32, Precision::Int8] {
        for (checkpoint, numbers) in checkpoints() {
            let folder = TempDir::new().unwrap();
            let package = folder.path().join("filter");
            let package =
                import(&checkpoint.join("filter"), &package, &options(precision)).unwrap();
            let sep = package.manifest.tokens.sep;
            let cls = package.manifest.tokens.cls;
            let mut engine = MatchEngine::open(&package, &MatchOptions::default(), &cpu()).unwrap();
            let pictures = pictures(&numbers);
            // One to three texts of 2 to 35 tokens.
            let question = |index: usize| {
                let text = |k: usize| {
                    let length = [0, 3, 30, 12, 33, 7][(index + k) % 6];
                    let mut text = vec![cls];
                    text.extend(
                        (0..length).map(|n| 10 + u32::try_from(n * (index + 1)).unwrap() % 200),
                    );
                    text.push(sep);
                    text
                };
                let texts = (0..=index % 3).map(text).collect();
                Question {
                    pixels: pictures[index].clone(),
                    texts,
                }
            };
            let mut ask = |questions: Vec<Question>| -> Vec<Vec<(u32, u32)>> {
                let answers = engine.scores(&questions).unwrap();
                assert_eq!(answers.len(), questions.len());
                let bits = |score: &crate::TextScore| {
                    (
                        score.match_probability.unwrap().to_bits(),
                        score.similarity.to_bits(),
                    )
                };
                answers
                    .iter()
                    .map(|scores| scores.iter().map(bits).collect())
                    .collect()
            };
            let alone: Vec<_> = (0..MOST)
                .flat_map(|index| ask(vec![question(index)]))
                .collect();
            for batch in 2..=MOST {
                let first = (batch * 5) % (MOST + 1 - batch);
                let range = first..first + batch;
                let got = ask(range.clone().map(question).collect());
                assert_eq!(got, alone[range], "{precision:?}, batch of {batch}");
            }
            let mut got = ask((0..MOST).rev().map(question).collect());
            got.reverse();
            assert_eq!(got, alone, "{precision:?}, backwards");
        }
    }
}
