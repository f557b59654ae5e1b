//! The operations that a training step spends its time in.

mod gelu;

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Bool, Int, Tensor, TensorData, module};

pub(crate) use gelu::gelu;

use crate::layers::{Dropout, dropout};

#[cfg(test)]
mod tests;

/// Which tokens a token may look at: `[G, T, S]`, where G is the number of rows, or 1 when all
/// rows have the same mask.
#[derive(Clone, Debug)]
pub struct Mask {
    shape: [usize; 3],
    visible: Vec<bool>,
}

impl Mask {
    /// Token `to` is seen by token `from` of row `row` where `visible(row, from, to)`.
    pub fn new(shape: [usize; 3], visible: impl Fn(usize, usize, usize) -> bool) -> Self {
        let [rows, from, to] = shape;
        let mut all = Vec::with_capacity(rows * from * to);
        for row in 0..rows {
            for from in 0..from {
                all.extend((0..to).map(|to| visible(row, from, to)));
            }
        }
        Self {
            shape,
            visible: all,
        }
    }

    /// Tokens below `lengths[row]`, and none after the asking one if `causal`.
    pub fn of_lengths(lengths: &[usize], tokens: usize, causal: bool) -> Self {
        Self::new([lengths.len(), tokens, tokens], |row, from, to| {
            to < lengths[row] && (!causal || to <= from)
        })
    }

    /// Tokens up to the asking one.
    pub fn causal(tokens: usize) -> Self {
        Self::new([1, tokens, tokens], |_, from, to| to <= from)
    }

    /// `[G, 1, T, S]`, true where nothing is seen.
    fn hidden(&self, device: &burn::tensor::Device) -> Tensor<4, Bool> {
        let [rows, from, to] = self.shape;
        let hidden: Vec<bool> = self.visible.iter().map(|&visible| !visible).collect();
        Tensor::from_data(TensorData::new(hidden, [rows, 1, from, to]), device)
    }
}

/// x W + b. x `[B, T, in]`, W `[in, out]`, b `[out]`.
pub(crate) fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    module::linear(x, weight, bias)
}

/// Layer normalisation over the last axis.
pub(crate) fn layer_norm(
    x: Tensor<3>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<3> {
    module::layer_norm(x, weight, Some(bias), epsilon)
}

/// softmax(q kᵀ / sqrt(W/h) + mask) v for every head. q `[B, T, W]`, k and v `[B, S, W]`.
pub(crate) fn attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    mask: Option<&Mask>,
    dropped: Option<&Dropout>,
) -> Tensor<3> {
    let [batch, asking, width] = query.dims();
    let split = |x: Tensor<3>| {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, heads, width / heads])
            .swap_dims(1, 2)
    };
    #[expect(clippy::cast_precision_loss, reason = "a head has few features")]
    let scale = ((width / heads) as f64).powf(-0.5);
    let scores = split(query.mul_scalar(scale)).matmul(split(key).swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => {
            let shape = scores.dims();
            let hidden = mask.hidden(&scores.device()).expand(shape);
            scores.mask_fill(hidden, f32::NEG_INFINITY)
        }
        None => scores,
    };
    let weights = dropout(softmax(scores, 3), dropped);
    weights
        .matmul(split(value))
        .swap_dims(1, 2)
        .reshape([batch, asking, width])
}

/// Mean over rows of the smoothed cross-entropy
/// `(1 - s)·(-log p_y) + s·mean_c(-log p_c)`, over all C classes. logits `[R, C]`, labels `[R]`.
pub(crate) fn cross_entropy(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    smoothing: f64,
) -> Tensor<1> {
    let log = log_softmax(logits, 1);
    let right = log.clone().gather(1, labels.unsqueeze_dim(1)).mean();
    let mean = log.mean();
    (right.mul_scalar(1.0 - smoothing) + mean.mul_scalar(smoothing)).neg()
}
