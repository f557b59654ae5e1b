//! Random draws that depend on names and numbers alone, never on the order of threads.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// A generator whose numbers follow from `parts`, one after the other.
pub(crate) fn generator(parts: &[&[u8]]) -> ChaCha8Rng {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    ChaCha8Rng::from_seed(digest.finalize().into())
}

/// The place that `unit`, uniform in [0, 1), chooses with probabilities in proportion to `weights`;
/// `None` where all are 0.
pub(crate) fn weighted(
    unit: f64,
    weights: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator + Clone,
) -> Option<usize> {
    let mut at = unit * weights.clone().sum::<f64>();
    for (place, weight) in weights.clone().enumerate() {
        if at < weight {
            return Some(place);
        }
        at -= weight;
    }
    // Rounding may lead beyond the end.
    weights.into_iter().rposition(|weight| weight > 0.0)
}

/// A stream of random draws.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    /// The draws for `purpose`, which `numbers` and `text` tell from others of that purpose.
    pub(crate) fn new(seed: u64, purpose: &str, numbers: &[u64], text: &str) -> Self {
        let numbers: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        Self(generator(&[
            &seed.to_le_bytes(),
            &(purpose.len() as u64).to_le_bytes(),
            purpose.as_bytes(),
            &numbers,
            text.as_bytes(),
        ]))
    }

    /// Leaves out the first `count` draws. Every draw takes two words of the generator.
    pub(crate) fn skip(&mut self, count: u64) {
        self.0.set_word_pos(2 * u128::from(count));
    }

    /// One of the integers below `end`; 0 where there are none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// One of the places below `end`.
    pub(crate) fn place(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let unit = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }

    /// Uniform in [`low`, `high`).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A place with a probability in proportion to its weight; `None` where all are 0.
    pub(crate) fn weighted(&mut self, weights: &[f64]) -> Option<usize> {
        weighted(self.unit(), weights.iter().copied())
    }

    /// Brings items into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.place(end + 1));
        }
    }
}
