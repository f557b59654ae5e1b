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

/// Losses of a step by name. Their weighted sum is trained on.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    parts: Vec<(&'static str, Tensor<1>)>,
    total: Option<Tensor<1>>,
}

impl Losses {
    fn push(&mut self, name: &'static str, loss: Tensor<1>) {
        self.push_weighted(name, loss, 1.0);
    }

    fn push_weighted(&mut self, name: &'static str, loss: Tensor<1>, weight: f64) {
        self.parts.push((name, loss.clone().inner()));
        let weighted = if (weight - 1.0).abs() < f64::EPSILON {
            loss
        } else {
            loss.mul_scalar(weight)
        };
        self.total = Some(match self.total.take() {
            Some(total) => total + weighted,
            None => weighted,
        });
    }

    /// Names and values.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, f32)> {
        self.parts
            .iter()
            .map(|(name, loss)| (*name, loss.clone().into_scalar::<f32>()))
    }

    /// What gradients are taken of, and its value.
    pub(crate) fn total(&self) -> Option<&Tensor<1>> {
        self.total.as_ref()
    }
}
