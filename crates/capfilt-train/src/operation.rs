//! The operations that a training step spends its time in: each goes through memory once, on all cores.

mod cross_entropy;
mod gelu;
mod lanes;
mod norm;
mod softmax;

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::Flex;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

pub(crate) use cross_entropy::cross_entropy;
pub(crate) use gelu::gelu;
pub(crate) use norm::layer_norm;
pub(crate) use softmax::Mask;
use softmax::softmax;

use crate::layers::{Dropout, KeyValue, dropout};

/// What an operation keeps for the gradients of its `N` inputs.
trait Saved<const N: usize>: Clone + Debug + Send + 'static {
    /// The gradients of the inputs from that of the result.
    fn gradients(&self, gradient: &FloatTensor<Flex>) -> [FloatTensor<Flex>; N];
}

/// `result` in the graph, with the gradients that `saved` gives its inputs `nodes`.
fn tracked<C: CheckpointStrategy, S: Saved<N>, const N: usize>(
    nodes: [NodeGuard; N],
    saved: S,
    result: FloatTensor<Flex>,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct Step<S>(PhantomData<S>);

    impl<S: Saved<N>, const N: usize> Backward<Flex, N> for Step<S> {
        type State = S;

        fn backward(self, ops: Ops<S, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
            let gradient = gradients.consume::<Flex>(&ops.node);
            let found = ops.state.gradients(&gradient);
            for (parent, gradient) in ops.parents.into_iter().zip(found) {
                if let Some(parent) = parent {
                    gradients.register::<Flex>(parent.id, gradient);
                }
            }
        }
    }

    let step = Step(PhantomData::<S>);
    match step.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(saved, result),
        OpsKind::UnTracked(prepared) => prepared.finish(result),
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
    let scale = ((width / heads) as f32).powf(-0.5);
    let scores = split(query).matmul(split(kv.key).swap_dims(2, 3));
    let weights = dropout(softmax(scores, scale, mask), dropped);
    weights
        .matmul(split(kv.value))
        .swap_dims(1, 2)
        .reshape([batch, asking, width])
}
