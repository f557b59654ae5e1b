use super::*;
use crate::golden::{self, Scores, assert_equal};
use crate::{bleu, cider_d, rouge_l, tokenize};

/// The first caption of each picture against the others.
fn first_against_others(pictures: &[Vec<Vec<String>>]) -> Captions {
    let mut captions = Captions::default();
    for texts in pictures {
        captions.push(&texts[0], &texts[1..]).unwrap();
    }
    captions
}

/// Cuts `tokens` into as many as each picture has texts.
fn by_picture(pictures: &[Vec<String>], tokens: Vec<Vec<String>>) -> Vec<Vec<Vec<String>>> {
    let mut tokens = tokens.into_iter();
    pictures
        .iter()
        .map(|texts| tokens.by_ref().take(texts.len()).collect())
        .collect()
}

fn plain(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower
        .split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '\''))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn assert_scores(captions: &Captions, expected: &Scores) {
    for (got, expected) in bleu(captions).into_iter().zip(expected.bleu) {
        assert_equal(got, expected);
    }
    let rouge_l = rouge_l(captions);
    let cider_d = cider_d(captions);
    assert_eq!(rouge_l.len(), expected.rouge_l_each.len());
    assert_eq!(cider_d.len(), expected.cider_d_each.len());
    for (got, expected) in rouge_l.iter().zip(&expected.rouge_l_each) {
        assert_equal(*got, *expected);
    }
    for (got, expected) in cider_d.iter().zip(&expected.cider_d_each) {
        assert_equal(*got, *expected);
    }
    assert_equal(mean(&rouge_l).unwrap(), expected.rouge_l);
    assert_equal(mean(&cider_d).unwrap(), expected.cider_d);
}

#[test]
fn scores_of_captions_are_those_of_pycocoevalcap() {
    let golden = golden::captions().captions;
    let tokens = by_picture(&golden.texts, tokenize(&golden.texts.concat()));
    assert_scores(&first_against_others(&tokens), &golden.ptb);
    let texts = golden.texts.concat();
    let tokens = texts.iter().map(|text| plain(text)).collect();
    let tokens = by_picture(&golden.texts, tokens);
    assert_scores(&first_against_others(&tokens), &golden.plain);
}

#[test]
fn scores_of_the_specification_are_met() {
    let golden = golden::captions().vectors;
    let mut captions = Captions::default();
    for (caption, references) in &golden.texts {
        let references: Vec<_> = references.iter().map(|text| plain(text)).collect();
        captions.push(&plain(caption), &references).unwrap();
    }
    assert_scores(&captions, &golden.scores);
}

#[test]
fn a_caption_without_tokens_scores_nothing() {
    let mut captions = Captions::default();
    captions.push(&[], &[vec!["a", "bus"], vec![]]).unwrap();
    captions.push(&["a", "bus"], &[vec![]]).unwrap();
    captions.push(&["a", "dog"], &[vec!["a", "dog"]]).unwrap();
    // pycocoevalcap takes no tokens for one empty token, so two empty texts are equal.
    assert_eq!(rouge_l(&captions), [1.0, 0.0, 1.0]);
    let cider_d = cider_d(&captions);
    assert_eq!(cider_d[..2], [0.0, 0.0]);
    assert!(cider_d[2] > 0.0);
}

#[test]
fn a_set_without_pictures_or_references_has_no_scores() {
    let mut captions = Captions::default();
    assert_eq!(captions.push(&["a"], &[]), Err(NoReferences));
    assert!(captions.is_empty());
    assert_eq!(mean(&rouge_l(&captions)), None);
    assert_eq!(mean(&cider_d(&captions)), None);
}
