//! Layers that both transformers are made of, emitted into a graph with their weights.

use crate::checkpoint::Checkpoint;
use crate::error::ImportError;
use crate::graph::{Element, Graph, Value, axis};
use crate::precision::Precision;
use crate::weights::{Stored, WeightsFile};

/// Reads weights from a checkpoint and stores them, each once, in the package's precision.
pub(crate) struct Parameters<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) file: WeightsFile,
    pub(crate) precision: Precision,
}

/// A graph together with the weights that it uses.
pub(super) struct Emitter<'a, 'b> {
    pub(super) graph: Graph,
    pub(super) parameters: &'a mut Parameters<'b>,
}

impl Parameters<'_> {
    /// A vector [size] in fp32: biases and normalisation are small, and decide accuracy.
    pub(super) fn vector(&mut self, names: &[String], size: usize) -> Result<Stored, ImportError> {
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
    pub(super) fn table(&mut self, name: &str, shape: &[usize]) -> Result<Stored, ImportError> {
        if let Some(stored) = self.file.get(name) {
            return Ok(stored);
        }
        let values = self.checkpoint.read(name, shape)?;
        self.floats(name, shape, &values)
    }

    /// Stores values that were made from a checkpoint's tensors.
    pub(super) fn floats(
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
    pub(super) fn constant(&mut self, stored: &Stored) -> Value {
        let value = self.graph.stored(stored);
        self.graph.cast(&value, Element::F32)
    }

    /// Layer normalisation `name` over `width` features.
    pub(super) fn layer_norm(
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

    /// [.., T, parts·h·d] as `parts` tensors [.., h, T, d], for a leading axis that is kept.
    pub(super) fn split_heads(
        &mut self,
        x: &Value,
        parts: usize,
        heads: usize,
        width: usize,
    ) -> Vec<Value> {
        let (count, heads, d) = (axis(parts), axis(heads), axis(width / heads));
        let split = self.graph.reshape(x, &[0, 0, count, heads, d]);
        let split = self.graph.transpose(&split, &[2, 0, 3, 1, 4]);
        (0..count)
            .map(|part| self.graph.pick(&split, part, 0))
            .collect()
    }

    /// softmax(q·kᵀ/√d + mask)·v for q [B, h, M, d] and k, v [B, h, N, d]: [B, h, M, d].
    pub(super) fn attention(
        &mut self,
        q: &Value,
        k: &Value,
        v: &Value,
        mask: Option<&Value>,
        head_width: usize,
    ) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "head widths are small")]
        let scale = self.graph.float(1.0 / (head_width as f32).sqrt());
        let k = self.graph.transpose(k, &[0, 1, 3, 2]);
        let q = self.graph.mul(q, &scale);
        let mut scores = self.graph.matmul(&q, &k);
        if let Some(mask) = mask {
            scores = self.graph.add(&scores, mask);
        }
        let weights = self.graph.softmax(&scores);
        self.graph.matmul(&weights, v)
    }

    /// x / max(‖x‖, 1e-12) over the last axis.
    pub(super) fn normalise(&mut self, x: &Value) -> Value {
        let length = self.graph.length(x);
        let floor = self.graph.float(1e-12);
        let length = self.graph.max(&length, &floor);
        self.graph.div(x, &length)
    }
}
