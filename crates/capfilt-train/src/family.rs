//! The families behind one face.

use std::path::Path;

use burn::tensor::Tensor;
use capfilt_onnx::{ImportError, Vocabulary, clean_caption};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::blip::{Blip, Mode};
use crate::model::clip::Clip;
use crate::model::coca::Coca;
use crate::model::filip::{Filip, TokenFeatures, similarities};
use crate::model::sizes::{SizeError, Vision};
use crate::parameters::{Declaration, Parameters, floats};
use crate::tagged::Tagged;
use crate::tokens::Tokens;

/// A model as training files describe it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "family", rename_all = "kebab-case")]
pub enum Family {
    /// BLIP's mixture of encoder and decoder.
    Blip(Blip),
    /// CLIP.
    Clip(Clip),
    /// CoCa.
    Coca(Coca),
    /// FILIP.
    Filip(Filip),
}

/// What pictures or texts are compared by.
#[derive(Clone, Debug)]
pub(crate) enum Features {
    /// One vector each, `[B, E]`.
    Vectors(Tensor<2>),
    /// One vector for each of their tokens.
    Tokens(TokenFeatures),
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (family, table) = Tagged::read("family", deserializer)?;
        match family.as_str() {
            "blip" => table.of().map(Self::Blip),
            "clip" => table.of().map(Self::Clip),
            "coca" => table.of().map(Self::Coca),
            "filip" => table.of().map(Self::Filip),
            _ => Err(D::Error::unknown_variant(
                &family,
                &["blip", "clip", "coca", "filip"],
            )),
        }
    }
}

impl Family {
    /// Its name in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Blip(_) => "blip",
            Self::Clip(_) => "clip",
            Self::Coca(_) => "coca",
            Self::Filip(_) => "filip",
        }
    }

    /// Whether the sizes fit each other and a batch of `batch` pairs.
    pub fn check(&self, batch: usize) -> Result<(), SizeError> {
        match self {
            Self::Blip(blip) => blip.check(batch),
            Self::Clip(clip) => clip.check(batch),
            Self::Coca(coca) => coca.check(batch),
            Self::Filip(filip) => filip.check(batch),
        }
    }

    /// All parameters, for a vocabulary of `vocabulary` entries.
    pub(crate) fn declare(&self, vocabulary: usize) -> Vec<Declaration> {
        match self {
            Self::Blip(blip) => blip.declare(vocabulary),
            Self::Clip(clip) => clip.declare(vocabulary),
            Self::Coca(coca) => coca.declare(vocabulary),
            Self::Filip(filip) => filip.declare(vocabulary),
        }
    }

    /// The words of the tokenizer at `path`, or of uncased BERT's.
    pub(crate) fn vocabulary(&self, path: Option<&Path>) -> Result<Vocabulary, ImportError> {
        match self {
            Self::Blip(_) => Vocabulary::of_blip(path),
            Self::Clip(_) | Self::Coca(_) | Self::Filip(_) => Vocabulary::open(path),
        }
    }

    /// Its image encoder.
    pub fn vision(&self) -> &Vision {
        match self {
            Self::Blip(blip) => &blip.vision,
            Self::Clip(clip) => &clip.vision,
            Self::Coca(coca) => &coca.vision,
            Self::Filip(filip) => &filip.vision,
        }
    }

    /// Tokens of the longest text, those that frame it included.
    pub fn most_tokens(&self) -> usize {
        match self {
            Self::Blip(blip) => blip.tokens,
            Self::Clip(clip) => clip.text.positions,
            Self::Coca(coca) => coca.text.positions,
            Self::Filip(filip) => filip.text.positions,
        }
    }

    /// A text as the model is given it: BLIP cleans captions and may start them with a prompt.
    pub fn caption(&self, text: &str) -> String {
        match self {
            Self::Blip(blip) if blip.mode == Mode::FinetuneCaptioner => {
                format!("{}{}", blip.prompt, clean_caption(text))
            }
            Self::Blip(_) => clean_caption(text),
            _ => text.to_owned(),
        }
    }

    /// Tokens that all texts of a batch are filled up to; to the longest if [`None`].
    ///
    /// The class token of CoCa comes after the pads and has a position of its own.
    pub(crate) fn width(&self) -> Option<usize> {
        match self {
            Self::Coca(coca) => Some(coca.text.positions),
            _ => None,
        }
    }

    /// Whether pictures and texts can be compared.
    pub(crate) fn compares(&self) -> bool {
        match self {
            Self::Blip(blip) => blip.has_encoder(),
            Self::Coca(coca) => coca.contrastive_weight.get() > 0.0,
            Self::Clip(_) | Self::Filip(_) => true,
        }
    }

    /// Whether it writes captions.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Blip(blip) => blip.has_decoder(),
            Self::Coca(coca) => coca.caption_weight.get() > 0.0,
            Self::Clip(_) | Self::Filip(_) => false,
        }
    }

    /// What pictures are compared by. Patches `[B, P, 3·p·p]`.
    pub(crate) fn image_features(&self, weights: &Parameters, patches: Tensor<3>) -> Features {
        match self {
            Self::Blip(blip) => {
                let image = blip.image(weights, patches);
                Features::Vectors(Blip::image_features(weights, &image))
            }
            Self::Clip(clip) => Features::Vectors(clip.image_features(weights, patches)),
            Self::Coca(coca) => Features::Vectors(coca.image(weights, patches).features),
            Self::Filip(filip) => Features::Tokens(filip.image_features(weights, patches)),
        }
    }

    /// What texts are compared by.
    pub(crate) fn text_features(&self, weights: &Parameters, tokens: &Tokens) -> Features {
        match self {
            Self::Blip(blip) => Features::Vectors(blip.text_features(weights, tokens, None)),
            Self::Clip(clip) => Features::Vectors(clip.text_features(weights, tokens)),
            Self::Coca(coca) => Features::Vectors(coca.text(weights, tokens).0),
            Self::Filip(filip) => Features::Tokens(filip.text_features(weights, tokens)),
        }
    }
}

impl Features {
    /// How many pictures or texts there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Vectors(rows) => rows.dims()[0],
            Self::Tokens(tokens) => tokens.counts.len(),
        }
    }

    /// Similarities of pictures to texts, `[B, C]` row after row; for token features
    /// `(s^I + s^T) / 2`.
    pub(crate) fn similarities(&self, texts: &Self) -> Vec<f32> {
        match (self, texts) {
            (Self::Vectors(images), Self::Vectors(texts)) => {
                floats(images.clone().matmul(texts.clone().transpose()))
            }
            (Self::Tokens(images), Self::Tokens(texts)) => {
                let (of_images, of_texts) = similarities(images, texts);
                floats((of_images + of_texts.transpose()).mul_scalar(0.5))
            }
            // One family makes both.
            _ => Vec::new(),
        }
    }
}
