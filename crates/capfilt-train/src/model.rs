//! The families, and what a training step asks of them.

pub(crate) mod blip;
pub(crate) mod clip;
pub(crate) mod coca;
mod dual;
pub(crate) mod filip;
pub(crate) mod sizes;
pub(crate) mod tower;

use burn::tensor::Tensor;

use crate::tokens::Tokens;

/// A batch: picture k belongs to text k.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    /// Patches `[B, P, 3·p·p]`.
    pub(crate) patches: Tensor<3>,
    /// Texts, framed by the tokens that they start and end with.
    pub(crate) tokens: Tokens,
    /// Which picture each is: the same for captions of the same one.
    pub(crate) pictures: Vec<u64>,
}

/// Losses of a step by name, at least one. Their weighted sum is trained on.
#[derive(Debug)]
pub(crate) struct Losses {
    parts: Vec<(&'static str, Tensor<1>)>,
    total: Tensor<1>,
}

impl Losses {
    /// The first loss and its weight.
    pub(crate) fn new(name: &'static str, loss: Tensor<1>, weight: f64) -> Self {
        Self {
            parts: vec![(name, loss.clone().inner())],
            total: weighted(loss, weight),
        }
    }

    /// Another loss and its weight.
    pub(crate) fn add(&mut self, name: &'static str, loss: Tensor<1>, weight: f64) {
        self.parts.push((name, loss.clone().inner()));
        self.total = self.total.clone() + weighted(loss, weight);
    }

    /// Names and values.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, f32)> {
        self.parts
            .iter()
            .map(|(name, loss)| (*name, loss.clone().into_scalar::<f32>()))
    }

    /// What gradients are taken of.
    pub(crate) fn total(&self) -> &Tensor<1> {
        &self.total
    }
}

fn weighted(loss: Tensor<1>, weight: f64) -> Tensor<1> {
    if (weight - 1.0).abs() < f64::EPSILON {
        loss
    } else {
        loss.mul_scalar(weight)
    }
}
