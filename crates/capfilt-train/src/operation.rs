//! The operations that a training step spends its time in: each goes through memory once, on all cores.

mod cross_entropy;
mod gelu;
mod lanes;
mod norm;
mod softmax;

use burn::tensor::Tensor;

pub(crate) use cross_entropy::cross_entropy;
pub(crate) use gelu::gelu;
pub(crate) use norm::layer_norm;
pub(crate) use softmax::Mask;
use softmax::softmax;

use crate::layers::{Dropout, KeyValue, dropout};

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
    let scale = ((width / heads) as f32).powf(-0.5);
    let scores = split(query).matmul(split(kv.key).swap_dims(2, 3));
    let weights = dropout(softmax(scores, scale, mask), dropped);
    weights
        .matmul(split(kv.value))
        .swap_dims(1, 2)
        .reshape([batch, asking, width])
}
