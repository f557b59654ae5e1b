//! ROUGE-L (Lin 2004).

use crate::captions::{Captions, Picture};

/// How much more recall weighs than precision.
const BETA: f64 = 1.2;

/// ROUGE-L of every picture, 0 to 1, in order.
///
/// ```text
/// P = max over references of lcs / |caption|      R = max over references of lcs / |reference|
/// F = (1 + β²) P R / (R + β² P)                   β = 1.2
/// ```
///
/// with `lcs` the length of the longest common subsequence of tokens. The two maxima may come from
/// different references; Google's `rouge-score` is another measure. Equal to pycocoevalcap's
/// `Rouge`, for which a text without tokens is one empty token.
pub fn rouge_l(captions: &Captions) -> Vec<f64> {
    captions.pictures.iter().map(score).collect()
}

fn score(picture: &Picture) -> f64 {
    let caption = &picture.caption.tokens;
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in &picture.references {
        let reference = &reference.tokens;
        #[expect(clippy::cast_precision_loss, reason = "lengths of texts")]
        let share = |common: usize, of: usize| common as f64 / of.max(1) as f64;
        let common = if caption.is_empty() && reference.is_empty() {
            1
        } else {
            common_subsequence(caption, reference)
        };
        precision = precision.max(share(common, caption.len()));
        recall = recall.max(share(common, reference.len()));
    }
    if precision == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

/// Length of the longest common subsequence.
fn common_subsequence(a: &[u32], b: &[u32]) -> usize {
    let mut lengths = vec![0; b.len() + 1];
    for a in a {
        let mut diagonal = 0;
        for (index, b) in b.iter().enumerate() {
            let above = lengths[index + 1];
            lengths[index + 1] = if a == b {
                diagonal + 1
            } else {
                above.max(lengths[index])
            };
            diagonal = above;
        }
    }
    lengths[b.len()]
}
