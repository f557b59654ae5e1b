//! The text transformer: a post-norm BERT whose layers may read image tokens.

use super::config::Text;
use crate::emit::{Emitter, KeyValue};
use crate::error::ImportError;
use crate::graph::{Element, Value};

/// Which row of the last layer is wanted; most of the others are not computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The first. The second is computed as well: products with a single row are summed in another
    /// order, and a score would depend on how many texts an image has.
    First,
    /// The last.
    Last,
}

/// What the layers share.
pub(super) struct TextInputs<'a> {
    pub(super) config: &'a Text,
    /// Prefix of the tensors.
    pub(super) body: &'static str,
    /// Added to self-attention scores, broadcast to [R, h, T, P+T].
    pub(super) mask: Value,
    /// For each layer, the tokens before; absent where sequences start anew.
    pub(super) past: Option<Vec<KeyValue>>,
    /// For each layer, what the image says; absent in text-only mode.
    pub(super) image: Option<Vec<KeyValue>>,
    pub(super) wanted: Wanted,
}

impl Emitter<'_, '_> {
    /// Word plus position embedding, normalised: [R, T, H]. `positions` is [T, H].
    pub(super) fn embed(
        &mut self,
        input_ids: &Value,
        past: Option<&Value>,
        config: &Text,
        body: &str,
    ) -> Result<Value, ImportError> {
        let name = format!("{body}.embeddings");
        let words = self.words(config, body)?;
        let positions = self.parameters.table(
            &format!("{name}.position_embeddings.weight"),
            &[config.positions, config.width],
        )?;
        let positions = self.graph.stored(&positions);
        let tokens = self.graph.size(input_ids, 1);
        let zero = self.graph.ints(&[0]);
        let start = past.cloned().unwrap_or(zero);
        let end = self.graph.add(&start, &tokens);
        let positions = self.graph.slice(&positions, &start, &end, 0);
        let positions = self.graph.cast(&positions, Element::F32);
        // Rows are converted after they were picked: the table stays as small as it is stored.
        let words = self.graph.gather(&words, input_ids, 0);
        let words = self.graph.cast(&words, Element::F32);
        let x = self.graph.add(&words, &positions);
        self.layer_norm(&x, &format!("{name}.LayerNorm"), config.width, config.eps)
    }

    /// The word embeddings [V, H] as they are stored.
    fn words(&mut self, config: &Text, body: &str) -> Result<Value, ImportError> {
        let name = self.parameters.words_name(body);
        let words = self
            .parameters
            .table(&name, &[config.vocabulary, config.width])?;
        Ok(self.graph.stored(&words))
    }

    /// All layers: x [R, T, H] to the wanted row of each sequence [R, H], and the keys and values of all tokens.
    pub(super) fn text(
        &mut self,
        x: &Value,
        inputs: &TextInputs<'_>,
    ) -> Result<(Value, Vec<KeyValue>), ImportError> {
        let mut x = x.clone();
        let mut present = Vec::with_capacity(inputs.config.layers);
        for layer in 0..inputs.config.layers {
            let (out, key_value) = self.text_layer(&x, inputs, layer)?;
            x = out;
            present.push(key_value);
        }
        Ok((self.graph.pick(&x, 0, 1), present))
    }

    fn text_layer(
        &mut self,
        x: &Value,
        inputs: &TextInputs<'_>,
        layer: usize,
    ) -> Result<(Value, KeyValue), ImportError> {
        let config = inputs.config;
        let name = format!("{}.encoder.layer.{layer}", inputs.body);
        let (width, heads) = (config.width, config.heads);
        let attention = format!("{name}.attention");
        let parts = ["query", "key", "value"].map(|part| format!("{attention}.self.{part}"));
        let qkv = self.linears(x, &parts, width, width)?;
        let parts = self.split_heads(&qkv, 3, heads, width);
        let (mut query, mut key, mut value) =
            (parts[0].clone(), parts[1].clone(), parts[2].clone());
        if let Some(past) = inputs.past.as_ref().and_then(|past| past.get(layer)) {
            key = self.graph.concat(&[&past.key, &key], 2);
            value = self.graph.concat(&[&past.value, &value], 2);
        }
        let mut x = x.clone();
        let mut mask = inputs.mask.clone();
        if layer + 1 == config.layers {
            let (start, end) = match inputs.wanted {
                Wanted::First => (0, 2),
                Wanted::Last => (-1, i64::MAX),
            };
            let (start, end) = (self.graph.ints(&[start]), self.graph.ints(&[end]));
            x = self.graph.slice(&x, &start, &end, 1);
            query = self.graph.slice(&query, &start, &end, 2);
            if inputs.wanted == Wanted::Last {
                mask = self.graph.slice(&mask, &start, &end, 0);
            }
        }
        let mixed = self.attention(&query, &key, &value, Some(&mask), width / heads);
        let mixed = self.join_heads(&mixed, width);
        let mut x = self.attention_output(&x, &mixed, &attention, config)?;
        if let Some(image) = inputs.image.as_ref().and_then(|image| image.get(layer)) {
            x = self.cross_attention(&x, image, &format!("{name}.crossattention"), config)?;
        }
        let hidden = self.linear(
            &x,
            &format!("{name}.intermediate.dense"),
            width,
            config.inner,
        )?;
        let hidden = self.graph.gelu(&hidden);
        let hidden = self.linear(
            &hidden,
            &format!("{name}.output.dense"),
            config.inner,
            width,
        )?;
        let sum = self.graph.add(&hidden, &x);
        let out = self.layer_norm(&sum, &format!("{name}.output.LayerNorm"), width, config.eps)?;
        Ok((out, KeyValue { key, value }))
    }

    /// LN(x + Wo·mixed + b).
    fn attention_output(
        &mut self,
        x: &Value,
        mixed: &Value,
        name: &str,
        config: &Text,
    ) -> Result<Value, ImportError> {
        let dense = self.linear(
            mixed,
            &format!("{name}.output.dense"),
            config.width,
            config.width,
        )?;
        let sum = self.graph.add(&dense, x);
        self.layer_norm(
            &sum,
            &format!("{name}.output.LayerNorm"),
            config.width,
            config.eps,
        )
    }

    /// Attention of x [R, T, H] to the image's keys and values [B, h, N, d].
    fn cross_attention(
        &mut self,
        x: &Value,
        image: &KeyValue,
        name: &str,
        config: &Text,
    ) -> Result<Value, ImportError> {
        let (width, heads) = (config.width, config.heads);
        let query = self.linear(x, &format!("{name}.self.query"), width, width)?;
        let mixed = self.attention_to_images(&query, image, heads, width / heads);
        self.attention_output(x, &mixed, name, config)
    }

    /// Keys and values of every layer for image tokens [B, N, Dv].
    pub(super) fn cross(
        &mut self,
        image_embeds: &Value,
        config: &Text,
        body: &str,
    ) -> Result<Vec<KeyValue>, ImportError> {
        (0..config.layers)
            .map(|layer| {
                let name = format!("{body}.encoder.layer.{layer}.crossattention.self");
                let parts = ["key", "value"].map(|part| format!("{name}.{part}"));
                let joined =
                    self.linears(image_embeds, &parts, config.image_width, config.width)?;
                let mut parts = self.split_heads(&joined, 2, config.heads, config.width);
                let value = parts.swap_remove(1);
                Ok(KeyValue {
                    key: parts.swap_remove(0),
                    value,
                })
            })
            .collect()
    }
}
