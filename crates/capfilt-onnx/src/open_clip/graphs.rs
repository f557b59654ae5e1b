//! The graphs of a package: their names, inputs, outputs and what is between.

use super::config::Config;
use crate::checkpoint::transposed;
use crate::emit::{
    self, CrossShape, Emitter, Layers, Parameters, key_value_inputs, key_value_outputs, text_inputs,
};
use crate::error::ImportError;
use crate::graph::Axis::{Fixed, Named};
use crate::graph::{Element, Graph, Value};
use crate::manifest::{Family, Task};

/// Image tokens that captions are written from: all but the first.
fn cross_shape(config: &Config) -> CrossShape {
    let tower = config.writer.as_ref().unwrap_or(&config.text.tower);
    CrossShape {
        layers: tower.layers,
        heads: tower.heads,
        tokens: config.vision.pooled() - 1,
        head: tower.head(),
    }
}

/// The graph `name` of a package for `task`.
pub(crate) fn graph(
    name: &str,
    config: &Config,
    task: Task,
    parameters: &mut Parameters<'_>,
) -> Result<Graph, ImportError> {
    match (name, task) {
        ("vision", Task::Captioner) => image_embeds(config, parameters),
        ("vision", Task::Filter) => image_features(config, parameters),
        ("cross", _) => cross(config, parameters),
        ("select", _) => Ok(emit::select(&cross_shape(config))),
        ("decoder", _) => decoder(config, parameters),
        _ => text_features(config, parameters),
    }
}

fn pixels(emitter: &mut Emitter<'_, '_>, config: &Config) -> Value {
    let size = Fixed(config.vision.size);
    let shape = [Named("B"), Fixed(3), size, size];
    emitter.graph.input("pixel_values", Element::F32, &shape)
}

/// `pixel_values` to `image_embeds`.
fn image_embeds(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let mut emitter = parameters.emitter("vision");
    let pixels = pixels(&mut emitter, config);
    let pooled = config.vision.pooled();
    let tokens = emitter.image_tokens(&pixels, config, 1..pooled)?;
    let shape = [Named("B"), Fixed(pooled - 1), Fixed(config.image_width())];
    emitter.graph.output("image_embeds", &tokens, &shape);
    Ok(emitter.graph)
}

/// `pixel_values` to `image_feat`.
fn image_features(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let mut emitter = parameters.emitter("vision");
    let pixels = pixels(&mut emitter, config);
    let (width, embed) = (config.image_width(), config.embed);
    let count = config.vision.pooled();
    if config.family == Family::Filip {
        let tokens = emitter.image_tokens(&pixels, config, 1..count)?;
        let features = emitter.projections(&tokens, "visual.proj", width, embed)?;
        let shape = [Named("B"), Fixed(count - 1), Fixed(embed)];
        emitter.graph.output("image_feat", &features, &shape);
        return Ok(emitter.graph);
    }
    // The second is computed as well: products with a single row are summed in another order, and
    // a feature would depend on how many pictures are seen at once.
    let tokens = emitter.image_tokens(&pixels, config, 0..2)?;
    let class = emitter.graph.pick(&tokens, 0, 1);
    let feature = emitter.projection(&class, "visual.proj", width, embed)?;
    let shape = [Named("B"), Fixed(embed)];
    emitter.graph.output("image_feat", &feature, &shape);
    Ok(emitter.graph)
}

/// `input_ids` and `attention_mask` to `text_feat`.
fn text_features(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let (text, embed) = (&config.text, config.embed);
    let mut emitter = parameters.emitter("text");
    let (input_ids, attention_mask) = text_inputs(&mut emitter.graph);
    let width = text.tower.width;
    let projection = format!("{}text_projection", text.prefix);
    if config.family == Family::Filip {
        let tokens = emitter.causal_text(&input_ids, text)?;
        let features = emitter.projections(&tokens, &projection, width, embed)?;
        let shape = [Named("R"), Named("T"), Fixed(embed)];
        emitter.graph.output("text_feat", &features, &shape);
        return Ok(emitter.graph);
    }
    let whole = if config.family == Family::Coca {
        emitter.class_of_text(&input_ids, &attention_mask, text)?
    } else {
        let tokens = emitter.causal_text(&input_ids, text)?;
        emitter.last_token(&tokens, &attention_mask, text)
    };
    let feature = emitter.projection(&whole, &projection, width, embed)?;
    let shape = [Named("R"), Fixed(embed)];
    emitter.graph.output("text_feat", &feature, &shape);
    Ok(emitter.graph)
}

/// `image_embeds` to `cross_key.{j}` and `cross_value.{j}`.
fn cross(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let mut emitter = parameters.emitter("cross");
    let cross = cross_shape(config);
    let shape = [Named("B"), Fixed(cross.tokens), Fixed(config.image_width())];
    let embeds = emitter.graph.input("image_embeds", Element::F32, &shape);
    let mut pairs = Vec::with_capacity(cross.layers);
    if let Some(tower) = &config.writer {
        for layer in 0..tower.layers {
            let name = format!("{}.cross_attn.{layer}", tower.prefix);
            pairs.push(emitter.crossing_keys(tower, &name, &embeds)?);
        }
    }
    key_value_outputs(&mut emitter.graph, "cross", &pairs, &cross.axes("B"));
    Ok(emitter.graph)
}

/// One decoding step: `input_ids`, `rows`, past and image keys to `logits` and present keys.
fn decoder(config: &Config, parameters: &mut Parameters<'_>) -> Result<Graph, ImportError> {
    let tower = &config.text.tower;
    let mut emitter = parameters.emitter("decoder");
    let graph = &mut emitter.graph;
    let input_ids = graph.input("input_ids", Element::I64, &[Named("R"), Named("T")]);
    let rows = graph.input("rows", Element::I64, &[Named("R")]);
    let cross = cross_shape(config);
    let axes = |rows, tokens| {
        [
            Named(rows),
            Fixed(cross.heads),
            Named(tokens),
            Fixed(cross.head),
        ]
    };
    let past = key_value_inputs(graph, "past", tower.layers + cross.layers, &axes("Q", "P"));
    let image = cross.inputs(graph);
    let past: Vec<_> = past.iter().map(|pair| pair.rows(graph, &rows)).collect();
    let (logits, present) = emitter.write(&input_ids, &past, &image, config)?;
    let shape = [Named("R"), Fixed(config.text.vocabulary)];
    emitter.graph.output("logits", &logits, &shape);
    key_value_outputs(&mut emitter.graph, "present", &present, &axes("R", "P+T"));
    Ok(emitter.graph)
}

impl Emitter<'_, '_> {
    /// x [R, inputs] projected by `name` and brought to length 1: [R, outputs].
    fn projection(
        &mut self,
        x: &Value,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        let weight = self
            .parameters
            .table(&transposed(name), &[outputs, inputs])?;
        let weight = self.constant(&weight);
        let x = self.graph.gemm_transposed(x, &weight, None);
        Ok(self.normalise(&x))
    }

    /// The same for every token of x [R, T, inputs].
    fn projections(
        &mut self,
        x: &Value,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        let layers = Layers {
            weights: vec![transposed(name)],
            biases: vec![],
        };
        let x = self.linears_of(x, &layers, inputs, outputs)?;
        Ok(self.normalise(&x))
    }
}
