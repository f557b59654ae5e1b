//! `open_clip`'s models as ONNX graphs: CLIP, `CoCa`, and FILIP under CLIP's names.
//!
//! Axes in shapes as in [`crate::emit`]; W are the features of a token, E those that are compared.

pub(crate) mod config;
pub(crate) mod graphs;
#[cfg(test)]
mod tests;
mod text;
mod tokenizer;
mod tower;
mod vision;

use std::path::Path;

use config::Config;
use serde_json::json;

use crate::checkpoint::Checkpoint;
use crate::error::ImportError;
use crate::import::{About, ImportOptions, chosen};
use crate::manifest::{CheckpointFormat, Task, TextSizes, VisionSizes};
use crate::preprocessor;

/// What the model in `folder` is, and what is told of it.
pub(crate) fn describe(
    folder: &Path,
    checkpoint: &Checkpoint,
    options: &ImportOptions,
) -> Result<(Config, About), ImportError> {
    let config = Config::read(folder, checkpoint, options.image_size)?;
    let task = chosen(options.task, config.writer.is_some(), true, "")?;
    let size = u32::try_from(config.vision.size).unwrap_or(u32::MAX);
    let (vision, text) = (&config.vision, &config.text);
    let features = (task == Task::Filter).then_some(config.embed);
    let written = match (task, &config.writer) {
        (Task::Captioner, Some(writer)) => writer.layers,
        _ => 0,
    };
    let about = About {
        family: config.family,
        task,
        format: CheckpointFormat::OpenClip,
        image: preprocessor::open_clip(&config.preprocess, size)?,
        vision: VisionSizes {
            layers: vision.tower.layers,
            width: vision.tower.width,
            heads: vision.tower.heads,
            patch: vision.patch,
            tokens: vision.tokens(),
            features,
        },
        text: TextSizes {
            layers: text.tower.layers + written,
            width: text.tower.width,
            heads: text.tower.heads,
            vocabulary: text.vocabulary,
            positions: text.positions,
        },
        tokenizer: tokenizer::find(options.tokenizer.as_deref(), folder, &config)?,
        prompt: "",
        decoding: json!("greedy"),
        remarks: Vec::new(),
    };
    Ok((config, about))
}
