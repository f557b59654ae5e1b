//! The state of one caption while it grows: which tokens the decoder is fed next, and when it ends.
//!
//! A search sees logits and gives back tokens; it knows nothing of sessions, batches or devices. The
//! first step has one row (the prompt); from then on a picture has [`Decoding::rows`] rows.

use crate::beam::BeamSearch;
use crate::decoding::{Decoding, Nucleus};
use crate::scores::{self, Candidate, Draw};

/// A finished caption in tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hypothesis {
    /// Prompt, new tokens and, unless the longest length was reached, `[SEP]`.
    pub(crate) tokens: Vec<u32>,
    /// Sum over the new tokens of the model's own log-probability: log-softmax of the unedited
    /// logits, whatever the penalties, bans, temperature or cuts that chose the token.
    pub(crate) log_prob: f32,
}

/// One row of the next decoder step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NextRow {
    /// Which of the picture's rows in the step before it continues.
    pub(crate) parent: usize,
    /// The token it is fed.
    pub(crate) token: u32,
}

/// The logits of a step are not finite: the model, or a kernel under it, is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotFinite;

/// Memory that every step needs and no step keeps.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Edited scores of one row, `[V]`.
    pub(crate) row: Vec<f32>,
    /// Candidates of one row.
    pub(crate) candidates: Vec<Candidate>,
}

/// What ends a caption and what it is like before the first step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// Start token and prompt.
    pub(crate) prompt: &'a [u32],
    /// `[SEP]`.
    pub(crate) end: u32,
    /// Seed of the random draws; used by nucleus sampling alone.
    pub(crate) seed: [u8; 32],
}

/// One caption while it grows.
pub(crate) enum Search {
    /// Greedy decoding and nucleus sampling.
    Single(SingleSearch),
    /// Beam search.
    Beam(BeamSearch),
}

impl Search {
    /// A search before its first step.
    pub(crate) fn new(decoding: &Decoding, start: Start<'_>) -> Self {
        let single = |choice, repetition_penalty, min_length, max_length| {
            Self::Single(SingleSearch {
                tokens: start.prompt.to_vec(),
                log_prob: 0.0,
                end: start.end,
                choice,
                repetition_penalty,
                min_length: min_length as usize,
                max_length: max_length as usize,
                next: [NextRow {
                    parent: 0,
                    token: start.end,
                }],
            })
        };
        match decoding {
            Decoding::Greedy(o) => single(
                Choice::Highest,
                o.repetition_penalty,
                o.min_length,
                o.max_length,
            ),
            Decoding::Nucleus(o) => single(
                Choice::Draw(Box::new((o.clone(), Draw::new(start.seed)))),
                o.repetition_penalty,
                o.min_length,
                o.max_length,
            ),
            Decoding::Beam(o) => Self::Beam(BeamSearch::new(o, start.prompt, start.end)),
        }
    }

    /// Takes one step: `logits` is `[rows, V]`, one row at the first step. Returns whether the
    /// search has ended.
    pub(crate) fn advance(
        &mut self,
        logits: &[f32],
        scratch: &mut Scratch,
    ) -> Result<bool, NotFinite> {
        match self {
            Self::Single(search) => search.advance(logits, scratch),
            Self::Beam(search) => search.advance(logits, scratch),
        }
    }

    /// The rows of the next step, in order.
    pub(crate) fn next(&self) -> &[NextRow] {
        match self {
            Self::Single(search) => &search.next,
            Self::Beam(search) => search.next(),
        }
    }

    /// The caption that was found.
    pub(crate) fn finish(self) -> Hypothesis {
        match self {
            Self::Single(search) => Hypothesis {
                tokens: search.tokens,
                log_prob: narrow(search.log_prob),
            },
            Self::Beam(search) => search.finish(),
        }
    }
}

/// A sum that was kept in `f64`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "log-probabilities are reported in f32"
)]
pub(crate) fn narrow(sum: f64) -> f32 {
    sum as f32
}

enum Choice {
    Highest,
    Draw(Box<(Nucleus, Draw)>),
}

/// A search with one row.
pub(crate) struct SingleSearch {
    tokens: Vec<u32>,
    log_prob: f64,
    end: u32,
    choice: Choice,
    repetition_penalty: f32,
    min_length: usize,
    max_length: usize,
    next: [NextRow; 1],
}

impl SingleSearch {
    fn advance(&mut self, logits: &[f32], scratch: &mut Scratch) -> Result<bool, NotFinite> {
        let log_sum = scores::log_sum_exp(logits);
        if !log_sum.is_finite() {
            return Err(NotFinite);
        }
        scratch.row.clear();
        scratch.row.extend_from_slice(logits);
        let row = &mut scratch.row[..];
        scores::penalise(row, &self.tokens, self.repetition_penalty);
        if self.tokens.len() < self.min_length {
            scores::ban(row, self.end);
        }
        let chosen = match &mut self.choice {
            Choice::Highest => scores::highest(row),
            Choice::Draw(draw) => {
                let (options, draw) = &mut **draw;
                scores::temper(row, options.temperature);
                scores::top_k(row, options.top_k as usize, &mut scratch.candidates);
                scores::top_p(&mut scratch.candidates, options.p);
                draw.choose(&scratch.candidates)
                    .unwrap_or_else(|| scores::highest(row))
            }
        };
        self.log_prob += f64::from(logits[chosen.token as usize] - log_sum);
        self.tokens.push(chosen.token);
        self.next = [NextRow {
            parent: 0,
            token: chosen.token,
        }];
        Ok(chosen.token == self.end || self.tokens.len() >= self.max_length)
    }
}

#[cfg(test)]
mod tests;
