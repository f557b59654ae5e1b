//! FILIP (Yao et al. 2021, arXiv 2111.07783): every image token looks for its word, every word for
//! its image token.

use burn::tensor::{Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clip::{LOGIT_SCALE, activation, both_ways};
use super::dual::Dual;
use super::sizes::{SizeError, Text, Vision};
use crate::layers::{indices, normalize};
use crate::model::{Losses, Pairs};
use crate::number::Part;
use crate::parameters::{Declaration, Parameters, floats};
use crate::tokens::Tokens;

#[cfg(test)]
mod tests;

/// A FILIP as training files describe it. Names are CLIP's; the two projections serve every token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Filip {
    /// The image encoder.
    pub vision: Vision,
    /// The text encoder.
    pub text: Text,
    /// Features of a token that are compared.
    #[serde(default = "embed_default")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub embed: usize,
    /// Activation of the weights that `OpenAI` published, x·σ(1.702 x), instead of the exact GELU.
    #[serde(default)]
    pub quick_gelu: bool,
    /// Share of the tokens of every picture and text that the loss looks at: those with the largest
    /// similarity to any token of the other side of the batch.
    #[serde(default = "kept_default")]
    pub kept_tokens: Part,
}

fn embed_default() -> usize {
    256
}

fn kept_default() -> Part {
    Part::known(0.25)
}

/// Tokens of several pictures or texts: all rows one after the other, and how many each has.
#[derive(Clone, Debug)]
pub(crate) struct TokenFeatures {
    /// `[Σ n, E]`, each of length 1.
    pub(crate) rows: Tensor<2>,
    /// n of every picture or text.
    pub(crate) counts: Vec<usize>,
}

impl Filip {
    fn dual(&self) -> Dual<'_> {
        Dual {
            vision: &self.vision,
            text: &self.text,
            embed: self.embed,
            activation: activation(self.quick_gelu),
        }
    }

    /// Whether the sizes fit each other and a batch of `batch` pairs.
    pub fn check(&self, batch: usize) -> Result<(), SizeError> {
        self.dual().check(batch)
    }

    /// All parameters, for a vocabulary of `vocabulary` entries.
    pub(crate) fn declare(&self, vocabulary: usize) -> Vec<Declaration> {
        let mut declared = self.dual().declare(vocabulary);
        declared.constant("logit_scale", &[], LOGIT_SCALE);
        let mut list = declared.matrices_decay();
        for declaration in &mut list {
            let table = declaration.name.ends_with("embedding")
                || declaration.name.ends_with("embedding.weight");
            declaration.decay &= !table;
        }
        list
    }

    /// Features of all image tokens but the class token's.
    pub(crate) fn image_features(&self, weights: &Parameters, patches: Tensor<3>) -> TokenFeatures {
        let count = self.vision.patches();
        let x = self.dual().image_tokens(weights, patches, 1, count);
        let [batch, _, width] = x.dims();
        let rows = x
            .reshape([batch * count, width])
            .matmul(weights.get("visual.proj"));
        TokenFeatures {
            rows: normalize(rows),
            counts: vec![count; batch],
        }
    }

    /// Features of all tokens that are not pads.
    pub(crate) fn text_features(&self, weights: &Parameters, tokens: &Tokens) -> TokenFeatures {
        let x = self.dual().text_tokens(weights, tokens);
        let [batch, length, width] = x.dims();
        let places: Vec<usize> = tokens
            .lengths()
            .iter()
            .enumerate()
            .flat_map(|(row, &count)| row * length..row * length + count)
            .collect();
        let device = x.device();
        let rows = x
            .reshape([batch * length, width])
            .select(0, indices(&places, &device));
        TokenFeatures {
            rows: normalize(rows.matmul(weights.get("text_projection"))),
            counts: tokens.lengths().to_vec(),
        }
    }

    /// The losses of a batch, `image` (every picture looks for its text) and `text`, half of each.
    pub(crate) fn losses(&self, weights: &Parameters, pairs: &Pairs) -> Losses {
        let images = self.image_features(weights, pairs.patches.clone());
        let texts = self.text_features(weights, &pairs.tokens);
        let (of_images, of_texts) = self.both(weights, &images, &texts);
        let mut losses = Losses::new("image", of_images, 0.5);
        losses.add("text", of_texts, 0.5);
        losses
    }

    /// `(L_I, L_T)`; the loss is their mean.
    fn both(
        &self,
        weights: &Parameters,
        images: &TokenFeatures,
        texts: &TokenFeatures,
    ) -> (Tensor<1>, Tensor<1>) {
        let kept = self.kept_tokens.get();
        let (images, texts) = if kept < 1.0 {
            (images.telling(texts, kept), texts.telling(images, kept))
        } else {
            (images.clone(), texts.clone())
        };
        let (of_images, of_texts) = similarities(&images, &texts);
        let scale = weights.get("logit_scale").exp();
        both_ways(of_images * scale.clone(), of_texts * scale)
    }
}

impl TokenFeatures {
    /// The tokens with the largest similarity to any token of `others`: max(1, ⌊share·n⌋) of
    /// every picture or text. No gradient goes through the choice.
    fn telling(&self, others: &Self, share: f64) -> Self {
        let across = others.rows.clone().inner().transpose();
        let best = floats(self.rows.clone().inner().matmul(across).max_dim(1));
        let mut places = Vec::new();
        let mut counts = Vec::new();
        let mut start = 0;
        for &count in &self.counts {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a number of tokens"
            )]
            let kept = ((count as f64 * share) as usize).max(1);
            let mut order: Vec<usize> = (start..start + count).collect();
            order.sort_by(|&a, &b| best[b].total_cmp(&best[a]));
            order.truncate(kept);
            order.sort_unstable();
            places.extend(order);
            counts.push(kept);
            start += count;
        }
        Self {
            rows: self
                .rows
                .clone()
                .select(0, indices(&places, &self.rows.device())),
            counts,
        }
    }

    /// Places of rows as a rectangle `[B, longest]`, the last token of a row repeated.
    fn rectangle(&self) -> (Vec<usize>, usize) {
        let longest = self.counts.iter().copied().max().unwrap_or(0);
        let mut places = Vec::new();
        let mut start = 0;
        for &count in &self.counts {
            places.extend((0..longest).map(|token| start + token.min(count - 1)));
            start += count;
        }
        (places, longest)
    }
}

/// Token-wise late interaction, for every pair (i, j) of a picture and a text:
///
/// `s^I(i, j) = 1/n1 Σ_k max_r S[k, r]`, `s^T(i, j) = 1/n2 Σ_r max_k S[k, r]`, S = V Wᵀ.
///
/// Returns `s^I` with a row a picture, and `s^T` transposed, with a row a text.
///
/// A shorter picture or text repeats its last token in the rectangle that the maximum is taken
/// over, which changes no maximum; repeated tokens have no part in the mean.
pub(crate) fn similarities(
    images: &TokenFeatures,
    texts: &TokenFeatures,
) -> (Tensor<2>, Tensor<2>) {
    (one_way(images, texts), one_way(texts, images))
}

/// For every asker a and answerer b: the mean over the tokens of a of the largest similarity to any
/// token of b. `[A, B]`.
fn one_way(asking: &TokenFeatures, answering: &TokenFeatures) -> Tensor<2> {
    let device = asking.rows.device();
    let (places, longest) = answering.rectangle();
    let answers = answering.rows.clone().select(0, indices(&places, &device));
    let total = asking.counts.iter().sum::<usize>();
    let answerers = answering.counts.len();
    let best: Tensor<2> = asking
        .rows
        .clone()
        .matmul(answers.transpose())
        .reshape([total, answerers, longest])
        .max_dim(2)
        .squeeze_dim(2);
    // The mean over each asker's tokens is a product with a matrix of shares.
    let mut shares = vec![0.0f32; asking.counts.len() * total];
    let mut start = 0;
    for (row, &count) in asking.counts.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a number of tokens")]
        shares[row * total + start..row * total + start + count].fill(1.0 / count as f32);
        start += count;
    }
    let shares = TensorData::new(shares, [asking.counts.len(), total]);
    Tensor::<2>::from_data(shares, &device).matmul(best)
}
