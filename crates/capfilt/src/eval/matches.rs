//! Pictures and texts that look for each other, and texts that are judged.

use std::collections::BTreeMap;

use capfilt_data::Kind;
use capfilt_eval::{Candidates, Curve, Features, Pairs, Ranks, Similarities, recall_at};
use capfilt_models::{Matcher, Similarity, TextScore};

use super::EvalError;
use super::data::{Data, Looked};
use super::late::Late;
use super::report::{BothWays, Counts, FilterNumbers, RecallNumbers};
use crate::failure::Failure;
use crate::session::Session;

/// Texts that are judged at once with one picture.
const TEXTS: usize = 32;

/// The ranks at which recall is told, as in papers.
const AT: [usize; 3] = [1, 5, 10];

/// Recall both ways by similarity and, when `candidates` is a number, again by the matching head of
/// the so many most similar. Only texts that belong to their picture take part.
pub(crate) async fn recalls(
    data: &Data,
    matcher: &Matcher,
    candidates: Option<usize>,
    at_once: usize,
    session: &Session,
) -> Result<(RecallNumbers, Option<RecallNumbers>, Counts), Failure> {
    let right = |index: usize| data.pictures[index].right().map(str::to_owned);
    let looked = data
        .each(
            |index| right(index).next().is_some(),
            matcher.preprocess(),
            at_once,
            session,
            async |index, pixels| {
                let texts: Vec<String> = right(index).collect();
                let image = matcher.image_features(pixels).await?;
                Ok((image, matcher.text_features(&texts).await?))
            },
        )
        .await?;
    // Pictures that cannot be used are left out, and their texts.
    let mut used = Vec::new();
    let mut texts = Vec::new();
    let mut picture_of = Vec::new();
    let (mut image_features, mut text_features) = (Vec::new(), Vec::new());
    for (index, features) in looked.results.into_iter().enumerate() {
        let Some((image, of_texts)) = features else {
            continue;
        };
        picture_of.extend(right(index).map(|_| used.len()));
        texts.extend(right(index));
        used.push(index);
        image_features.push(image);
        text_features.extend(of_texts);
    }
    let counts = Counts {
        pictures: used.len(),
        texts: texts.len(),
        unusable: looked.unusable,
    };
    if used.is_empty() {
        return Ok((RecallNumbers::default(), None, counts));
    }
    let pairs = Pairs::new(used.len(), picture_of).map_err(EvalError::from)?;
    if matcher.similarity() != Similarity::Cosine {
        let late = Late {
            similarity: matcher.similarity(),
            pictures: image_features,
            texts: text_features,
        };
        return Ok((numbers(&Ranks::new(&pairs, &late), None), None, counts));
    }
    let width = image_features[0].len();
    let features = Features::new(width, image_features.concat(), &text_features.concat())
        .map_err(EvalError::from)?;
    let by_similarity = numbers(&Ranks::new(&pairs, &features), None);
    let Some(most) = candidates else {
        return Ok((by_similarity, None, counts));
    };
    let candidates = Candidates::nearest(&pairs, &features, most);
    let wanted = candidates.texts_to_score();
    let place: BTreeMap<usize, usize> = used.iter().copied().zip(0..).collect();
    let looked = data
        .each(
            |index| place.contains_key(&index),
            matcher.preprocess(),
            at_once,
            session,
            async |index, pixels| {
                let mut logits = Vec::new();
                for texts_at in wanted[place[&index]].chunks(TEXTS) {
                    let texts = texts_at.iter().map(|&text| texts[text].clone()).collect();
                    let scores = matcher.score(pixels.clone(), texts).await?;
                    logits.extend(scores.iter().filter_map(|score| score.match_logit));
                }
                Ok(logits)
            },
        )
        .await?;
    let logits: Vec<Vec<f32>> = looked.results.into_iter().flatten().collect();
    let score = |picture: usize, text: usize| {
        let at = wanted[picture].binary_search(&text).unwrap_or_default();
        logits[picture][at] + features.pair(picture, text)
    };
    let again = Ranks::again(&pairs, &candidates, score);
    Ok((by_similarity, Some(numbers(&again, Some(most))), counts))
}

fn numbers(ranks: &Ranks, candidates: Option<usize>) -> RecallNumbers {
    let at = |ranks: &[Option<usize>]| {
        let recalls = AT.map(|k| (k, recall_at(k, ranks)));
        // What is beyond the candidates cannot be found.
        let told = recalls
            .into_iter()
            .filter(|(k, _)| candidates.is_none_or(|most| *k <= most));
        told.filter_map(|(k, recall)| Some((k, recall?))).collect()
    };
    RecallNumbers {
        ways: BothWays {
            image_to_text: at(&ranks.of_pictures),
            text_to_image: at(&ranks.of_texts),
        },
        candidates,
    }
}

/// How well the score `by` tells texts that belong to their pictures from others.
pub(crate) async fn filter_numbers(
    data: &Data,
    matcher: &Matcher,
    (by, threshold): (Kind, f64),
    at_once: usize,
    session: &Session,
) -> Result<(Option<FilterNumbers>, Counts), Failure> {
    let Looked { results, unusable } = data
        .each(
            |_| true,
            matcher.preprocess(),
            at_once,
            session,
            async |index, pixels| {
                let mut scores: Vec<TextScore> = Vec::new();
                for claims in data.pictures[index].claims.chunks(TEXTS) {
                    let texts = claims.iter().map(|claim| claim.text.clone()).collect();
                    scores.extend(matcher.score(pixels.clone(), texts).await?);
                }
                Ok(scores)
            },
        )
        .await?;
    let mut counts = Counts {
        unusable,
        ..Counts::default()
    };
    let mut right = Vec::new();
    let mut wrong: BTreeMap<Option<&str>, Vec<(f64, bool)>> = BTreeMap::new();
    for (picture, scores) in data.pictures.iter().zip(results) {
        let Some(scores) = scores else { continue };
        counts.pictures += 1;
        counts.texts += scores.len();
        for (claim, score) in picture.claims.iter().zip(scores) {
            let value = match by {
                Kind::Match => score.match_probability.ok_or(EvalError::NoMatchingHead {
                    option: "--by match",
                })?,
                Kind::Similarity => score.similarity,
            };
            let judged = (f64::from(value), claim.right);
            if claim.right {
                right.push(judged);
            } else {
                wrong
                    .entry(claim.group.as_deref())
                    .or_default()
                    .push(judged);
            }
        }
    }
    if counts.texts == 0 {
        return Ok((None, counts));
    }
    let curve = |wrong: &[(f64, bool)]| {
        let judged = [right.as_slice(), wrong].concat();
        Curve::new(&judged).map_err(EvalError::from)
    };
    let all: Vec<(f64, bool)> = wrong.values().flatten().copied().collect();
    let of_all = curve(&all)?;
    let mut numbers = FilterNumbers::new(by.as_str(), threshold, &of_all).with_roc(&of_all);
    for (group, wrong) in &wrong {
        if let Some(group) = group {
            let of_group = FilterNumbers::new(by.as_str(), threshold, &curve(wrong)?);
            numbers.groups.insert((*group).to_owned(), of_group);
        }
    }
    Ok((Some(numbers), counts))
}
