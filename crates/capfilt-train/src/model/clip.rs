//! CLIP (Radford et al. 2021, arXiv 2103.00020): two encoders, one vector a picture, one a text.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sizes::{SizeError, Text, Vision, check};
use super::tower::{EPSILON, Tower, unit};
use crate::layers::{Activation, Declared, embed, indices, layer_norm, normalize};
use crate::model::{Losses, Pairs};
use crate::operation::{Mask, cross_entropy};
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

/// The text encoder of CLIP and FILIP: names at the top level.
#[derive(Clone, Debug)]
pub(crate) struct TextTower {
    pub(crate) tower: Tower,
    positions: usize,
    embed: usize,
}

impl TextTower {
    pub(crate) fn new(text: &Text, embed: usize, activation: Activation) -> Self {
        let tower = Tower {
            prefix: "transformer".to_owned(),
            width: text.width,
            layers: text.layers,
            heads: text.heads,
            hidden: text.hidden(),
            activation,
        };
        Self {
            tower,
            positions: text.positions,
            embed,
        }
    }

    pub(crate) fn declare(&self, declared: &mut Declared, vocabulary: usize) {
        let width = self.tower.width;
        declared.table("token_embedding.weight", &[vocabulary, width], 0.02);
        declared.table("positional_embedding", &[self.positions, width], 0.01);
        self.tower.declare(declared);
        declared.layer_norm("ln_final", width);
        declared.table("text_projection", &[width, self.embed], unit(width));
    }

    /// Texts to tokens `[B, T, W]` after the last norm. Every token sees those before it.
    pub(crate) fn run(&self, weights: &Parameters, tokens: &Tokens) -> Tensor<3> {
        let device = weights.get("positional_embedding").device();
        let words = embed(weights, "token_embedding.weight", tokens.tensor(&device));
        let places = weights
            .get("positional_embedding")
            .narrow(0, 0, tokens.width());
        let mask = Mask::causal(tokens.width());
        let x = self
            .tower
            .run(weights, words + places.unsqueeze::<3>(), Some(&mask));
        layer_norm(weights, "ln_final", x, EPSILON)
    }
}

/// The last token that is not a pad, `[B, W]`.
pub(crate) fn last(x: Tensor<3>, tokens: &Tokens) -> Tensor<2> {
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
    /// Whether the sizes fit each other and a batch of `batch` pairs.
    pub fn check(&self, batch: usize) -> Result<(), SizeError> {
        self.vision.check()?;
        self.text.check()?;
        check("embed", self.embed, self.embed > 0, "at least 1")?;
        check(
            "batch",
            batch,
            batch >= 2,
            "at least 2: a batch of one has no wrong pairs",
        )
    }

    fn activation(&self) -> Activation {
        activation(self.quick_gelu)
    }

    fn text_tower(&self) -> TextTower {
        TextTower::new(&self.text, self.embed, self.activation())
    }

    /// All parameters, for a vocabulary of `vocabulary` entries.
    pub fn declare(&self, vocabulary: usize) -> Vec<Declaration> {
        let mut declared = Declared::new(0.02);
        self.vision.declare(&mut declared, self.activation());
        declared.layer_norm("visual.ln_post", self.vision.width);
        declared.table(
            "visual.proj",
            &[self.vision.width, self.embed],
            unit(self.vision.width),
        );
        self.text_tower().declare(&mut declared, vocabulary);
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
        let x = self.vision.tokens(weights, patches, self.activation());
        let class = layer_norm(weights, "visual.ln_post", x.narrow(1, 0, 1), EPSILON);
        normalize(class.squeeze_dim::<2>(1).matmul(weights.get("visual.proj")))
    }

    /// Texts to features `[B, E]` of length 1.
    pub(crate) fn text_features(&self, weights: &Parameters, tokens: &Tokens) -> Tensor<2> {
        let x = last(self.text_tower().run(weights, tokens), tokens);
        normalize(x.matmul(weights.get("text_projection")))
    }

    /// The loss of a batch, `contrastive`.
    pub fn losses(&self, weights: &Parameters, pairs: &Pairs) -> Losses {
        let image = self.image_features(weights, pairs.patches.clone());
        let text = self.text_features(weights, &pairs.tokens);
        let mut losses = Losses::default();
        losses.push("contrastive", self.loss(weights, image, text));
        losses
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
    let right = indices(&right, &images.device());
    (
        cross_entropy(images, right.clone(), 0.0),
        cross_entropy(texts, right, 0.0),
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
