//! Inputs and outputs that graphs of several families have in common.

use super::KeyValue;
use crate::graph::Axis::{Fixed, Named};
use crate::graph::{Axis, Element, Graph, Value};
use crate::package::WEIGHTS;

/// Keys and values of images: one pair [B, h, N, d] per layer that looks at images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrossShape {
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// N, image tokens that are looked at.
    pub(crate) tokens: usize,
    /// d, features per head.
    pub(crate) head: usize,
}

impl CrossShape {
    /// The axes of a pair, the first one called `images`.
    pub(crate) fn axes(&self, images: &'static str) -> [Axis; 4] {
        [
            Named(images),
            Fixed(self.heads),
            Fixed(self.tokens),
            Fixed(self.head),
        ]
    }

    /// Declares `cross_key.{j}` and `cross_value.{j}`.
    pub(crate) fn inputs(&self, graph: &mut Graph) -> Vec<KeyValue> {
        key_value_inputs(graph, "cross", self.layers, &self.axes("B"))
    }
}

impl KeyValue {
    /// The pairs of `rows` alone.
    pub(crate) fn rows(&self, graph: &mut Graph, rows: &Value) -> Self {
        Self {
            key: graph.gather(&self.key, rows, 0),
            value: graph.gather(&self.value, rows, 0),
        }
    }
}

/// Declares one input pair per layer.
pub(crate) fn key_value_inputs(
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
pub(crate) fn key_value_outputs(
    graph: &mut Graph,
    prefix: &str,
    pairs: &[KeyValue],
    shape: &[Axis],
) {
    for (layer, pair) in pairs.iter().enumerate() {
        graph.output(&format!("{prefix}_key.{layer}"), &pair.key, shape);
        graph.output(&format!("{prefix}_value.{layer}"), &pair.value, shape);
    }
}

/// `input_ids` and `attention_mask`, both [R, T].
pub(crate) fn text_inputs(graph: &mut Graph) -> (Value, Value) {
    let shape = [Named("R"), Named("T")];
    let input_ids = graph.input("input_ids", Element::I64, &shape);
    let attention_mask = graph.input("attention_mask", Element::I64, &shape);
    (input_ids, attention_mask)
}

/// The graph `select`: `cross_key.{j}`, `cross_value.{j}` and `images` to `selected_key.{j}`,
/// `selected_value.{j}`.
pub(crate) fn select(cross: &CrossShape) -> Graph {
    let mut graph = Graph::new("select", WEIGHTS);
    let pairs = cross.inputs(&mut graph);
    let images = graph.input("images", Element::I64, &[Named("S")]);
    let selected: Vec<_> = pairs
        .iter()
        .map(|pair| pair.rows(&mut graph, &images))
        .collect();
    key_value_outputs(&mut graph, "selected", &selected, &cross.axes("S"));
    graph
}
