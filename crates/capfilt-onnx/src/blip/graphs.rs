//! The graphs of a package: their names, inputs, outputs and what is between.

use super::config::{Config, Text};
use super::emitter::Emitter;
pub(crate) use super::emitter::Parameters;
use super::text::{KeyValue, TextInputs, Wanted};
use super::{DECODER, ENCODER};
use crate::checkpoint::Checkpoint;
use crate::error::ImportError;
use crate::graph::Axis::{Fixed, Named};
use crate::graph::{Axis, Element, Graph, Value};
use crate::package::WEIGHTS;

/// Width of the shared space of image and text features, from the projection of images.
pub(crate) fn feature_width(checkpoint: &Checkpoint) -> Result<usize, ImportError> {
    Ok(checkpoint.require("vision_proj.weight", 2)?[0])
}

fn emitter<'a, 'b>(name: &str, parameters: &'a mut Parameters<'b>) -> Emitter<'a, 'b> {
    Emitter {
        graph: Graph::new(name, WEIGHTS),
        parameters,
    }
}

/// Axes of the keys and values of an image.
fn cross_shape(config: &Config) -> [Axis; 4] {
    let text = &config.text;
    let head = text.width / text.heads;
    [
        Named("B"),
        Fixed(text.heads),
        Fixed(config.vision.tokens()),
        Fixed(head),
    ]
}

/// Declares one input pair per layer.
fn key_value_inputs(
    graph: &mut Graph,
    prefix: &str,
    layers: usize,
    shape: &[Axis],
) -> Vec<KeyValue> {
    (0..layers)
        .map(|layer| KeyValue {
            key: graph.input(&format!("{prefix}_key.{layer}"), Element::F32, shape),
            value: graph.input(&format!("{prefix}_value.{layer}"), Element::F32, shape),
        })
        .collect()
}

/// Declares one output pair per layer.
fn key_value_outputs(graph: &mut Graph, prefix: &str, pairs: &[KeyValue], shape: &[Axis]) {
    for (layer, pair) in pairs.iter().enumerate() {
        graph.output(&format!("{prefix}_key.{layer}"), &pair.key, shape);
        graph.output(&format!("{prefix}_value.{layer}"), &pair.value, shape);
    }
}

/// `pixel_values` to `image_embeds`, and `image_feat` where `features` is set.
pub(crate) fn vision(
    config: &Config,
    parameters: &mut Parameters<'_>,
    features: bool,
) -> Result<Graph, ImportError> {
    let vision = &config.vision;
    let mut emitter = emitter("vision", parameters);
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
pub(crate) fn cross(
    config: &Config,
    parameters: &mut Parameters<'_>,
    body: &str,
) -> Result<Graph, ImportError> {
    let mut emitter = emitter("cross", parameters);
    let shape = [
        Named("B"),
        Fixed(config.vision.tokens()),
        Fixed(config.vision.width),
    ];
    let embeds = emitter.graph.input("image_embeds", Element::F32, &shape);
    let pairs = emitter.cross(&embeds, &config.text, body)?;
    key_value_outputs(&mut emitter.graph, "cross", &pairs, &cross_shape(config));
    Ok(emitter.graph)
}

/// `cross_key.{j}`, `cross_value.{j}` and `images` to `selected_key.{j}`, `selected_value.{j}`.
pub(crate) fn select(config: &Config) -> Graph {
    let mut graph = Graph::new("select", WEIGHTS);
    let shape = cross_shape(config);
    let pairs = key_value_inputs(&mut graph, "cross", config.text.layers, &shape);
    let images = graph.input("images", Element::I64, &[Named("S")]);
    let selected: Vec<_> = pairs
        .iter()
        .map(|pair| gather_rows(&mut graph, pair, &images))
        .collect();
    let mut shape = shape;
    shape[0] = Named("S");
    key_value_outputs(&mut graph, "selected", &selected, &shape);
    graph
}

fn gather_rows(graph: &mut Graph, pair: &KeyValue, rows: &Value) -> KeyValue {
    KeyValue {
        key: graph.gather(&pair.key, rows, 0),
        value: graph.gather(&pair.value, rows, 0),
    }
}

/// One decoding step: `input_ids`, `rows`, past and image keys to `logits` and present keys.
pub(crate) fn decoder(
    config: &Config,
    parameters: &mut Parameters<'_>,
) -> Result<Graph, ImportError> {
    let text = &config.text;
    let head = text.width / text.heads;
    let mut emitter = emitter("decoder", parameters);
    let graph = &mut emitter.graph;
    let input_ids = graph.input("input_ids", Element::I64, &[Named("R"), Named("T")]);
    let rows = graph.input("rows", Element::I64, &[Named("R")]);
    let shape = [Named("Q"), Fixed(text.heads), Named("P"), Fixed(head)];
    let past = key_value_inputs(graph, "past", text.layers, &shape);
    let image = key_value_inputs(graph, "cross", text.layers, &cross_shape(config));
    let past_length = past.first().map(|pair| graph.size(&pair.key, 2));
    let past: Vec<_> = past
        .iter()
        .map(|pair| gather_rows(graph, pair, &rows))
        .collect();
    let past_length = past_length.unwrap_or_else(|| graph.ints(&[0]));

    let mask = emitter.causal_mask(&input_ids, &past_length);
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
pub(crate) fn matcher(
    config: &Config,
    parameters: &mut Parameters<'_>,
) -> Result<Graph, ImportError> {
    let text = &config.text;
    let mut emitter = emitter("matcher", parameters);
    let (input_ids, attention_mask) = text_inputs(&mut emitter.graph);
    let image = key_value_inputs(
        &mut emitter.graph,
        "cross",
        text.layers,
        &cross_shape(config),
    );
    let x = emitter.encode(&input_ids, &attention_mask, text, Some(image))?;
    let logits = emitter.head(&x, "itm_head", text.width, 2)?;
    emitter
        .graph
        .output("itm_logits", &logits, &[Named("R"), Fixed(2)]);
    Ok(emitter.graph)
}

/// `input_ids` and `attention_mask` to `text_feat`.
pub(crate) fn text(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let text = &config.text;
    let width = feature_width(parameters.checkpoint)?;
    let mut emitter = emitter("text", parameters);
    let (input_ids, attention_mask) = text_inputs(&mut emitter.graph);
    let x = emitter.encode(&input_ids, &attention_mask, text, None)?;
    let feature = emitter.head(&x, "text_proj", text.width, width)?;
    let feature = emitter.normalise(&feature);
    emitter
        .graph
        .output("text_feat", &feature, &[Named("R"), Fixed(width)]);
    Ok(emitter.graph)
}

fn text_inputs(graph: &mut Graph) -> (Value, Value) {
    let shape = [Named("R"), Named("T")];
    let input_ids = graph.input("input_ids", Element::I64, &shape);
    let attention_mask = graph.input("attention_mask", Element::I64, &shape);
    (input_ids, attention_mask)
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

    /// A small linear layer that scores or projects: x [R, inputs] to [R, outputs].
    fn head(
        &mut self,
        x: &Value,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        let weight = self
            .parameters
            .table(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.parameters.vector(&[format!("{name}.bias")], outputs)?;
        let weight = self.constant(&weight);
        let bias = self.constant(&bias);
        Ok(self.graph.gemm_transposed(x, &weight, &bias))
    }
}
