//! Attention, its masks, and what it keeps of tokens.

use super::Emitter;
use crate::graph::{Element, Value, axis};

/// What a masked score gets added: its softmax is 0 at any score that a model gives.
const MASKED: f32 = -10_000.0;

/// Keys and values of one layer, each [.., h, tokens, d].
#[derive(Clone)]
pub(crate) struct KeyValue {
    pub(crate) key: Value,
    pub(crate) value: Value,
}

impl Emitter<'_, '_> {
    /// [.., T, parts·h·d] as `parts` tensors [.., h, T, d], for a leading axis that is kept.
    pub(crate) fn split_heads(
        &mut self,
        x: &Value,
        parts: usize,
        heads: usize,
        width: usize,
    ) -> Vec<Value> {
        let (count, heads, d) = (axis(parts), axis(heads), axis(width / heads));
        let split = self.graph.reshape(x, &[0, 0, count, heads, d]);
        let split = self.graph.transpose(&split, &[2, 0, 3, 1, 4]);
        (0..count)
            .map(|part| self.graph.pick(&split, part, 0))
            .collect()
    }

    /// softmax(q·kᵀ/√d + mask)·v for q [B, h, M, d] and k, v [B, h, N, d]: [B, h, M, d].
    pub(crate) fn attention(
        &mut self,
        q: &Value,
        k: &Value,
        v: &Value,
        mask: Option<&Value>,
        head_width: usize,
    ) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "head widths are small")]
        let scale = self.graph.float(1.0 / (head_width as f32).sqrt());
        let k = self.graph.transpose(k, &[0, 1, 3, 2]);
        let q = self.graph.mul(q, &scale);
        let mut scores = self.graph.matmul(&q, &k);
        if let Some(mask) = mask {
            scores = self.graph.add(&scores, mask);
        }
        let weights = self.graph.softmax(&scores);
        self.graph.matmul(&weights, v)
    }

    /// [.., h, T, d] as [.., T, h·d].
    pub(crate) fn join_heads(&mut self, x: &Value, width: usize) -> Value {
        let x = self.graph.transpose(x, &[0, 2, 1, 3]);
        self.graph.reshape(&x, &[0, 0, axis(width)])
    }

    /// Attention of queries [R, T, h·d] to keys and values [B, h, N, d] of images: [R, T, h·d].
    ///
    /// The rows of an image are folded into the query length, so that its keys and values are
    /// neither copied nor read once per row.
    pub(crate) fn attention_to_images(
        &mut self,
        query: &Value,
        image: &KeyValue,
        heads: usize,
        head_width: usize,
    ) -> Value {
        let images = self.graph.size(&image.key, 0);
        let head = self.graph.ints(&[-1, axis(heads), axis(head_width)]);
        let folded = self.graph.concat(&[&images, &head], 0);
        let folded = self.graph.reshape_to(query, &folded);
        let folded = self.graph.transpose(&folded, &[0, 2, 1, 3]);
        let mixed = self.attention(&folded, &image.key, &image.value, None, head_width);
        let mixed = self.graph.transpose(&mixed, &[0, 2, 1, 3]);
        let shape = self.graph.shape(query);
        self.graph.reshape_to(&mixed, &shape)
    }

    /// Mask [T, P+T] that lets every token see itself and what came before; `tokens` holds T and
    /// `past` P.
    pub(crate) fn causal_mask(&mut self, tokens: &Value, past: &Value) -> Value {
        let end = self.graph.add(past, tokens);
        let scalar = self.graph.ints(&[]);
        let past = self.graph.reshape_to(past, &scalar);
        let end = self.graph.reshape_to(&end, &scalar);
        let zero = self.graph.int(0);
        let keys = self.graph.range(&zero, &end);
        let queries = self.graph.range(&past, &end);
        let queries = self.graph.reshape(&queries, &[-1, 1]);
        let hidden = self.graph.greater(&keys, &queries);
        let (masked, open) = (self.graph.float(MASKED), self.graph.float(0.0));
        self.graph.choose(&hidden, &masked, &open)
    }

    /// Mask [R, 1, 1, T] from `attention_mask` [R, T], 1 for tokens and 0 for padding.
    pub(crate) fn padding_mask(&mut self, attention_mask: &Value) -> Value {
        let hidden = self.padding(attention_mask);
        self.key_mask(&hidden)
    }

    /// 1 for padding and 0 for tokens, [R, T].
    pub(crate) fn padding(&mut self, attention_mask: &Value) -> Value {
        let mask = self.graph.cast(attention_mask, Element::F32);
        let one = self.graph.float(1.0);
        self.graph.sub(&one, &mask)
    }

    /// Mask [R, 1, 1, T] that hides the keys that are 1 in `hidden` [R, T] from every token.
    pub(crate) fn key_mask(&mut self, hidden: &Value) -> Value {
        let masked = self.graph.float(MASKED);
        let mask = self.graph.mul(hidden, &masked);
        // [R, T] to [R, 1, 1, T] without knowing R or T.
        let axes = self.graph.ints(&[1, 2]);
        self.graph
            .node("Unsqueeze", "", &[&mask, &axes], vec![], Element::F32)
    }
}
