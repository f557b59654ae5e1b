//! CIDEr-D (Vedantam et al. 2015).

use std::array;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::captions::{Captions, Text};

/// Longest n-grams that count.
const ORDERS: usize = 4;
/// Standard deviation of the length penalty, in words.
const SIGMA: f64 = 6.0;

/// CIDEr-D of every picture, 0 to 10, in order; papers print it times 100.
///
/// The weight of an n-gram `g` in a text is `tf(g) · ln(N / max(1, df(g)))`, with `tf` its count
/// there, `N` the number of pictures and `df` the number of pictures that have it in a reference.
/// For a caption `c` and a reference `r` with vectors of such weights:
///
/// ```text
/// s_n(c, r) = exp(-(l_c - l_r)² / 2σ²) · Σ_g min(c_g, r_g) r_g / (|c| |r|)      σ = 6
/// CIDEr-D   = 10 · mean over references of the mean over n = 1..4 of s_n
/// ```
///
/// with `l` the number of bigrams. The scores depend on the whole set; a set of one picture gives
/// 0. Equal to pycocoevalcap's `Cider`, with document frequencies from the references.
pub fn cider_d(captions: &Captions) -> Vec<f64> {
    let frequencies: [HashMap<&[u32], u32>; ORDERS] =
        array::from_fn(|order| document_frequencies(captions, order + 1));
    #[expect(clippy::cast_precision_loss, reason = "far fewer pictures than 2^53")]
    let pictures = (captions.pictures.len() as f64).ln();
    let weigh = |text| Weighted::new(text, pictures, &frequencies);
    captions
        .pictures
        .iter()
        .map(|picture| {
            let caption = weigh(&picture.caption);
            let sum: f64 = picture
                .references
                .iter()
                .map(|reference| caption.similarity(&weigh(reference)))
                .sum();
            #[expect(clippy::cast_precision_loss, reason = "a few references")]
            let count = picture.references.len() as f64;
            10.0 * sum / count
        })
        .collect()
}

/// In how many pictures each n-gram occurs in a reference.
fn document_frequencies(captions: &Captions, n: usize) -> HashMap<&[u32], u32> {
    let mut frequencies = HashMap::new();
    for picture in &captions.pictures {
        let ngrams: BTreeSet<&[u32]> = picture
            .references
            .iter()
            .flat_map(|reference| reference.words.windows(n))
            .collect();
        for ngram in ngrams {
            *frequencies.entry(ngram).or_default() += 1;
        }
    }
    frequencies
}

/// A text's n-grams with their weights.
struct Weighted<'a> {
    /// Per length of n-gram.
    weights: [BTreeMap<&'a [u32], f64>; ORDERS],
    norms: [f64; ORDERS],
    bigrams: usize,
}

impl<'a> Weighted<'a> {
    fn new(text: &'a Text, pictures: f64, frequencies: &[HashMap<&[u32], u32>; ORDERS]) -> Self {
        let weights: [BTreeMap<&[u32], f64>; ORDERS] = array::from_fn(|order| {
            let frequency = |ngram| frequencies[order].get(ngram).copied().unwrap_or(1);
            text.ngrams(order + 1)
                .into_iter()
                .map(|(ngram, count)| {
                    let weight = f64::from(count) * (pictures - f64::from(frequency(ngram)).ln());
                    (ngram, weight)
                })
                .collect()
        });
        let norms = array::from_fn(|order| {
            let squares: f64 = weights[order].values().map(|weight| weight * weight).sum();
            squares.sqrt()
        });
        Self {
            weights,
            norms,
            bigrams: text.words.len().saturating_sub(1),
        }
    }

    /// Mean over n of `s_n`.
    fn similarity(&self, reference: &Self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "lengths of texts")]
        let difference = self.bigrams.abs_diff(reference.bigrams) as f64;
        let penalty = (-difference * difference / (2.0 * SIGMA * SIGMA)).exp();
        let sum: f64 = (0..ORDERS)
            .map(|order| {
                let product: f64 = self.weights[order]
                    .iter()
                    .filter_map(|(ngram, weight)| {
                        let other = reference.weights[order].get(ngram)?;
                        Some(weight.min(*other) * other)
                    })
                    .sum();
                let norms = self.norms[order] * reference.norms[order];
                if norms == 0.0 { 0.0 } else { product / norms }
            })
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "it is 4")]
        let orders = ORDERS as f64;
        penalty * sum / orders
    }
}
