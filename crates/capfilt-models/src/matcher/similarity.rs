//! How features of a picture and of a text are compared.

/// What a picture's and a text's features are, and so how they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// One vector of length 1 each.
    Cosine,
    /// A vector of length 1 for every image token and every token of the text, one after the other.
    Tokens {
        /// Features of a token.
        width: usize,
    },
}

impl Similarity {
    /// -1 to 1; of token features the mean of both ways.
    pub fn of(self, image: &[f32], text: &[f32]) -> f32 {
        let [of_image, of_text] = self.both_ways(image, text);
        #[expect(clippy::cast_possible_truncation, reason = "features are f32")]
        let similarity = f64::midpoint(of_image, of_text) as f32;
        similarity
    }

    /// What the picture finds in the text, and what the text finds in the picture.
    pub fn both_ways(self, image: &[f32], text: &[f32]) -> [f64; 2] {
        match self {
            Self::Cosine => [dot(image, text); 2],
            Self::Tokens { width } => late(image, text, width),
        }
    }
}

/// FILIP's late interaction of token features (arXiv 2111.07783):
/// `s^I = 1/n1 Σ_k max_r S[k, r]` and `s^T = 1/n2 Σ_r max_k S[k, r]`, S the cosines of image tokens k
/// and tokens r of the text.
fn late(image: &[f32], text: &[f32], width: usize) -> [f64; 2] {
    let mut best_of_text = vec![f64::NEG_INFINITY; text.len() / width];
    let mut images = 0.0;
    for token in image.chunks_exact(width) {
        let mut best = f64::NEG_INFINITY;
        for (of_text, word) in best_of_text.iter_mut().zip(text.chunks_exact(width)) {
            let cosine = dot(token, word);
            best = best.max(cosine);
            *of_text = of_text.max(cosine);
        }
        images += best;
    }
    let texts: f64 = best_of_text.iter().sum();
    [
        images / count(image.len() / width),
        texts / count(text.len() / width),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a number of tokens")]
fn count(tokens: usize) -> f64 {
    tokens as f64
}

/// Dot product of features.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Token-wise example of FILIP, worked out with NumPy: unit vectors of the two pictures and texts
    /// below, pads left out.
    #[test]
    fn late_interaction_asks_both_ways() {
        let unit = |rows: &[[f32; 3]]| -> Vec<f32> {
            let unit = |row: &[f32; 3]| {
                let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                row.map(|x| x / length)
            };
            rows.iter().flat_map(unit).collect()
        };
        let images = [
            unit(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]),
            unit(&[[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
        ];
        let texts = [
            unit(&[[1.0, 0.2, 0.0], [0.0, 1.0, 0.1]]),
            unit(&[[0.0, 0.1, 1.0], [1.0, 0.0, 0.9], [0.0, 1.0, 1.0]]),
        ];
        let of_images = [[0.935_889_39, 0.658_663_09], [0.522_278_75, 0.997_885_01]];
        let of_texts = [[0.987_808_93, 0.516_634_88], [0.733_666_27, 0.997_885_01]];
        for (i, image) in images.iter().enumerate() {
            for (j, text) in texts.iter().enumerate() {
                let got = late(image, text, 3);
                for (got, expected) in got.into_iter().zip([of_images[i][j], of_texts[i][j]]) {
                    assert!((got - expected).abs() < 1e-6, "{i} {j}: {got} {expected}");
                }
            }
        }
    }
}
