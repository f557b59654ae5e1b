//! Layers that all transformers are made of, emitted into a graph with their weights.
//!
//! Axes in shapes: B images, K rows per image, R = B·K rows, N image tokens, T text tokens, P past
//! tokens, h heads, d features per head.

mod attention;
mod linear;
mod ports;

pub(crate) use attention::KeyValue;
pub(crate) use linear::Layers;
pub(crate) use ports::{CrossShape, key_value_inputs, key_value_outputs, select, text_inputs};

use crate::checkpoint::Checkpoint;
use crate::error::ImportError;
use crate::graph::{Element, Graph, Value};
use crate::package::WEIGHTS;
use crate::precision::Precision;
use crate::weights::{Stored, WeightsFile};

/// Reads weights from a checkpoint and stores them, each once, in the package's precision.
pub(crate) struct Parameters<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) file: WeightsFile,
    pub(crate) precision: Precision,
}

/// A graph together with the weights that it uses.
pub(crate) struct Emitter<'a, 'b> {
    pub(crate) graph: Graph,
    pub(crate) parameters: &'a mut Parameters<'b>,
}

impl<'b> Parameters<'b> {
    /// An empty graph that uses these weights.
    pub(crate) fn emitter<'a>(&'a mut self, name: &str) -> Emitter<'a, 'b> {
        Emitter {
            graph: Graph::new(name, WEIGHTS),
            parameters: self,
        }
    }

    /// A vector [size] in fp32: biases and normalisation are small, and decide accuracy.
    pub(crate) fn vector(&mut self, names: &[String], size: usize) -> Result<Stored, ImportError> {
        let key = names.join("+");
        if let Some(stored) = self.file.get(&key) {
            return Ok(stored);
        }
        let mut values = Vec::with_capacity(names.len() * size);
        for name in names {
            values.extend(self.checkpoint.read(name, &[size])?);
        }
        self.file.f32(&key, &[values.len()], &values)
    }

    /// A tensor of shape `shape` that is no right-hand side of a matrix product.
    pub(crate) fn table(&mut self, name: &str, shape: &[usize]) -> Result<Stored, ImportError> {
        if let Some(stored) = self.file.get(name) {
            return Ok(stored);
        }
        let values = self.checkpoint.read(name, shape)?;
        self.floats(name, shape, &values)
    }

    /// Stores values that were made from a checkpoint's tensors.
    pub(crate) fn floats(
        &mut self,
        key: &str,
        shape: &[usize],
        values: &[f32],
    ) -> Result<Stored, ImportError> {
        match self.precision {
            Precision::Fp32 => self.file.f32(key, shape, values),
            Precision::Fp16 | Precision::Int8 => self.file.f16(key, shape, values),
        }
    }
}

impl Emitter<'_, '_> {
    /// The stored tensor as an fp32 value.
    pub(crate) fn constant(&mut self, stored: &Stored) -> Value {
        let value = self.graph.stored(stored);
        self.graph.cast(&value, Element::F32)
    }

    /// Layer normalisation `name` over `width` features.
    pub(crate) fn layer_norm(
        &mut self,
        x: &Value,
        name: &str,
        width: usize,
        eps: f32,
    ) -> Result<Value, ImportError> {
        let scale = self.parameters.vector(&[format!("{name}.weight")], width)?;
        let shift = self.parameters.vector(&[format!("{name}.bias")], width)?;
        let scale = self.constant(&scale);
        let shift = self.constant(&shift);
        Ok(self.graph.layer_norm(x, &scale, &shift, eps))
    }

    /// x / max(‖x‖, 1e-12) over the last axis.
    pub(crate) fn normalise(&mut self, x: &Value) -> Value {
        let length = self.graph.length(x);
        let floor = self.graph.float(1e-12);
        let length = self.graph.max(&length, &floor);
        self.graph.div(x, &length)
    }

    /// A small linear layer that scores or projects: x [R, inputs] to [R, outputs].
    pub(crate) fn head(
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
        Ok(self.graph.gemm_transposed(x, &weight, Some(&bias)))
    }
}
