//! Pictures and texts that have features of every token, as in FILIP.

use capfilt_eval::Similarities;
use capfilt_models::Similarity;

/// Features of pictures and texts, compared when they are asked for.
pub(super) struct Late {
    pub(super) similarity: Similarity,
    pub(super) pictures: Vec<Vec<f32>>,
    pub(super) texts: Vec<Vec<f32>>,
}

impl Similarities for Late {
    fn pair(&self, picture: usize, text: usize) -> f32 {
        let (picture, text) = (&self.pictures[picture], &self.texts[text]);
        self.similarity.of(picture, text)
    }

    fn row(&self, picture: usize, row: &mut [f32]) {
        for (text, similarity) in row.iter_mut().enumerate() {
            *similarity = self.pair(picture, text);
        }
    }
}
