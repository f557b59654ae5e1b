//! An answer never depends on what else is asked: batch size, order, neighbours, padding.
//!
//! Here through the queue that users' stages share; the tests of `capfilt-models` put batches of
//! exactly 1 to 16 to the models.

use std::path::PathBuf;

use capfilt_models::{Beam, Caption, Decoding, FirstToken, Greedy, Nucleus, TextScore};
use capfilt_onnx::Precision;
use futures::future::join_all;
use tempfile::TempDir;

use super::reference::{
    captioner, captions, expected, golden, imported, matcher, plain, questions, runtime_is_here,
    scores, seed, tensors, trained, wait,
};

/// Most pictures that are answered at once.
const BATCHES: [usize; 5] = [2, 3, 7, 8, 16];

/// Bits, because equal floats may be zeros of either sign.
fn caption_bits(caption: &Caption) -> (&str, &[u32], u32) {
    (
        &caption.text,
        &caption.token_ids,
        caption.log_prob.to_bits(),
    )
}

fn score_bits(scores: &[TextScore]) -> Vec<(u32, u32)> {
    let bits = |score: &TextScore| {
        (
            score.match_probability.unwrap().to_bits(),
            score.similarity.to_bits(),
        )
    };
    scores.iter().map(bits).collect()
}

/// Checkpoints, and a name of the numbers that belong to them: a random one, and the trained one.
fn checkpoints() -> Vec<(PathBuf, &'static str)> {
    let mut folders = vec![(golden("deep-text"), "deep-text/expected")];
    folders.extend(trained().map(|folder| (folder, "mini/fp32")));
    folders
}

#[test]
fn captions_are_bit_equal_over_batch_sizes_order_and_neighbours() {
    if !runtime_is_here() {
        return;
    }
    for precision in [Precision::Fp32, Precision::Int8] {
        for (checkpoint, _) in checkpoints() {
            let folder = TempDir::new().unwrap();
            let package = imported(&folder, &checkpoint.join("captioner"), precision, plain());
            for decoding in [
                Decoding::Greedy(Greedy::default()),
                Decoding::Beam(Beam::default()),
                Decoding::Nucleus(Nucleus::default()),
            ] {
                let alone = captioner(&package, &decoding, None, 1);
                let pictures = tensors(alone.preprocess())[..33].to_vec();
                // One at a time: no neighbour, no batch.
                let expected: Vec<Caption> = (0..pictures.len())
                    .map(|i| wait(alone.caption(pictures[i].clone(), seed(i))).unwrap())
                    .collect();
                let mut lengths: Vec<usize> = expected
                    .iter()
                    .map(|caption| caption.token_ids.len())
                    .collect();
                lengths.sort_unstable();
                lengths.dedup();
                assert!(
                    lengths.len() > 3,
                    "captions must end at different steps: {lengths:?}"
                );
                for batch in BATCHES {
                    let model = captioner(&package, &decoding, None, batch);
                    let got = captions(&model, &pictures);
                    for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
                        assert_eq!(
                            caption_bits(got),
                            caption_bits(expected),
                            "{precision:?}, {decoding:?}, batches of {batch}, picture {index}"
                        );
                    }
                }
                // Other neighbours: backwards, and every second one missing.
                let model = captioner(&package, &decoding, None, 5);
                let asked = (0..pictures.len()).rev().step_by(2);
                let order: Vec<usize> = asked.collect();
                let got = wait(join_all(
                    order
                        .iter()
                        .map(|&i| model.caption(pictures[i].clone(), seed(i))),
                ));
                for (&index, got) in order.iter().zip(&got) {
                    let got = got.as_ref().unwrap();
                    assert_eq!(
                        caption_bits(got),
                        caption_bits(&expected[index]),
                        "{decoding:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn scores_are_bit_equal_over_batch_sizes_order_neighbours_and_padding() {
    if !runtime_is_here() {
        return;
    }
    for precision in [Precision::Fp32, Precision::Int8] {
        for (checkpoint, numbers) in checkpoints() {
            let folder = TempDir::new().unwrap();
            let package = imported(&folder, &checkpoint.join("filter"), precision, plain());
            let alone = matcher(&package, FirstToken::Enc, 1);
            let mut questions = questions(alone.preprocess(), &expected(numbers).pairs);
            questions.truncate(33);
            // One picture and one text at a time: nothing is filled up but to the text's own length.
            let single: Vec<Vec<(u32, u32)>> = questions
                .iter()
                .map(|(pixels, texts)| {
                    let score = |text: &String| {
                        let asked = alone.score(pixels.clone(), vec![text.clone()]);
                        score_bits(&wait(asked).unwrap())[0]
                    };
                    texts.iter().map(score).collect()
                })
                .collect();
            for batch in BATCHES {
                let model = matcher(&package, FirstToken::Enc, batch);
                let got = scores(&model, &questions);
                for (index, (got, expected)) in got.iter().zip(&single).enumerate() {
                    let what = format!("{precision:?}, batches of {batch}, picture {index}");
                    assert_eq!(&score_bits(got), expected, "{what}");
                }
            }
            let model = matcher(&package, FirstToken::Enc, 7);
            questions.reverse();
            for (_, texts) in &mut questions {
                texts.reverse();
            }
            let got = scores(&model, &questions);
            for (got, expected) in got.iter().rev().zip(&single) {
                let got: Vec<(u32, u32)> = score_bits(got).into_iter().rev().collect();
                assert_eq!(&got, expected, "{precision:?}, backwards");
            }
        }
    }
}
