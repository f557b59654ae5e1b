//! Linear layers in the precision of the package.
//!
//! # 8 bits
//!
//! A weight matrix W has one scale per output channel n: W[k, n] ≈ s[n] · w[k, n] with
//! |w| ≤ [`LARGEST_WEIGHT`]. Rows x of the input have one scale each, so that no row depends on
//! the others of its batch: x[k] ≈ r · (q[k] - z) with q in 0 to 255. Products are summed in 32-bit
//! integers. Processors without a fused 8-bit dot product add pairs of products in 16 bits with
//! saturation; 255 · 64 · 2 = 32,640 fits, so that results are the same on every processor.

#[cfg(test)]
mod tests;

use super::{Emitter, Parameters};
use crate::error::ImportError;
use crate::graph::Value;
use crate::precision::Precision;
use crate::weights::Stored;

/// Largest 8-bit weight: two products with an input of 255 fit 16 bits.
const LARGEST_WEIGHT: f32 = 64.0;
/// Largest distance of a quantised input from its zero.
const LARGEST_INPUT: f32 = 127.0;
/// Quantised input that stands for zero.
const ZERO: u8 = 128;
/// Just below the least values of GELU, -0.169971, and of its quick form x·σ(1.702 x), -0.163613.
const GELU_FLOOR: f32 = -0.17;
/// Scale of a row that is zero everywhere.
const SMALLEST: f32 = 1e-20;

/// Range of a linear layer's inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inputs {
    /// Both signs alike.
    Symmetric,
    /// What GELU gives: nothing below [`GELU_FLOOR`].
    Gelu,
}

/// Tensors of linear layers that stand side by side.
pub(crate) struct Layers {
    /// W [outputs, inputs] of each.
    pub(crate) weights: Vec<String>,
    /// b [outputs] of each; empty where they have none.
    pub(crate) biases: Vec<String>,
}

impl Layers {
    fn of(layers: &[String]) -> Self {
        let of = |part: &str| layers.iter().map(|name| format!("{name}.{part}")).collect();
        Self {
            weights: of("weight"),
            biases: of("bias"),
        }
    }
}

/// A weight matrix [inputs, columns] as it is stored.
enum Matrix {
    Floats(Stored),
    Bytes {
        matrix: Stored,
        /// One per column.
        scales: Stored,
    },
}

impl Parameters<'_> {
    /// Weights of linear layers side by side, [inputs, outputs · layers], from [outputs, inputs].
    fn side_by_side(
        &self,
        names: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Result<Vec<f32>, ImportError> {
        let columns = outputs * names.len();
        let mut joined = vec![0.0; inputs * columns];
        for (index, name) in names.iter().enumerate() {
            let values = self.checkpoint.read(name, &[outputs, inputs])?;
            transpose_into(&values, inputs, &mut joined, columns, index * outputs);
        }
        Ok(joined)
    }

    fn matrix(
        &mut self,
        names: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Result<Matrix, ImportError> {
        // The words are stored by rows as well, under their own name.
        let key = format!("{} transposed", names.join("+"));
        let columns = outputs * names.len();
        if self.precision != Precision::Int8 {
            if let Some(stored) = self.file.get(&key) {
                return Ok(Matrix::Floats(stored));
            }
            let joined = self.side_by_side(names, inputs, outputs)?;
            return Ok(Matrix::Floats(self.floats(
                &key,
                &[inputs, columns],
                &joined,
            )?));
        }
        let scales = format!("{key}, scales");
        if let (Some(matrix), Some(scales)) = (self.file.get(&key), self.file.get(&scales)) {
            return Ok(Matrix::Bytes { matrix, scales });
        }
        let joined = self.side_by_side(names, inputs, outputs)?;
        let quantised = quantise(&joined, columns);
        Ok(Matrix::Bytes {
            matrix: self.file.i8(&key, &[inputs, columns], &quantised.weights)?,
            scales: self.file.f32(&scales, &[columns], &quantised.scales)?,
        })
    }

    /// Bias b[n] + [`GELU_FLOOR`] · Σ W[k, n] of a layer whose inputs are counted from there.
    fn shifted_bias(
        &mut self,
        weight: &str,
        bias: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Stored, ImportError> {
        let key = format!("{bias}.shifted");
        if let Some(stored) = self.file.get(&key) {
            return Ok(stored);
        }
        let weights = self.side_by_side(&[weight.to_owned()], inputs, outputs)?;
        let quantised = quantise(&weights, outputs);
        let mut sums = vec![0_i64; outputs];
        for row in quantised.weights.chunks_exact(outputs) {
            for (sum, &weight) in sums.iter_mut().zip(row) {
                *sum += i64::from(weight);
            }
        }
        let mut values = self.checkpoint.read(bias, &[outputs])?;
        for ((value, scale), sum) in values.iter_mut().zip(&quantised.scales).zip(&sums) {
            #[expect(clippy::cast_precision_loss, reason = "sums are far below 2^52")]
            let shift = f64::from(GELU_FLOOR) * f64::from(*scale) * *sum as f64;
            #[expect(clippy::cast_possible_truncation, reason = "biases are kept in f32")]
            let shifted = (f64::from(*value) + shift) as f32;
            *value = shifted;
        }
        self.file.f32(&key, &[outputs], &values)
    }
}

/// A matrix in 8 bits with one scale per column.
struct Quantised {
    weights: Vec<i8>,
    scales: Vec<f32>,
}

/// Rounds a matrix [.., columns] to 8 bits: the largest weight of a column becomes
/// [`LARGEST_WEIGHT`].
fn quantise(matrix: &[f32], columns: usize) -> Quantised {
    let mut scales = vec![SMALLEST; columns];
    for row in matrix.chunks_exact(columns) {
        for (scale, value) in scales.iter_mut().zip(row) {
            *scale = scale.max(value.abs());
        }
    }
    for scale in &mut scales {
        *scale /= LARGEST_WEIGHT;
    }
    let mut weights = Vec::with_capacity(matrix.len());
    for row in matrix.chunks_exact(columns) {
        weights.extend(row.iter().zip(&scales).map(|(value, scale)| {
            let level = (value / scale).round_ties_even();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "clamped to the range of i8"
            )]
            let level = level.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) as i8;
            level
        }));
    }
    Quantised { weights, scales }
}

/// Writes `rows` [n, width] as columns `first`.. of `target` [width, columns].
fn transpose_into(rows: &[f32], width: usize, target: &mut [f32], columns: usize, first: usize) {
    // Square tiles keep both sides of the transposition within the cache.
    const TILE: usize = 32;
    let count = rows.len() / width;
    for row_tile in (0..count).step_by(TILE) {
        for column_tile in (0..width).step_by(TILE) {
            for row in row_tile..count.min(row_tile + TILE) {
                for column in column_tile..width.min(column_tile + TILE) {
                    target[column * columns + first + row] = rows[row * width + column];
                }
            }
        }
    }
}

impl Emitter<'_, '_> {
    /// x · Wᵀ + b of the layer `name` for x [.., inputs]: [.., outputs].
    pub(crate) fn linear(
        &mut self,
        x: &Value,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        self.product(
            x,
            &Layers::of(&[name.to_owned()]),
            (inputs, outputs),
            Inputs::Symmetric,
        )
    }

    /// The same for an x that GELU gave.
    pub(crate) fn linear_of_gelu(
        &mut self,
        x: &Value,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        self.product(
            x,
            &Layers::of(&[name.to_owned()]),
            (inputs, outputs),
            Inputs::Gelu,
        )
    }

    /// Several layers of the same input in one product: [.., outputs · layers].
    pub(crate) fn linears(
        &mut self,
        x: &Value,
        names: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        self.linears_of(x, &Layers::of(names), inputs, outputs)
    }

    /// The same for layers whose tensors are called otherwise, or that have no biases.
    pub(crate) fn linears_of(
        &mut self,
        x: &Value,
        layers: &Layers,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, ImportError> {
        self.product(x, layers, (inputs, outputs), Inputs::Symmetric)
    }

    /// x · Wᵀ + b for x [R, inputs] and a W [outputs, inputs] that is needed by its rows as well:
    /// floats are stored once, as they are in the checkpoint.
    pub(crate) fn linear_by_rows(
        &mut self,
        x: &Value,
        weight: &str,
        bias: &str,
        (inputs, outputs): (usize, usize),
    ) -> Result<Value, ImportError> {
        if self.parameters.precision == Precision::Int8 {
            let weights = Layers {
                weights: vec![weight.to_owned()],
                biases: vec![bias.to_owned()],
            };
            return self.product(x, &weights, (inputs, outputs), Inputs::Symmetric);
        }
        let weight = self.parameters.table(weight, &[outputs, inputs])?;
        let bias = self.parameters.vector(&[bias.to_owned()], outputs)?;
        let weight = self.constant(&weight);
        let bias = self.constant(&bias);
        Ok(self.graph.gemm_transposed(x, &weight, Some(&bias)))
    }

    fn product(
        &mut self,
        x: &Value,
        Layers { weights, biases }: &Layers,
        (inputs, outputs): (usize, usize),
        range: Inputs,
    ) -> Result<Value, ImportError> {
        match self.parameters.matrix(weights, inputs, outputs)? {
            Matrix::Floats(matrix) => {
                let matrix = self.constant(&matrix);
                let product = self.graph.matmul(x, &matrix);
                if biases.is_empty() {
                    return Ok(product);
                }
                let bias = self.parameters.vector(biases, outputs)?;
                let bias = self.constant(&bias);
                Ok(self.graph.add(&product, &bias))
            }
            Matrix::Bytes { matrix, scales } => {
                let matrix = self.graph.stored(&matrix);
                let scales = self.constant(&scales);
                let (bytes, row_scale, zero) = self.quantised_rows(x, range);
                let product = self.graph.integer_matmul(&bytes, &matrix, &scales, zero);
                let product = self.graph.mul(&product, &row_scale);
                let bias = match (range, &weights[..], &biases[..]) {
                    (_, _, []) => return Ok(product),
                    (Inputs::Gelu, [weight], [bias]) => self
                        .parameters
                        .shifted_bias(weight, bias, inputs, outputs)?,
                    _ => self.parameters.vector(biases, outputs)?,
                };
                let bias = self.constant(&bias);
                Ok(self.graph.add(&product, &bias))
            }
        }
    }

    /// Rows of x [.., n] in 8 bits, the scale of each row [.., 1] and the byte that stands for zero.
    fn quantised_rows(&mut self, x: &Value, range: Inputs) -> (Value, Value, u8) {
        let graph = &mut self.graph;
        // Half a level more, because the conversion to bytes cuts off fractions.
        match range {
            Inputs::Symmetric => {
                let magnitude = graph.abs(x);
                let largest = graph.largest(&magnitude);
                let smallest = graph.float(SMALLEST);
                let largest = graph.max(&largest, &smallest);
                let levels = graph.float(LARGEST_INPUT);
                let per_unit = graph.div(&levels, &largest);
                let scaled = graph.mul(x, &per_unit);
                let middle = graph.float(f32::from(ZERO) + 0.5);
                let scaled = graph.add(&scaled, &middle);
                let unit = graph.float(1.0 / LARGEST_INPUT);
                let row_scale = graph.mul(&largest, &unit);
                (
                    graph.cast(&scaled, crate::graph::Element::U8),
                    row_scale,
                    ZERO,
                )
            }
            Inputs::Gelu => {
                // Counted from the floor: the shifted bias makes up for it.
                let largest = graph.largest(x);
                let floor = graph.float(GELU_FLOOR);
                let span = graph.sub(&largest, &floor);
                let smallest = graph.float(SMALLEST);
                let span = graph.max(&span, &smallest);
                let levels = graph.float(255.0);
                let per_unit = graph.div(&levels, &span);
                let scaled = graph.mul(x, &per_unit);
                let below = graph.float(-GELU_FLOOR);
                let offset = graph.mul(&per_unit, &below);
                let half = graph.float(0.5);
                let offset = graph.add(&offset, &half);
                let scaled = graph.add(&scaled, &offset);
                let unit = graph.float(1.0 / 255.0);
                let row_scale = graph.mul(&span, &unit);
                (graph.cast(&scaled, crate::graph::Element::U8), row_scale, 0)
            }
        }
    }
}
