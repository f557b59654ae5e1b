//! CLIP (Radford et al. 2021, arXiv 2103.00020): two encoders, one vector a picture, one a text.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dual::Dual;
use super::sizes::{SizeError, Text, Vision};
use crate::layers::{Activation, indices, normalize};
use crate::model::{Losses, Pairs};
use crate::operation::cross_entropy;
use crate::parameters::{Declaration, Parameters};
use crate::tokens::Tokens;

#[cfg(test)]
pub(super) mod tests;

/// How pairs are contrasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClipLoss {
    /// Every picture chooses among the texts of the batch, and the other way round.
    #[default]
    Softmax,
    /// Every pair of the batch is right or wrong by itself (`SigLIP`, arXiv 2303.15343).
    Sigmoid,
}

/// A CLIP as training files describe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Clip {
    /// The image encoder.
    pub vision: Vision,
    /// The text encoder.
    pub text: Text,
    /// Features of pictures and texts that are compared.
    #[serde(default = "embed_default")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub embed: usize,
    /// Activation of the weights that `OpenAI` published, x·σ(1.702 x), instead of the exact GELU.
    #[serde(default)]
    pub quick_gelu: bool,
    /// How pairs are contrasted.
    #[serde(default)]
    pub loss: ClipLoss,
}

fn embed_default() -> usize {
    512
}

/// ln(1/0.07), where the scale starts.
pub(crate) const LOGIT_SCALE: f32 = 2.659_26;

/// ln(100), above which the scale does not go.
pub(crate) const MOST_LOGIT_SCALE: f32 = 4.605_17;

pub(crate) fn activation(quick: bool) -> Activation {
    if quick {
        Activation::QuickGelu
    } else {
        Activation::Gelu
    }
}

/// The last token that is not a pad, `[B, W]`.
fn last(x: Tensor<3>, tokens: &Tokens) -> Tensor<2> {
    let [batch, length, width] = x.dims();
    let places: Vec<usize> = tokens
        .lengths()
        .iter()
        .enumerate()
        .map(|(row, &tokens)| row * length + tokens - 1)
        .collect();
    let device = x.device();
    x.reshape([batch * length, width])
        .select(0, indices(&places, &device))
}

impl Clip {
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
        match self.loss {
            ClipLoss::Softmax => declared.constant("logit_scale", &[], LOGIT_SCALE),
            ClipLoss::Sigmoid => {
                declared.constant("logit_scale", &[], 10f32.ln());
                declared.constant("logit_bias", &[], -10.0);
            }
        }
        declared.matrices_decay()
    }

    /// Pictures to features `[B, E]` of length 1.
    pub(crate) fn image_features(&self, weights: &Parameters, patches: Tensor<3>) -> Tensor<2> {
        let class = self.dual().image_tokens(weights, patches, 0, 1);
        normalize(class.squeeze_dim::<2>(1).matmul(weights.get("visual.proj")))
    }

    /// Texts to features `[B, E]` of length 1.
    pub(crate) fn text_features(&self, weights: &Parameters, tokens: &Tokens) -> Tensor<2> {
        let x = last(self.dual().text_tokens(weights, tokens), tokens);
        normalize(x.matmul(weights.get("text_projection")))
    }

    /// The loss of a batch, `contrastive`.
    pub(crate) fn losses(&self, weights: &Parameters, pairs: &Pairs) -> Losses {
        let image = self.image_features(weights, pairs.patches.clone());
        let text = self.text_features(weights, &pairs.tokens);
        Losses::new("contrastive", self.loss(weights, image, text), 1.0)
    }

    /// The loss of features `[B, E]` of right pairs.
    fn loss(&self, weights: &Parameters, image: Tensor<2>, text: Tensor<2>) -> Tensor<1> {
        let similarity = image.matmul(text.transpose());
        let logits = similarity * weights.get("logit_scale").exp();
        match self.loss {
            ClipLoss::Softmax => {
                let (images, texts) = both_ways(logits.clone(), logits.transpose());
                (images + texts).mul_scalar(0.5)
            }
            ClipLoss::Sigmoid => pairwise(logits + weights.get("logit_bias")),
        }
    }
}

/// Mean cross-entropy of the right pairs: of every picture over texts, of every text over pictures.
/// Both `[B, B]`, rows ask.
pub(crate) fn both_ways(images: Tensor<2>, texts: Tensor<2>) -> (Tensor<1>, Tensor<1>) {
    let count = images.dims()[0];
    let right: Vec<usize> = (0..count).collect();
    (
        cross_entropy(images, &right, 0.0),
        cross_entropy(texts, &right, 0.0),
    )
}

/// -Σ log σ(z·logit)/B, z = 1 for right pairs and -1 for the others. `[B, B]`.
fn pairwise(logits: Tensor<2>) -> Tensor<1> {
    let [count, _] = logits.dims();
    let signs: Vec<f32> = (0..count * count)
        .map(|place| {
            if place / count == place % count {
                1.0
            } else {
                -1.0
            }
        })
        .collect();
    let signs = Tensor::<2>::from_data(TensorData::new(signs, [count, count]), &logits.device());
    #[expect(clippy::cast_precision_loss, reason = "the size of a batch")]
    let rows = count as f64;
    log_sigmoid(logits * signs).sum().neg().div_scalar(rows)
}
