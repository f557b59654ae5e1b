//! Sizes of a model from `open_clip_config.json`.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::checkpoint::{Checkpoint, OPEN_CLIP};
use crate::error::ImportError;
use crate::kind::content;
use crate::manifest::Family;

/// Blocks of a transformer, called `{prefix}.{layer}`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tower {
    pub(crate) prefix: String,
    /// W, features per token.
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Features inside the feed-forward part.
    pub(crate) inner: usize,
    /// x·σ(1.702 x) instead of the exact GELU, as in the weights that `OpenAI` published.
    pub(crate) quick_gelu: bool,
}

impl Tower {
    /// Features per head.
    pub(crate) fn head(&self) -> usize {
        self.width / self.heads
    }
}

/// Queries that look at the image tokens after the last block. The first one's answer is the
/// picture's feature, the others' are what captions are written from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pooler {
    pub(crate) queries: usize,
    pub(crate) heads: usize,
}

/// The image encoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vision {
    pub(crate) tower: Tower,
    /// Pixels on the side of a patch.
    pub(crate) patch: usize,
    /// Pixels on the side of a picture.
    pub(crate) size: usize,
    pub(crate) pooler: Option<Pooler>,
    /// Whether tokens are normalised before the first block.
    pub(crate) ln_pre: bool,
}

impl Vision {
    /// N, image tokens including the class token.
    pub(crate) fn tokens(&self) -> usize {
        (self.size / self.patch).pow(2) + 1
    }

    /// Tokens after pooling, the one that becomes the picture's feature included.
    pub(crate) fn pooled(&self) -> usize {
        self.pooler.map_or(self.tokens(), |pooler| pooler.queries)
    }
}

/// The text encoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    /// What names start with: nothing, or `text.`.
    pub(crate) prefix: String,
    pub(crate) tower: Tower,
    /// V, entries of the vocabulary.
    pub(crate) vocabulary: usize,
    /// Tokens of the longest text.
    pub(crate) positions: usize,
    /// Fills up shorter texts.
    pub(crate) pad: u32,
    /// `argmax`, `eos` and the like.
    pub(crate) pool: String,
    /// Whether `CoCa`'s class token sees every token of the text and itself. In all published weights
    /// the mask is one place off: the class token sees one pad, and itself only after the longest text.
    pub(crate) correct_cls_mask: bool,
}

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) family: Family,
    pub(crate) vision: Vision,
    pub(crate) text: Text,
    /// What writes captions after the text encoder: for every layer a block of its own and one that
    /// looks at the picture.
    pub(crate) writer: Option<Tower>,
    /// E, features that are compared.
    pub(crate) embed: usize,
    /// `preprocess_cfg`.
    pub(crate) preprocess: Value,
}

#[derive(Deserialize)]
struct Raw {
    model_cfg: RawModel,
    // The first exports of this program had it in `model_cfg`, which `open_clip` refuses.
    #[serde(default)]
    capfilt_family: Option<String>,
    #[serde(default)]
    preprocess_cfg: Value,
}

// Fields that are not named here change what a model computes, or are not known to leave it as it
// is: they are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    embed_dim: usize,
    vision_cfg: RawVision,
    text_cfg: RawText,
    #[serde(default)]
    multimodal_cfg: Option<RawWriter>,
    #[serde(default)]
    capfilt_family: Option<String>,
    #[serde(default)]
    quick_gelu: bool,
    // What only training or loading in Python needs.
    #[serde(default, rename = "custom_text")]
    _custom_text: Value,
    #[serde(default, rename = "init_logit_scale")]
    _init_logit_scale: Value,
    #[serde(default, rename = "init_logit_bias")]
    _init_logit_bias: Value,
    #[serde(default, rename = "nonscalar_logit_scale")]
    _nonscalar_logit_scale: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVision {
    image_size: usize,
    patch_size: usize,
    #[serde(default = "twelve")]
    layers: usize,
    #[serde(default = "vision_width")]
    width: usize,
    #[serde(default = "head_width")]
    head_width: usize,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(default)]
    attentional_pool: bool,
    #[serde(default = "pooler_queries")]
    attn_pooler_queries: usize,
    #[serde(default = "eight")]
    attn_pooler_heads: usize,
    #[serde(default)]
    no_ln_pre: bool,
    #[serde(default = "token_pool")]
    pool_type: String,
    // The class token is the same, normalised before or after it was picked.
    #[serde(default, rename = "final_ln_after_pool")]
    _final_ln_after_pool: Value,
    #[serde(default, rename = "output_tokens")]
    _output_tokens: Value,
    #[serde(default, rename = "patch_dropout")]
    _patch_dropout: Value,
    // The table is in the weights, learnt or not.
    #[serde(default, rename = "pos_embed_type")]
    _pos_embed_type: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    #[serde(default = "context")]
    context_length: usize,
    #[serde(default = "vocabulary")]
    vocab_size: usize,
    #[serde(default = "text_width")]
    width: usize,
    #[serde(default = "eight")]
    heads: usize,
    #[serde(default = "twelve")]
    layers: usize,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(default)]
    embed_cls: bool,
    #[serde(default)]
    correct_cls_mask: bool,
    #[serde(default)]
    pad_id: u32,
    #[serde(default = "argmax")]
    pool_type: String,
    // The end token comes from the tokenizer.
    #[serde(default, rename = "eos_id")]
    _eos_id: Value,
    #[serde(default, rename = "output_tokens")]
    _output_tokens: Value,
    // The tokenizer is in the folder.
    #[serde(default, rename = "hf_tokenizer_name")]
    _hf_tokenizer_name: Value,
    #[serde(default, rename = "tokenizer_kwargs")]
    _tokenizer_kwargs: Value,
    #[serde(default, rename = "tokenizer_mode")]
    _tokenizer_mode: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWriter {
    #[serde(default = "text_width")]
    width: usize,
    #[serde(default = "eight")]
    heads: usize,
    #[serde(default = "twelve")]
    layers: usize,
    // `open_clip` reads none of these; the ratio is 4.
    #[serde(default, rename = "context_length")]
    _context_length: Value,
    #[serde(default, rename = "vocab_size")]
    _vocab_size: Value,
    #[serde(default, rename = "mlp_ratio")]
    _mlp_ratio: Value,
    #[serde(default, rename = "dim_head")]
    _dim_head: Value,
    #[serde(default, rename = "n_queries")]
    _n_queries: Value,
    #[serde(default, rename = "attn_pooler_heads")]
    _attn_pooler_heads: Value,
}

// What open_clip's configuration classes assume for a field that is not in the file.
fn twelve() -> usize {
    12
}
fn eight() -> usize {
    8
}
fn vision_width() -> usize {
    768
}
fn text_width() -> usize {
    512
}
fn head_width() -> usize {
    64
}
fn mlp_ratio() -> f64 {
    4.0
}
fn pooler_queries() -> usize {
    256
}
fn context() -> usize {
    77
}
fn vocabulary() -> usize {
    49408
}
fn argmax() -> String {
    "argmax".to_owned()
}
fn token_pool() -> String {
    "tok".to_owned()
}

impl Config {
    /// The model of the folder `folder`; `size` asks for another picture size.
    pub(crate) fn read(
        folder: &Path,
        checkpoint: &Checkpoint,
        size: Option<u32>,
    ) -> Result<Self, ImportError> {
        let path = folder.join(OPEN_CLIP);
        let text = content::read(&path)?;
        let raw: Raw = serde_json::from_slice(&text).map_err(|error| ImportError::Malformed {
            path,
            kind: "the configuration of an open_clip model that this program knows",
            reason: error.to_string(),
        })?;
        let prefix = if checkpoint.contains("text.token_embedding.weight") {
            "text."
        } else {
            ""
        };
        let config = raw.checked(prefix)?;
        if let Some(size) = size
            && size as usize != config.vision.size
        {
            return Err(refuse(
                "image size",
                format!(
                    "{size} pixels, expected {}: the position table of an open_clip model is not resized",
                    config.vision.size
                ),
            ));
        }
        Ok(config)
    }
}

impl Raw {
    fn checked(self, prefix: &str) -> Result<Config, ImportError> {
        let Self {
            model_cfg: model,
            capfilt_family,
            preprocess_cfg: preprocess,
        } = self;
        let family = model.family(capfilt_family.or(model.capfilt_family.clone()).as_deref())?;
        let quick_gelu = model.quick_gelu;
        let (vision, text) = (&model.vision_cfg, &model.text_cfg);
        let tower = |prefix: String, width, layers, heads, ratio: f64| Tower {
            prefix,
            width,
            layers,
            heads,
            inner: inner(width, ratio),
            quick_gelu,
        };
        let writer = model.multimodal_cfg.as_ref().map(|writer| {
            let prefix = "text_decoder".to_owned();
            tower(
                prefix,
                writer.width,
                writer.layers,
                writer.heads,
                mlp_ratio(),
            )
        });
        let heads = vision.width / vision.head_width.max(1);
        let config = Config {
            family,
            vision: Vision {
                tower: tower(
                    "visual.transformer".to_owned(),
                    vision.width,
                    vision.layers,
                    heads,
                    vision.mlp_ratio,
                ),
                patch: vision.patch_size,
                size: vision.image_size,
                pooler: vision.attentional_pool.then_some(Pooler {
                    queries: vision.attn_pooler_queries,
                    heads: vision.attn_pooler_heads,
                }),
                ln_pre: !vision.no_ln_pre,
            },
            text: Text {
                prefix: prefix.to_owned(),
                tower: tower(
                    format!("{prefix}transformer"),
                    text.width,
                    text.layers,
                    text.heads,
                    text.mlp_ratio,
                ),
                vocabulary: text.vocab_size,
                positions: text.context_length,
                pad: text.pad_id,
                pool: text.pool_type.clone(),
                correct_cls_mask: text.correct_cls_mask,
            },
            writer,
            embed: model.embed_dim,
            preprocess,
        };
        // Of FILIP, which compares all tokens, the image encoder need not pick one.
        let picks = vision.pool_type == "tok";
        let picks_none = vision.pool_type == "none" && family == Family::Filip;
        if !picks && !picks_none {
            let reason = format!("`{}`, expected `tok`", vision.pool_type);
            return Err(refuse("vision_cfg.pool_type", reason));
        }
        if text.embed_cls != (family == Family::Coca) {
            let reason = format!(
                "{}, expected true for CoCa and false otherwise",
                text.embed_cls
            );
            return Err(refuse("text_cfg.embed_cls", reason));
        }
        config.check()?;
        Ok(config)
    }
}

impl RawModel {
    fn family(&self, said: Option<&str>) -> Result<Family, ImportError> {
        match (&self.multimodal_cfg, said) {
            (Some(_), None | Some("coca")) => Ok(Family::Coca),
            (None, Some("filip")) => Ok(Family::Filip),
            (None, None | Some("clip")) => Ok(Family::Clip),
            (writer, Some(other)) => Err(refuse(
                "capfilt_family",
                format!(
                    "`{other}` {} `multimodal_cfg`, expected `coca` with it, `clip` or `filip` without it",
                    if writer.is_some() { "with" } else { "without" }
                ),
            )),
        }
    }
}

impl Config {
    /// Refuses what no graph can be built for.
    fn check(&self) -> Result<(), ImportError> {
        let (vision, text) = (&self.vision, &self.text);
        for (field, value) in [
            ("embed_dim", self.embed),
            ("vision_cfg.image_size", vision.size),
            ("vision_cfg.patch_size", vision.patch),
            ("text_cfg.vocab_size", text.vocabulary),
            ("text_cfg.context_length", text.positions),
        ] {
            check_count(field, value)?;
        }
        check_tower("vision_cfg", &vision.tower)?;
        check_tower("text_cfg", &text.tower)?;
        if !vision.size.is_multiple_of(vision.patch) || vision.size > 1 << 14 {
            let reason = format!(
                "{} pixels, expected a multiple of the patch size {} up to {}",
                vision.size,
                vision.patch,
                1 << 14
            );
            return Err(refuse("vision_cfg.image_size", reason));
        }
        if let Some(pooler) = vision.pooler {
            if self.family == Family::Filip {
                let reason = "true, expected false: FILIP compares image tokens".to_owned();
                return Err(refuse("vision_cfg.attentional_pool", reason));
            }
            if pooler.queries < 2 || pooler.queries > 1 << 20 {
                let reason = format!("{}, expected 2 or more", pooler.queries);
                return Err(refuse("vision_cfg.attn_pooler_queries", reason));
            }
            check_heads("vision_cfg.attn_pooler_heads", self.embed, pooler.heads)?;
        }
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        check_tower("multimodal_cfg", writer)?;
        for (field, got, expected) in [
            ("multimodal_cfg.width", writer.width, text.tower.width),
            ("multimodal_cfg.heads", writer.heads, text.tower.heads),
            ("width of image tokens", self.image_width(), writer.width),
        ] {
            if got != expected {
                let reason = format!("{got}, expected {expected} as the text encoder has");
                return Err(refuse(field, reason));
            }
        }
        Ok(())
    }

    /// Features of an image token after pooling.
    pub(crate) fn image_width(&self) -> usize {
        match self.vision.pooler {
            Some(_) => self.embed,
            None => self.vision.tower.width,
        }
    }
}

fn check_count(field: &str, value: usize) -> Result<(), ImportError> {
    // The largest tensor of such a model still has a size that fits 64 bits.
    if value == 0 || value > 1 << 20 {
        return Err(refuse(field, format!("{value}, expected 1 to {}", 1 << 20)));
    }
    Ok(())
}

fn check_heads(field: &str, width: usize, heads: usize) -> Result<(), ImportError> {
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(refuse(
            field,
            format!("{heads} heads do not divide the width {width}"),
        ));
    }
    Ok(())
}

fn check_tower(table: &str, tower: &Tower) -> Result<(), ImportError> {
    check_count(&format!("{table}.width"), tower.width)?;
    check_count(&format!("{table}.layers"), tower.layers)?;
    check_count(&format!("{table}.mlp_ratio"), tower.inner)?;
    check_heads(&format!("{table}.heads"), tower.width, tower.heads)
}

/// Features inside the feed-forward part, rounded down as Python's `int` does.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "widths are small, and what is out of range saturates and is refused"
)]
fn inner(width: usize, ratio: f64) -> usize {
    (width as f64 * ratio) as usize
}

pub(super) fn refuse(field: &str, reason: String) -> ImportError {
    ImportError::Config {
        field: field.to_owned(),
        reason,
    }
}
