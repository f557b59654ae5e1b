use std::path::Path;
use std::time::{Duration, Instant};

use capfilt_onnx::{ImportOptions, MOST_TOKENS, import};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::engine::{Shape, probability};
use super::similarity::Similarity;
use super::*;
use crate::{Device, runtime};

fn package() -> Option<(TempDir, Package)> {
    if let Err(error) = runtime::find(None) {
        crate::test_skips::skipped(format_args!("{error}"));
        return None;
    }
    let folder = TempDir::new().unwrap();
    let checkpoint =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/blip/prompted/filter");
    let package = import(
        &checkpoint,
        &folder.path().join("filter"),
        &ImportOptions::default(),
    )
    .unwrap();
    Some((folder, package))
}

fn cpu() -> SessionOptions {
    SessionOptions {
        device: Device::Cpu,
        ..SessionOptions::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn pixels(size: usize, index: usize) -> Vec<f32> {
    (0..size)
        .map(|i| ((i * (index + 2)) % 89) as f32 / 44.5 - 1.0)
        .collect()
}

fn bits(scores: &[TextScore]) -> Vec<(Option<u32>, u32)> {
    scores
        .iter()
        .map(|score| {
            (
                score.match_probability.map(f32::to_bits),
                score.similarity.to_bits(),
            )
        })
        .collect()
}

#[test]
fn mixed_pictures_are_answered_in_order_and_as_if_alone() {
    let Some((_folder, package)) = package() else {
        return;
    };
    let mut engine = MatchEngine::open(&package, &MatchOptions::default(), &cpu()).unwrap();
    let texts = Texts::of(&package).unwrap();
    let long = "word ".repeat(40);
    let sets: [&[&str]; 5] = [
        &["a red dog"],
        &["a", &long],
        &["blue"],
        &["one", "two", "three"],
        &["a cat", "b"],
    ];
    let question = |index: usize| Question {
        pixels: pixels(engine.encoder.pixels(), index),
        texts: sets[index]
            .iter()
            .map(|text| texts.judged(text).unwrap())
            .collect(),
    };
    let questions: Vec<Question> = (0..sets.len()).map(question).collect();
    let alone: Vec<Question> = (0..sets.len()).map(question).collect();
    let together = engine.scores(&questions).unwrap();
    for (index, question) in alone.into_iter().enumerate() {
        let alone = engine.scores(&[question]).unwrap();
        assert_eq!(together[index].len(), sets[index].len());
        assert_eq!(bits(&alone[0]), bits(&together[index]), "picture {index}");
    }
    let probability = together[0][0].match_probability.unwrap();
    assert!((0.0..=1.0).contains(&probability));
    assert!(
        together
            .iter()
            .flatten()
            .all(|score| score.similarity.abs() <= 1.0001)
    );
}

#[test]
fn the_first_token_matters_for_the_match_alone() {
    let Some((_folder, package)) = package() else {
        return;
    };
    let texts = Texts::of(&package).unwrap();
    let scores = [FirstToken::Enc, FirstToken::Cls].map(|first_token| {
        let options = MatchOptions {
            first_token,
            ..MatchOptions::default()
        };
        let mut engine = MatchEngine::open(&package, &options, &cpu()).unwrap();
        let pixels = vec![0.3; engine.encoder.pixels()];
        let texts = vec![texts.judged("a red dog").unwrap()];
        engine.scores(&[Question { pixels, texts }]).unwrap()[0][0]
    });
    assert_ne!(scores[0].match_probability, scores[1].match_probability);
    assert_eq!(
        scores[0].similarity.to_bits(),
        scores[1].similarity.to_bits()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_judged_quickly_and_without_a_panic() {
    let Some((_folder, package)) = package() else {
        return;
    };
    let matcher = Matcher::open(&package, &MatchOptions::default(), &cpu()).unwrap();
    let pixels = vec![0.5; matcher.about.pixels];
    let begun = Instant::now();
    for text in [
        String::new(),
        "\0".to_owned(),
        "\u{202e}\u{2066}abc\u{2069}".to_owned(),
        "a".repeat(100_000),
        ",".repeat(100_000),
        "a ".repeat(50_000),
        "\u{301}".repeat(50_000),
        "漢".repeat(33_000),
        "\u{fffd}\u{10ffff}[SEP][ENC] ##x".to_owned(),
    ] {
        let scores = matcher.score(pixels.clone(), vec![text]).await.unwrap();
        assert!(scores[0].match_probability.unwrap().is_finite());
        assert!(scores[0].similarity.is_finite());
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(matcher.score(pixels, Vec::new()).await.unwrap(), []);
}

#[test]
fn neither_padding_nor_other_texts_nor_other_pictures_change_a_bit() {
    let Some((_folder, package)) = package() else {
        return;
    };
    let mut engine = MatchEngine::open(&package, &MatchOptions::default(), &cpu()).unwrap();
    let texts = Texts::of(&package).unwrap();
    let size = engine.encoder.pixels();
    let question = |texts_each: usize, index: usize| Question {
        pixels: pixels(size, index),
        texts: ["a red dog", "blue", "a cat on a", "b c"][..texts_each]
            .iter()
            .map(|text| texts.judged(text).unwrap())
            .collect(),
    };
    let expected = bits(&engine.scores(&[question(1, 0)]).unwrap()[0])[0];
    for tokens in [16, 24, MOST_TOKENS] {
        for texts_each in 1..=4 {
            for pictures in [1, 2, 5] {
                let questions: Vec<Question> = (0..pictures)
                    .map(|index| question(texts_each, index))
                    .collect();
                let questions: Vec<&Question> = questions.iter().collect();
                let shape = Shape {
                    rows: texts_each.max(2),
                    tokens,
                };
                let got = bits(&engine.judge(shape, &questions).unwrap()[0])[0];
                assert_eq!(got, expected, "{shape:?}, {pictures} pictures");
            }
        }
    }
}

#[test]
fn texts_are_filled_up_to_a_few_lengths() {
    let Some((_folder, package)) = package() else {
        return;
    };
    let engine = MatchEngine::open(&package, &MatchOptions::default(), &cpu()).unwrap();
    for (lengths, rows, tokens) in [
        (&[3][..], 2, 8),
        (&[8], 2, 8),
        (&[9], 2, 16),
        (&[3, 17], 2, 24),
        (&[35, 4, 4], 3, 35),
        (&[33], 2, 35),
    ] {
        let texts: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![5; length]).collect();
        assert_eq!(engine.shape(&texts), Shape { rows, tokens });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn features_have_the_bits_that_similarities_are_made_of() {
    let Some((_folder, package)) = package() else {
        return;
    };
    let matcher = Matcher::open(&package, &MatchOptions::default(), &cpu()).unwrap();
    let sets: [&[&str]; 4] = [
        &["a red dog"],
        &["a", "blue cats on a long street"],
        &[],
        &["b"],
    ];
    let sets = sets.map(|texts| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    });
    // All at once, so that the kinds of questions share batches.
    let mut asked = JoinSet::new();
    for (index, texts) in sets.iter().cloned().enumerate() {
        let (matcher, pixels) = (matcher.clone(), pixels(matcher.about.pixels, index));
        asked.spawn(async move {
            tokio::join!(
                matcher.score(pixels.clone(), texts.clone()),
                matcher.image_features(pixels),
                matcher.text_features(&texts)
            )
        });
    }
    let mut lengths = Vec::new();
    for (scores, image, texts) in asked.join_all().await {
        let (scores, image, texts) = (scores.unwrap(), image.unwrap(), texts.unwrap());
        assert_eq!(scores.len(), texts.len());
        for (score, text) in scores.iter().zip(&texts) {
            let similarity = Similarity::Cosine.of(&image, text);
            assert_eq!(similarity.to_bits(), score.similarity.to_bits());
        }
        lengths.push(texts.len());
    }
    lengths.sort_unstable();
    assert_eq!(lengths, [0, 1, 1, 2]);
}

#[test]
fn the_second_logit_is_that_of_a_match() {
    assert!(probability([-1.0, 3.0]) > 0.98);
    assert!(probability([3.0, -1.0]) < 0.02);
}
