//! The text encoder, and what writes captions after it.

use super::config::{Config, Text};
use super::tower::EPSILON;
use crate::checkpoint::transposed;
use crate::emit::{Emitter, KeyValue, Layers, Parameters};
use crate::error::ImportError;
use crate::graph::{Element, Value, axis};
use crate::weights::Stored;

impl Emitter<'_, '_> {
    /// Words of `input_ids` [R, T] plus their positions from `past` on: [R, T, W].
    fn placed_words(
        &mut self,
        input_ids: &Value,
        past: &Value,
        text: &Text,
        places: &Value,
    ) -> Result<Value, ImportError> {
        let tokens = self.graph.size(input_ids, 1);
        let end = self.graph.add(past, &tokens);
        let places = self.graph.slice(places, past, &end, 0);
        let places = self.graph.cast(&places, Element::F32);
        let name = format!("{}token_embedding.weight", text.prefix);
        let table = self
            .parameters
            .table(&name, &[text.vocabulary, text.tower.width])?;
        let table = self.graph.stored(&table);
        // Rows are converted after they were picked: the table stays as small as it is stored.
        let words = self.graph.gather(&table, input_ids, 0);
        let words = self.graph.cast(&words, Element::F32);
        Ok(self.graph.add(&words, &places))
    }

    /// Position table [rows, W] as it is stored; `CoCa` has a row more, for its class token.
    fn places(&mut self, text: &Text, rows: usize) -> Result<Value, ImportError> {
        let name = format!("{}positional_embedding", text.prefix);
        let table = self.parameters.table(&name, &[rows, text.tower.width])?;
        Ok(self.graph.stored(&table))
    }

    /// Texts to tokens [R, T, W] after the last norm. Every token sees those before it and itself,
    /// so that padding needs no mask.
    pub(super) fn causal_text(
        &mut self,
        input_ids: &Value,
        text: &Text,
    ) -> Result<Value, ImportError> {
        let none = self.graph.ints(&[0]);
        let places = self.places(text, text.positions)?;
        let x = self.placed_words(input_ids, &none, text, &places)?;
        let tokens = self.graph.size(input_ids, 1);
        let mask = self.causal_mask(&tokens, &none);
        let x = self.blocks(&text.tower, x, Some(&mask))?;
        let name = format!("{}ln_final", text.prefix);
        self.layer_norm(&x, &name, text.tower.width, EPSILON)
    }

    /// The last token of every text that is no padding: x [R, T, W] to [R, W].
    pub(super) fn last_token(&mut self, x: &Value, attention_mask: &Value, text: &Text) -> Value {
        let graph = &mut self.graph;
        let scalar = graph.ints(&[]);
        let size = |graph: &mut crate::graph::Graph, along| {
            let size = graph.size(attention_mask, along);
            graph.reshape_to(&size, &scalar)
        };
        let (rows, tokens) = (size(graph, 0), size(graph, 1));
        let (zero, one) = (graph.int(0), graph.int(1));
        let starts = graph.range(&zero, &rows);
        let starts = graph.mul(&starts, &tokens);
        let lengths = graph.sum(attention_mask);
        let lasts = graph.sub(&lengths, &one);
        let places = graph.add(&starts, &lasts);
        let flat = graph.reshape(x, &[-1, axis(text.tower.width)]);
        graph.gather(&flat, &places, 0)
    }

    /// The class token that `CoCa` appends to every text [R, W], after the last norm.
    pub(super) fn class_of_text(
        &mut self,
        input_ids: &Value,
        attention_mask: &Value,
        text: &Text,
    ) -> Result<Value, ImportError> {
        let width = text.tower.width;
        let none = self.graph.ints(&[0]);
        let places = self.places(text, text.positions + 1)?;
        let x = self.placed_words(input_ids, &none, text, &places)?;
        // The class token stands behind the longest text, however short this one is.
        let class = self.parameters.class_of_text(text)?;
        let class = self.constant(&class);
        let x = self.graph.pad(&x, &[0, 0, 0], &[0, 1, 0]);
        let tokens = self.graph.size(input_ids, 1);
        let nothing = self.graph.ints(&[0, 0, 0]);
        let above = self.graph.concat(&[&tokens, &nothing], 0);
        let class = self.graph.pad_by(&class, &above);
        let x = self.graph.add(&x, &class);
        let one = self.graph.ints(&[1]);
        let length = self.graph.add(&tokens, &one);
        let causal = self.causal_mask(&length, &none);
        let padding = self.padding(attention_mask);
        let (front, back) = if text.correct_cls_mask {
            (0, 1)
        } else {
            (1, 0)
        };
        let hidden = self.graph.pad(&padding, &[0, front], &[0, back]);
        let hidden = self.key_mask(&hidden);
        let mask = self.graph.add(&causal, &hidden);
        let x = self.blocks(&text.tower, x, Some(&mask))?;
        let class = self.graph.pick(&x, -1, 1);
        let name = format!("{}ln_final", text.prefix);
        self.layer_norm(&class, &name, width, EPSILON)
    }

    /// One step of writing: logits [R, V] of the word after the last of `input_ids` [R, T], and the
    /// keys and values of all layers, those of the text encoder first.
    pub(super) fn write(
        &mut self,
        input_ids: &Value,
        past: &[KeyValue],
        image: &[KeyValue],
        config: &Config,
    ) -> Result<(Value, Vec<KeyValue>), ImportError> {
        let text = &config.text;
        let length = match past.first() {
            Some(pair) => self.graph.size(&pair.key, 2),
            None => self.graph.ints(&[0]),
        };
        let places = self.places(text, text.positions + 1)?;
        let mut x = self.placed_words(input_ids, &length, text, &places)?;
        let tokens = self.graph.size(input_ids, 1);
        let mask = self.causal_mask(&tokens, &length);
        let mut present = Vec::new();
        let writer = config.writer.iter();
        let towers = std::iter::once(&text.tower).chain(writer);
        for tower in towers {
            for layer in 0..tower.layers {
                let name = format!("{}.resblocks.{layer}", tower.prefix);
                let past = past.get(present.len());
                let pair;
                (x, pair) = self.block(tower, &name, &x, Some(&mask), past)?;
                present.push(pair);
                if let (true, Some(image)) = (present.len() > text.tower.layers, image.get(layer)) {
                    let name = format!("{}.cross_attn.{layer}", tower.prefix);
                    x = self.crossing_block(tower, &name, &x, image)?;
                }
            }
        }
        let width = text.tower.width;
        let last = self.graph.pick(&x, -1, 1);
        let last = self.layer_norm(&last, "text_decoder.ln_final", width, EPSILON)?;
        let words = Layers {
            weights: vec![transposed("text_decoder.text_projection")],
            biases: vec![],
        };
        let logits = self.linears_of(&last, &words, width, text.vocabulary)?;
        Ok((logits, present))
    }
}

impl Parameters<'_> {
    /// `CoCa`'s class token of texts with its position, which is behind all others: [1, W].
    fn class_of_text(&mut self, text: &Text) -> Result<Stored, ImportError> {
        let (width, rows) = (text.tower.width, text.positions + 1);
        let name = format!("{}positional_embedding", text.prefix);
        let table = self.checkpoint.read(&name, &[rows, width])?;
        let class = format!("{}cls_emb", text.prefix);
        let mut class = self.checkpoint.read(&class, &[width])?;
        for (value, place) in class.iter_mut().zip(&table[text.positions * width..]) {
            *value += place;
        }
        let key = format!("{}cls_emb+positional_embedding", text.prefix);
        self.file.f32(&key, &[1, width], &class)
    }
}
