//! Pre-norm transformer blocks under `open_clip`'s names.

use super::config::Tower;
use crate::checkpoint::part;
use crate::emit::{Emitter, KeyValue, Layers};
use crate::error::ImportError;
use crate::graph::Value;

/// Epsilon of all layer normalisations.
pub(super) const EPSILON: f32 = 1e-5;

/// Parts `parts` of the queries, keys and values that `torch.nn.MultiheadAttention` makes.
fn in_projection(attention: &str, parts: std::ops::Range<usize>) -> Layers {
    let of = |kind: &str| {
        let name = format!("{attention}.in_proj_{kind}");
        parts.clone().map(|index| part(&name, index, 3)).collect()
    };
    Layers {
        weights: of("weight"),
        biases: of("bias"),
    }
}

impl Emitter<'_, '_> {
    /// x + self-attention, + feed-forward, for x [R, T, W] in block `name`; and the keys and values
    /// of all tokens, `past` before them. `mask` is added to the scores, broadcast to [R, h, T, P+T].
    pub(super) fn block(
        &mut self,
        tower: &Tower,
        name: &str,
        x: &Value,
        mask: Option<&Value>,
        past: Option<&KeyValue>,
    ) -> Result<(Value, KeyValue), ImportError> {
        let (width, attention) = (tower.width, format!("{name}.attn"));
        let normed = self.layer_norm(x, &format!("{name}.ln_1"), width, EPSILON)?;
        let qkv = self.linears_of(&normed, &in_projection(&attention, 0..3), width, width)?;
        let parts = self.split_heads(&qkv, 3, tower.heads, width);
        let (query, mut key, mut value) = (&parts[0], parts[1].clone(), parts[2].clone());
        if let Some(past) = past {
            key = self.graph.concat(&[&past.key, &key], 2);
            value = self.graph.concat(&[&past.value, &value], 2);
        }
        let mixed = self.attention(query, &key, &value, mask, tower.head());
        let mixed = self.join_heads(&mixed, width);
        let mixed = self.linear(&mixed, &format!("{attention}.out_proj"), width, width)?;
        let x = self.graph.add(x, &mixed);
        let x = self.feed_forward(tower, name, &x)?;
        Ok((x, KeyValue { key, value }))
    }

    /// All blocks of `tower`, one after the other.
    pub(super) fn blocks(
        &mut self,
        tower: &Tower,
        mut x: Value,
        mask: Option<&Value>,
    ) -> Result<Value, ImportError> {
        for layer in 0..tower.layers {
            let name = format!("{}.resblocks.{layer}", tower.prefix);
            (x, _) = self.block(tower, &name, &x, mask, None)?;
        }
        Ok(x)
    }

    /// The same as a block with attention to the keys and values [B, h, N, d] of images.
    pub(super) fn crossing_block(
        &mut self,
        tower: &Tower,
        name: &str,
        x: &Value,
        image: &KeyValue,
    ) -> Result<Value, ImportError> {
        let (width, attention) = (tower.width, format!("{name}.attn"));
        let normed = self.layer_norm(x, &format!("{name}.ln_1"), width, EPSILON)?;
        let query = self.linears_of(&normed, &in_projection(&attention, 0..1), width, width)?;
        let mixed = self.attention_to_images(&query, image, tower.heads, tower.head());
        let mixed = self.linear(&mixed, &format!("{attention}.out_proj"), width, width)?;
        let x = self.graph.add(x, &mixed);
        self.feed_forward(tower, name, &x)
    }

    /// Keys and values of image tokens [B, N, W] for the block `name` that looks at them.
    pub(super) fn crossing_keys(
        &mut self,
        tower: &Tower,
        name: &str,
        image: &Value,
    ) -> Result<KeyValue, ImportError> {
        let width = tower.width;
        let normed = self.layer_norm(image, &format!("{name}.ln_1_kv"), width, EPSILON)?;
        let layers = in_projection(&format!("{name}.attn"), 1..3);
        let joined = self.linears_of(&normed, &layers, width, width)?;
        let mut parts = self.split_heads(&joined, 2, tower.heads, width);
        let value = parts.swap_remove(1);
        Ok(KeyValue {
            key: parts.swap_remove(0),
            value,
        })
    }

    fn feed_forward(&mut self, tower: &Tower, name: &str, x: &Value) -> Result<Value, ImportError> {
        let (width, inner) = (tower.width, tower.inner);
        let normed = self.layer_norm(x, &format!("{name}.ln_2"), width, EPSILON)?;
        let hidden = self.linear(&normed, &format!("{name}.mlp.c_fc"), width, inner)?;
        let hidden = if tower.quick_gelu {
            let slope = self.graph.float(1.702);
            let steep = self.graph.mul(&hidden, &slope);
            let gate = self.graph.sigmoid(&steep);
            self.graph.mul(&hidden, &gate)
        } else {
            self.graph.gelu(&hidden)
        };
        let hidden = self.linear_of_gelu(&hidden, &format!("{name}.mlp.c_proj"), inner, width)?;
        Ok(self.graph.add(x, &hidden))
    }
}
