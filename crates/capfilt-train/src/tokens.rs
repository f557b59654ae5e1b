//! Texts as a batch of token ids.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// B texts of T tokens: every text is a first token, its pieces, a last token and pads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// `[B, T]`, row after row.
    ids: Vec<u32>,
    /// Tokens of every text without pads.
    lengths: Vec<usize>,
    width: usize,
}

impl Tokens {
    /// Texts filled up with `pad` to `width` tokens, or to the longest if that is `None`.
    pub(crate) fn new(texts: &[Vec<u32>], pad: u32, width: Option<usize>) -> Self {
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let width = width.unwrap_or(longest).max(longest);
        let mut ids = Vec::with_capacity(texts.len() * width);
        for text in texts {
            ids.extend_from_slice(text);
            ids.resize(ids.len() + width - text.len(), pad);
        }
        Self {
            ids,
            lengths: texts.iter().map(Vec::len).collect(),
            width,
        }
    }

    /// Number of texts.
    pub(crate) fn count(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of a text, pads included.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Tokens of every text without pads.
    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// One text, pads included.
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        &self.ids[row * self.width..(row + 1) * self.width]
    }

    /// With another first token.
    #[must_use]
    pub(crate) fn starting_with(&self, first: u32) -> Self {
        let mut changed = self.clone();
        changed
            .ids
            .iter_mut()
            .step_by(self.width.max(1))
            .for_each(|id| *id = first);
        changed
    }

    /// The texts at `rows`.
    #[must_use]
    pub(crate) fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let mut selected = Self {
            ids: Vec::new(),
            lengths: Vec::new(),
            width: self.width,
        };
        for row in rows {
            selected.ids.extend_from_slice(self.row(row));
            selected.lengths.push(self.lengths[row]);
        }
        selected
    }

    /// `[B, T]`.
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i64> = self.ids.iter().map(|&id| i64::from(id)).collect();
        Tensor::from_data(TensorData::new(ids, [self.count(), self.width]), device)
    }

    /// What follows every token but the last: places of tokens in `[B·T]` that are asked for the
    /// next one, and that next token. The first `skipped` answers of every text, and pads, are not
    /// asked for.
    pub(crate) fn next(&self, skipped: usize) -> (Vec<usize>, Vec<usize>) {
        let mut places = Vec::new();
        let mut labels = Vec::new();
        for (row, &length) in self.lengths.iter().enumerate() {
            for column in skipped.saturating_sub(1)..length.saturating_sub(1) {
                places.push(row * self.width + column);
                labels.push(self.row(row)[column + 1] as usize);
            }
        }
        (places, labels)
    }
}
