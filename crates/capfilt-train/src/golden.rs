//! Reference numbers that `tests/golden/train.py` made with `PyTorch`.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ids and counts of tests are small"
)]

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use safetensors::{Dtype, SafeTensors};

use crate::parameters::{Declaration, Parameters, Stored};
use crate::tokens::Tokens;

/// A folder of `tests/golden/train`.
pub(crate) struct Golden {
    weights: Vec<u8>,
    inputs: Vec<u8>,
    expected: Vec<u8>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/train")
        .join(name)
}

fn read(bytes: &[u8], name: &str) -> Option<Stored> {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let tensor = tensors.tensor(name).ok()?;
    let values = match tensor.dtype() {
        Dtype::F32 => tensor
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect(),
        Dtype::I64 => tensor
            .data()
            .chunks_exact(8)
            .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f32)
            .collect(),
        other => panic!("{name} is {other:?}"),
    };
    Some(Stored {
        shape: tensor.shape().to_vec(),
        values,
    })
}

/// All tensors of a file of `tests/golden/train`.
pub(crate) fn tensors(file: &str) -> std::collections::BTreeMap<String, Stored> {
    let bytes = fs_err::read(folder(file)).unwrap();
    let names = SafeTensors::deserialize(&bytes).unwrap();
    let names = names.names().into_iter();
    names
        .map(|name| (name.to_string(), read(&bytes, name).unwrap()))
        .collect()
}

/// A JSON file of `tests/golden/train`.
pub(crate) fn json(file: &str) -> serde_json::Value {
    serde_json::from_slice(&fs_err::read(folder(file)).unwrap()).unwrap()
}

/// Numbers between -1 and 1 that follow from `seed`.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let numbers = std::iter::repeat_with(|| random.next_u32() as f32 / (u32::MAX / 2) as f32 - 1.0);
    numbers.take(count).collect()
}

/// A device for tests.
pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let file = |file: &str| fs_err::read(folder(name).join(file));
        Self {
            weights: file("weights.safetensors").unwrap_or_default(),
            inputs: file("inputs.safetensors").unwrap_or_default(),
            expected: file("expected.safetensors").unwrap(),
        }
    }

    pub(crate) fn weights(&self, declarations: Vec<Declaration>) -> Parameters {
        let mut weights = Parameters::new(declarations, 0, &device());
        weights.load(|name| read(&self.weights, name)).unwrap();
        let tensors = SafeTensors::deserialize(&self.weights).unwrap();
        for name in tensors.names() {
            assert!(
                weights
                    .declarations()
                    .any(|declaration| declaration.name == name),
                "`{name}` is not declared"
            );
        }
        weights
    }

    pub(crate) fn weight(&self, name: &str) -> Stored {
        read(&self.weights, name).unwrap_or_else(|| panic!("no weight `{name}`"))
    }

    pub(crate) fn input(&self, name: &str) -> Stored {
        read(&self.inputs, name).unwrap_or_else(|| panic!("no input `{name}`"))
    }

    pub(crate) fn expected(&self, name: &str) -> Stored {
        read(&self.expected, name).unwrap_or_else(|| panic!("nothing expected as `{name}`"))
    }

    pub(crate) fn may_expect(&self, name: &str) -> Option<Stored> {
        read(&self.expected, name)
    }

    pub(crate) fn places(&self, name: &str) -> Vec<usize> {
        self.input(name)
            .values
            .iter()
            .map(|&value| value as usize)
            .collect()
    }

    pub(crate) fn matrix(&self, name: &str) -> Tensor<2> {
        let stored = self.input(name);
        let shape = [stored.shape[0], stored.shape[1]];
        Tensor::from_data(TensorData::new(stored.values, shape), &device().inner())
    }

    /// Texts `[B, T]` of `ids`, whose pads are `pad`.
    pub(crate) fn tokens(&self, ids: &str, pad: u32) -> Tokens {
        let stored = self.input(ids);
        let width = stored.shape[1];
        let texts: Vec<Vec<u32>> = stored
            .values
            .chunks_exact(width)
            .map(|row| {
                row.iter()
                    .map(|&id| id as u32)
                    .take_while(|&id| id != pad)
                    .collect()
            })
            .collect();
        Tokens::new(&texts, pad, Some(width))
    }

    /// Losses by name and their weighted sum.
    pub(crate) fn assert_losses(&self, prefix: &str, losses: &crate::model::Losses) {
        for (name, value) in losses.parts() {
            self.assert_close(&format!("{prefix}loss.{name}"), &[value], 1e-4);
        }
        let total = losses.total().clone().into_scalar::<f32>();
        self.assert_close(&format!("{prefix}loss.total"), &[total], 1e-4);
    }

    /// A batch whose pictures are of `size` pixels and whose pads are 0.
    pub(crate) fn pairs(
        &self,
        size: usize,
        patch: usize,
        pictures: Vec<u64>,
    ) -> crate::model::Pairs {
        let pixels = self.input("pixel_values");
        crate::model::Pairs {
            patches: crate::layers::patches(
                &pixels.values,
                pixels.shape[0],
                size,
                patch,
                &device(),
            ),
            tokens: self.tokens("input_ids", 0),
            pictures,
        }
    }

    /// Whether `got` is what is expected as `name`, relative to the largest number of it.
    pub(crate) fn assert_close(&self, name: &str, got: &[f32], tolerance: f32) {
        close(name, got, &self.expected(name).values, tolerance);
    }

    /// Whether the gradients of `total` are those expected, for every parameter. The error is
    /// relative to the largest element of each gradient, or to a thousandth of the largest of all.
    pub(crate) fn assert_gradients(&self, weights: &Parameters, total: &Tensor<1>) {
        self.assert_gradients_as("", weights, total);
    }

    /// The same for gradients whose names start with `prefix`.
    pub(crate) fn assert_gradients_as(
        &self,
        prefix: &str,
        weights: &Parameters,
        total: &Tensor<1>,
    ) {
        let gradients = total.backward();
        let names: Vec<String> = weights.declarations().map(|d| d.name.clone()).collect();
        let expected: Vec<Option<Stored>> = names
            .iter()
            .map(|name| self.may_expect(&format!("{prefix}grad.{name}")))
            .collect();
        let largest = expected
            .iter()
            .flatten()
            .flat_map(|stored| &stored.values)
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        let mut compared = 0;
        for (name, expected) in names.iter().zip(expected) {
            let gradient = weights.get(name).grad(&gradients);
            let Some(expected) = expected else {
                let got = gradient.map(crate::parameters::floats).unwrap_or_default();
                assert!(
                    got.iter().all(|value| *value == 0.0),
                    "gradient of `{name}` is not expected"
                );
                continue;
            };
            let gradient = gradient.unwrap_or_else(|| panic!("`{name}` has no gradient"));
            let got = weights.stored_like(name, gradient);
            assert_eq!(got.shape, expected.shape, "`{name}`");
            let scale = expected
                .values
                .iter()
                .fold(1e-3 * largest, |most, value| most.max(value.abs()));
            for (got, expected) in got.values.iter().zip(&expected.values) {
                let error = (got - expected).abs() / scale;
                assert!(
                    error < 1e-3,
                    "gradient of `{name}`: {got}, expected {expected}"
                );
            }
            compared += 1;
        }
        assert!(compared > 10, "only {compared} gradients were compared");
    }
}

/// Whether numbers are equal to the expected ones, relative to the largest of these.
pub(crate) fn close(name: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "`{name}`");
    let scale = expected
        .iter()
        .fold(1e-6f32, |most, value| most.max(value.abs()));
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs() / scale;
        assert!(
            error < tolerance,
            "`{name}` at {place}: {got}, expected {expected}"
        );
    }
}
