//! x·Φ(x) in one pass over memory, and its derivative in another.
//!
//! The library's own calls the C library's `erf` for every number on one core, which took more time of a
//! step than its matrix products.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::lanes::exp_of_negative;

/// Numbers that one core takes at a time.
const CHUNK: usize = 1 << 14;

#[backend_extension(Flex, Autodiff)]
trait Gelu: Backend {
    /// x·Φ(x).
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// x·Φ(x) of every number.
pub(crate) fn gelu(x: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Gelu>::fused_gelu(x.into_dispatch()))
}

impl Gelu for Flex {
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let shape = x.layout().shape().clone();
        let given = x.as_slice::<f32>().unwrap_or_default();
        let mut values = vec![0.0f32; given.len()];
        values
            .par_chunks_mut(CHUNK)
            .zip(given.par_chunks(CHUNK))
            .for_each(|(values, given)| {
                for (value, &x) in values.iter_mut().zip(given) {
                    *value = x * normal(x).0;
                }
            });
        FloatTensor::<Self>::from_data(TensorData::new(values, shape))
    }
}

/// The gradient of x: that of the result times Φ(x) + x·φ(x).
fn backward(x: &FloatTensor<Flex>, gradient: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let shape = x.layout().shape().clone();
    let given = x.as_slice::<f32>().unwrap_or_default();
    let mut values = gradient.as_slice::<f32>().unwrap_or_default().to_vec();
    values
        .par_chunks_mut(CHUNK)
        .zip(given.par_chunks(CHUNK))
        .for_each(|(values, given)| {
            for (value, &x) in values.iter_mut().zip(given) {
                let (below, density) = normal(x);
                *value *= below + x * density;
            }
        });
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

impl<C: CheckpointStrategy> Gelu for Autodiff<Flex, C> {
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;

        impl Backward<Flex, 1> for Step {
            type State = NodeId;

            fn backward(
                self,
                ops: Ops<NodeId, 1>,
                gradients: &mut Gradients,
                checkpointer: &mut Checkpointer,
            ) {
                let x = checkpointer.retrieve_node_output(ops.state);
                unary::<Flex, _>(ops.parents, ops.node, gradients, |gradient| {
                    backward(&x, &gradient)
                });
            }
        }

        match Step.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = prepared.checkpoint(&x);
                prepared.finish(state, Flex::fused_gelu(x.primitive().clone()))
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(Flex::fused_gelu(x.primitive().clone()))
            }
        }
    }
}

/// Φ(x) and φ(x) of the standard normal distribution.
///
/// erf(z) = 1 - t·P(t)·exp(-z²), t = 1/(1 + 0.3275911 z), z ≥ 0, within 1.5e-7 (Abramowitz and Stegun,
/// 7.1.26). Nothing here branches, so that the compiler makes vectors of it.
#[inline]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let p = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_8) * t - 0.284_496_74) * t
        + 0.254_829_6)
        * t;
    let falling = exp_of_negative(z * z);
    let tail = 0.5 * p * falling;
    let below = if x < 0.0 { tail } else { 1.0 - tail };
    (below, falling * 0.398_942_3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::device;
    use crate::parameters::floats;

    #[test]
    fn values_and_gradients_equal_the_library() {
        let numbers: Vec<f32> = (-2_000i16..=2_000)
            .map(|step| f32::from(step) * 0.01)
            .collect();
        let count = numbers.len();
        let x = Tensor::<3>::from_data(TensorData::new(numbers, [1, 1, count]), &device())
            .require_grad();
        let (own, other) = (gelu(x.clone()), burn::tensor::activation::gelu(x.clone()));
        let weight = x.clone().inner().cos();
        let gradients = [own.clone(), other.clone()].map(|y| {
            let gradients = (y * weight.clone()).sum().backward();
            floats(x.grad(&gradients).unwrap())
        });
        for (own, other) in floats(own).iter().zip(floats(other)) {
            assert!((own - other).abs() < 2e-6, "{own}, library {other}");
        }
        for (own, other) in gradients[0].iter().zip(&gradients[1]) {
            assert!(
                (own - other).abs() < 2e-6,
                "gradient {own}, library {other}"
            );
        }
    }
}
