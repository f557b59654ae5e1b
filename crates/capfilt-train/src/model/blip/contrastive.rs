//! Image-text contrast with a momentum model, queues and soft targets (ALBEF's loss, which BLIP
//! takes over in section 3.2).

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

use super::{Blip, LEAST_WEIGHT, Negatives};
use crate::draws::weighted;
use crate::layers::Dropout;
use crate::parameters::{Parameters, floats};
use crate::tokens::Tokens;

#[cfg(test)]
mod tests;

/// Features that the momentum model made in past steps: Q rows of E features.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// Of pictures, `[Q, E]`.
    pub(crate) images: Tensor<2>,
    /// Of texts, `[Q, E]`.
    pub(crate) texts: Tensor<2>,
    /// The pictures that they belong to, [`None`] before the first use.
    pub(crate) pictures: Vec<Option<u64>>,
    /// Where the next batch goes.
    pub(crate) next: usize,
}

impl Queue {
    /// Q rows of random numbers, each of length 1.
    pub(crate) fn new(
        length: usize,
        features: usize,
        random: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let mut rows = || {
            let mut rows: Vec<f32> = Vec::with_capacity(length * features);
            for _ in 0..length {
                let row: Vec<f32> = (0..features)
                    .map(|_| crate::parameters::normal(random))
                    .collect();
                let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
                rows.extend(row.into_iter().map(|x| x / norm));
            }
            Tensor::from_data(TensorData::new(rows, [length, features]), device)
        };
        Self {
            images: rows(),
            texts: rows(),
            pictures: vec![None; length],
            next: 0,
        }
    }

    /// Puts a batch in the place of the oldest.
    pub(crate) fn push(&mut self, images: Tensor<2>, texts: Tensor<2>, pictures: &[u64]) {
        let [count, features] = images.dims();
        let range = [self.next..self.next + count, 0..features];
        self.images = self.images.clone().slice_assign(range.clone(), images);
        self.texts = self.texts.clone().slice_assign(range, texts);
        for (place, &picture) in self.pictures[self.next..].iter_mut().zip(pictures) {
            *place = Some(picture);
        }
        self.next = (self.next + count) % self.pictures.len().max(1);
    }
}

/// The model that follows the student slowly: its features are candidates and targets.
#[derive(Clone, Debug)]
pub(crate) struct Momentum {
    /// Its parameters.
    pub(crate) weights: Parameters,
    /// What it said before.
    pub(crate) queue: Queue,
}

/// Which pairs are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Positives {
    /// A picture and its text, and nothing else: pretraining.
    Pairs,
    /// All texts of a picture: finetuning. Each has the same share.
    Pictures,
}

/// Result of the contrastive part of a step.
#[derive(Debug)]
pub(crate) struct Contrastive {
    /// `L_itc`.
    pub(crate) loss: Tensor<1>,
    /// Weights `[B, B]` with which a wrong picture is drawn for each text (rows).
    pub(crate) text_to_image: Vec<f32>,
    /// Weights `[B, B]` with which a wrong text is drawn for each picture (rows).
    pub(crate) image_to_text: Vec<f32>,
    images: Tensor<2>,
    texts: Tensor<2>,
}

impl Blip {
    /// Names of parameters that the momentum model has.
    pub(crate) fn followed(name: &str) -> bool {
        let taken = [
            "vision_model.",
            "text_encoder.",
            "vision_proj.",
            "text_proj.",
        ];
        taken.iter().any(|start| name.starts_with(start)) && !name.contains(".crossattention.")
    }

    /// `L_itc` of student features v, w `[B, E]`, and the weights of hard negatives:
    ///
    /// s = v·Aᵀ/τ over candidates A = \[w'; queue\], Y = α·softmax(v'·Aᵀ/τ) + (1 - α)·positives,
    /// L = ½·mean(-Σ Y·log softmax(s)) for pictures, and the same for texts.
    ///
    /// `patches` and `tokens` (starting with \[CLS\]) are what v and w were made from; the momentum
    /// model makes v' and w' of them.
    #[expect(clippy::too_many_arguments, reason = "what the equation has")]
    pub(crate) fn contrastive(
        &self,
        weights: &Parameters,
        momentum: &Momentum,
        (image, text): (&Tensor<2>, &Tensor<2>),
        (patches, tokens): (Tensor<3>, &Tokens),
        pictures: &[u64],
        positives: Positives,
        alpha: f64,
        dropped: Option<&Dropout>,
    ) -> Contrastive {
        let temperature = weights.get("temp");
        let followed = &momentum.weights;
        let images = Self::image_features(followed, &self.image(followed, patches.inner()));
        let texts = self.text_features(followed, tokens, dropped);
        let queue = &momentum.queue;
        let image_candidates = Tensor::cat(vec![images.clone(), queue.images.clone()], 0);
        let text_candidates = Tensor::cat(vec![texts.clone(), queue.texts.clone()], 0);

        let right = right_pairs(pictures, &queue.pictures, positives, &images.device());
        let (image_loss, image_logits) = soft_contrast(
            image,
            &images,
            &text_candidates,
            &right,
            &temperature,
            alpha,
        );
        let (text_loss, text_logits) =
            soft_contrast(text, &texts, &image_candidates, &right, &temperature, alpha);

        let count = pictures.len();
        let (to_text, to_image) = match positives {
            Positives::Pairs => (
                image_logits.narrow(1, 0, count),
                text_logits.narrow(1, 0, count),
            ),
            Positives::Pictures => {
                let (image, text) = (image.clone().inner(), text.clone().inner());
                let to_text = image.matmul(text.transpose()) / temperature.inner();
                (to_text.clone(), to_text.transpose())
            }
        };
        let weigh = |logits: Tensor<2>| {
            let mut weights = floats(softmax(logits, 1));
            for (place, weight) in weights.iter_mut().enumerate() {
                let (row, column) = (place / count, place % count);
                match positives {
                    Positives::Pairs if row == column => *weight = 0.0,
                    Positives::Pairs => *weight += LEAST_WEIGHT,
                    Positives::Pictures if pictures[row] == pictures[column] => *weight = 0.0,
                    Positives::Pictures => {}
                }
            }
            weights
        };
        Contrastive {
            loss: (image_loss + text_loss).mul_scalar(0.5),
            image_to_text: weigh(to_text),
            text_to_image: weigh(to_image),
            images,
            texts,
        }
    }
}

impl Contrastive {
    /// Hands the momentum features to the queue.
    pub(crate) fn remember(&self, queue: &mut Queue, pictures: &[u64]) {
        queue.push(self.images.clone(), self.texts.clone(), pictures);
    }

    /// Draws a wrong partner for every text and every picture.
    pub(crate) fn draw(&self, count: usize, random: &mut ChaCha8Rng) -> Negatives {
        Negatives {
            images: draw(&self.text_to_image, count, random),
            texts: draw(&self.image_to_text, count, random),
        }
    }
}

/// One direction of the loss: mean(-Σ Y·log softmax(s)) and s, with s = v·Aᵀ/τ of the student's v
/// `[B, E]` and Y = α·softmax(v'·Aᵀ/τ) + (1 - α)·`right`. Candidates A `[C, E]`, `right` `[B, C]`,
/// τ `[1, 1]`. No gradient goes through Y.
fn soft_contrast(
    student: &Tensor<2>,
    teacher: &Tensor<2>,
    candidates: &Tensor<2>,
    right: &Tensor<2>,
    temperature: &Tensor<2>,
    alpha: f64,
) -> (Tensor<1>, Tensor<2>) {
    let across = candidates.clone().transpose();
    let opinion = teacher.clone().matmul(across.clone()) / temperature.clone().inner();
    let target = softmax(opinion, 1).mul_scalar(alpha) + right.clone().mul_scalar(1.0 - alpha);
    let logits = student.clone().matmul(across) / temperature.clone();
    let log = log_softmax(logits.clone(), 1);
    let loss = (log * target).sum_dim(1).mean().neg();
    (loss, logits.inner())
}

/// Target mass `[B, B + Q]` of right candidates.
fn right_pairs(
    pictures: &[u64],
    queue: &[Option<u64>],
    positives: Positives,
    device: &Device,
) -> Tensor<2> {
    let columns = pictures.len() + queue.len();
    let mut right = vec![0.0f32; pictures.len() * columns];
    for (row, (masses, picture)) in right.chunks_exact_mut(columns).zip(pictures).enumerate() {
        match positives {
            Positives::Pairs => masses[row] = 1.0,
            Positives::Pictures => {
                let of_batch = pictures.iter().map(|other| other == picture);
                let of_queue = queue.iter().map(|other| *other == Some(*picture));
                let same: Vec<bool> = of_batch.chain(of_queue).collect();
                #[expect(clippy::cast_precision_loss, reason = "a count of captions is small")]
                let share = 1.0 / same.iter().filter(|same| **same).count() as f32;
                for (mass, same) in masses.iter_mut().zip(same) {
                    *mass = if same { share } else { 0.0 };
                }
            }
        }
    }
    Tensor::from_data(TensorData::new(right, [pictures.len(), columns]), device)
}

/// One column for every row, with probabilities in proportion to the weights. A row without any
/// weight (all texts of the batch belong to its picture) gets another row's column evenly.
fn draw(weights: &[f32], columns: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    weights
        .chunks_exact(columns)
        .enumerate()
        .map(|(row, weights)| {
            let unit = f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0);
            let chosen = weighted(unit, weights.iter().map(|&weight| f64::from(weight)));
            chosen.unwrap_or_else(|| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "a place in the batch"
                )]
                let step = 1 + (unit * (columns - 1) as f64) as usize;
                (row + step) % columns
            })
        })
        .collect()
}
