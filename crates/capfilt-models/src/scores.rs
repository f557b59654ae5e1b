//! What happens to the scores of one decoder row before a token is chosen.
//!
//! Pure functions over one row of scores `[V]` in `f32`. The order in which they are called is the
//! caller's; nothing here depends on a model or on other rows.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A token and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Token id.
    pub(crate) token: u32,
    /// Score after every edit so far.
    pub(crate) score: f32,
}

/// `e^x` for `x <= 0`, equal on every platform and easy to vectorise; relative error below 1e-6.
fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer without a library call.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let power = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - power * LN2_HIGH) - power * LN2_LOW;
    let mut series = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        series = series * r + coefficient;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "power is a whole number from -126 to 0, so the biased exponent fits"
    )]
    let scale = f32::from_bits(((power as i32 + 127) << 23) as u32);
    series * scale
}

/// `log(sum(exp(scores)))`; not a finite number when a score is not.
pub(crate) fn log_sum_exp(scores: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut max = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = scores.as_chunks::<LANES>();
    for block in blocks {
        for (max, &score) in max.iter_mut().zip(block) {
            *max = if score > *max { score } else { *max };
        }
    }
    let max = max
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    if !max.is_finite() {
        return f32::NAN;
    }
    // Short sums in f32, the long one in f64: exact enough and still vectorised.
    let mut total = 0.0_f64;
    for run in blocks.chunks(8) {
        let mut lanes = [0.0_f32; LANES];
        for block in run {
            for (lane, &score) in lanes.iter_mut().zip(block) {
                *lane += exp(score - max);
            }
        }
        total += f64::from(lanes.iter().sum::<f32>());
    }
    total += rest
        .iter()
        .map(|&score| f64::from(exp(score - max)))
        .sum::<f64>();
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    let log = total.ln() as f32;
    max + log
}

/// Repetition penalty: the score `s` of every distinct id of `sequence` becomes `s * penalty` when
/// negative, else `s / penalty`; once per id.
pub(crate) fn penalise(scores: &mut [f32], sequence: &[u32], penalty: f32) {
    #[expect(clippy::float_cmp, reason = "exactly 1 is the value that means off")]
    if penalty == 1.0 {
        return;
    }
    for (position, &token) in sequence.iter().enumerate() {
        if sequence[..position].contains(&token) {
            continue;
        }
        if let Some(score) = scores.get_mut(token as usize) {
            *score = if *score < 0.0 {
                *score * penalty
            } else {
                *score / penalty
            };
        }
    }
}

/// Makes a token impossible.
pub(crate) fn ban(scores: &mut [f32], token: u32) {
    if let Some(score) = scores.get_mut(token as usize) {
        *score = f32::NEG_INFINITY;
    }
}

/// Divides all scores by the temperature.
pub(crate) fn temper(scores: &mut [f32], temperature: f32) {
    #[expect(clippy::float_cmp, reason = "exactly 1 is the value that means off")]
    if temperature == 1.0 {
        return;
    }
    for score in scores {
        *score /= temperature;
    }
}

/// The token of the highest score; the lowest id of several.
pub(crate) fn highest(scores: &[f32]) -> Candidate {
    let mut best = Candidate {
        token: 0,
        score: f32::NEG_INFINITY,
    };
    for (token, &score) in (0_u32..).zip(scores) {
        if score > best.score {
            best = Candidate { token, score };
        }
    }
    best
}

/// The `k` highest scores, highest first, lower ids first among equals. Equal scores at the end are
/// cut by id.
///
/// One pass: most scores fall below the smallest that is held and cost one comparison.
pub(crate) fn highest_k(scores: &[f32], k: usize, held: &mut Vec<Candidate>) {
    held.clear();
    if k == 0 {
        return;
    }
    let mut least = f32::NEG_INFINITY;
    for (token, &score) in (0_u32..).zip(scores) {
        if held.len() == k && score <= least {
            continue;
        }
        if held.len() == k {
            held.pop();
        }
        let place = held.partition_point(|other| other.score >= score);
        held.insert(place, Candidate { token, score });
        least = held.last().map_or(f32::NEG_INFINITY, |last| last.score);
    }
}

/// top-k: what is not below the `k`-th highest score, highest first, lower ids first among equals;
/// scores equal to the `k`-th stay. `k` = 0 keeps every possible token.
pub(crate) fn top_k(scores: &[f32], k: usize, kept: &mut Vec<Candidate>) {
    if k == 0 || k >= scores.len() {
        kept.clear();
        kept.extend((0_u32..).zip(scores).filter_map(|(token, &score)| {
            (score > f32::NEG_INFINITY).then_some(Candidate { token, score })
        }));
    } else {
        highest_k(scores, k, kept);
        let least = kept.last().map_or(f32::NEG_INFINITY, |last| last.score);
        kept.clear();
        kept.extend((0_u32..).zip(scores).filter_map(|(token, &score)| {
            (score >= least && score > f32::NEG_INFINITY).then_some(Candidate { token, score })
        }));
    }
    kept.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.token.cmp(&b.token)));
}

/// Weights `exp(score - highest)` of candidates that are sorted highest first, and their sum.
fn weights(candidates: &[Candidate]) -> (Vec<f64>, f64) {
    let highest = candidates.first().map_or(0.0, |first| first.score);
    let weights: Vec<f64> = candidates
        .iter()
        .map(|candidate| f64::from(exp(candidate.score - highest)))
        .collect();
    let sum = weights.iter().sum();
    (weights, sum)
}

/// top-p: keeps the smallest set of highest candidates whose probability reaches `p`, at least one.
/// `kept` is sorted highest first, as [`top_k`] leaves it.
pub(crate) fn top_p(kept: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 {
        return;
    }
    let (weights, sum) = weights(kept);
    let reach = f64::from(p) * sum;
    let mut before = 0.0;
    let mut count = 0;
    for weight in weights {
        if count > 0 && before >= reach {
            break;
        }
        before += weight;
        count += 1;
    }
    kept.truncate(count);
}

/// Probabilities of candidates that are sorted highest first.
#[cfg(test)]
pub(crate) fn probabilities(kept: &[Candidate]) -> Vec<f64> {
    let (weights, sum) = weights(kept);
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The random draws of one caption: `ChaCha8`, one 64-bit word per step.
///
/// Step `n` (counted from 0 at the first new token) always uses word `n`, also when only one token
/// is left to choose: `u = (word >> 11) / 2^53`, uniform in `[0, 1)`.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// Draws from the given seed.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// Takes the first candidate whose cumulative probability exceeds `u`; candidates are in order
    /// of falling score, lower ids first among equals. `None` when there is no candidate.
    pub(crate) fn choose(&mut self, kept: &[Candidate]) -> Option<Candidate> {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
        let u = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let (weights, sum) = weights(kept);
        let mut cumulative = 0.0;
        for (candidate, weight) in kept.iter().zip(weights) {
            cumulative += weight;
            if cumulative > u * sum {
                return Some(*candidate);
            }
        }
        kept.last().copied()
    }
}

#[cfg(test)]
mod tests;
