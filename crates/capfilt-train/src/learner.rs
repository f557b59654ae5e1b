//! A model that learns: its parameters, what follows them, and its optimizer.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use capfilt_onnx::{SpecialTokens, TokenizerError, Vocabulary};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::data::Batch;
use crate::draws::generator;
use crate::family::Family;
use crate::layers::{Dropout, patches};
use crate::model::blip::{Blip, BlipStep, Mode, Momentum, Queue};
use crate::model::clip::MOST_LOGIT_SCALE;
use crate::model::{Losses, Pairs};
use crate::optimizer::{Given, Optimizer, OptimizerConfig};
use crate::parameters::{Parameters, floats};
use crate::tokens::Tokens;

/// Losses and what became of them in a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StepNumbers {
    /// Mean of every loss over the batches of the step.
    pub(crate) losses: BTreeMap<&'static str, f32>,
    /// Weighted sum of the losses.
    pub(crate) total: f32,
    /// Length of the gradient over all parameters, before clipping.
    pub(crate) gradient_norm: f32,
}

/// What is drawn in step `step`, for one purpose.
fn step_draws(seed: u64, step: u64, purpose: &str) -> ChaCha8Rng {
    generator(&[&seed.to_le_bytes(), &step.to_le_bytes(), purpose.as_bytes()])
}

pub(crate) struct Learner {
    pub(crate) family: Family,
    pub(crate) weights: Parameters,
    /// The momentum model of BLIP's encoders.
    pub(crate) momentum: Option<Momentum>,
    /// Moving average of the parameters, if asked for, and how much of itself it keeps.
    pub(crate) average: Option<(Parameters, f64)>,
    pub(crate) optimizer: Optimizer,
    pub(crate) device: Device,
    tokens: SpecialTokens,
    seed: u64,
}

/// Numbers that decide over a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepPlan {
    /// Number of the step, from 0.
    pub(crate) step: u64,
    pub(crate) learning_rate: f64,
    /// Weight of the momentum model's opinion.
    pub(crate) alpha: f64,
    /// Longest gradient; longer ones are shortened to it.
    pub(crate) clip_norm: Option<f64>,
}

impl Learner {
    pub(crate) fn new(
        family: Family,
        vocabulary: &Vocabulary,
        optimizer: &OptimizerConfig,
        average: Option<f64>,
        seed: u64,
        device: &Device,
    ) -> Self {
        let weights = Parameters::new(family.declare(vocabulary.size), seed, device);
        let mut learner = Self {
            family,
            weights,
            momentum: None,
            average: None,
            optimizer: Optimizer::new(optimizer),
            device: device.clone(),
            tokens: vocabulary.tokens().clone(),
            seed,
        };
        learner.follow(average);
        learner
    }

    /// Lets what follows the parameters start where they are now.
    pub(crate) fn follow(&mut self, average: Option<f64>) {
        self.average = average.map(|decay| (self.weights.frozen(|_| true), decay));
        if let Family::Blip(blip) = &self.family
            && blip.has_encoder()
        {
            let mut random = step_draws(self.seed, 0, "queue");
            let device = self.device.clone().inner();
            self.momentum = Some(Momentum {
                weights: self.weights.frozen(Blip::followed),
                queue: Queue::new(blip.queue.get(), blip.projection, &mut random, &device),
            });
        }
    }

    /// The parameters that evaluation and the finished model use.
    pub(crate) fn best_known(&self) -> Parameters {
        match &self.average {
            Some((average, _)) => average.clone(),
            None => self.weights.frozen(|_| true),
        }
    }

    /// Puts texts into tokens and pictures into patches.
    pub(crate) fn pairs(
        &self,
        batch: &Batch,
        vocabulary: &Vocabulary,
    ) -> Result<Pairs, TokenizerError> {
        let vision = self.family.vision();
        Ok(Pairs {
            patches: patches(
                &batch.pixels,
                batch.ids.len(),
                vision.image_size,
                vision.patch,
                &self.device,
            ),
            tokens: tokens(&self.family, vocabulary, &batch.texts)?,
            pictures: batch.pictures.clone(),
        })
    }

    /// Losses of a batch. Moves BLIP's momentum model.
    pub(crate) fn losses(
        &mut self,
        pairs: &Pairs,
        prompt: usize,
        alpha: f64,
        dropped: Option<&Dropout>,
        random: &mut ChaCha8Rng,
    ) -> Losses {
        match &self.family {
            Family::Blip(blip) => {
                let step = BlipStep {
                    tokens: &self.tokens,
                    momentum: self.momentum.as_mut(),
                    alpha,
                    prompt,
                    dropped,
                };
                let count = pairs.tokens.count();
                blip.losses(&self.weights, pairs, step, |contrast| {
                    contrast.draw(count, random)
                })
            }
            Family::Clip(clip) => clip.losses(&self.weights, pairs),
            Family::Coca(coca) => coca.losses(&self.weights, pairs),
            Family::Filip(filip) => filip.losses(&self.weights, pairs),
        }
    }

    /// One step over `batches`. [`None`] if a number of it is not finite; the parameters then are
    /// as they were.
    pub(crate) fn step(
        &mut self,
        batches: &[Pairs],
        prompt: usize,
        plan: StepPlan,
    ) -> Option<StepNumbers> {
        let rate = match &self.family {
            Family::Blip(blip) => blip.dropout.get(),
            _ => 0.0,
        };
        let random = step_draws(self.seed, plan.step, "dropout");
        let dropout = Dropout::new(rate, random);
        let mut random = step_draws(self.seed, plan.step, "negatives");
        self.clamp();
        let mut gradients: BTreeMap<String, Tensor<2>> = BTreeMap::new();
        let mut numbers = StepNumbers::default();
        #[expect(clippy::cast_precision_loss, reason = "a few batches")]
        let share = 1.0 / batches.len() as f32;
        for pairs in batches {
            let losses = self.losses(pairs, prompt, plan.alpha, dropout.as_ref(), &mut random);
            for (name, loss) in losses.parts() {
                *numbers.losses.entry(name).or_default() += loss * share;
            }
            let total = losses.total();
            let value = total.clone().into_scalar::<f32>();
            if !value.is_finite() {
                return None;
            }
            numbers.total += value * share;
            let mut found = total.backward();
            self.weights.visit(|declaration, value| {
                if let Some(gradient) = value.grad_remove(&mut found) {
                    let gradient = if batches.len() == 1 {
                        gradient
                    } else {
                        gradient.mul_scalar(share)
                    };
                    let sum = match gradients.remove(&declaration.name) {
                        Some(sum) => sum + gradient,
                        None => gradient,
                    };
                    gradients.insert(declaration.name.clone(), sum);
                }
            });
        }
        let squares: Vec<f32> = gradients
            .par_iter()
            .map(|(_, gradient)| floats(gradient.clone().square().sum())[0])
            .collect();
        numbers.gradient_norm = squares.iter().sum::<f32>().sqrt();
        if !numbers.gradient_norm.is_finite() {
            return None;
        }
        let scale = plan
            .clip_norm
            // As `torch.nn.utils.clip_grad_norm_` has it.
            .map(|most| most / (f64::from(numbers.gradient_norm) + 1e-6))
            .filter(|scale| *scale < 1.0);
        let given = self.weights.declarations().filter_map(|declaration| {
            let gradient = gradients.remove(&declaration.name)?;
            Some(Given {
                declaration,
                value: self.weights.get(&declaration.name).inner(),
                gradient: match scale {
                    Some(scale) => gradient.mul_scalar(scale),
                    None => gradient,
                },
            })
        });
        let mut values = self.optimizer.step(plan.learning_rate, given.collect());
        self.weights
            .update(|declaration, _| values.remove(&declaration.name));
        if let Some((average, decay)) = &mut self.average {
            average.follow(&self.weights, *decay);
        }
        Some(numbers)
    }

    /// Holds temperatures in their bounds.
    fn clamp(&mut self) {
        match &self.family {
            Family::Blip(_) => Blip::clamp(&mut self.weights),
            Family::Clip(_) | Family::Coca(_) | Family::Filip(_) => {
                self.weights.update(|declaration, value| {
                    let is_scale = declaration.name == "logit_scale";
                    is_scale.then(|| value.clone().inner().clamp(0.0, MOST_LOGIT_SCALE))
                });
            }
        }
    }

    /// Tokens of the prompt, its first included, that the language loss does not ask for.
    pub(crate) fn prompt_tokens(&self, vocabulary: &Vocabulary) -> Result<usize, TokenizerError> {
        match &self.family {
            Family::Blip(blip)
                if blip.mode == Mode::FinetuneCaptioner && !blip.prompt.is_empty() =>
            {
                Ok(vocabulary.texts().prompt(&blip.prompt)?.len())
            }
            _ => Ok(1),
        }
    }
}

/// Texts as the family is given them.
pub(crate) fn tokens(
    family: &Family,
    vocabulary: &Vocabulary,
    texts: &[String],
) -> Result<Tokens, TokenizerError> {
    let framed: Result<Vec<_>, _> = texts
        .iter()
        .map(|text| {
            vocabulary
                .texts()
                .framed(&family.caption(text), family.most_tokens())
        })
        .collect();
    Ok(Tokens::new(
        &framed?,
        vocabulary.tokens().pad,
        family.width(),
    ))
}
