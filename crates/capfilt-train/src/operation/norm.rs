//! Layer norm in one pass over memory, and its gradients in another.
//!
//! The library's own is a chain of twelve operations on one core, each with a gradient of its own.

use std::sync::Arc;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::lanes::sum;
use super::{Saved, tracked};

/// Rows that one core takes at a time. Sums over rows are taken in these groups, so that they do not
/// depend on how many cores there are.
const ROWS: usize = 32;

#[backend_extension(Flex, Autodiff)]
trait LayerNorm: Backend {
    /// (x - mean) / sqrt(var + ε) · weight + bias.
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
}

/// (x - mean) / sqrt(var + ε) · weight + bias over the features of every row. x `[B, T, W]`, weight and
/// bias `[W]`.
pub(crate) fn layer_norm(
    x: Tensor<3>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as LayerNorm>::fused_layer_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon,
    ))
}

/// Mean of a row, and 1 / sqrt(var + ε).
type Moments = (f32, f32);

impl LayerNorm for Flex {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        forward(&x.to_contiguous(), &weight, &bias, epsilon).0
    }
}

/// The result, and the moments of the rows of x, which lies in one piece.
fn forward(
    x: &FloatTensor<Flex>,
    weight: &FloatTensor<Flex>,
    bias: &FloatTensor<Flex>,
    epsilon: f32,
) -> (FloatTensor<Flex>, Vec<Moments>) {
    let (weight, bias) = (weight.to_contiguous(), bias.to_contiguous());
    let given = x.as_slice::<f32>().unwrap_or_default();
    let weight = weight.as_slice::<f32>().unwrap_or_default();
    let bias = bias.as_slice::<f32>().unwrap_or_default();
    let width = weight.len().max(1);
    let mut values = vec![0.0; given.len()];
    let mut moments = vec![(0.0, 0.0); given.len() / width];
    values
        .par_chunks_mut(ROWS * width)
        .zip(given.par_chunks(ROWS * width))
        .zip(moments.par_chunks_mut(ROWS))
        .for_each(|((values, given), moments)| {
            let rows = values.chunks_exact_mut(width);
            let rows = rows.zip(given.chunks_exact(width)).zip(moments);
            for ((values, given), moments) in rows {
                let (mean, scale) = moments_of(given, epsilon);
                for ((value, &x), (&weight, &bias)) in
                    values.iter_mut().zip(given).zip(weight.iter().zip(bias))
                {
                    *value = (x - mean) * scale * weight + bias;
                }
                *moments = (mean, scale);
            }
        });
    let shape = x.layout().shape().clone();
    let values = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
    (values, moments)
}

#[expect(clippy::cast_precision_loss, reason = "a row has few features")]
fn moments_of(row: &[f32], epsilon: f32) -> Moments {
    let share = 1.0 / row.len() as f32;
    let mean = share * sum(row, row, |x, _| x);
    let variance = share * sum(row, row, |x, _| (x - mean) * (x - mean));
    (mean, (variance + epsilon).sqrt().recip())
}

/// What the gradients need.
#[derive(Clone, Debug)]
struct Kept {
    x: FloatTensor<Flex>,
    weight: FloatTensor<Flex>,
    moments: Arc<Vec<Moments>>,
}

impl Saved<3> for Kept {
    /// The gradients of x, weight and bias. With x̂ = (x - mean)·s and g = gradient·weight, that of x is
    /// s·(g - mean(g) - x̂·mean(g·x̂)), of weight Σ gradient·x̂, of bias Σ gradient.
    fn gradients(&self, gradient: &FloatTensor<Flex>) -> [FloatTensor<Flex>; 3] {
        let (gradient, weight) = (gradient.to_contiguous(), self.weight.to_contiguous());
        let given = self.x.as_slice::<f32>().unwrap_or_default();
        let gradient = gradient.as_slice::<f32>().unwrap_or_default();
        let weight = weight.as_slice::<f32>().unwrap_or_default();
        let width = weight.len().max(1);
        let mut values = vec![0.0; given.len()];
        let groups: Vec<Vec<[f32; 2]>> = values
            .par_chunks_mut(ROWS * width)
            .zip(given.par_chunks(ROWS * width))
            .zip(gradient.par_chunks(ROWS * width))
            .zip(self.moments.par_chunks(ROWS))
            .map(|(((values, given), gradient), moments)| {
                let mut sums = vec![[0.0; 2]; width];
                let rows = values.chunks_exact_mut(width);
                let rows = rows.zip(given.chunks_exact(width));
                let rows = rows.zip(gradient.chunks_exact(width)).zip(moments);
                for (((values, given), gradient), &moments) in rows {
                    of_row(values, given, gradient, weight, moments);
                    let (mean, scale) = moments;
                    for ((sums, &x), &gradient) in sums.iter_mut().zip(given).zip(gradient) {
                        sums[0] += gradient * (x - mean) * scale;
                        sums[1] += gradient;
                    }
                }
                sums
            })
            .collect();
        let total = |part: usize| {
            let mut total = vec![0.0; width];
            for group in &groups {
                for (total, sums) in total.iter_mut().zip(group) {
                    *total += sums[part];
                }
            }
            FloatTensor::<Flex>::from_data(TensorData::new(total, [width]))
        };
        let shape = self.x.layout().shape().clone();
        let values = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
        [values, total(0), total(1)]
    }
}

/// The gradient of a row.
#[expect(clippy::cast_precision_loss, reason = "a row has few features")]
fn of_row(
    values: &mut [f32],
    given: &[f32],
    gradient: &[f32],
    weight: &[f32],
    (mean, scale): Moments,
) {
    let share = 1.0 / values.len() as f32;
    for ((value, &gradient), &weight) in values.iter_mut().zip(gradient).zip(weight) {
        *value = gradient * weight;
    }
    let all = share * sum(values, values, |g, _| g);
    let along = share * sum(values, given, |g, x| g * (x - mean) * scale);
    for (value, &x) in values.iter_mut().zip(given) {
        *value = scale * (*value - all - (x - mean) * scale * along);
    }
}

impl<C: CheckpointStrategy> LayerNorm for Autodiff<Flex, C> {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let given = x.primitive().to_contiguous();
        let (values, moments) = forward(&given, weight.primitive(), bias.primitive(), epsilon);
        let nodes = [x.node(), weight.node(), bias.node()];
        let kept = Kept {
            x: given,
            weight: weight.primitive().clone(),
            moments: Arc::new(moments),
        };
        tracked::<C, _, 3>(nodes, kept, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{device, numbers};
    use crate::parameters::floats;

    #[test]
    fn values_and_gradients_equal_the_library() {
        let tensor = |seed, shape: [usize; 3]| {
            let count = shape.iter().product();
            let data = TensorData::new(numbers(seed, count), shape);
            Tensor::<3>::from_data(data, &device()).require_grad()
        };
        // More rows than a group has, and features that do not fill the lanes.
        let (x, weight, bias) = (
            tensor(1, [5, 9, 21]),
            tensor(2, [1, 1, 21]),
            tensor(3, [1, 1, 21]),
        );
        let vector = |x: &Tensor<3>| x.clone().flatten::<1>(0, 2);
        let own = layer_norm(x.clone(), vector(&weight), vector(&bias), 1e-5);
        let library =
            burn::tensor::module::layer_norm(x.clone(), vector(&weight), Some(vector(&bias)), 1e-5);
        let asked = tensor(4, [5, 9, 21]).inner();
        let all = [own, library].map(|y| {
            let gradients = (y.clone() * Tensor::from_inner(asked.clone()))
                .sum()
                .backward();
            let mut all = vec![floats(y)];
            all.extend([&x, &weight, &bias].map(|of| floats(of.grad(&gradients).unwrap())));
            all
        });
        for (own, library) in all[0].iter().zip(&all[1]) {
            assert_eq!(own.len(), library.len());
            for (own, library) in own.iter().zip(library) {
                assert!((own - library).abs() < 2e-5, "{own}, library {library}");
            }
        }
    }
}
