//! Beam search for one picture, with both ways of comparing sequences of different length.
//!
//! Per step: log-softmax, repetition penalty, the ban of `[SEP]` below the least length, plus the
//! beam's score; of all beams' tokens the `2K` highest go on, `K` the number of beams. `[SEP]` ends
//! a sequence only when it ranks among the first `K`; the first `K` others are the next beams.
//! Equal scores are ordered by beam, then by token id.

use crate::decoding::{Beam, Normalisation};
use crate::scores;
use crate::search::{Hypothesis, NextRow, NotFinite, Scratch, narrow};

/// A sequence that still grows.
struct Live {
    tokens: Vec<u32>,
    /// Sum of edited log-probabilities: what beams are ranked by.
    score: f32,
    /// Sum of the model's own log-probabilities.
    log_prob: f64,
}

/// A sequence that has ended.
struct Finished {
    tokens: Vec<u32>,
    /// Normalised score.
    score: f64,
    log_prob: f64,
}

/// A beam with one token more.
#[derive(Clone, Copy)]
struct Extension {
    row: usize,
    token: u32,
    score: f32,
    log_prob: f64,
}

/// One picture's beams.
pub(crate) struct BeamSearch {
    options: Beam,
    end: u32,
    prompt: usize,
    live: Vec<Live>,
    finished: Vec<Finished>,
    next: Vec<NextRow>,
    /// Whether a live beam could still win; once false, nothing is accepted any more.
    open: bool,
}

impl BeamSearch {
    /// A search before its first step, with one beam: the prompt.
    pub(crate) fn new(options: &Beam, prompt: &[u32], end: u32) -> Self {
        Self {
            options: options.clone(),
            end,
            prompt: prompt.len(),
            live: vec![Live {
                tokens: prompt.to_vec(),
                score: 0.0,
                log_prob: 0.0,
            }],
            finished: Vec::new(),
            next: Vec::new(),
            open: true,
        }
    }

    /// Takes one step; `logits` has one row `[V]` per live beam. Returns whether the search has
    /// ended.
    pub(crate) fn advance(
        &mut self,
        logits: &[f32],
        scratch: &mut Scratch,
    ) -> Result<bool, NotFinite> {
        let extensions = self.extend(logits, scratch)?;
        Ok(match self.options.normalisation {
            Normalisation::Blip => self.step_blip(&extensions),
            Normalisation::Transformers => self.step_transformers(&extensions),
        })
    }

    /// The rows of the next step.
    pub(crate) fn next(&self) -> &[NextRow] {
        &self.next
    }

    fn beams(&self) -> usize {
        self.options.beams as usize
    }

    /// Length of the live sequences.
    fn length(&self) -> usize {
        self.live.first().map_or(0, |live| live.tokens.len())
    }

    /// The `2K` best extensions of the live beams, best first.
    fn extend(&self, logits: &[f32], scratch: &mut Scratch) -> Result<Vec<Extension>, NotFinite> {
        let wanted = 2 * self.beams();
        let vocabulary = logits.len() / self.live.len().max(1);
        let banned = self.length() < self.options.min_length as usize;
        let mut extensions = Vec::with_capacity(wanted * self.live.len());
        for (row, (live, logits)) in self.live.iter().zip(logits.chunks(vocabulary)).enumerate() {
            let log_sum = scores::log_sum_exp(logits);
            if !log_sum.is_finite() {
                return Err(NotFinite);
            }
            scratch.row.clear();
            scratch
                .row
                .extend(logits.iter().map(|&logit| logit - log_sum));
            scores::penalise(
                &mut scratch.row,
                &live.tokens,
                self.options.repetition_penalty,
            );
            if banned {
                scores::ban(&mut scratch.row, self.end);
            }
            scores::highest_k(&scratch.row, wanted, &mut scratch.candidates);
            extensions.extend(scratch.candidates.iter().map(|candidate| Extension {
                row,
                token: candidate.token,
                score: candidate.score + live.score,
                log_prob: live.log_prob + f64::from(logits[candidate.token as usize] - log_sum),
            }));
        }
        extensions.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then(a.row.cmp(&b.row))
                .then(a.token.cmp(&b.token))
        });
        extensions.truncate(wanted);
        Ok(extensions)
    }

    fn grown(&self, extension: &Extension) -> Vec<u32> {
        let mut tokens = self.live[extension.row].tokens.clone();
        tokens.push(extension.token);
        tokens
    }

    fn grow(&mut self, chosen: &[Extension]) {
        let live = chosen
            .iter()
            .map(|extension| Live {
                tokens: self.grown(extension),
                score: extension.score,
                log_prob: extension.log_prob,
            })
            .collect();
        self.next = chosen
            .iter()
            .map(|extension| NextRow {
                parent: extension.row,
                token: extension.token,
            })
            .collect();
        self.live = live;
    }

    /// BLIP's rule: a sequence is worth its sum over its length, prompt included and `[SEP]` not;
    /// the search ends when `K` sequences have ended and the worst of them is at least the best
    /// extension's sum over the length before it.
    fn step_blip(&mut self, extensions: &[Extension]) -> bool {
        let length = self.length();
        let mut chosen = Vec::with_capacity(self.beams());
        for (rank, extension) in extensions.iter().enumerate() {
            if extension.token == self.end {
                if rank < self.beams() {
                    let tokens = self.grown(extension);
                    self.keep_blip(tokens, extension.score, extension.log_prob, length);
                }
            } else {
                chosen.push(*extension);
            }
            if chosen.len() == self.beams() {
                break;
            }
        }
        let best = extensions
            .first()
            .map_or(f32::NEG_INFINITY, |best| best.score);
        if self.finished.len() >= self.beams() && self.worst() >= over(best, length) {
            self.open = false;
            return true;
        }
        self.grow(&chosen);
        self.length() >= self.options.max_length as usize
    }

    /// Keeps a sequence when fewer than `K` are kept or it beats the worst, which then leaves.
    fn keep_blip(&mut self, tokens: Vec<u32>, sum: f32, log_prob: f64, length: usize) {
        let score = over(sum, length);
        let full = self.finished.len() >= self.beams();
        if full && score <= self.worst() {
            return;
        }
        self.finished.push(Finished {
            tokens,
            score,
            log_prob,
        });
        if full {
            let worst = (0..self.finished.len())
                .min_by(|&a, &b| self.finished[a].score.total_cmp(&self.finished[b].score));
            if let Some(worst) = worst {
                self.finished.remove(worst);
            }
        }
    }

    fn worst(&self) -> f64 {
        self.finished
            .iter()
            .map(|finished| finished.score)
            .fold(f64::INFINITY, f64::min)
    }

    /// The rule of transformers 4.57 and later: a sequence is worth its sum over its new tokens,
    /// `[SEP]` included; reaching the longest length ends a sequence as `[SEP]` does; the search
    /// ends when `K` sequences have ended and no live beam's sum over its new tokens exceeds the
    /// worst of them.
    fn step_transformers(&mut self, extensions: &[Extension]) -> bool {
        let length = self.length();
        let new = length + 1 - self.prompt;
        let longest = length + 1 >= self.options.max_length as usize;
        for extension in extensions.iter().take(self.beams()) {
            if extension.token == self.end || longest {
                #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^24")]
                let score = f64::from(extension.score / new as f32);
                let tokens = self.grown(extension);
                let log_prob = extension.log_prob;
                self.finished.push(Finished {
                    tokens,
                    score,
                    log_prob,
                });
            }
        }
        // Stable: of equal scores the one that was kept before stays first.
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(self.beams());
        if longest {
            self.open = false;
            return true;
        }
        let chosen: Vec<Extension> = extensions
            .iter()
            .filter(|extension| extension.token != self.end)
            .take(self.beams())
            .copied()
            .collect();
        self.grow(&chosen);
        if self.finished.len() >= self.beams() {
            #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^24")]
            let best = self
                .live
                .first()
                .map_or(f32::NEG_INFINITY, |live| live.score / new as f32);
            self.open = f64::from(best) > self.worst();
        }
        !self.open
    }

    /// The best sequence.
    pub(crate) fn finish(mut self) -> Hypothesis {
        if self.open && self.options.normalisation == Normalisation::Blip {
            for live in std::mem::take(&mut self.live) {
                let length = live.tokens.len();
                self.keep_blip(live.tokens, live.score, live.log_prob, length);
            }
        }
        let later_wins = self.options.normalisation == Normalisation::Blip;
        let mut best: Option<Finished> = None;
        for finished in self.finished {
            let better = best.as_ref().is_none_or(|best| {
                finished.score > best.score
                    || (later_wins && finished.score.total_cmp(&best.score).is_eq())
            });
            if better {
                best = Some(finished);
            }
        }
        match best {
            Some(best) => Hypothesis {
                tokens: best.tokens,
                log_prob: narrow(best.log_prob),
            },
            None => Hypothesis {
                tokens: Vec::new(),
                log_prob: f32::NEG_INFINITY,
            },
        }
    }
}

/// A sum of log-probabilities over a length.
fn over(sum: f32, length: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^24")]
    let length = length as f64;
    f64::from(sum) / length
}

#[cfg(test)]
mod tests;
