//! The learning rate of every step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::{Part, Peak, Rate};

#[cfg(test)]
mod tests;

/// How the rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// It stays at its peak.
    Constant,
    /// Half a cosine to `least`, reached at the end of training.
    #[default]
    Cosine,
    /// A straight line to `least`, reached at the end of training.
    Linear,
    /// This factor after every epoch, but never below `least`.
    EveryEpoch(Part),
}

/// A learning rate as training files describe it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LearningRate {
    /// The largest rate.
    pub peak: Peak,
    /// Steps of the straight line from `warm-up-from` up to `peak`.
    #[serde(default)]
    pub warm_up: u64,
    /// Where the warm-up starts. Zero if absent, and then step k of w has k+1 parts of w, as in
    /// `open_clip`; else step k has k parts of w, as in BLIP.
    #[serde(default = "zero")]
    pub warm_up_from: Rate,
    /// How it falls.
    #[serde(default)]
    pub decay: Decay,
    /// The smallest rate after the warm-up.
    #[serde(default = "zero")]
    pub least: Rate,
    /// Whether it changes between epochs only, as in BLIP's finetuning, not with every step.
    #[serde(default)]
    pub per_epoch: bool,
}

const fn zero() -> Rate {
    Rate::known(0.0)
}

impl LearningRate {
    /// Rate of step `step` (from 0) of `steps`, in epochs of `per_epoch` steps.
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    pub fn at(&self, step: u64, steps: u64, per_epoch: u64) -> f64 {
        let (peak, least, from) = (self.peak.get(), self.least.get(), self.warm_up_from.get());
        if step < self.warm_up {
            let warm_up = self.warm_up as f64;
            return if from > 0.0 {
                from + (peak - from) * step as f64 / warm_up
            } else {
                peak * (step + 1) as f64 / warm_up
            };
        }
        let per_epoch = per_epoch.max(1);
        let whole = |step: u64| {
            if self.per_epoch {
                step / per_epoch * per_epoch
            } else {
                step
            }
        };
        let all = steps.saturating_sub(self.warm_up).max(1) as f64;
        let done = (whole(step).saturating_sub(self.warm_up) as f64 / all).min(1.0);
        let span = peak - least;
        match self.decay {
            Decay::Constant => peak,
            Decay::Cosine => least + span * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Decay::Linear => least + span * (1.0 - done),
            Decay::EveryEpoch(factor) => {
                let epochs = (step / per_epoch) as f64;
                (peak * factor.get().powf(epochs)).max(least)
            }
        }
    }
}
