//! BLIP's mixture of encoder and decoder (Li et al. 2022, arXiv 2201.12086, section 3.1).
//!
//! One set of text layers plays three roles. Names are those of Hugging Face's checkpoints; what
//! encoder and decoder share has the encoder's name.

mod contrastive;
mod step;
#[cfg(test)]
mod tests;
mod text;

use std::num::NonZeroUsize;

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use contrastive::{Contrastive, Momentum, Positives, Queue};
pub(crate) use step::BlipStep;

use crate::layers::{
    Activation, Declared, Dropout, KeyValue, indices, layer_norm, linear, linear_rows, normalize,
    thirds,
};
use crate::model::sizes::{SizeError, Text, Vision, check, check_pairs, check_size};
use crate::number::{Blend, Share};
use crate::operation::{attention, cross_entropy};
use crate::parameters::{Declaration, Parameters};
use crate::tokens::Tokens;

/// What text encoder and decoder have in common (table 3 of the paper).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Everything but self-attention: the paper's choice.
    #[default]
    AllButSelfAttention,
    /// Everything.
    All,
    /// Everything but cross-attention.
    AllButCrossAttention,
    /// Nothing.
    None,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All three losses, from pictures and texts as the web has them.
    #[default]
    Pretrain,
    /// The decoder alone, by the language loss.
    FinetuneCaptioner,
    /// The encoders alone, by contrast and matching; captions of one picture are all right.
    FinetuneFilter,
}

/// A BLIP as training files describe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Blip {
    /// What is trained.
    #[serde(default)]
    pub mode: Mode,
    /// What text encoder and decoder share.
    #[serde(default)]
    pub sharing: Sharing,
    /// The image encoder.
    pub vision: Vision,
    /// The text layers.
    pub text: Text,
    /// Features of pictures and texts that are compared.
    #[serde(default = "defaults::projection")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub projection: usize,
    /// Share of features of the text layers that is dropped in training.
    #[serde(default = "defaults::dropout")]
    pub dropout: Share,
    /// Tokens of a text, those that frame it included; what is longer is cut.
    #[serde(default = "defaults::tokens")]
    #[schemars(range(min = 4, max = 1_048_576))]
    pub tokens: usize,
    /// Text that every caption starts with in `finetune-captioner`.
    #[serde(default)]
    pub prompt: String,
    /// Pictures and texts that momentum remembers; a multiple of the batch.
    #[serde(default = "defaults::queue")]
    pub queue: NonZeroUsize,
    /// How much of itself the momentum model keeps in a step.
    #[serde(default = "defaults::momentum")]
    pub momentum: Share,
    /// Weight of the momentum model's opinion in the targets, after the ramp.
    #[serde(default = "defaults::alpha")]
    pub alpha: Blend,
    /// Label smoothing of the language loss.
    #[serde(default = "defaults::smoothing")]
    pub smoothing: Share,
}

mod defaults {
    use std::num::NonZeroUsize;

    use crate::number::{Blend, Share};

    pub(super) fn projection() -> usize {
        256
    }
    pub(super) fn dropout() -> Share {
        Share::known(0.1)
    }
    pub(super) fn tokens() -> usize {
        30
    }
    pub(super) fn queue() -> NonZeroUsize {
        NonZeroUsize::MIN.saturating_add(57_599)
    }
    pub(super) fn momentum() -> Share {
        Share::known(0.995)
    }
    pub(super) fn alpha() -> Blend {
        Blend::known(0.4)
    }
    pub(super) fn smoothing() -> Share {
        Share::known(0.1)
    }
}

/// Which of its roles the text transformer plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Looks both ways.
    Encoder,
    /// Looks back.
    Decoder,
}

/// Epsilon of the image encoder's norms: what Hugging Face's configurations say. (Original
/// checkpoints were trained with 1e-6.)
pub(crate) const VISION_EPSILON: f32 = 1e-5;

/// Epsilon of the text layers' norms.
pub(crate) const TEXT_EPSILON: f32 = 1e-12;

/// Added to every weight that negatives are drawn with in pretraining.
pub(crate) const LEAST_WEIGHT: f32 = 1e-4;

/// Temperature at the start, and the bounds that it is held in.
pub(crate) const TEMPERATURE: f32 = 0.07;
pub(crate) const TEMPERATURE_BOUNDS: (f32, f32) = (0.001, 0.5);

/// Standard deviation of what is drawn for layers of `width` features: BERT's and a vision transformer's 0.02 at their
/// 768, and the same variance of a layer's output at any other. With 0.02 everywhere, the texts of
/// a narrow model are all alike at first, and contrast finds nothing to tell apart.
fn deviation(width: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a width is small")]
    let width = width as f32;
    0.02 * (768.0 / width).sqrt()
}

impl Blip {
    /// Whether the sizes fit each other and a batch of `batch` pairs.
    pub fn check(&self, batch: usize) -> Result<(), SizeError> {
        self.vision.check()?;
        self.text.check()?;
        check_size("projection", self.projection)?;
        check(
            "tokens",
            self.tokens,
            (4..=self.text.positions).contains(&self.tokens),
            &format!("4 to `text.positions`, {}", self.text.positions),
        )?;
        if self.mode == Mode::FinetuneCaptioner {
            return Ok(());
        }
        check_pairs(batch)?;
        check(
            "queue",
            self.queue.get(),
            self.queue.get().is_multiple_of(batch),
            &format!("a multiple of the batch, {batch}"),
        )
    }

    pub(crate) fn has_encoder(&self) -> bool {
        self.mode != Mode::FinetuneCaptioner
    }

    pub(crate) fn has_decoder(&self) -> bool {
        self.mode != Mode::FinetuneFilter
    }

    /// Whether encoder and decoder look at the same keys and values of a picture.
    fn shares_cross_attention(&self) -> bool {
        self.owner(Role::Decoder, text::Part::CrossAttention) == Role::Encoder
    }

    /// All parameters, for a vocabulary of `vocabulary` entries.
    pub(crate) fn declare(&self, vocabulary: usize) -> Vec<Declaration> {
        let mut declared = Declared::new(deviation(self.vision.width));
        self.declare_vision(&mut declared);
        declared.deviation = deviation(self.text.width);
        self.declare_text(&mut declared, vocabulary);
        if self.has_encoder() {
            declared.linear("vision_proj", self.projection, self.vision.width);
            declared.linear("text_proj", self.projection, self.text.width);
            declared.linear("itm_head", 2, self.text.width);
            declared.constant("temp", &[], TEMPERATURE);
        }
        declared.list
    }

    fn declare_vision(&self, declared: &mut Declared) {
        let Vision {
            patch,
            width,
            layers,
            ..
        } = self.vision;
        let embeddings = "vision_model.embeddings";
        let drawn = declared.deviation;
        let class = [1, 1, width];
        declared.table(&format!("{embeddings}.class_embedding"), &class, drawn);
        let places = [1, self.vision.patches() + 1, width];
        declared.table(&format!("{embeddings}.position_embedding"), &places, drawn);
        let kernel = [width, 3, patch, patch];
        declared.weight(&format!("{embeddings}.patch_embedding.weight"), &kernel);
        declared.constant(&format!("{embeddings}.patch_embedding.bias"), &[width], 0.0);
        for layer in 0..layers {
            let layer = format!("vision_model.encoder.layers.{layer}");
            declared.layer_norm(&format!("{layer}.layer_norm1"), width);
            declared.linear(&format!("{layer}.self_attn.qkv"), 3 * width, width);
            declared.linear(&format!("{layer}.self_attn.projection"), width, width);
            declared.layer_norm(&format!("{layer}.layer_norm2"), width);
            declared.linear(&format!("{layer}.mlp.fc1"), self.vision.hidden(), width);
            declared.linear(&format!("{layer}.mlp.fc2"), width, self.vision.hidden());
        }
        declared.layer_norm("vision_model.post_layernorm", width);
    }

    /// Patches `[B, P, 3·p·p]` to image tokens `[B, 1 + P, W]`, the class token first.
    pub(crate) fn image(&self, weights: &Parameters, patches: Tensor<3>) -> Tensor<3> {
        let embeddings = "vision_model.embeddings";
        let x = linear(weights, &format!("{embeddings}.patch_embedding"), patches);
        let [batch, _, width] = x.dims();
        let class = weights.get(&format!("{embeddings}.class_embedding"));
        let class = class.unsqueeze::<3>().expand([batch, 1, width]);
        let places = weights.get(&format!("{embeddings}.position_embedding"));
        let mut x = Tensor::cat(vec![class, x], 1) + places.unsqueeze::<3>();
        for layer in 0..self.vision.layers {
            let layer = format!("vision_model.encoder.layers.{layer}");
            let normed = layer_norm(
                weights,
                &format!("{layer}.layer_norm1"),
                x.clone(),
                VISION_EPSILON,
            );
            let (query, kv) = thirds(&linear(weights, &format!("{layer}.self_attn.qkv"), normed));
            let seen = attention(query, kv, self.vision.heads, None, None);
            x = x + linear(weights, &format!("{layer}.self_attn.projection"), seen);
            let normed = layer_norm(
                weights,
                &format!("{layer}.layer_norm2"),
                x.clone(),
                VISION_EPSILON,
            );
            let hidden = Activation::Gelu.of(linear(weights, &format!("{layer}.mlp.fc1"), normed));
            x = x + linear(weights, &format!("{layer}.mlp.fc2"), hidden);
        }
        layer_norm(weights, "vision_model.post_layernorm", x, VISION_EPSILON)
    }

    /// Image tokens to features `[B, E]` of length 1.
    pub(crate) fn image_features(weights: &Parameters, image: &Tensor<3>) -> Tensor<2> {
        normalize(linear_rows(weights, "vision_proj", first(image)))
    }

    /// Texts that start with \[CLS\] to features `[B, E]` of length 1.
    pub(crate) fn text_features(
        &self,
        weights: &Parameters,
        tokens: &Tokens,
        dropped: Option<&Dropout>,
    ) -> Tensor<2> {
        let x = self.text(weights, Role::Encoder, tokens, None, dropped);
        normalize(linear_rows(weights, "text_proj", first(&x)))
    }

    /// Texts that start with \[ENC\], each beside a picture, to logits `[B, 2]`; class 1 says that they match.
    pub(crate) fn match_logits(
        &self,
        weights: &Parameters,
        tokens: &Tokens,
        cross: &[KeyValue],
        dropped: Option<&Dropout>,
    ) -> Tensor<2> {
        let x = self.text(weights, Role::Encoder, tokens, Some(cross), dropped);
        linear_rows(weights, "itm_head", first(&x))
    }

    /// Image-text matching (section 3.2 of the paper): B right pairs, B pictures that are wrong for
    /// their text, B texts that are wrong for their picture. `tokens` start with \[ENC\].
    pub(crate) fn matching_loss(
        &self,
        weights: &Parameters,
        tokens: &Tokens,
        cross: &[KeyValue],
        negatives: &Negatives,
        dropped: Option<&Dropout>,
    ) -> (Tensor<1>, Tensor<2>) {
        let count = tokens.count();
        let device = cross[0].key.device();
        let wrong = indices(&negatives.images, &device);
        let cross: Vec<KeyValue> = cross
            .iter()
            .map(|right| KeyValue::cat(vec![right.clone(), right.select(&wrong), right.clone()]))
            .collect();
        let texts = (0..count)
            .chain(0..count)
            .chain(negatives.texts.iter().copied());
        let logits = self.match_logits(weights, &tokens.select(texts), &cross, dropped);
        let labels: Vec<usize> = (0..3 * count).map(|row| usize::from(row < count)).collect();
        let loss = cross_entropy(logits.clone(), &labels, 0.0);
        (loss, logits)
    }

    /// Language modelling: every token from those before it, with label smoothing. `tokens` start
    /// with \[DEC\]; the first `prompt` tokens are not asked for.
    pub(crate) fn language_loss(
        &self,
        weights: &Parameters,
        tokens: &Tokens,
        cross: &[KeyValue],
        prompt: usize,
        dropped: Option<&Dropout>,
    ) -> Tensor<1> {
        let x = self.text(weights, Role::Decoder, tokens, Some(cross), dropped);
        let [batch, length, width] = x.dims();
        let (places, labels) = tokens.next(prompt);
        let device = x.device();
        let rows: Tensor<2> = x.reshape([batch * length, width]);
        let rows = rows.select(0, indices(&places, &device));
        cross_entropy(
            self.word_logits(weights, rows),
            &labels,
            self.smoothing.get(),
        )
    }
}

/// Wrong partners: of every text a picture, of every picture a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Negatives {
    /// Picture for text k.
    pub(crate) images: Vec<usize>,
    /// Text for picture k.
    pub(crate) texts: Vec<usize>,
}

/// The first token of every row, `[B, W]`.
fn first(x: &Tensor<3>) -> Tensor<2> {
    x.clone().narrow(1, 0, 1).squeeze_dim(1)
}
