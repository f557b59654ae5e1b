//! What fp16 and int8 cost on the trained models, over the pictures of the demo.

use capfilt_models::{Decoding, FirstToken, Greedy};
use capfilt_onnx::{Package, Precision};
use tempfile::TempDir;

use super::reference::{
    captioner, captions, demo_pictures, expected, imported, matcher, plain, runtime_is_here,
    scores, trained,
};

/// Keep decisions are made here.
const THRESHOLD: f32 = 0.5;

/// Match probabilities of every picture of the demo with its own caption and three other texts.
fn probabilities(filter: &Package, texts: &[String]) -> Vec<f32> {
    let model = matcher(filter, FirstToken::Enc, 8);
    let questions: Vec<(Vec<f32>, Vec<String>)> = demo_pictures()
        .values()
        .enumerate()
        .map(|(index, picture)| {
            let texts = (0..4)
                .map(|k| texts[(index + k * 37) % texts.len()].clone())
                .collect();
            (model.preprocess().tensor(picture), texts)
        })
        .collect();
    let scores = scores(&model, &questions);
    scores
        .iter()
        .flatten()
        .map(|score| score.match_probability.unwrap())
        .collect()
}

fn greedy(package: &Package) -> Vec<String> {
    let model = captioner(package, &Decoding::Greedy(Greedy::default()), None, 8);
    let tensors: Vec<Vec<f32>> = demo_pictures()
        .values()
        .map(|picture| model.preprocess().tensor(picture))
        .collect();
    captions(&model, &tensors)
        .into_iter()
        .map(|caption| caption.text)
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn share(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

/// Share of equal keep decisions and mean difference of probabilities.
fn compare(base: &[f32], other: &[f32]) -> (f64, f64) {
    assert_eq!(base.len(), other.len());
    let same = base
        .iter()
        .zip(other)
        .filter(|&(a, b)| (*a >= THRESHOLD) == (*b >= THRESHOLD));
    let apart: f64 = base
        .iter()
        .zip(other)
        .map(|(a, b)| f64::from((a - b).abs()))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let mean = apart / base.len() as f64;
    (share(same.count(), base.len()), mean)
}

#[test]
fn int8_and_fp16_decide_and_caption_nearly_as_fp32_does() {
    if !runtime_is_here() {
        return;
    }
    let Some(checkpoints) = trained() else { return };
    let folder = TempDir::new().unwrap();
    let package =
        |task: &str, precision| imported(&folder, &checkpoints.join(task), precision, plain());
    let full = package("captioner", Precision::Fp32);
    let base = greedy(&full);
    assert!(base.len() >= 300);
    // Own captions, and the texts of the reference: titles, other pictures' texts, awkward ones.
    let mut texts = base.clone();
    texts.extend(
        expected("mini/fp32")
            .pairs
            .into_iter()
            .map(|pair| pair.text),
    );
    texts.truncate(base.len() * 2);
    let filter = probabilities(&package("filter", Precision::Fp32), &texts);
    let kept = filter
        .iter()
        .filter(|&&probability| probability >= THRESHOLD)
        .count();
    let kept = share(kept, filter.len());
    assert!(
        (0.1..0.9).contains(&kept),
        "a comparison of decisions needs both kinds: {kept}"
    );

    let (decisions, mean) = compare(
        &filter,
        &probabilities(&package("filter", Precision::Int8), &texts),
    );
    let int8 = greedy(&package("captioner", Precision::Int8));
    let same = share(
        base.iter().zip(&int8).filter(|(a, b)| a == b).count(),
        base.len(),
    );
    eprintln!(
        "int8: {:.2} % of {} decisions equal, probabilities {mean:.4} apart, {:.1} % of {} captions identical",
        decisions * 100.0,
        filter.len(),
        same * 100.0,
        base.len()
    );
    assert!(decisions >= 0.99 && mean <= 0.01 && same >= 0.9);

    let (decisions, mean) = compare(
        &filter,
        &probabilities(&package("filter", Precision::Fp16), &texts),
    );
    let half = greedy(&package("captioner", Precision::Fp16));
    let same = share(
        base.iter().zip(&half).filter(|(a, b)| a == b).count(),
        base.len(),
    );
    eprintln!(
        "fp16: {:.2} % of {} decisions equal, probabilities {mean:.6} apart, {:.1} % of captions identical",
        decisions * 100.0,
        filter.len(),
        same * 100.0
    );
    assert!(decisions >= 0.999);
}
