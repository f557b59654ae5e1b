//! Cross-entropy with label smoothing in one pass over memory, and its gradient in another.

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
const ROWS: usize = 8;

#[backend_extension(Flex, Autodiff)]
trait CrossEntropy: Backend {
    /// The mean over rows, `[1]`.
    fn fused_cross_entropy(
        logits: FloatTensor<Self>,
        labels: Arc<[usize]>,
        smoothing: f32,
    ) -> FloatTensor<Self>;
}

/// Mean over rows of the smoothed cross-entropy `(1 - s)·(-log p_y) + s·mean_c(-log p_c)`, over all C
/// classes. logits `[R, C]`, labels R.
#[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[usize], smoothing: f64) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as CrossEntropy>::fused_cross_entropy(
        logits.into_dispatch(),
        labels.into(),
        smoothing as f32,
    ))
}

/// The mean, and log Σ exp of every row of logits, which lie in one piece.
#[expect(
    clippy::cast_precision_loss,
    reason = "a batch has few rows, a vocabulary few words"
)]
fn forward(
    logits: &FloatTensor<Flex>,
    labels: &[usize],
    smoothing: f32,
) -> (FloatTensor<Flex>, Vec<f32>) {
    let width = logits.layout().shape()[1].max(1);
    let given = logits.as_slice::<f32>().unwrap_or_default();
    let rows: Vec<(f32, f32)> = given
        .par_chunks(width)
        .with_min_len(ROWS)
        .zip(labels)
        .map(|(row, &label)| {
            let top = most(row);
            let total = top + sum(row, row, |logit, _| falling(top - logit)).ln();
            let mean = sum(row, row, |logit, _| logit) / width as f32;
            let right = total - row[label];
            (
                (1.0 - smoothing) * right + smoothing * (total - mean),
                total,
            )
        })
        .collect();
    let mean = rows.iter().map(|(loss, _)| loss).sum::<f32>() / rows.len() as f32;
    let mean = FloatTensor::<Flex>::from_data(TensorData::new(vec![mean], [1]));
    (mean, rows.into_iter().map(|(_, total)| total).collect())
}

impl CrossEntropy for Flex {
    fn fused_cross_entropy(
        logits: FloatTensor<Self>,
        labels: Arc<[usize]>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        forward(&logits.to_contiguous(), &labels, smoothing).0
    }
}

/// What the gradient needs.
#[derive(Clone, Debug)]
struct Kept {
    logits: FloatTensor<Flex>,
    labels: Arc<[usize]>,
    smoothing: f32,
    /// log Σ exp of every row.
    totals: Arc<Vec<f32>>,
}

impl Saved<1> for Kept {
    /// That of logits: (p - (1 - s)·y - s/C)/R times that of the mean, y being 1 at the label.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch has few rows, a vocabulary few words"
    )]
    fn gradients(&self, gradient: &FloatTensor<Flex>) -> [FloatTensor<Flex>; 1] {
        let gradient = gradient.to_contiguous();
        let gradient = gradient.as_slice::<f32>().unwrap_or_default();
        let share = gradient.iter().sum::<f32>() / self.labels.len() as f32;
        let shape = self.logits.layout().shape().clone();
        let width = shape[1].max(1);
        let given = self.logits.as_slice::<f32>().unwrap_or_default();
        let everywhere = self.smoothing / width as f32;
        let mut values = vec![0.0; given.len()];
        values
            .par_chunks_mut(width)
            .with_min_len(ROWS)
            .zip(given.par_chunks(width))
            .zip(self.labels.par_iter().zip(self.totals.par_iter()))
            .for_each(|((values, given), (&label, &total))| {
                for (value, &logit) in values.iter_mut().zip(given) {
                    *value = share * (falling(total - logit) - everywhere);
                }
                values[label] -= share * (1.0 - self.smoothing);
            });
        [FloatTensor::<Flex>::from_data(TensorData::new(
            values, shape,
        ))]
    }
}

impl<C: CheckpointStrategy> CrossEntropy for Autodiff<Flex, C> {
    fn fused_cross_entropy(
        logits: FloatTensor<Self>,
        labels: Arc<[usize]>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        let given = logits.primitive().to_contiguous();
        let (mean, totals) = forward(&given, &labels, smoothing);
        let kept = Kept {
            logits: given,
            labels,
            smoothing,
            totals: Arc::new(totals),
        };
        tracked::<C, _, 1>([logits.node()], kept, mean)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::log_softmax;

    use super::*;
    use crate::golden::{close, device, numbers};
    use crate::layers::indices;
    use crate::parameters::floats;

    /// Numbers of `models.md`, section 10; the row without a target is not among the rows.
    #[test]
    fn label_smoothing() {
        let logits = [[2.0, 0.5, -1.0, 0.0], [0.0, 1.0, 3.0, -2.0]];
        let logits = Tensor::<2>::from_data(logits, &device());
        let smooth = cross_entropy(logits.clone(), &[0, 2], 0.1);
        close("smoothed", &floats(smooth), &[0.465_182_48], 1e-6);
        let hard = cross_entropy(logits, &[0, 2], 0.0);
        close("unsmoothed", &floats(hard), &[0.258_932_47], 1e-6);
    }

    #[test]
    fn values_and_gradients_equal_the_library() {
        let labels: Vec<usize> = (0..19).map(|row| row * 7 % 45).collect();
        let logits = TensorData::new(numbers(1, 19 * 45), [19, 45]);
        let logits = Tensor::<2>::from_data(logits, &device()).mul_scalar(8.0);
        let logits = logits.detach().require_grad();
        let log = log_softmax(logits.clone(), 1);
        let right = indices(&labels, &device()).unsqueeze_dim(1);
        let right = log.clone().gather(1, right).mean();
        let library = (right.mul_scalar(0.9) + log.mean().mul_scalar(0.1)).neg();
        let own = cross_entropy(logits.clone(), &labels, 0.1);
        let [own, library] = [own, library].map(|loss| {
            let gradients = loss.clone().mul_scalar(3.0).backward();
            [floats(loss), floats(logits.grad(&gradients).unwrap())]
        });
        for (own, library) in own.concat().iter().zip(library.concat()) {
            assert!((own - library).abs() < 2e-6, "{own}, library {library}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_not_lost() {
        for bad in [f32::NAN, f32::INFINITY] {
            let logits = Tensor::<2>::from_data([[0.0, bad, 1.0]], &device());
            assert!(!floats(cross_entropy(logits, &[0], 0.0))[0].is_finite());
        }
    }
}
