//! Optimizers: burn's, over parameters that have names.

use std::collections::BTreeMap;

use burn::optim::{
    Adafactor, AdafactorConfig, AdamW, AdamWConfig, Lamb, LambConfig, Optimizer as BurnOptimizer,
    RecordState, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::number::{Number, Positive, Share, Weight};
use crate::parameters::Declaration;
use crate::tagged::Tagged;

#[cfg(test)]
mod tests;

/// An optimizer as training files describe it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OptimizerConfig {
    /// `AdamW` (Loshchilov and Hutter 2019, arXiv 1711.05101).
    #[serde(rename = "adamw")]
    AdamW(Moments),
    /// LAMB (You et al. 2020, arXiv 1904.00962): every tensor's step in proportion to its length.
    Lamb(Moments),
    /// Adafactor (Shazeer and Stern 2018, arXiv 1804.04235) without momentum: the second moment
    /// of a matrix as one row and one column.
    Adafactor(Factors),
}

/// Options of an optimizer that keeps two moments of every parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Moments {
    /// Decay of the two moments; 0.9 and 0.999 if absent.
    pub betas: [Share<f32>; 2],
    /// Added to the root of the second moment.
    pub epsilon: Positive<f32>,
    /// Weight decay, decoupled; with LAMB, part of the step that is scaled.
    pub weight_decay: Weight<f32>,
}

/// Options of Adafactor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Factors {
    /// Whether a tensor's step is in proportion to its root mean square, and the learning
    /// rate an upper bound on the relative step; else the learning rate counts as it is.
    pub relative: bool,
    /// Decoupled weight decay.
    pub weight_decay: Weight<f32>,
}

const WEIGHT_DECAY: Weight<f32> = Weight::known(0.05);

impl Default for Moments {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999].map(Share::known),
            epsilon: Positive::known(1e-8),
            weight_decay: WEIGHT_DECAY,
        }
    }
}

impl Default for Factors {
    fn default() -> Self {
        Self {
            relative: false,
            weight_decay: WEIGHT_DECAY,
        }
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW(Moments::default())
    }
}

impl<'de> Deserialize<'de> for OptimizerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, table) = Tagged::read("kind", deserializer)?;
        match kind.as_str() {
            "adamw" => table.of().map(Self::AdamW),
            "lamb" => table.of().map(Self::Lamb),
            "adafactor" => table.of().map(Self::Adafactor),
            _ => Err(D::Error::unknown_variant(
                &kind,
                &["adamw", "lamb", "adafactor"],
            )),
        }
    }
}

/// What an optimizer remembers, as a checkpoint keeps it.
#[derive(Debug, Default)]
pub(crate) struct OptimizerState {
    /// Moments by parameter and name.
    pub(crate) tensors: Vec<(String, TensorData)>,
    /// Steps by parameter.
    pub(crate) steps: BTreeMap<String, u64>,
}

/// A parameter that takes a step. Neither tensor has gradients of its own.
pub(crate) struct Given<'a> {
    pub(crate) declaration: &'a Declaration,
    pub(crate) value: Tensor<2>,
    pub(crate) gradient: Tensor<2>,
}

/// An optimizer with its memory of every parameter.
pub(crate) struct Optimizer {
    stepper: Box<dyn Stepper>,
}

impl Optimizer {
    pub(crate) fn new(config: &OptimizerConfig) -> Self {
        let stepper: Box<dyn Stepper> = match config {
            OptimizerConfig::AdamW(moments) => {
                let [first, second] = moments.betas.map(Number::get);
                let build = |decay: f32| -> AdamW {
                    AdamWConfig::new()
                        .with_beta_1(first)
                        .with_beta_2(second)
                        .with_epsilon(moments.epsilon.get())
                        .with_weight_decay(decay)
                        .build()
                };
                Box::new(PerParameter::new(build, moments.weight_decay.get()))
            }
            OptimizerConfig::Lamb(moments) => {
                let [first, second] = moments.betas.map(Number::get);
                let build = |decay: f32| -> Lamb {
                    LambConfig::new()
                        .with_beta_1(first)
                        .with_beta_2(second)
                        .with_epsilon(moments.epsilon.get())
                        .with_weight_decay(decay)
                        .build()
                };
                Box::new(PerParameter::new(build, moments.weight_decay.get()))
            }
            OptimizerConfig::Adafactor(factors) => {
                let build = |decay: f32| -> Adafactor {
                    AdafactorConfig::new()
                        .with_relative_step(factors.relative)
                        .with_scale_parameter(factors.relative)
                        .with_weight_decay(decay)
                        .build()
                };
                Box::new(PerParameter::new(build, factors.weight_decay.get()))
            }
        };
        Self { stepper }
    }

    /// Values of parameters after a step along their gradients, by name.
    pub(crate) fn step(
        &mut self,
        learning_rate: f64,
        given: Vec<Given<'_>>,
    ) -> BTreeMap<String, Tensor<2>> {
        self.stepper.step(learning_rate, given)
    }

    pub(crate) fn state(&self) -> OptimizerState {
        let mut sink = StateSink::default();
        self.stepper.save(&mut sink);
        OptimizerState {
            steps: sink
                .scalars
                .iter()
                .filter_map(|(name, count)| Some((name.clone(), u64::try_from(*count).ok()?)))
                .collect(),
            tensors: sink.tensors,
        }
    }

    /// Takes up the memory of a checkpoint. [`None`] if something of a parameter is missing.
    pub(crate) fn restore<'a>(
        &mut self,
        state: OptimizerState,
        parameters: impl Iterator<Item = &'a Declaration>,
        device: &Device,
    ) -> Option<()> {
        let scalars = state
            .steps
            .into_iter()
            .map(|(name, count)| (name, count.into()));
        let mut source = StateSource::new(scalars.collect());
        for (name, data) in state.tensors {
            source.insert_tensor(name, data);
        }
        for declaration in parameters {
            // A parameter that never had a gradient has no memory.
            if source.has_under(&declaration.name) {
                self.stepper.load(&declaration.name, &mut source, device)?;
            }
        }
        Some(())
    }
}

trait Stepper {
    fn step(&mut self, learning_rate: f64, given: Vec<Given<'_>>) -> BTreeMap<String, Tensor<2>>;
    fn save(&self, sink: &mut StateSink);
    fn load(&mut self, name: &str, source: &mut StateSource, device: &Device) -> Option<()>;
}

struct PerParameter<O: BurnOptimizer> {
    decaying: O,
    plain: O,
    states: BTreeMap<String, O::State<2>>,
}

impl<O: BurnOptimizer> PerParameter<O> {
    fn new(build: impl Fn(f32) -> O, weight_decay: f32) -> Self {
        Self {
            decaying: build(weight_decay),
            plain: build(0.0),
            states: BTreeMap::new(),
        }
    }
}

impl<O: BurnOptimizer> Stepper for PerParameter<O> {
    fn step(&mut self, learning_rate: f64, given: Vec<Given<'_>>) -> BTreeMap<String, Tensor<2>> {
        let work: Vec<_> = given
            .into_iter()
            .map(|one| {
                let state = self.states.remove(&one.declaration.name);
                (one, state)
            })
            .collect();
        // An operation of the library keeps to one core; parameters are many.
        let done: Vec<_> = work
            .into_par_iter()
            .with_max_len(1)
            .map(|(one, state)| {
                let optimizer = if one.declaration.decay {
                    &self.decaying
                } else {
                    &self.plain
                };
                let (value, state) = optimizer.step(learning_rate, one.value, one.gradient, state);
                (one.declaration.name.clone(), value, state)
            })
            .collect();
        let mut values = BTreeMap::new();
        for (name, value, state) in done {
            if let Some(state) = state {
                self.states.insert(name.clone(), state);
            }
            values.insert(name, value);
        }
        values
    }

    fn save(&self, sink: &mut StateSink) {
        for (name, state) in &self.states {
            state.state_flatten(name, sink);
        }
    }

    fn load(&mut self, name: &str, source: &mut StateSource, device: &Device) -> Option<()> {
        let state = RecordState::state_unflatten(name, source, device)?;
        self.states.insert(name.to_owned(), state);
        Some(())
    }
}
