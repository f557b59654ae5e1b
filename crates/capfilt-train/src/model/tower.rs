//! The pre-norm transformers of CLIP, CoCa and FILIP, under `open_clip`'s names.

use burn::tensor::{Tensor, module};

use super::sizes::Vision;
use crate::layers::{Activation, Declared, KeyValue, layer_norm, linear, thirds, vector};
use crate::operation::{Mask, attention};
use crate::parameters::Parameters;

/// Epsilon of all norms.
pub(crate) const EPSILON: f32 = 1e-5;

/// Blocks one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Tower {
    /// What names start with, without `.resblocks`.
    pub(crate) prefix: String,
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) hidden: usize,
    pub(crate) activation: Activation,
    pub(crate) start: Start,
}

/// How the weights of a tower are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As CLIP draws those of its text transformer: normal, by width and depth.
    Clip,
    /// As `torch` draws what nobody asks for: `open_clip` leaves image transformers so.
    Torch,
}

/// What `n` features are drawn with so that their sum has variance 1.
pub(crate) fn unit(n: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a number of features")]
    let n = n as f32;
    n.powf(-0.5)
}

/// The bound of uniform weights between `a` and `b` features (Glorot and Bengio 2010), which
/// `torch.nn.MultiheadAttention` draws with.
pub(crate) fn xavier(a: usize, b: usize) -> f32 {
    6f32.sqrt() * unit(a + b)
}

/// x W + b of a `torch.nn.MultiheadAttention`, whose names have no dot before `weight`.
pub(crate) fn in_projection(weights: &Parameters, name: &str, x: Tensor<3>) -> Tensor<3> {
    let weight = weights.get(&format!("{name}.in_proj_weight"));
    let bias = vector(weights, &format!("{name}.in_proj_bias"));
    module::linear(x, weight, Some(bias))
}

impl Tower {
    /// Name of block `layer`.
    fn block(&self, kind: &str, layer: usize) -> String {
        if self.prefix.is_empty() {
            format!("{kind}.{layer}")
        } else {
            format!("{}.{kind}.{layer}", self.prefix)
        }
    }

    /// Declares the attention of a block.
    fn declare_attention(&self, declared: &mut Declared, block: &str) {
        let width = self.width;
        declared.layer_norm(&format!("{block}.ln_1"), width);
        let name = format!("{block}.attn.in_proj_weight");
        match self.start {
            Start::Clip => {
                declared.deviation = unit(width);
                declared.weight(&name, &[3 * width, width]);
            }
            Start::Torch => {
                declared.uniform_weight(&name, &[3 * width, width], xavier(3 * width, width));
            }
        }
        declared.constant(&format!("{block}.attn.in_proj_bias"), &[3 * width], 0.0);
        let name = format!("{block}.attn.out_proj");
        self.declare_out(declared, &name, width);
        declared.constant(&format!("{name}.bias"), &[width], 0.0);
    }

    fn declare_mlp(&self, declared: &mut Declared, block: &str) {
        let (width, hidden) = (self.width, self.hidden);
        declared.layer_norm(&format!("{block}.ln_2"), width);
        let name = format!("{block}.mlp.c_fc");
        let weight = format!("{name}.weight");
        match self.start {
            Start::Clip => {
                declared.deviation = unit(2 * width);
                declared.weight(&weight, &[hidden, width]);
            }
            Start::Torch => declared.uniform_weight(&weight, &[hidden, width], unit(width)),
        }
        declared.uniform(&format!("{name}.bias"), &[hidden], unit(width));
        let name = format!("{block}.mlp.c_proj");
        self.declare_out(declared, &name, hidden);
        declared.uniform(&format!("{name}.bias"), &[width], unit(hidden));
    }

    /// The weight of what adds to the stream, from `input` features.
    fn declare_out(&self, declared: &mut Declared, name: &str, input: usize) {
        let (name, shape) = (format!("{name}.weight"), [self.width, input]);
        match self.start {
            Start::Clip => {
                // Every block adds to the stream twice.
                declared.deviation = unit(self.width) * unit(2 * self.layers);
                declared.weight(&name, &shape);
            }
            Start::Torch => declared.uniform_weight(&name, &shape, unit(input)),
        }
    }

    /// Blocks of self-attention and an MLP.
    pub(crate) fn declare(&self, declared: &mut Declared) {
        for layer in 0..self.layers {
            let block = self.block("resblocks", layer);
            self.declare_attention(declared, &block);
            self.declare_mlp(declared, &block);
        }
    }

    /// Cross-attention of every layer.
    pub(crate) fn declare_looking(&self, declared: &mut Declared) {
        for layer in 0..self.layers {
            let block = self.block("cross_attn", layer);
            declared.layer_norm(&format!("{block}.ln_1_kv"), self.width);
            self.declare_attention(declared, &block);
        }
    }

    /// Blocks of cross-attention and an MLP.
    pub(crate) fn declare_crossing(&self, declared: &mut Declared) {
        self.declare_looking(declared);
        for layer in 0..self.layers {
            self.declare_mlp(declared, &self.block("cross_attn", layer));
        }
    }

    /// `[B, T, W]` through all blocks.
    pub(crate) fn run(
        &self,
        weights: &Parameters,
        mut x: Tensor<3>,
        mask: Option<&Mask>,
    ) -> Tensor<3> {
        for layer in 0..self.layers {
            x = self.step(weights, layer, x, mask);
        }
        x
    }

    /// Block `layer`: x + attention, x + MLP.
    pub(crate) fn step(
        &self,
        weights: &Parameters,
        layer: usize,
        x: Tensor<3>,
        mask: Option<&Mask>,
    ) -> Tensor<3> {
        let block = self.block("resblocks", layer);
        let x = self.attend(weights, &block, x, mask);
        self.feed(weights, &block, x)
    }

    /// Layer `layer` with both attentions: x + self-attention, x + attention to `image`, x + MLP.
    pub(crate) fn step_looking(
        &self,
        weights: &Parameters,
        layer: usize,
        x: Tensor<3>,
        mask: &Mask,
        image: &Tensor<3>,
    ) -> Tensor<3> {
        let block = self.block("resblocks", layer);
        let x = self.attend(weights, &block, x, Some(mask));
        let x = self.look(weights, &self.block("cross_attn", layer), x, image);
        self.feed(weights, &block, x)
    }

    /// x + self-attention of block `block`.
    fn attend(
        &self,
        weights: &Parameters,
        block: &str,
        x: Tensor<3>,
        mask: Option<&Mask>,
    ) -> Tensor<3> {
        let normed = layer_norm(weights, &format!("{block}.ln_1"), x.clone(), EPSILON);
        let (query, kv) = thirds(&in_projection(weights, &format!("{block}.attn"), normed));
        let seen = attention(query, kv, self.heads, mask, None);
        x + linear(weights, &format!("{block}.attn.out_proj"), seen)
    }

    /// x + MLP of block `block`.
    fn feed(&self, weights: &Parameters, block: &str, x: Tensor<3>) -> Tensor<3> {
        let normed = layer_norm(weights, &format!("{block}.ln_2"), x.clone(), EPSILON);
        let hidden = linear(weights, &format!("{block}.mlp.c_fc"), normed);
        x + linear(
            weights,
            &format!("{block}.mlp.c_proj"),
            self.activation.of(hidden),
        )
    }

    /// Cross-attention block `layer`: x + attention to `image` `[B, S, W]`, x + MLP.
    pub(crate) fn cross(
        &self,
        weights: &Parameters,
        layer: usize,
        x: Tensor<3>,
        image: &Tensor<3>,
    ) -> Tensor<3> {
        let block = self.block("cross_attn", layer);
        let x = self.look(weights, &block, x, image);
        self.feed(weights, &block, x)
    }

    /// x + cross-attention of block `block` to `image`.
    fn look(
        &self,
        weights: &Parameters,
        block: &str,
        x: Tensor<3>,
        image: &Tensor<3>,
    ) -> Tensor<3> {
        let width = self.width;
        let normed = layer_norm(weights, &format!("{block}.ln_1"), x.clone(), EPSILON);
        let image = layer_norm(weights, &format!("{block}.ln_1_kv"), image.clone(), EPSILON);
        let weight = weights.get(&format!("{block}.attn.in_proj_weight"));
        let bias = vector(weights, &format!("{block}.attn.in_proj_bias"));
        let part = |x: &Tensor<3>, index: usize| {
            let weight = weight.clone().narrow(1, index * width, width);
            let bias = bias.clone().narrow(0, index * width, width);
            module::linear(x.clone(), weight, Some(bias))
        };
        let kv = KeyValue {
            key: part(&image, 1),
            value: part(&image, 2),
        };
        let seen = attention(part(&normed, 0), kv, self.heads, None, None);
        x + linear(weights, &format!("{block}.attn.out_proj"), seen)
    }
}

impl Vision {
    pub(crate) fn tower(&self, activation: Activation) -> Tower {
        Tower {
            prefix: "visual.transformer".to_owned(),
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            hidden: self.hidden(),
            activation,
            start: Start::Torch,
        }
    }

    /// Everything of `visual.` up to the last block.
    pub(crate) fn declare(&self, declared: &mut Declared, activation: Activation) {
        let width = self.width;
        declared.table("visual.class_embedding", &[width], unit(width));
        let places = [self.patches() + 1, width];
        declared.table("visual.positional_embedding", &places, unit(width));
        let kernel = [width, 3, self.patch, self.patch];
        declared.uniform_weight("visual.conv1.weight", &kernel, unit(self.patch_values()));
        declared.layer_norm("visual.ln_pre", width);
        self.tower(activation).declare(declared);
    }

    /// Patches `[B, P, 3·p·p]` to image tokens `[B, 1 + P, W]` after the last block, the class
    /// token first.
    pub(crate) fn tokens(
        &self,
        weights: &Parameters,
        patches: Tensor<3>,
        activation: Activation,
    ) -> Tensor<3> {
        let x = module::linear(patches, weights.get("visual.conv1.weight"), None);
        let [batch, _, width] = x.dims();
        let class = weights.get("visual.class_embedding").unsqueeze::<3>();
        let class = class.expand([batch, 1, width]);
        let places = weights.get("visual.positional_embedding").unsqueeze::<3>();
        let x = layer_norm(
            weights,
            "visual.ln_pre",
            Tensor::cat(vec![class, x], 1) + places,
            EPSILON,
        );
        self.tower(activation).run(weights, x, None)
    }
}
