//! The decoding loop: many captions grow side by side, one token per step.
//!
//! Self-attention caches stay on the graph's device: what a step gives as `present` is bound as the
//! next step's `past`, the same value, and `rows` tells the graph which rows to continue. Only
//! logits come to the host.

use ort::value::{DynValue, Tensor};

use crate::encoder::Encoded;
use crate::error::ModelError;
use crate::graph::{Graph, Opener};
use crate::search::{Hypothesis, Scratch, Search};

/// The graphs `decoder` and `select` of a captioner package.
pub(crate) struct Decoder {
    graph: Graph,
    select: Graph,
    sizes: DecoderSizes,
    scratch: Scratch,
}

/// Sizes of the decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecoderSizes {
    /// Attention heads.
    pub(crate) heads: usize,
    /// Features per head.
    pub(crate) head: usize,
    /// Entries of the vocabulary.
    pub(crate) vocabulary: usize,
    /// `[PAD]`: fed to rows whose caption has ended while they are still in the batch.
    pub(crate) pad: u32,
}

/// A picture whose caption still grows.
struct Growing {
    /// Which caption.
    caption: usize,
    /// Its place among the pictures of the step before.
    place: usize,
}

impl Decoder {
    /// Opens both graphs.
    pub(crate) fn open(opener: &Opener<'_>, sizes: DecoderSizes) -> Result<Self, ModelError> {
        Ok(Self {
            graph: opener.open("decoder", &["logits"])?,
            select: opener.open("select", &[])?,
            sizes,
            scratch: Scratch::default(),
        })
    }

    /// Grows one caption per picture of `encoded` to its end; all searches start with `prompt`.
    pub(crate) fn decode(
        &mut self,
        encoded: Encoded,
        prompt: &[u32],
        mut searches: Vec<Search>,
    ) -> Result<Vec<Hypothesis>, ModelError> {
        let result = self.grow(encoded, prompt, &mut searches);
        self.graph.release();
        self.select.release();
        result?;
        Ok(searches.into_iter().map(Search::finish).collect())
    }

    fn grow(
        &mut self,
        encoded: Encoded,
        prompt: &[u32],
        searches: &mut [Search],
    ) -> Result<(), ModelError> {
        let mut cross = encoded.cross;
        self.bind_all(&cross)?;
        self.bind_empty_past(searches.len())?;
        // Captions of the batch in the order of its rows; ended ones may still hold their place.
        let mut places: Vec<Option<usize>> = (0..searches.len()).map(Some).collect();
        let mut tokens: Vec<i64> = prompt
            .iter()
            .map(|&token| i64::from(token))
            .cycle()
            .take(prompt.len() * searches.len())
            .collect();
        let mut rows: Vec<i64> = (0_i64..).take(searches.len()).collect();
        let mut rows_each = 1;
        loop {
            let logits = self.step(&rows, tokens)?;
            let growing = self.advance(&logits, rows_each, &places, searches)?;
            drop(logits);
            let Some(first) = growing.first() else {
                return Ok(());
            };
            let next_each = searches[first.caption].next().len();
            let leaving = is_worth_leaving(growing.len(), places.len());
            if leaving {
                cross = self.select(&cross, &growing)?;
                self.bind_all(&cross)?;
            }
            tokens = Vec::new();
            rows = Vec::new();
            let mut caption_at: Vec<Option<usize>> = vec![None; places.len()];
            for growing in &growing {
                caption_at[growing.place] = Some(growing.caption);
            }
            places.clear();
            for (place, caption) in caption_at.into_iter().enumerate() {
                let base = place * rows_each;
                if let Some(caption) = caption {
                    for next in searches[caption].next() {
                        rows.push(index(base + next.parent));
                        tokens.push(i64::from(next.token));
                    }
                } else if leaving {
                    continue;
                } else {
                    rows.extend(std::iter::repeat_n(index(base), next_each));
                    tokens.extend(std::iter::repeat_n(i64::from(self.sizes.pad), next_each));
                }
                places.push(caption);
            }
            rows_each = next_each;
        }
    }

    /// Advances every caption that still grows; gives those that go on.
    fn advance(
        &mut self,
        logits: &DynValue,
        rows_each: usize,
        places: &[Option<usize>],
        searches: &mut [Search],
    ) -> Result<Vec<Growing>, ModelError> {
        let (_, logits) = logits
            .try_extract_tensor::<f32>()
            .map_err(|error| self.graph.failed(&error))?;
        let size = rows_each * self.sizes.vocabulary;
        let mut growing = Vec::with_capacity(places.len());
        for (place, (caption, logits)) in places.iter().zip(logits.chunks(size)).enumerate() {
            let Some(caption) = *caption else { continue };
            let ended = searches[caption]
                .advance(logits, &mut self.scratch)
                .map_err(|_| ModelError::NotFinite { graph: "decoder" })?;
            if !ended {
                growing.push(Growing { caption, place });
            }
        }
        Ok(growing)
    }

    /// Runs the decoder once, binds what it gives as the next past, and gives the logits `[R, V]`.
    fn step(&mut self, rows: &[i64], tokens: Vec<i64>) -> Result<DynValue, ModelError> {
        let length = tokens.len() / rows.len().max(1);
        let tokens = Tensor::from_array(([rows.len(), length], tokens))
            .map_err(|error| self.graph.failed(&error))?;
        let rows = Tensor::from_array(([rows.len()], rows.to_vec()))
            .map_err(|error| self.graph.failed(&error))?;
        self.graph.bind("input_ids", &tokens.into_dyn())?;
        self.graph.bind("rows", &rows.into_dyn())?;
        let outputs = self.graph.run()?;
        let names = self.graph.outputs().to_vec();
        let mut logits = None;
        for (name, value) in names.iter().zip(outputs) {
            match name.strip_prefix("present_") {
                Some(layer) => self.graph.bind(&format!("past_{layer}"), &value)?,
                None => logits = Some(value),
            }
        }
        logits.ok_or_else(|| ModelError::Graph {
            graph: "decoder",
            reason: "it gave no `logits`".to_owned(),
        })
    }

    /// Binds keys and values of the pictures.
    fn bind_all(&mut self, cross: &[(String, DynValue)]) -> Result<(), ModelError> {
        cross
            .iter()
            .try_for_each(|(name, value)| self.graph.bind(name, value))
    }

    /// Binds a past of no tokens for `rows` rows.
    fn bind_empty_past(&mut self, rows: usize) -> Result<(), ModelError> {
        let shape = [rows, self.sizes.heads, 0, self.sizes.head];
        let names: Vec<String> = self
            .graph
            .outputs()
            .iter()
            .filter_map(|name| Some(format!("past_{}", name.strip_prefix("present_")?)))
            .collect();
        for name in names {
            let empty = Tensor::<f32>::from_array((shape, Vec::new()))
                .map_err(|error| self.graph.failed(&error))?;
            self.graph.bind(&name, &empty.into_dyn())?;
        }
        Ok(())
    }

    /// Keys and values of the growing pictures alone.
    fn select(
        &mut self,
        cross: &[(String, DynValue)],
        growing: &[Growing],
    ) -> Result<Vec<(String, DynValue)>, ModelError> {
        let images: Vec<i64> = growing.iter().map(|growing| index(growing.place)).collect();
        let images = Tensor::from_array(([images.len()], images))
            .map_err(|error| self.select.failed(&error))?;
        for (name, value) in cross {
            self.select.bind(name, value)?;
        }
        self.select.bind("images", &images.into_dyn())?;
        let outputs = self.select.run()?;
        let selected = self
            .select
            .outputs()
            .iter()
            .zip(outputs)
            .map(|(name, value)| (name.replacen("selected_", "cross_", 1), value))
            .collect();
        self.select.release();
        Ok(selected)
    }
}

/// Whether ended captions should leave the batch now: copying the keys and values of those that stay
/// must cost less than carrying the ended ones on.
fn is_worth_leaving(growing: usize, places: usize) -> bool {
    growing < places && 4 * growing <= 3 * places
}

#[expect(clippy::cast_possible_wrap, reason = "rows of a batch are few")]
fn index(row: usize) -> i64 {
    row as i64
}

#[cfg(test)]
mod tests;
