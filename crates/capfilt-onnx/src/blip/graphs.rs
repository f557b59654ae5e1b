//! The graphs of a package: their names, inputs, outputs and what is between.

use super::config::{Config, Text};
use super::text::{TextInputs, Wanted};
use super::{DECODER, ENCODER};
use crate::checkpoint::Checkpoint;
use crate::emit::{
    self, CrossShape, Emitter, KeyValue, Parameters, key_value_inputs, key_value_outputs,
    text_inputs,
};
use crate::error::ImportError;
use crate::graph::Axis::{Fixed, Named};
use crate::graph::{Element, Graph, Value};
use crate::manifest::Task;

/// Width of the shared space of image and text features, from the projection of images.
pub(crate) fn feature_width(checkpoint: &Checkpoint) -> Result<usize, ImportError> {
    Ok(checkpoint.require("vision_proj.weight", 2)?[0])
}

/// The graph `name` of a package for `task`.
pub(crate) fn graph(
    name: &str,
    config: &Config,
    task: Task,
    parameters: &mut Parameters<'_>,
) -> Result<Graph, ImportError> {
    let (body, filters) = match task {
        Task::Captioner => (DECODER, false),
        Task::Filter => (ENCODER, true),
    };
    match name {
        "vision" => vision(config, parameters, filters),
        "cross" => cross(config, parameters, body),
        "select" => Ok(emit::select(&cross_shape(config))),
        "decoder" => decoder(config, parameters),
        "matcher" => matcher(config, parameters),
        _ => text(config, parameters),
    }
}

/// Axes of the keys and values of an image.
fn cross_shape(config: &Config) -> CrossShape {
    let text = &config.text;
    CrossShape {
        layers: text.layers,
        heads: text.heads,
        tokens: config.vision.tokens(),
        head: text.width / text.heads,
    }
}

/// `pixel_values` to `image_embeds`, and `image_feat` where `features` is set.
fn vision(
    config: &Config,
    parameters: &mut Parameters<'_>,
    features: bool,
) -> Result<Graph, ImportError> {
    let vision = &config.vision;
    let mut emitter = parameters.emitter("vision");
    let shape = [Named("B"), Fixed(3), Fixed(vision.size), Fixed(vision.size)];
    let pixels = emitter.graph.input("pixel_values", Element::F32, &shape);
    let tokens = emitter.vision(&pixels, vision)?;
    let shape = [Named("B"), Fixed(vision.tokens()), Fixed(vision.width)];
    emitter.graph.output("image_embeds", &tokens, &shape);
    if features {
        let width = feature_width(emitter.parameters.checkpoint)?;
        let class = emitter.graph.pick(&tokens, 0, 1);
        let feature = emitter.head(&class, "vision_proj", vision.width, width)?;
        let feature = emitter.normalise(&feature);
        emitter
            .graph
            .output("image_feat", &feature, &[Named("B"), Fixed(width)]);
    }
    Ok(emitter.graph)
}

/// `image_embeds` to `cross_key.{j}` and `cross_value.{j}`.
fn cross(
    config: &Config,
    parameters: &mut Parameters<'_>,
    body: &str,
) -> Result<Graph, ImportError> {
    let mut emitter = parameters.emitter("cross");
    let shape = [
        Named("B"),
        Fixed(config.vision.tokens()),
        Fixed(config.vision.width),
    ];
    let embeds = emitter.graph.input("image_embeds", Element::F32, &shape);
    let pairs = emitter.cross(&embeds, &config.text, body)?;
    let shape = cross_shape(config).axes("B");
    key_value_outputs(&mut emitter.graph, "cross", &pairs, &shape);
    Ok(emitter.graph)
}

/// One decoding step: `input_ids`, `rows`, past and image keys to `logits` and present keys.
fn decoder(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let text = &config.text;
    let head = text.width / text.heads;
    let mut emitter = parameters.emitter("decoder");
    let graph = &mut emitter.graph;
    let input_ids = graph.input("input_ids", Element::I64, &[Named("R"), Named("T")]);
    let rows = graph.input("rows", Element::I64, &[Named("R")]);
    let shape = [Named("Q"), Fixed(text.heads), Named("P"), Fixed(head)];
    let past = key_value_inputs(graph, "past", text.layers, &shape);
    let image = cross_shape(config).inputs(graph);
    let past_length = past.first().map(|pair| graph.size(&pair.key, 2));
    let past: Vec<_> = past.iter().map(|pair| pair.rows(graph, &rows)).collect();
    let past_length = past_length.unwrap_or_else(|| graph.ints(&[0]));

    let tokens = graph.size(&input_ids, 1);
    let mask = emitter.causal_mask(&tokens, &past_length);
    let x = emitter.embed(&input_ids, Some(&past_length), text, DECODER)?;
    let inputs = TextInputs {
        config: text,
        body: DECODER,
        mask,
        past: Some(past),
        image: Some(image),
        wanted: Wanted::Last,
    };
    let (x, present) = emitter.text(&x, &inputs)?;
    let logits = emitter.language_model_head(&x, text)?;
    emitter
        .graph
        .output("logits", &logits, &[Named("R"), Fixed(text.vocabulary)]);
    let shape = [Named("R"), Fixed(text.heads), Named("P+T"), Fixed(head)];
    key_value_outputs(&mut emitter.graph, "present", &present, &shape);
    Ok(emitter.graph)
}

/// `input_ids`, `attention_mask` and image keys to `itm_logits`.
fn matcher(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let text = &config.text;
    let mut emitter = parameters.emitter("matcher");
    let (input_ids, attention_mask) = text_inputs(&mut emitter.graph);
    let image = cross_shape(config).inputs(&mut emitter.graph);
    let x = emitter.encode(&input_ids, &attention_mask, text, Some(image))?;
    let logits = emitter.head(&x, "itm_head", text.width, 2)?;
    emitter
        .graph
        .output("itm_logits", &logits, &[Named("R"), Fixed(2)]);
    Ok(emitter.graph)
}

/// `input_ids` and `attention_mask` to `text_feat`.
fn text(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let text = &config.text;
    let width = feature_width(parameters.checkpoint)?;
    let mut emitter = parameters.emitter("text");
    let (input_ids, attention_mask) = text_inputs(&mut emitter.graph);
    let x = emitter.encode(&input_ids, &attention_mask, text, None)?;
    let feature = emitter.head(&x, "text_proj", text.width, width)?;
    let feature = emitter.normalise(&feature);
    emitter
        .graph
        .output("text_feat", &feature, &[Named("R"), Fixed(width)]);
    Ok(emitter.graph)
}

impl Emitter<'_, '_> {
    /// The first row of every text [R, H], with or without the image.
    fn encode(
        &mut self,
        input_ids: &Value,
        attention_mask: &Value,
        config: &Text,
        image: Option<Vec<KeyValue>>,
    ) -> Result<Value, ImportError> {
        let mask = self.padding_mask(attention_mask);
        let x = self.embed(input_ids, None, config, ENCODER)?;
        let inputs = TextInputs {
            config,
            body: ENCODER,
            mask,
            past: None,
            image,
            wanted: Wanted::First,
        };
        Ok(self.text(&x, &inputs)?.0)
    }
}
