//! Softmax of scaled scores of which some are hidden, in one pass over memory, and its gradient in another.

use std::sync::Arc;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::lanes::{falling, most, sum};
use super::{Saved, tracked};

/// Rows that one core takes at a time.
const ROWS: usize = 64;

/// Which tokens a token may look at: made once for all layers that a text goes through.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    /// `[G, T, S]`, true where nothing is seen.
    hidden: Arc<[bool]>,
    /// G is the number of pictures or texts, or 1 when all have the same mask.
    shape: [usize; 3],
}

impl Mask {
    /// `[G, T, S]`: token `to` is seen by token `from` of row `row` where `visible(row, from, to)`.
    pub(crate) fn new(shape: [usize; 3], visible: impl Fn(usize, usize, usize) -> bool) -> Self {
        let [rows, from, to] = shape;
        let mut hidden = Vec::with_capacity(rows * from * to);
        for row in 0..rows {
            for from in 0..from {
                hidden.extend((0..to).map(|to| !visible(row, from, to)));
            }
        }
        Self {
            hidden: hidden.into(),
            shape,
        }
    }

    /// Tokens below `lengths[row]`, and none after the asking one if `causal`.
    pub(crate) fn of_lengths(lengths: &[usize], tokens: usize, causal: bool) -> Self {
        Self::new([lengths.len(), tokens, tokens], |row, from, to| {
            to < lengths[row] && (!causal || to <= from)
        })
    }

    /// Tokens up to the asking one.
    pub(crate) fn causal(tokens: usize) -> Self {
        Self::new([1, tokens, tokens], |_, from, to| to <= from)
    }

    /// What is hidden from row `row` of scores `[B, h, T, S]`.
    fn of_row(&self, row: usize, heads: usize) -> &[bool] {
        let [groups, from, to] = self.shape;
        let group = if groups == 1 { 0 } else { row / (heads * from) };
        let start = (group * from + row % from) * to;
        &self.hidden[start..start + to]
    }
}

#[backend_extension(Flex, Autodiff)]
trait Softmax: Backend {
    /// softmax(scale·scores), zero where `mask` hides.
    fn fused_softmax(
        scores: FloatTensor<Self>,
        scale: f32,
        mask: Option<Mask>,
    ) -> FloatTensor<Self>;
}

/// softmax(scale·scores) over the last dimension, zero where `mask` hides. `[B, h, T, S]`, scale > 0.
pub(crate) fn softmax(scores: Tensor<4>, scale: f32, mask: Option<&Mask>) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Softmax>::fused_softmax(
        scores.into_dispatch(),
        scale,
        mask.cloned(),
    ))
}

impl Softmax for Flex {
    fn fused_softmax(
        scores: FloatTensor<Self>,
        scale: f32,
        mask: Option<Mask>,
    ) -> FloatTensor<Self> {
        let scores = scores.to_contiguous();
        let shape = scores.layout().shape().clone();
        let (heads, width) = (shape[1], shape[3].max(1));
        let given = scores.as_slice::<f32>().unwrap_or_default();
        let mut values = vec![0.0; given.len()];
        values
            .par_chunks_mut(ROWS * width)
            .zip(given.par_chunks(ROWS * width))
            .enumerate()
            .for_each(|(group, (values, given))| {
                let rows = values.chunks_exact_mut(width);
                for (row, (values, given)) in rows.zip(given.chunks_exact(width)).enumerate() {
                    match &mask {
                        Some(mask) => {
                            let hidden = mask.of_row(group * ROWS + row, heads);
                            visible(values, given, scale, hidden);
                        }
                        None => all(values, given, scale),
                    }
                }
            });
        FloatTensor::<Self>::from_data(TensorData::new(values, shape))
    }
}

/// A row of which everything is seen.
fn all(values: &mut [f32], given: &[f32], scale: f32) {
    let top = most(given);
    for (value, &score) in values.iter_mut().zip(given) {
        *value = falling(scale * (top - score));
    }
    divide(values);
}

/// A row of which some is hidden.
fn visible(values: &mut [f32], given: &[f32], scale: f32, hidden: &[bool]) {
    for ((value, &score), &hidden) in values.iter_mut().zip(given).zip(hidden) {
        *value = if hidden { f32::NEG_INFINITY } else { score };
    }
    let top = most(values);
    for ((value, &score), &hidden) in values.iter_mut().zip(given).zip(hidden) {
        let seen = falling(scale * (top - score));
        *value = if hidden { 0.0 } else { seen };
    }
    divide(values);
}

/// Makes the sum 1; leaves a row alone of which nothing is seen.
fn divide(values: &mut [f32]) {
    let total = sum(values, values, |value, _| value);
    let share = if total == 0.0 { 0.0 } else { total.recip() };
    for value in values {
        *value *= share;
    }
}

/// What the gradient needs.
#[derive(Clone, Debug)]
struct Kept {
    result: FloatTensor<Flex>,
    scale: f32,
}

impl Saved<1> for Kept {
    /// That of scores: with the result P and its gradient D, it is scale·P·(D - ΣP·D).
    fn gradients(&self, gradient: &FloatTensor<Flex>) -> [FloatTensor<Flex>; 1] {
        let (result, scale) = (&self.result, self.scale);
        let gradient = gradient.to_contiguous();
        let shape = result.layout().shape().clone();
        let width = shape[3].max(1);
        let result = result.as_slice::<f32>().unwrap_or_default();
        let mut values = gradient.as_slice::<f32>().unwrap_or_default().to_vec();
        values
            .par_chunks_mut(ROWS * width)
            .zip(result.par_chunks(ROWS * width))
            .for_each(|(values, result)| {
                let rows = values.chunks_exact_mut(width);
                for (values, result) in rows.zip(result.chunks_exact(width)) {
                    let along = sum(values, result, |gradient, share| gradient * share);
                    for (value, &share) in values.iter_mut().zip(result) {
                        *value = scale * share * (*value - along);
                    }
                }
            });
        [FloatTensor::<Flex>::from_data(TensorData::new(
            values, shape,
        ))]
    }
}

impl<C: CheckpointStrategy> Softmax for Autodiff<Flex, C> {
    fn fused_softmax(
        scores: FloatTensor<Self>,
        scale: f32,
        mask: Option<Mask>,
    ) -> FloatTensor<Self> {
        let result = Flex::fused_softmax(scores.primitive().clone(), scale, mask);
        let kept = Kept {
            result: result.clone(),
            scale,
        };
        tracked::<C, _, 1>([scores.node()], kept, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{device, numbers};
    use crate::parameters::floats;

    fn tensor(seed: u64, shape: [usize; 4]) -> Tensor<4> {
        let data = TensorData::new(numbers(seed, shape.iter().product()), shape);
        Tensor::from_data(data, &device())
    }

    #[test]
    fn values_and_gradients_equal_the_library() {
        let shape = [3, 2, 13, 13];
        let scores = tensor(1, shape).mul_scalar(9.0).require_grad();
        let asked = tensor(2, shape).inner();
        for mask in [
            None,
            Some(Mask::causal(13)),
            Some(Mask::of_lengths(&[13, 1, 7], 13, true)),
        ] {
            let own = softmax(scores.clone(), 0.5, mask.as_ref());
            let mut masked = scores.clone().mul_scalar(0.5);
            if let Some(mask) = &mask {
                let [groups, from, to] = mask.shape;
                let hidden = TensorData::new(mask.hidden.to_vec(), [groups, 1, from, to]);
                let hidden = Tensor::<4, burn::tensor::Bool>::from_data(hidden, &device());
                masked = masked.mask_fill(hidden.expand(shape), f32::NEG_INFINITY);
            }
            let library = burn::tensor::activation::softmax(masked, 3);
            let [own, library] = [own, library].map(|y| {
                let gradients = (y.clone() * Tensor::from_inner(asked.clone()))
                    .sum()
                    .backward();
                [floats(y), floats(scores.grad(&gradients).unwrap())]
            });
            for (own, library) in own.concat().iter().zip(library.concat()) {
                assert!((own - library).abs() < 2e-6, "{own}, library {library}");
            }
        }
    }

    #[test]
    fn a_number_that_is_none_is_not_lost() {
        let mut scores = vec![0.0; 9];
        scores[4] = f32::NAN;
        let scores = Tensor::<4>::from_data(TensorData::new(scores, [1, 1, 3, 3]), &device());
        let mask = Mask::causal(3);
        let values = floats(softmax(scores, 1.0, Some(&mask)));
        assert_eq!(values[..3], [1.0, 0.0, 0.0]);
        assert!(values[3].is_nan() && values[4].is_nan());
    }

    #[test]
    fn where_nothing_is_seen_there_is_nothing() {
        let mask = Mask::of_lengths(&[0], 2, false);
        let values = floats(softmax(tensor(1, [1, 1, 2, 2]), 1.0, Some(&mask)));
        assert_eq!(values, [0.0; 4]);
    }
}
