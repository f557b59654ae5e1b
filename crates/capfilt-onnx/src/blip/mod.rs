//! BLIP's `MED` as ONNX graphs: a vision transformer and a BERT whose layers also read image tokens.
//!
//! Axes in shapes as in [`crate::emit`]; Dv and H are the features of an image and a text token.

pub(crate) mod config;
pub(crate) mod graphs;
mod language;
pub(crate) mod position;
mod text;
mod vision;

use std::path::Path;

use config::Config;
use serde_json::json;

use crate::checkpoint::{Checkpoint, Layout};
use crate::error::ImportError;
use crate::import::{About, ImportOptions, chosen};
use crate::manifest::{CheckpointFormat, Family, Task, TextSizes, VisionSizes};
use crate::preprocessor;
use crate::tokenizer::Tokenizer;

/// Prefix of the text transformer in a captioner.
pub(crate) const DECODER: &str = "text_decoder.bert";
/// Prompt that original BLIP captioners were finetuned with.
const ORIGINAL_PROMPT: &str = "a picture of ";

/// Prefix of the text transformer in a filter.
pub(crate) const ENCODER: &str = "text_encoder";

/// Prefix of a text transformer that the checkpoint has; the decoder first.
pub(crate) fn body(checkpoint: &Checkpoint) -> Option<&'static str> {
    [DECODER, ENCODER]
        .into_iter()
        .find(|prefix| checkpoint.contains(&format!("{prefix}.embeddings.word_embeddings.weight")))
}

/// What the model at `source` is, and what is told of it.
pub(crate) fn describe(
    source: &Path,
    checkpoint: &Checkpoint,
    options: &ImportOptions,
) -> Result<(Config, About), ImportError> {
    let task = task(checkpoint, options.task)?;
    let config = Config::read(source, checkpoint, options.image_size)?;
    let (vision, text) = (&config.vision, &config.text);
    let size = u32::try_from(vision.size).unwrap_or(u32::MAX);
    let original = checkpoint.layout() == Layout::Original;
    let tokenizer = Tokenizer::find(
        options.tokenizer.as_deref(),
        source,
        checkpoint.layout(),
        text,
    )?;
    if task == Task::Captioner && tokenizer.tokens.dec.is_none() {
        return Err(ImportError::Tokenizer {
            reason: "no token starts captions, expected `[DEC]` in the tokenizer or `text_config.bos_token_id` in the configuration".to_owned(),
        });
    }
    let (image, remarks) = if original {
        (preprocessor::default(size), Vec::new())
    } else {
        let model = options.image_size.is_none().then_some(size);
        preprocessor::folder::read(source, size, model)?
    };
    let about = About {
        family: Family::Blip,
        task,
        format: if original {
            CheckpointFormat::BlipPth
        } else {
            CheckpointFormat::HuggingFace
        },
        image,
        vision: VisionSizes {
            layers: vision.layers,
            width: vision.width,
            heads: vision.heads,
            patch: vision.patch,
            tokens: vision.tokens(),
            features: match task {
                Task::Filter => Some(graphs::feature_width(checkpoint)?),
                Task::Captioner => None,
            },
        },
        text: TextSizes {
            layers: text.layers,
            width: text.width,
            heads: text.heads,
            vocabulary: text.vocabulary,
            positions: text.positions,
        },
        tokenizer,
        prompt: if original { ORIGINAL_PROMPT } else { "" },
        decoding: if original {
            // What the original's caption evaluation uses.
            json!({"beam": {"beams": 3, "min-length": 5, "max-length": 20}})
        } else {
            json!("greedy")
        },
        remarks,
    };
    Ok((config, about))
}

/// What the checkpoint can do, or what was asked for if it can do that.
fn task(checkpoint: &Checkpoint, asked: Option<Task>) -> Result<Task, ImportError> {
    let has = |body: &str| {
        checkpoint.contains(&format!(
            "{body}.encoder.layer.0.attention.self.query.weight"
        ))
    };
    let filters = has(ENCODER) && checkpoint.contains("itm_head.weight");
    let neither = format!(
        "the checkpoint can neither caption (no tensors below `{DECODER}`) nor filter (no `{ENCODER}` with `itm_head`): it is no BLIP captioner or retrieval model"
    );
    chosen(asked, has(DECODER), filters, &neither)
}
