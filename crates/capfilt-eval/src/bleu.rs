//! BLEU (Papineni et al. 2002).

use std::collections::BTreeMap;

use crate::captions::{Captions, Text};

/// Longest n-grams that count.
const ORDERS: usize = 4;
/// What pycocoevalcap adds to a count so that no quotient is 0 / 0.
const TINY: f64 = 1e-15;
/// What it adds to a divisor.
const SMALL: f64 = 1e-9;

/// BLEU-1 to BLEU-4 of a whole set, 0 to 1.
///
/// With `p_n` the share of the captions' n-grams that references have, an n-gram counted at most as
/// often as in the one reference of its picture that has most of it, over all pictures together:
///
/// ```text
/// BLEU-N = min(1, exp(1 - r / c)) · (p_1 · … · p_N)^(1/N)
/// ```
///
/// `c` is the captions' length in words and `r` the sum over pictures of the reference length that
/// is closest to the caption's, the shorter of two as close. Equal to pycocoevalcap's `Bleu(4)`,
/// its small constants included.
pub fn bleu(captions: &Captions) -> [f64; 4] {
    let mut correct = [0_u64; ORDERS];
    let mut guessed = [0_u64; ORDERS];
    let mut length = 0;
    let mut reference_length = 0;
    for picture in &captions.pictures {
        let words = picture.caption.words.len();
        length += words;
        reference_length += closest(words, &picture.references);
        for n in 1..=ORDERS {
            let mut most: BTreeMap<&[u32], u32> = BTreeMap::new();
            for reference in &picture.references {
                for (ngram, count) in reference.ngrams(n) {
                    let most = most.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in picture.caption.ngrams(n) {
                let clip = most.get(ngram).copied().unwrap_or(0);
                correct[n - 1] += u64::from(count.min(clip));
                guessed[n - 1] += u64::from(count);
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let quotient = |count: u64, of: u64| (count as f64 + TINY) / (of as f64 + SMALL);
    let ratio = quotient(length as u64, reference_length as u64);
    let brevity = if ratio < 1.0 {
        (1.0 - 1.0 / ratio).exp()
    } else {
        1.0
    };
    let mut product = 1.0;
    let mut order = 0.0;
    std::array::from_fn(|n| {
        product *= quotient(correct[n], guessed[n]);
        order += 1.0;
        brevity * f64::powf(product, 1.0 / order)
    })
}

/// The reference length closest to `words`, the shorter of two as close.
fn closest(words: usize, references: &[Text]) -> usize {
    references
        .iter()
        .map(|reference| reference.words.len())
        .min_by_key(|&length| (length.abs_diff(words), length))
        .unwrap_or(0)
}
