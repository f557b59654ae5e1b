use std::array;

use proptest::prelude::*;

use super::*;
use crate::golden::{self, MetricNumbers, Recalls};
use crate::{Features, Matrix};

fn recalls(ranks: &[Option<usize>], at: [usize; 3]) -> [f64; 3] {
    at.map(|k| recall_at(k, ranks).unwrap())
}

fn both_ways(
    golden: &MetricNumbers,
    similarities: &impl Similarities,
    score: impl Fn(usize, usize) -> f32,
) -> Recalls {
    let pairs = Pairs::new(golden.pictures.len(), golden.picture_of.clone()).unwrap();
    let ranks = Ranks::new(&pairs, similarities);
    let candidates = Candidates::nearest(&pairs, similarities, golden.candidates);
    let again = Ranks::again(&pairs, &candidates, score);
    Recalls {
        of_pictures: recalls(&ranks.of_pictures, golden.at),
        of_texts: recalls(&ranks.of_texts, golden.at),
        again_of_pictures: recalls(&again.of_pictures, golden.at),
        again_of_texts: recalls(&again.of_texts, golden.at),
    }
}

#[test]
fn recall_is_that_of_blips_evaluation() {
    let golden = golden::metrics();
    let width = golden.pictures[0].len();
    let features = Features::new(width, golden.pictures.concat(), &golden.texts.concat()).unwrap();
    let score =
        |picture: usize, text: usize| golden.second[picture][text] + features.pair(picture, text);
    assert_eq!(both_ways(&golden, &features, score), golden.fine);
    // With many equal scores, from a matrix.
    let quarters = |picture, text| (features.pair(picture, text) * 4.0).round_ties_even() / 4.0;
    let texts = golden.texts.len();
    let values = (0..golden.pictures.len() * texts)
        .map(|index| quarters(index / texts, index % texts))
        .collect();
    let matrix = Matrix::new(values, texts).unwrap();
    let score = |picture: usize, text: usize| {
        golden.second[picture][text].round_ties_even() + matrix.pair(picture, text)
    };
    assert_eq!(both_ways(&golden, &matrix, score), golden.coarse);
}

#[test]
fn only_what_is_among_the_candidates_is_found_again() {
    // Two pictures with a text each; both prefer the text of the first.
    let pairs = Pairs::new(2, vec![0, 1]).unwrap();
    let matrix = Matrix::new(vec![0.9, 0.1, 0.8, 0.2], 2).unwrap();
    let candidates = Candidates::nearest(&pairs, &matrix, 1);
    let again = Ranks::again(&pairs, &candidates, |_, _| 0.0);
    assert_eq!(again.of_pictures, [Some(0), None]);
    assert_eq!(again.of_texts, [Some(0), Some(0)]);
    assert_eq!(candidates.texts_to_score(), [vec![0], vec![0, 1]]);
}

#[test]
fn pairs_that_make_no_sense_are_refused() {
    assert_eq!(
        Pairs::new(2, vec![0, 2]).unwrap_err(),
        PairsError::NoPicture {
            text: 1,
            picture: 2,
            pictures: 2
        }
    );
    assert_eq!(
        Pairs::new(2, vec![0]).unwrap_err(),
        PairsError::NoText { picture: 1 }
    );
    assert_eq!(recall_at(1, &[]), None);
}

/// Some pictures and texts with features of few distinct values, so that many scores are equal.
fn case() -> impl Strategy<Value = (Vec<usize>, Vec<f32>, Vec<f32>)> {
    (2_usize..6, 0_usize..40).prop_flat_map(|(pictures, more)| {
        let values = |count| {
            let value = prop::sample::select(vec![-0.5_f32, 0.0, 0.25, 1.0]);
            prop::collection::vec(value, count * 3)
        };
        let more = prop::collection::vec(0..pictures, more);
        let picture_of = more.prop_map(move |more| (0..pictures).chain(more).collect::<Vec<_>>());
        picture_of.prop_flat_map(move |picture_of| {
            let texts = picture_of.len();
            (Just(picture_of), values(pictures), values(texts))
        })
    })
}

proptest! {
    #[test]
    fn ranks_are_those_of_a_sort((picture_of, pictures, texts) in case()) {
        let features = Features::new(3, pictures, &texts).unwrap();
        let pairs = Pairs::new(picture_of.iter().max().unwrap() + 1, picture_of.clone()).unwrap();
        let ranks = Ranks::new(&pairs, &features);
        let place = |scores: Vec<f32>, own: &dyn Fn(usize) -> bool| {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&(scores[a] + 0.0)).then(a.cmp(&b)));
            order.into_iter().position(own)
        };
        for picture in 0..pairs.pictures() {
            let scores = (0..pairs.texts()).map(|text| features.pair(picture, text) + 0.0);
            let expected = place(scores.collect(), &|text| picture_of[text] == picture);
            prop_assert_eq!(ranks.of_pictures[picture], expected);
        }
        for (text, &own) in picture_of.iter().enumerate() {
            let scores = (0..pairs.pictures()).map(|picture| features.pair(picture, text) + 0.0);
            let expected = place(scores.collect(), &|picture| picture == own);
            prop_assert_eq!(ranks.of_texts[text], expected);
        }
        // All are candidates and the score is the same: the same ranks.
        let all = Candidates::nearest(&pairs, &features, pairs.texts());
        let again = Ranks::again(&pairs, &all, |picture, text| features.pair(picture, text));
        prop_assert_eq!(&again, &ranks);
        let recalls: [f64; 6] = array::from_fn(|k| recall_at(k, &ranks.of_texts).unwrap());
        prop_assert!(recalls.is_sorted());
    }

    #[test]
    fn a_row_has_the_bits_of_its_pairs(
        pictures in prop::collection::vec(-1.0_f32..1.0, 7),
        texts in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 7), 1..40),
    ) {
        let features = Features::new(7, pictures, &texts.concat()).unwrap();
        let mut row = vec![0.0; texts.len()];
        features.row(0, &mut row);
        for (text, similarity) in row.into_iter().enumerate() {
            prop_assert_eq!(similarity.to_bits(), features.pair(0, text).to_bits());
        }
    }
}
