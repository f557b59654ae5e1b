//! Sizes of a BLIP model: from `config.json`, or from the tensors of an original checkpoint.

use std::path::Path;

use serde::Deserialize;

use crate::checkpoint::{Checkpoint, Layout};
use crate::error::ImportError;
use crate::kind::content;

/// Width of one attention head in every BLIP that was published.
const HEAD_WIDTH: usize = 64;
/// Layer normalisation epsilon of the original image encoder; the file does not say it.
const ORIGINAL_VISION_EPS: f32 = 1e-6;
/// Layer normalisation epsilon of BERT.
const TEXT_EPS: f32 = 1e-12;

/// Sizes of the image encoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vision {
    /// Dv, features per token.
    pub(crate) width: usize,
    /// Number of blocks.
    pub(crate) layers: usize,
    /// Attention heads.
    pub(crate) heads: usize,
    /// Features inside the feed-forward part.
    pub(crate) inner: usize,
    /// Pixels on the side of a patch.
    pub(crate) patch: usize,
    /// Pixels on the side of the picture that the position table was made for.
    pub(crate) trained_size: usize,
    /// Pixels on the side of the picture that the package takes.
    pub(crate) size: usize,
    /// Epsilon of layer normalisation.
    pub(crate) eps: f32,
}

impl Vision {
    /// N, image tokens including the class token.
    pub(crate) fn tokens(&self) -> usize {
        let grid = self.size / self.patch;
        grid * grid + 1
    }
}

/// Sizes and token ids of the text transformer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    /// H, features per token.
    pub(crate) width: usize,
    /// Number of layers.
    pub(crate) layers: usize,
    /// Attention heads.
    pub(crate) heads: usize,
    /// Features inside the feed-forward part.
    pub(crate) inner: usize,
    /// V, entries of the vocabulary.
    pub(crate) vocabulary: usize,
    /// Longest sequence.
    pub(crate) positions: usize,
    /// Features of an image token that cross-attention reads.
    pub(crate) image_width: usize,
    /// Epsilon of layer normalisation.
    pub(crate) eps: f32,
    /// [DEC], which starts a caption.
    pub(crate) bos: Option<u32>,
    /// [SEP], which ends a text.
    pub(crate) sep: Option<u32>,
    /// [PAD].
    pub(crate) pad: Option<u32>,
}

/// Sizes of a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Image encoder.
    pub(crate) vision: Vision,
    /// Text transformer.
    pub(crate) text: Text,
}

#[derive(Deserialize)]
struct RawConfig {
    vision_config: RawVision,
    text_config: RawText,
}

#[derive(Deserialize)]
struct RawVision {
    #[serde(default = "vision_width")]
    hidden_size: usize,
    #[serde(default = "twelve")]
    num_hidden_layers: usize,
    #[serde(default = "twelve")]
    num_attention_heads: usize,
    #[serde(default = "inner")]
    intermediate_size: usize,
    #[serde(default = "image_size")]
    image_size: usize,
    #[serde(default = "patch_size")]
    patch_size: usize,
    #[serde(default = "vision_eps")]
    layer_norm_eps: f32,
    #[serde(default = "gelu")]
    hidden_act: String,
}

#[derive(Deserialize)]
struct RawText {
    #[serde(default = "vision_width")]
    hidden_size: usize,
    #[serde(default = "twelve")]
    num_hidden_layers: usize,
    #[serde(default = "eight")]
    num_attention_heads: usize,
    #[serde(default = "inner")]
    intermediate_size: usize,
    #[serde(default = "vocabulary")]
    vocab_size: usize,
    #[serde(default = "positions")]
    max_position_embeddings: usize,
    #[serde(default)]
    encoder_hidden_size: Option<usize>,
    #[serde(default = "text_eps")]
    layer_norm_eps: f32,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default)]
    bos_token_id: Option<u32>,
    #[serde(default)]
    sep_token_id: Option<u32>,
    #[serde(default)]
    pad_token_id: Option<u32>,
}

// What Hugging Face's configuration classes assume for a field that is not in the file.
fn vision_width() -> usize {
    768
}
fn twelve() -> usize {
    12
}
fn eight() -> usize {
    8
}
fn inner() -> usize {
    3072
}
fn image_size() -> usize {
    384
}
fn patch_size() -> usize {
    16
}
fn vocabulary() -> usize {
    30524
}
fn positions() -> usize {
    512
}
fn vision_eps() -> f32 {
    1e-5
}
fn text_eps() -> f32 {
    TEXT_EPS
}
fn gelu() -> String {
    "gelu".to_owned()
}

impl Config {
    /// Sizes of the checkpoint at `path`; `size` asks for another picture size.
    pub(crate) fn read(
        path: &Path,
        checkpoint: &Checkpoint,
        size: Option<u32>,
    ) -> Result<Self, ImportError> {
        let mut config = match checkpoint.layout() {
            Layout::Folder | Layout::OpenClip => Self::from_json(&path.join("config.json"))?,
            Layout::Original => Self::from_tensors(checkpoint)?,
        };
        if let Some(size) = size {
            config.vision.size = size as usize;
        }
        config.check()?;
        Ok(config)
    }

    fn from_json(path: &Path) -> Result<Self, ImportError> {
        let text = content::read(path)?;
        let malformed = |reason: String| ImportError::Malformed {
            path: path.to_owned(),
            kind: "the configuration of a BLIP model",
            reason,
        };
        let RawConfig {
            vision_config: vision,
            text_config: text,
        } = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        for (field, activation) in [
            ("vision_config.hidden_act", &vision.hidden_act),
            ("text_config.hidden_act", &text.hidden_act),
        ] {
            if activation != "gelu" {
                return Err(refuse(field, format!("`{activation}`, expected `gelu`")));
            }
        }
        Ok(Self {
            vision: Vision {
                width: vision.hidden_size,
                layers: vision.num_hidden_layers,
                heads: vision.num_attention_heads,
                inner: vision.intermediate_size,
                patch: vision.patch_size,
                trained_size: vision.image_size,
                size: vision.image_size,
                eps: vision.layer_norm_eps,
            },
            text: Text {
                width: text.hidden_size,
                layers: text.num_hidden_layers,
                heads: text.num_attention_heads,
                inner: text.intermediate_size,
                vocabulary: text.vocab_size,
                positions: text.max_position_embeddings,
                image_width: text.encoder_hidden_size.unwrap_or(vision.hidden_size),
                eps: text.layer_norm_eps,
                bos: text.bos_token_id,
                sep: text.sep_token_id,
                pad: text.pad_token_id,
            },
        })
    }

    /// Sizes from tensor shapes. The number of heads is not among them: 64 features per head, as
    /// in every original BLIP.
    fn from_tensors(checkpoint: &Checkpoint) -> Result<Self, ImportError> {
        let kernel = checkpoint.require("vision_model.embeddings.patch_embedding.weight", 4)?;
        let (width, patch) = (kernel[0], kernel[3]);
        let table = checkpoint.require("vision_model.embeddings.position_embedding", 3)?;
        let grid = table[1].saturating_sub(1).isqrt();
        let inner = checkpoint.require("vision_model.encoder.layers.0.mlp.fc1.weight", 2)?[0];
        let trained_size = grid * patch;
        let vision = Vision {
            width,
            layers: count(checkpoint, "vision_model.encoder.layers."),
            heads: (width / HEAD_WIDTH).max(1),
            inner,
            patch,
            trained_size,
            size: trained_size,
            eps: ORIGINAL_VISION_EPS,
        };
        let body = super::body(checkpoint).ok_or_else(|| ImportError::Task {
            reason: "the checkpoint has no text transformer, expected tensors below `text_decoder.bert` or `text_encoder`".to_owned(),
        })?;
        let words = checkpoint.require(&format!("{body}.embeddings.word_embeddings.weight"), 2)?;
        let (vocabulary, width) = (words[0], words[1]);
        let layer = format!("{body}.encoder.layer.");
        let key = checkpoint.require(&format!("{layer}0.crossattention.self.key.weight"), 2)?;
        let positions =
            checkpoint.require(&format!("{body}.embeddings.position_embeddings.weight"), 2)?;
        let inner = checkpoint.require(&format!("{layer}0.intermediate.dense.weight"), 2)?;
        let text = Text {
            width,
            layers: count(checkpoint, &layer),
            heads: (width / HEAD_WIDTH).max(1),
            inner: inner[0],
            vocabulary,
            positions: positions[0],
            image_width: key[1],
            eps: TEXT_EPS,
            bos: None,
            sep: None,
            pad: None,
        };
        Ok(Self { vision, text })
    }

    /// Refuses what no graph can be built for, and what is known to give wrong results.
    fn check(&self) -> Result<(), ImportError> {
        let (vision, text) = (&self.vision, &self.text);
        for (field, value) in [
            ("vision_config.hidden_size", vision.width),
            ("vision_config.num_hidden_layers", vision.layers),
            ("vision_config.num_attention_heads", vision.heads),
            ("vision_config.intermediate_size", vision.inner),
            ("vision_config.patch_size", vision.patch),
            ("vision_config.image_size", vision.trained_size),
            ("text_config.hidden_size", text.width),
            ("text_config.num_hidden_layers", text.layers),
            ("text_config.num_attention_heads", text.heads),
            ("text_config.intermediate_size", text.inner),
            ("text_config.vocab_size", text.vocabulary),
            ("text_config.max_position_embeddings", text.positions),
        ] {
            // The largest tensor of such a model still has a size that fits 64 bits.
            if value == 0 || value > 1 << 20 {
                return Err(refuse(field, format!("{value}, expected 1 to {}", 1 << 20)));
            }
        }
        for (field, width, heads) in [
            (
                "vision_config.num_attention_heads",
                vision.width,
                vision.heads,
            ),
            ("text_config.num_attention_heads", text.width, text.heads),
        ] {
            if !width.is_multiple_of(heads) {
                let reason = format!("{heads} heads do not divide the width {width}");
                return Err(refuse(field, reason));
            }
        }
        if text.width == 768 && text.heads == 8 {
            return Err(refuse(
                "text_config.num_attention_heads",
                "8 (or absent, which means 8) at width 768: that default gives wrong scores without any error, because BLIP's text transformer was trained with 12 heads; write 12 into `config.json`".to_owned(),
            ));
        }
        for (field, size) in [
            ("vision_config.image_size", vision.trained_size),
            ("image size", vision.size),
        ] {
            if size == 0 || size > 1 << 14 || size % vision.patch != 0 {
                return Err(refuse(
                    field,
                    format!(
                        "{size} pixels, expected a multiple of the patch size {} up to {}",
                        vision.patch,
                        1 << 14
                    ),
                ));
            }
        }
        Ok(())
    }
}

fn refuse(field: &str, reason: String) -> ImportError {
    ImportError::Config {
        field: field.to_owned(),
        reason,
    }
}

/// Number of distinct integers that follow `prefix` in tensor names.
fn count(checkpoint: &Checkpoint, prefix: &str) -> usize {
    let numbers: std::collections::BTreeSet<_> = checkpoint
        .names()
        .filter_map(|name| {
            name.strip_prefix(prefix)?
                .split('.')
                .next()?
                .parse::<u32>()
                .ok()
        })
        .collect();
    numbers.len()
}
