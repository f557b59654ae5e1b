//! What a model makes of data that it does not learn from.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use capfilt_eval::{Captions, Matrix, Pairs, Ranks, cider_d, mean, recall_at};
use capfilt_image::Preprocess;
use capfilt_onnx::{TokenizerError, Vocabulary};
use serde::Serialize;

use crate::caption::captions;
use crate::data::{DataError, DataSource, evaluation};
use crate::family::{Family, Features};
use crate::layers::patches;
use crate::learner::tokens;
use crate::parameters::Parameters;

/// Pictures or texts that go through the model at a time.
const AT_ONCE: usize = 32;

/// Tokens of the longest caption that is written, where the model has as many.
const MOST_TOKENS: usize = 20;

/// Metrics of held-out data; shares are from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldOutNumbers {
    /// Pictures that were looked at.
    pub pictures: usize,
    /// Their texts.
    pub texts: usize,
    /// Recall@1, 5 and 10 of pictures that look for a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_recall: Option<[f64; 3]>,
    /// Recall@1, 5 and 10 of texts that look for their picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_recall: Option<[f64; 3]>,
    /// CIDEr-D of greedy captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cider_d: Option<f64>,
}

impl HeldOutNumbers {
    /// By what the best checkpoint is chosen: the mean of all recalls, or CIDEr-D of a model that
    /// only writes.
    pub fn score(&self) -> Option<f64> {
        let recalls: Vec<f64> = [self.text_recall, self.image_recall]
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        mean(&recalls).or(self.cider_d)
    }
}

/// Held-out data that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeldOutError {
    /// The data cannot be read.
    #[error("the held-out data cannot be used: {0}")]
    Data(#[from] DataError),
    /// Nothing of it can be used.
    #[error(
        "nothing of the held-out data `{shards}` can be used: {unusable} of its pictures cannot be decoded or have no text"
    )]
    Nothing {
        /// The data.
        shards: String,
        /// Rows that were left out.
        unusable: usize,
    },
    /// A text cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model gives numbers that are none.
    #[error("the model's similarities of held-out data are no numbers: it has diverged")]
    NotFinite,
}

/// Measures `weights`, which take no gradients.
pub(crate) fn measure(
    family: &Family,
    weights: &Parameters,
    vocabulary: &Vocabulary,
    source: &DataSource,
    preprocess: &Preprocess,
    device: &Device,
) -> Result<HeldOutNumbers, HeldOutError> {
    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut viewed = evaluation(source, preprocess, workers)?;
    let vision = family.vision();
    let mut texts: Vec<String> = Vec::new();
    let mut picture_of = Vec::new();
    let mut features = Vec::new();
    let mut written = Vec::new();
    let mut pictures = 0;
    loop {
        let mut pixels = Vec::new();
        let mut count = 0;
        for row in viewed.by_ref().take(AT_ONCE) {
            let row = row?;
            pixels.extend(row.pixels);
            picture_of.extend(std::iter::repeat_n(pictures + count, row.texts.len()));
            texts.extend(row.texts);
            count += 1;
        }
        if count == 0 {
            break;
        }
        pictures += count;
        let patches = patches(&pixels, count, vision.image_size, vision.patch, device);
        if family.writes() {
            written.extend(captions(
                family,
                weights,
                vocabulary,
                patches.clone(),
                MOST_TOKENS.min(family.most_tokens()),
            )?);
        }
        if family.compares() {
            features.push(family.image_features(weights, patches));
        }
    }
    if pictures == 0 {
        return Err(HeldOutError::Nothing {
            shards: source.shards.clone(),
            unusable: viewed.corrupt().len(),
        });
    }
    let mut numbers = HeldOutNumbers {
        pictures,
        texts: texts.len(),
        ..HeldOutNumbers::default()
    };
    if family.writes() {
        numbers.cider_d = compared(&written, &texts, &picture_of);
    }
    if family.compares() {
        let of_texts: Result<Vec<Features>, TokenizerError> = texts
            .chunks(AT_ONCE)
            .map(|texts| Ok(family.text_features(weights, &tokens(family, vocabulary, texts)?)))
            .collect();
        let matrix = similarities(&features, &of_texts?, texts.len());
        let matrix = Matrix::new(matrix, texts.len()).map_err(|_| HeldOutError::NotFinite)?;
        let pairs = Pairs::new(pictures, picture_of).map_err(|_| HeldOutError::NotFinite)?;
        let ranks = Ranks::new(&pairs, &matrix);
        let at = |ranks: &[Option<usize>]| [1, 5, 10].map(|k| recall_at(k, ranks).unwrap_or(0.0));
        numbers.text_recall = Some(at(&ranks.of_pictures));
        numbers.image_recall = Some(at(&ranks.of_texts));
    }
    Ok(numbers)
}

/// `[pictures, texts]` of blocks of both.
fn similarities(pictures: &[Features], texts: &[Features], width: usize) -> Vec<f32> {
    let mut matrix = Vec::new();
    for block in pictures {
        let start = matrix.len();
        let mut column = 0;
        for texts in texts {
            let values = block.similarities(texts);
            let (rows, columns) = (block.count(), texts.count());
            matrix.resize(start + rows * width, 0.0);
            for (row, values) in values.chunks_exact(columns).enumerate() {
                matrix[start + row * width + column..][..columns].copy_from_slice(values);
            }
            column += columns;
        }
    }
    matrix
}

fn compared(written: &[String], texts: &[String], picture_of: &[usize]) -> Option<f64> {
    let mut references: Vec<Vec<&String>> = vec![Vec::new(); written.len()];
    for (&picture, text) in picture_of.iter().zip(texts) {
        references[picture].push(text);
    }
    let compared = Captions::tokenized(written, &references).ok()?;
    mean(&cider_d(&compared))
}
