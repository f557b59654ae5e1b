//! CoCa (Yu et al. 2022, arXiv 2205.01917): one text transformer, whose lower half makes the text's
//! feature and whose upper half looks at the picture and writes the caption.
//!
//! Two variants: the paper's, and `open_clip`'s, whose published weights load. Names are `open_clip`'s.

mod pooler;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::pooler::Pooler;
use super::clip::{LOGIT_SCALE, activation, both_ways};
use super::sizes::{SizeError, Text, Vision, check, check_pairs, check_size};
use super::tower::{EPSILON, Start, Tower, unit};
use crate::layers::{Activation, Declared, embed, indices, layer_norm, normalize};
use crate::model::{Losses, Pairs};
use crate::number::Weight;
use crate::operation::{Mask, cross_entropy};
use crate::parameters::{Declaration, Parameters};
use crate::tokens::Tokens;

/// Whose CoCa.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// `open_clip`'s: one pooler whose first query makes the picture's feature; self-attention and
    /// cross-attention of the upper half have an MLP each.
    #[default]
    OpenClip,
    /// The paper's: a pooler of one query reads what the pooler of many made (cascade), the layers
    /// of the upper half have one MLP, and the two directions of the contrast are added.
    Paper,
}

/// A CoCa as training files describe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Coca {
    /// Whose CoCa.
    #[serde(default)]
    pub variant: Variant,
    /// The image encoder.
    pub vision: Vision,
    /// The lower half of the text transformer. A class token follows the longest text.
    pub text: Text,
    /// Layers of the upper half.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub upper_layers: usize,
    /// Features of pictures and texts that are compared, and of pooled image tokens: those of the
    /// text transformer. The paper's variant wants them for the image encoder too.
    #[serde(default = "defaults::embed")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub embed: usize,
    /// Queries of the pooler that the caption looks at.
    #[serde(default = "defaults::queries")]
    #[schemars(range(min = 2, max = 1_048_576))]
    pub queries: usize,
    /// Attention heads of the poolers.
    #[serde(default = "defaults::pooler_heads")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub pooler_heads: usize,
    /// Whether the class token sees the text and itself. The published weights of `open_clip` were
    /// trained with a mask that is off by one place: the text, the pad that follows it, and not itself.
    #[serde(default)]
    pub correct_cls_mask: bool,
    /// Activation of the weights that `OpenAI` published, x·σ(1.702 x), instead of the exact GELU.
    #[serde(default)]
    pub quick_gelu: bool,
    /// Weight of the contrastive loss; 0 to finetune a captioner.
    #[serde(default = "defaults::contrastive_weight")]
    pub contrastive_weight: Weight,
    /// Weight of the captioning loss.
    #[serde(default = "defaults::caption_weight")]
    pub caption_weight: Weight,
}

mod defaults {
    use crate::number::Weight;

    pub(super) fn embed() -> usize {
        512
    }
    pub(super) fn queries() -> usize {
        256
    }
    pub(super) fn pooler_heads() -> usize {
        8
    }
    pub(super) fn contrastive_weight() -> Weight {
        Weight::known(1.0)
    }
    pub(super) fn caption_weight() -> Weight {
        Weight::known(2.0)
    }
}

/// A picture as the text sees it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// `[B, E]`, of length 1.
    pub(crate) features: Tensor<2>,
    /// `[B, N, E]`.
    pub(crate) tokens: Tensor<3>,
}

impl Coca {
    /// Whether the sizes fit each other and a batch of `batch` pairs.
    pub fn check(&self, batch: usize) -> Result<(), SizeError> {
        self.vision.check()?;
        self.text.check()?;
        check_size("upper-layers", self.upper_layers)?;
        check(
            "embed",
            self.embed,
            self.embed == self.text.width,
            &format!(
                "`text.width`, {}, since the text looks at pooled image tokens",
                self.text.width
            ),
        )?;
        if self.variant == Variant::Paper {
            check(
                "vision.width",
                self.vision.width,
                self.vision.width == self.embed,
                &format!("`embed`, {}, in the paper's variant", self.embed),
            )?;
        }
        check_size("queries", self.queries)?;
        check("queries", self.queries, self.queries >= 2, "at least 2")?;
        check(
            "pooler-heads",
            self.pooler_heads,
            self.pooler_heads > 0 && self.embed.is_multiple_of(self.pooler_heads),
            &format!("a divisor of `embed`, {}", self.embed),
        )?;
        if self.contrastive_weight.get() + self.caption_weight.get() == 0.0 {
            return Err(SizeError {
                field: "contrastive-weight",
                got: 0,
                expected:
                    "a number above 0, since `caption-weight` is 0 too: nothing would be learnt"
                        .to_owned(),
            });
        }
        check_pairs(batch)
    }

    fn activation(&self) -> Activation {
        activation(self.quick_gelu)
    }

    fn half(&self, prefix: &str, layers: usize) -> Tower {
        Tower {
            prefix: prefix.to_owned(),
            width: self.text.width,
            layers,
            heads: self.text.heads,
            hidden: self.text.hidden(),
            activation: self.activation(),
            start: Start::Clip,
        }
    }

    fn lower(&self) -> Tower {
        self.half("text.transformer", self.text.layers)
    }

    fn upper(&self) -> Tower {
        self.half("text_decoder", self.upper_layers)
    }

    /// The pooler whose tokens the caption looks at.
    fn caption_pooler(&self) -> Pooler {
        Pooler {
            name: "visual.attn_pool",
            queries: self.queries,
            width: self.embed,
            source: self.vision.width,
            heads: self.pooler_heads,
        }
    }

    /// The pooler of one query that reads the other's tokens, in the paper's variant.
    fn contrastive_pooler(&self) -> Pooler {
        Pooler {
            name: "visual.attn_pool_contrastive",
            queries: 1,
            source: self.embed,
            ..self.caption_pooler()
        }
    }

    /// All parameters, for a vocabulary of `vocabulary` entries.
    pub(crate) fn declare(&self, vocabulary: usize) -> Vec<Declaration> {
        let mut declared = Declared::new(0.02);
        let width = self.text.width;
        self.vision.declare(&mut declared, self.activation());
        self.caption_pooler().declare(&mut declared);
        if self.variant == Variant::Paper {
            self.contrastive_pooler().declare(&mut declared);
        }
        declared.layer_norm("visual.ln_post", self.embed);
        declared.table("visual.proj", &[self.embed, self.embed], unit(self.embed));
        declared.table("text.token_embedding.weight", &[vocabulary, width], 0.02);
        declared.table(
            "text.positional_embedding",
            &[self.text.positions + 1, width],
            0.01,
        );
        declared.table("text.cls_emb", &[width], 0.01);
        self.lower().declare(&mut declared);
        declared.layer_norm("text.ln_final", width);
        declared.table("text.text_projection", &[width, self.embed], unit(width));
        self.upper().declare(&mut declared);
        match self.variant {
            Variant::OpenClip => self.upper().declare_crossing(&mut declared),
            Variant::Paper => self.upper().declare_looking(&mut declared),
        }
        declared.layer_norm("text_decoder.ln_final", width);
        declared.table(
            "text_decoder.text_projection",
            &[width, vocabulary],
            unit(width),
        );
        declared.constant("logit_scale", &[], LOGIT_SCALE);
        declared.matrices_decay()
    }

    /// Patches `[B, P, 3·p·p]` to what the text sees.
    pub(crate) fn image(&self, weights: &Parameters, patches: Tensor<3>) -> Image {
        let x = self.vision.tokens(weights, patches, self.activation());
        let (pooled, tokens) = match self.variant {
            Variant::OpenClip => {
                let x = self.caption_pooler().pool(weights, x);
                let x = layer_norm(weights, "visual.ln_post", x, EPSILON);
                let captioned = x.clone().narrow(1, 1, self.queries - 1);
                (x.narrow(1, 0, 1), captioned)
            }
            Variant::Paper => {
                let x = layer_norm(weights, "visual.ln_post", x, EPSILON);
                let tokens = self.caption_pooler().pool(weights, x);
                (
                    self.contrastive_pooler().pool(weights, tokens.clone()),
                    tokens,
                )
            }
        };
        let features = pooled
            .squeeze_dim::<2>(1)
            .matmul(weights.get("visual.proj"));
        Image {
            features: normalize(features),
            tokens,
        }
    }

    /// The lower half: features `[B, E]` of length 1 and tokens `[B, T, W]`, of one pass.
    pub(crate) fn text(&self, weights: &Parameters, tokens: &Tokens) -> (Tensor<2>, Tensor<3>) {
        #[cfg(test)]
        tests::count_text_pass();
        let length = tokens.width();
        let device = weights.get("text.cls_emb").device();
        let words = embed(
            weights,
            "text.token_embedding.weight",
            tokens.tensor(&device),
        );
        let [batch, _, width] = words.dims();
        let class = weights
            .get("text.cls_emb")
            .unsqueeze::<3>()
            .expand([batch, 1, width]);
        let places = weights
            .get("text.positional_embedding")
            .narrow(0, 0, length + 1);
        let x = Tensor::cat(vec![words, class], 1) + places.unsqueeze::<3>();
        let lengths = tokens.lengths();
        let correct = self.correct_cls_mask || self.variant == Variant::Paper;
        let mask = Mask::new([batch, length + 1, length + 1], |row, from, to| {
            if from < length {
                to <= from
            } else if correct {
                to < lengths[row] || to == length
            } else {
                to <= lengths[row]
            }
        });
        let x = self.lower().run(weights, x, Some(&mask));
        let class = layer_norm(
            weights,
            "text.ln_final",
            x.clone().narrow(1, length, 1),
            EPSILON,
        );
        let features = class
            .squeeze_dim::<2>(1)
            .matmul(weights.get("text.text_projection"));
        (normalize(features), x.narrow(1, 0, length))
    }

    /// The upper half: tokens `[B, T, W]` of the lower one and image tokens `[B, N, E]` to tokens
    /// `[B, T, W]` after the last norm.
    pub(crate) fn decode(
        &self,
        weights: &Parameters,
        mut x: Tensor<3>,
        image: &Tensor<3>,
    ) -> Tensor<3> {
        let upper = self.upper();
        let mask = Mask::causal(x.dims()[1]);
        for layer in 0..self.upper_layers {
            x = match self.variant {
                Variant::OpenClip => {
                    let x = upper.step(weights, layer, x, Some(&mask));
                    upper.cross(weights, layer, x, image)
                }
                Variant::Paper => upper.step_looking(weights, layer, x, &mask, image),
            };
        }
        layer_norm(weights, "text_decoder.ln_final", x, EPSILON)
    }

    /// Tokens `[R, W]` of the upper half to logits `[R, V]` over words.
    pub(crate) fn word_logits(weights: &Parameters, rows: Tensor<2>) -> Tensor<2> {
        rows.matmul(weights.get("text_decoder.text_projection"))
    }

    /// The losses of a batch: `contrastive`, and `caption`, the mean over all tokens but the first
    /// and the pads of -log p.
    pub(crate) fn losses(&self, weights: &Parameters, pairs: &Pairs) -> Losses {
        let image = self.image(weights, pairs.patches.clone());
        let (features, x) = self.text(weights, &pairs.tokens);
        let (contrastive, caption) = (self.contrastive_weight.get(), self.caption_weight.get());
        let caption_loss = |x| self.caption_loss(weights, x, &image.tokens, &pairs.tokens);
        if contrastive == 0.0 {
            return Losses::new("caption", caption_loss(x), caption);
        }
        let loss = self.contrastive_loss(weights, image.features.clone(), features);
        let mut losses = Losses::new("contrastive", loss, contrastive);
        if caption > 0.0 {
            losses.add("caption", caption_loss(x), caption);
        }
        losses
    }

    /// The contrastive loss of features `[B, E]` of right pairs.
    fn contrastive_loss(
        &self,
        weights: &Parameters,
        images: Tensor<2>,
        texts: Tensor<2>,
    ) -> Tensor<1> {
        let logits = images.matmul(texts.transpose()) * weights.get("logit_scale").exp();
        let (images, texts) = both_ways(logits.clone(), logits.transpose());
        match self.variant {
            Variant::OpenClip => (images + texts).mul_scalar(0.5),
            Variant::Paper => images + texts,
        }
    }

    /// The captioning loss: tokens `[B, T, W]` of the lower half beside image tokens `[B, N, E]`.
    fn caption_loss(
        &self,
        weights: &Parameters,
        x: Tensor<3>,
        image: &Tensor<3>,
        tokens: &Tokens,
    ) -> Tensor<1> {
        let x = self.decode(weights, x, image);
        let [batch, length, width] = x.dims();
        let (places, labels) = tokens.next(1);
        let device = x.device();
        let rows = x
            .reshape([batch * length, width])
            .select(0, indices(&places, &device));
        cross_entropy(Self::word_logits(weights, rows), &labels, 0.0)
    }
}
