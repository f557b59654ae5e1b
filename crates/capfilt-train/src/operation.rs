//! The operations that a training step spends its time in.

mod gelu;

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

pub(crate) use gelu::gelu;

use crate::layers::{Dropout, KeyValue, dropout};

#[cfg(test)]
mod tests;

/// Which tokens a token may look at: made once for all layers that a text goes through.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    /// `[G, 1, T, S]`, true where nothing is seen; G is the number of rows, or 1 when all rows have
    /// the same mask.
    hidden: Tensor<4, Bool>,
}

impl Mask {
    /// `[G, T, S]`: token `to` is seen by token `from` of row `row` where `visible(row, from, to)`.
    pub(crate) fn new(
        [rows, from, to]: [usize; 3],
        device: &Device,
        visible: impl Fn(usize, usize, usize) -> bool,
    ) -> Self {
        let mut hidden = Vec::with_capacity(rows * from * to);
        for row in 0..rows {
            for from in 0..from {
                hidden.extend((0..to).map(|to| !visible(row, from, to)));
            }
        }
        let hidden = TensorData::new(hidden, [rows, 1, from, to]);
        Self {
            hidden: Tensor::from_data(hidden, device),
        }
    }

    /// Tokens below `lengths[row]`, and none after the asking one if `causal`.
    pub(crate) fn of_lengths(
        lengths: &[usize],
        tokens: usize,
        causal: bool,
        device: &Device,
    ) -> Self {
        Self::new([lengths.len(), tokens, tokens], device, |row, from, to| {
            to < lengths[row] && (!causal || to <= from)
        })
    }

    /// Tokens up to the asking one.
    pub(crate) fn causal(tokens: usize, device: &Device) -> Self {
        Self::new([1, tokens, tokens], device, |_, from, to| to <= from)
    }
}

/// softmax(q kᵀ / sqrt(W/h) + mask) v for every head. q `[B, T, W]`, k and v `[B, S, W]`.
pub(crate) fn attention(
    query: Tensor<3>,
    kv: KeyValue,
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
    let scores = split(query.mul_scalar(scale)).matmul(split(kv.key).swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => {
            let shape = scores.dims();
            scores.mask_fill(mask.hidden.clone().expand(shape), f32::NEG_INFINITY)
        }
        None => scores,
    };
    let weights = dropout(softmax(scores, 3), dropped);
    weights
        .matmul(split(kv.value))
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
