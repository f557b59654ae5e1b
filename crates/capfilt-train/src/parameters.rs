//! The numbers that training changes, under the names that checkpoints give them.
//!
//! A model here is a set of functions over [`Parameters`]: the momentum copy of BLIP is the same
//! functions over other parameters, and layers that share weights name the same ones.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use crate::draws::generator;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    /// Every element is this.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform between this and its negative.
    Uniform(f32),
}

/// A parameter before it has a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Declaration {
    /// Its name in checkpoints.
    pub(crate) name: String,
    /// Its shape in checkpoints.
    pub(crate) shape: Vec<usize>,
    /// Whether it maps features to features: `[out, in..]` in checkpoints, `[in, out]` here, so
    /// that the product `x W` of rows x reads and writes memory in order.
    pub(crate) transposed: bool,
    /// How it starts.
    pub(crate) init: Init,
    /// Whether weight decay applies.
    pub(crate) decay: bool,
}

impl Declaration {
    /// Its shape here: a matrix, or one row.
    fn rows_and_columns(&self) -> [usize; 2] {
        let size = self.shape.iter().product::<usize>();
        if self.transposed {
            let out = self.shape[0];
            [size / out, out]
        } else {
            let columns = self.shape.last().copied().unwrap_or(1);
            [size / columns.max(1), columns]
        }
    }

    /// From the order of checkpoints to the order here, or back.
    fn reordered(&self, values: &[f32], into_checkpoint: bool) -> Vec<f32> {
        if !self.transposed {
            return values.to_vec();
        }
        let [inputs, outputs] = self.rows_and_columns();
        let (rows, columns) = if into_checkpoint {
            (inputs, outputs)
        } else {
            (outputs, inputs)
        };
        let mut reordered = Vec::with_capacity(values.len());
        for column in 0..columns {
            reordered.extend((0..rows).map(|row| values[row * columns + column]));
        }
        reordered
    }

    /// Drawn from (seed, name) alone: another layer more changes no other one.
    fn draw(&self, seed: u64) -> Vec<f32> {
        let size = self.shape.iter().product();
        match self.init {
            Init::Constant(value) => vec![value; size],
            Init::Normal(deviation) => {
                let mut random = generator(&[&seed.to_le_bytes(), self.name.as_bytes()]);
                (0..size).map(|_| normal(&mut random) * deviation).collect()
            }
            Init::Uniform(bound) => {
                let mut random = generator(&[&seed.to_le_bytes(), self.name.as_bytes()]);
                (0..size).map(|_| uniform(&mut random) * bound).collect()
            }
        }
    }
}

/// A standard normal number, by Box and Muller's transform.
pub(crate) fn normal(random: &mut ChaCha8Rng) -> f32 {
    // In (0, 1): the logarithm is finite.
    let mut uniform = || (f64::from(random.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
    let radius = (-2.0 * uniform().ln()).sqrt();
    let value = radius * (std::f64::consts::TAU * uniform()).cos();
    #[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
    let value = value as f32;
    value
}

/// A number between -1 and 1.
fn uniform(random: &mut ChaCha8Rng) -> f32 {
    let share = f64::from(random.next_u32()) / f64::from(u32::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
    let value = (2.0 * share - 1.0) as f32;
    value
}

#[derive(Clone, Debug)]
struct Parameter {
    declaration: Declaration,
    tensor: Tensor<2>,
}

/// A tensor of a checkpoint: its shape there, and its values in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Shape.
    pub(crate) shape: Vec<usize>,
    /// Values.
    pub(crate) values: Vec<f32>,
}

/// Parameters by name.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    map: BTreeMap<String, Parameter>,
}

/// A parameter that a checkpoint has not, or has in another shape.
#[derive(Debug, thiserror::Error)]
pub enum ParameterError {
    /// Not there.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Of another shape.
    #[error("tensor `{name}` has shape {got:?}, and the model's is {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Shape found.
        got: Vec<usize>,
        /// Shape of the model.
        expected: Vec<usize>,
    },
}

impl Parameters {
    /// Fresh parameters that take gradients.
    pub(crate) fn new(declarations: Vec<Declaration>, seed: u64, device: &Device) -> Self {
        let map = declarations
            .into_iter()
            .map(|declaration| {
                let values = declaration.reordered(&declaration.draw(seed), false);
                let tensor = trained(values, declaration.rows_and_columns(), device);
                let name = declaration.name.clone();
                (
                    name,
                    Parameter {
                        declaration,
                        tensor,
                    },
                )
            })
            .collect();
        Self { map }
    }

    /// The values of a checkpoint. Tensors that the model does not have are not looked at.
    pub(crate) fn load(
        &mut self,
        mut find: impl FnMut(&str) -> Option<Stored>,
    ) -> Result<(), ParameterError> {
        for (name, parameter) in &mut self.map {
            let stored =
                find(name).ok_or_else(|| ParameterError::Missing { name: name.clone() })?;
            parameter.fill(&stored)?;
        }
        Ok(())
    }

    /// The value of one parameter.
    pub(crate) fn set(&mut self, name: &str, stored: &Stored) -> Result<(), ParameterError> {
        match self.map.get_mut(name) {
            Some(parameter) => parameter.fill(stored),
            None => Err(ParameterError::Missing {
                name: name.to_owned(),
            }),
        }
    }

    /// All parameters as a checkpoint has them, in the order of their names.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&str, Stored)> {
        self.map
            .iter()
            .map(|(name, parameter)| (name.as_str(), parameter.stored(parameter.tensor.clone())))
    }

    /// A tensor that has the layout of parameter `name` as a checkpoint has it: its gradient, say.
    pub(crate) fn stored_like(&self, name: &str, tensor: Tensor<2>) -> Stored {
        self.map[name].stored(tensor)
    }

    /// A parameter: `[in, out]` for one that maps features, one row for a vector.
    ///
    /// # Panics
    ///
    /// If it was not declared: an error in the model's code.
    pub(crate) fn get(&self, name: &str) -> Tensor<2> {
        match self.map.get(name) {
            Some(parameter) => parameter.tensor.clone(),
            None => undeclared(name),
        }
    }

    /// What was declared, in the order of names.
    pub(crate) fn declarations(&self) -> impl Iterator<Item = &Declaration> {
        self.map.values().map(|parameter| &parameter.declaration)
    }

    /// Number of elements.
    pub(crate) fn size(&self) -> usize {
        self.declarations()
            .map(|declaration| declaration.shape.iter().product::<usize>())
            .sum()
    }

    /// A copy of those for which `take` holds, without gradients.
    #[must_use]
    pub(crate) fn frozen(&self, take: impl Fn(&str) -> bool) -> Self {
        let map = self
            .map
            .iter()
            .filter(|(name, _)| take(name))
            .map(|(name, parameter)| {
                let frozen = Parameter {
                    declaration: parameter.declaration.clone(),
                    tensor: parameter.tensor.clone().inner(),
                };
                (name.clone(), frozen)
            })
            .collect();
        Self { map }
    }

    /// Exponential moving average, in place: m ← d·m + (1 - d)·p for all of its parameters.
    pub(crate) fn follow(&mut self, student: &Self, decay: f64) {
        // An operation of the library keeps to one core; parameters are many.
        self.map.par_iter_mut().for_each(|(name, parameter)| {
            let ours = parameter.tensor.clone().mul_scalar(decay);
            let theirs = student.get(name).inner().mul_scalar(1.0 - decay);
            parameter.tensor = ours + theirs;
        });
    }

    /// Every parameter, with its gradient's place in the graph.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&Declaration, &Tensor<2>)) {
        for parameter in self.map.values() {
            visit(&parameter.declaration, &parameter.tensor);
        }
    }

    /// Every parameter's name, declaration and value, to be replaced by what `update` makes of it.
    /// The values come and go without gradients.
    pub(crate) fn update(
        &mut self,
        mut update: impl FnMut(&Declaration, &Tensor<2>) -> Option<Tensor<2>>,
    ) {
        for parameter in self.map.values_mut() {
            if let Some(tensor) = update(&parameter.declaration, &parameter.tensor) {
                let mut tensor = tensor.autodiff();
                if let Some(strategy) = parameter.tensor.gradient_checkpointing_strategy() {
                    tensor = tensor.with_gradient_checkpointing_strategy(strategy);
                }
                parameter.tensor = tensor.require_grad();
            }
        }
    }
}

impl Parameter {
    fn fill(&mut self, stored: &Stored) -> Result<(), ParameterError> {
        let declaration = &self.declaration;
        if stored.shape != declaration.shape {
            return Err(ParameterError::Shape {
                name: declaration.name.clone(),
                got: stored.shape.clone(),
                expected: declaration.shape.clone(),
            });
        }
        let values = declaration.reordered(&stored.values, false);
        let device = self.tensor.device();
        let shape = declaration.rows_and_columns();
        self.tensor = if self.tensor.is_require_grad() {
            trained(values, shape, &device)
        } else {
            Tensor::from_data(TensorData::new(values, shape), &device)
        };
        Ok(())
    }

    fn stored(&self, tensor: Tensor<2>) -> Stored {
        Stored {
            shape: self.declaration.shape.clone(),
            values: self.declaration.reordered(&floats(tensor), true),
        }
    }
}

fn trained(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::<2>::from_data(TensorData::new(values, shape), device).require_grad()
}

#[expect(
    clippy::panic,
    reason = "an error in the model's code, not in its input"
)]
fn undeclared(name: &str) -> ! {
    panic!("the model uses `{name}` and does not declare it")
}

/// The elements of a tensor in row-major order.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
