//! Recall@K of pictures and texts that look for each other.
//!
//! As BLIP evaluates retrieval: a picture has one or several texts, a text one picture. A picture
//! finds a text when the best placed of its texts is among the first K; a text finds its picture.
//! Of equal scores the lower index is placed first, in both directions.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::similarity::Similarities;

/// Why pictures and texts are no pairs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PairsError {
    /// A text of a picture that does not exist.
    #[error("text {text} belongs to picture {picture}, but there are {pictures} pictures")]
    NoPicture {
        /// Index of the text.
        text: usize,
        /// Index of its picture.
        picture: usize,
        /// How many pictures there are.
        pictures: usize,
    },
    /// A picture that cannot find anything.
    #[error("picture {picture} has no text: expected one or more for each")]
    NoText {
        /// Index of the picture.
        picture: usize,
    },
}

/// Which text belongs to which picture.
#[derive(Clone, Debug)]
pub struct Pairs {
    picture_of: Vec<usize>,
    texts_of: Vec<Vec<usize>>,
}

impl Pairs {
    /// `picture_of` has the picture of each text; every one of `pictures` has a text.
    pub fn new(pictures: usize, picture_of: Vec<usize>) -> Result<Self, PairsError> {
        let mut texts_of = vec![Vec::new(); pictures];
        for (text, &picture) in picture_of.iter().enumerate() {
            texts_of
                .get_mut(picture)
                .ok_or(PairsError::NoPicture {
                    text,
                    picture,
                    pictures,
                })?
                .push(text);
        }
        if let Some(picture) = texts_of.iter().position(Vec::is_empty) {
            return Err(PairsError::NoText { picture });
        }
        Ok(Self {
            picture_of,
            texts_of,
        })
    }

    /// How many pictures there are.
    pub fn pictures(&self) -> usize {
        self.texts_of.len()
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.picture_of.len()
    }
}

/// At which place each query finds what belongs to it, from 0; `None` where it does not find it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ranks {
    /// For each picture, the place of the best placed of its texts.
    pub of_pictures: Vec<Option<usize>>,
    /// For each text, the place of its picture.
    pub of_texts: Vec<Option<usize>>,
}

impl Ranks {
    /// Ranks by `similarities`, of which only one row is held at a time.
    ///
    /// The similarities are those of the pairs' pictures and texts.
    pub fn new(pairs: &Pairs, similarities: &impl Similarities) -> Self {
        let own: Vec<f32> = (0..pairs.texts())
            .map(|text| similarities.pair(pairs.picture_of[text], text))
            .collect();
        let mut of_texts = vec![0; pairs.texts()];
        let mut row = vec![0.0; pairs.texts()];
        let of_pictures = (0..pairs.pictures())
            .map(|picture| {
                similarities.row(picture, &mut row);
                for (text, rank) in of_texts.iter_mut().enumerate() {
                    let before = before((row[text], picture), (own[text], pairs.picture_of[text]));
                    *rank += usize::from(before);
                }
                let first = first(
                    pairs.texts_of[picture]
                        .iter()
                        .map(|&text| (row[text], text)),
                )?;
                let others = row.iter().enumerate();
                Some(
                    others
                        .filter(|&(text, &score)| before((score, text), first))
                        .count(),
                )
            })
            .collect();
        Self {
            of_pictures,
            of_texts: of_texts.into_iter().map(Some).collect(),
        }
    }

    /// Ranks of `candidates` by a second score of a picture and a text.
    ///
    /// What is not among a query's candidates is not found, so that only recall at K up to the
    /// number of candidates means something; there it is BLIP's, which puts the rest at -100.
    pub fn again(
        pairs: &Pairs,
        candidates: &Candidates,
        score: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let place = |own: &dyn Fn(usize) -> bool, scored: Vec<(f32, usize)>| {
            let first = first(scored.iter().copied().filter(|&(_, index)| own(index)))?;
            Some(
                scored
                    .into_iter()
                    .filter(|&other| before(other, first))
                    .count(),
            )
        };
        let of_pictures = (0..)
            .zip(&candidates.texts_of)
            .map(|(picture, texts)| {
                let scored = texts.iter().map(|&text| (score(picture, text), text));
                place(&|text| pairs.picture_of[text] == picture, scored.collect())
            })
            .collect();
        let of_texts = (0..)
            .zip(&candidates.pictures_of)
            .map(|(text, pictures)| {
                let scored = pictures
                    .iter()
                    .map(|&picture| (score(picture, text), picture));
                place(
                    &|picture| pairs.picture_of[text] == picture,
                    scored.collect(),
                )
            })
            .collect();
        Self {
            of_pictures,
            of_texts,
        }
    }
}

/// The share of queries that find what belongs to them among the first `k`, 0 to 1: Recall@K, or
/// top-k accuracy where the query is a picture and what it looks for a class. `None` without
/// queries.
pub fn recall_at(k: usize, ranks: &[Option<usize>]) -> Option<f64> {
    let found = ranks.iter().flatten().filter(|&&rank| rank < k).count();
    #[expect(clippy::cast_precision_loss, reason = "far fewer queries than 2^53")]
    let share = found as f64 / ranks.len() as f64;
    (!ranks.is_empty()).then_some(share)
}

/// The nearest few of every query, which a second score ranks again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidates {
    /// For each picture the indices of texts, nearest first.
    texts_of: Vec<Vec<usize>>,
    /// For each text the indices of pictures, nearest first.
    pictures_of: Vec<Vec<usize>>,
}

impl Candidates {
    /// The `k` nearest texts of every picture and pictures of every text. One row of
    /// `similarities` is held at a time, and `k` candidates of each query.
    pub fn nearest(pairs: &Pairs, similarities: &impl Similarities, k: usize) -> Self {
        let mut pictures_of = vec![Vec::new(); pairs.texts()];
        let mut row = vec![0.0; pairs.texts()];
        let texts_of = (0..pairs.pictures())
            .map(|picture| {
                similarities.row(picture, &mut row);
                let mut texts = Vec::new();
                for ((text, &score), pictures) in row.iter().enumerate().zip(&mut pictures_of) {
                    hold(&mut texts, k, (score, text));
                    hold(pictures, k, (score, picture));
                }
                indices(texts)
            })
            .collect();
        Self {
            texts_of,
            pictures_of: pictures_of.into_iter().map(indices).collect(),
        }
    }

    /// The texts whose second score with each picture is needed, in order of their indices.
    pub fn texts_to_score(&self) -> Vec<Vec<usize>> {
        let mut wanted: Vec<BTreeSet<usize>> = self
            .texts_of
            .iter()
            .map(|texts| texts.iter().copied().collect())
            .collect();
        for (text, pictures) in self.pictures_of.iter().enumerate() {
            for &picture in pictures {
                wanted[picture].insert(text);
            }
        }
        wanted
            .into_iter()
            .map(|texts| texts.into_iter().collect())
            .collect()
    }
}

/// Whether `a` is placed before `b`: the higher score, then the lower index.
fn before(a: (f32, usize), b: (f32, usize)) -> bool {
    order(a, b) == Ordering::Less
}

fn order(a: (f32, usize), b: (f32, usize)) -> Ordering {
    let by_score = b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal);
    by_score.then(a.1.cmp(&b.1))
}

/// What is placed first.
fn first(scored: impl Iterator<Item = (f32, usize)>) -> Option<(f32, usize)> {
    scored.min_by(|&a, &b| order(a, b))
}

/// Takes `new` among the `k` that are placed first, which are held in order.
fn hold(held: &mut Vec<(f32, usize)>, k: usize, new: (f32, usize)) {
    // Most do not come in, and cost one comparison.
    if held.len() >= k && held.last().is_none_or(|&last| before(last, new)) {
        return;
    }
    let place = held.partition_point(|&other| before(other, new));
    held.truncate(k - 1);
    held.insert(place, new);
}

fn indices(held: Vec<(f32, usize)>) -> Vec<usize> {
    held.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests;
