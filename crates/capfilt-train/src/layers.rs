//! Layers that the families share. B rows (pictures or texts), T tokens that ask, S tokens that
//! are asked, W features, h heads of W/h features.

use std::cell::RefCell;

use burn::tensor::{Device, Int, Tensor, TensorData, module};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

use crate::operation;
use crate::parameters::{Declaration, Init, Parameters};

/// Declares parameters one after the other.
pub(crate) struct Declared {
    pub(crate) list: Vec<Declaration>,
    /// Standard deviation of weights.
    pub(crate) deviation: f32,
}

impl Declared {
    pub(crate) fn new(deviation: f32) -> Self {
        Self {
            list: Vec::new(),
            deviation,
        }
    }

    /// The list, in which only what has two dimensions decays: no bias, norm or scale.
    pub(crate) fn matrices_decay(mut self) -> Vec<Declaration> {
        for declaration in &mut self.list {
            declaration.decay = declaration.shape.len() >= 2;
        }
        self.list
    }

    fn push(&mut self, name: String, shape: Vec<usize>, transposed: bool, init: Init) {
        self.list.push(Declaration {
            name,
            shape,
            transposed,
            init,
            decay: true,
        });
    }

    /// A table or a vector in the order of checkpoints, drawn with `deviation`.
    pub(crate) fn table(&mut self, name: &str, shape: &[usize], deviation: f32) {
        self.push(
            name.to_owned(),
            shape.to_vec(),
            false,
            Init::Normal(deviation),
        );
    }

    /// A number or vector that starts constant.
    pub(crate) fn constant(&mut self, name: &str, shape: &[usize], value: f32) {
        self.push(
            name.to_owned(),
            shape.to_vec(),
            false,
            Init::Constant(value),
        );
    }

    /// A weight `[out, in]` (in checkpoints) called exactly `name`.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize]) {
        self.push(
            name.to_owned(),
            shape.to_vec(),
            true,
            Init::Normal(self.deviation),
        );
    }

    /// The same, drawn between `-bound` and `bound`.
    pub(crate) fn uniform_weight(&mut self, name: &str, shape: &[usize], bound: f32) {
        self.push(name.to_owned(), shape.to_vec(), true, Init::Uniform(bound));
    }

    /// A vector, drawn between `-bound` and `bound`.
    pub(crate) fn uniform(&mut self, name: &str, shape: &[usize], bound: f32) {
        self.push(name.to_owned(), shape.to_vec(), false, Init::Uniform(bound));
    }

    /// `{name}.weight` `[out, in]` and `{name}.bias` `[out]`.
    pub(crate) fn linear(&mut self, name: &str, out: usize, input: usize) {
        self.weight(&format!("{name}.weight"), &[out, input]);
        self.constant(&format!("{name}.bias"), &[out], 0.0);
    }

    /// `{name}.weight` and `{name}.bias` `[width]`.
    pub(crate) fn layer_norm(&mut self, name: &str, width: usize) {
        self.constant(&format!("{name}.weight"), &[width], 1.0);
        self.constant(&format!("{name}.bias"), &[width], 0.0);
    }
}

/// A parameter as a vector.
pub(crate) fn vector(weights: &Parameters, name: &str) -> Tensor<1> {
    weights.get(name).flatten(0, 1)
}

/// x W + b with `{name}.weight` and `{name}.bias`. `[B, T, in]` to `[B, T, out]`.
pub(crate) fn linear(weights: &Parameters, name: &str, x: Tensor<3>) -> Tensor<3> {
    let weight = weights.get(&format!("{name}.weight"));
    let bias = vector(weights, &format!("{name}.bias"));
    module::linear(x, weight, Some(bias))
}

/// The same for rows: `[B, in]` to `[B, out]`.
pub(crate) fn linear_rows(weights: &Parameters, name: &str, x: Tensor<2>) -> Tensor<2> {
    linear(weights, name, x.unsqueeze_dim(1)).squeeze_dim(1)
}

/// (x - mean) / sqrt(var + eps) · `{name}.weight` + `{name}.bias` over features.
pub(crate) fn layer_norm(
    weights: &Parameters,
    name: &str,
    x: Tensor<3>,
    epsilon: f32,
) -> Tensor<3> {
    let weight = vector(weights, &format!("{name}.weight"));
    let bias = vector(weights, &format!("{name}.bias"));
    operation::layer_norm(x, weight, bias, epsilon)
}

/// Activation between the two matrices of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x·Φ(x), exact.
    Gelu,
    /// x·σ(1.702 x), of the weights that `OpenAI` published.
    QuickGelu,
}

impl Activation {
    pub(crate) fn of(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gelu => operation::gelu(x),
            Self::QuickGelu => x.clone() * burn::tensor::activation::sigmoid(x.mul_scalar(1.702)),
        }
    }
}

/// Drops features in training: zero with probability `rate`, else divided by 1 - rate.
///
/// It draws from a generator of its own, so that what is dropped in a step follows from the step
/// alone.
#[derive(Debug)]
pub(crate) struct Dropout {
    rate: f64,
    random: RefCell<ChaCha8Rng>,
}

impl Dropout {
    /// [`None`] if nothing is dropped.
    pub(crate) fn new(rate: f64, random: ChaCha8Rng) -> Option<Self> {
        (rate > 0.0).then(|| Self {
            rate,
            random: RefCell::new(random),
        })
    }
}

/// x with some of it dropped.
pub(crate) fn dropout<const D: usize>(x: Tensor<D>, dropped: Option<&Dropout>) -> Tensor<D> {
    let Some(Dropout { rate, random }) = dropped else {
        return x;
    };
    let mut random = random.borrow_mut();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of all numbers"
    )]
    let below = (rate * f64::from(u32::MAX)) as u32;
    #[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
    let scale = (1.0 / (1.0 - rate)) as f32;
    let shape = x.dims();
    let kept: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            if random.next_u32() < below {
                0.0
            } else {
                scale
            }
        })
        .collect();
    // Without gradients of its own: a constant.
    x.clone() * Tensor::from_data(TensorData::new(kept, shape), &x.device().inner())
}

/// Keys and values that a text looks at, `[B, S, W]` each.
#[derive(Clone)]
pub(crate) struct KeyValue {
    pub(crate) key: Tensor<3>,
    pub(crate) value: Tensor<3>,
}

impl KeyValue {
    /// Those of the pictures at `rows`.
    pub(crate) fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            key: self.key.clone().select(0, rows.clone()),
            value: self.value.clone().select(0, rows.clone()),
        }
    }

    /// One after the other.
    pub(crate) fn cat(all: Vec<Self>) -> Self {
        let (keys, values) = all.into_iter().map(|kv| (kv.key, kv.value)).unzip();
        Self {
            key: Tensor::cat(keys, 0),
            value: Tensor::cat(values, 0),
        }
    }
}

/// Query, key and value out of `[B, T, 3W]`.
pub(crate) fn thirds(x: &Tensor<3>) -> (Tensor<3>, KeyValue) {
    let width = x.dims()[2] / 3;
    let third = |index: usize| x.clone().narrow(2, index * width, width);
    let kv = KeyValue {
        key: third(1),
        value: third(2),
    };
    (third(0), kv)
}

/// Pixels `[B, 3, S, S]` as patches `[B, (S/p)², 3·p·p]`, rows of patches from the top, a patch as
/// a convolution's kernel has it: colour, row, column.
pub(crate) fn patches(
    pixels: &[f32],
    count: usize,
    size: usize,
    patch: usize,
    device: &Device,
) -> Tensor<3> {
    let grid = size / patch;
    let mut ordered = Vec::with_capacity(pixels.len());
    for image in pixels.chunks_exact(3 * size * size) {
        for (top, left) in (0..grid).flat_map(|y| (0..grid).map(move |x| (y * patch, x * patch))) {
            for colour in image.chunks_exact(size * size) {
                for row in colour.chunks_exact(size).skip(top).take(patch) {
                    ordered.extend_from_slice(&row[left..left + patch]);
                }
            }
        }
    }
    let shape = [count, grid * grid, 3 * patch * patch];
    Tensor::from_data(TensorData::new(ordered, shape), device)
}

/// Rows of a table, `[B, T]` to `[B, T, W]`.
pub(crate) fn embed(weights: &Parameters, name: &str, ids: Tensor<2, Int>) -> Tensor<3> {
    module::embedding(weights.get(name), ids)
}

/// Every row divided by its length, as `torch.nn.functional.normalize` does it.
pub(crate) fn normalize<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let length = x.clone().square().sum_dim(D - 1).sqrt().clamp_min(1e-12);
    x / length
}

/// Places as a tensor of indices.
pub(crate) fn indices(places: &[usize], device: &Device) -> Tensor<1, Int> {
    #[expect(clippy::cast_possible_wrap, reason = "places in a batch are few")]
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    let count = places.len();
    Tensor::from_data(TensorData::new(places, [count]), device)
}
