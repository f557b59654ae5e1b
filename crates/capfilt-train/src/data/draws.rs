//! Random draws that depend on names and numbers alone, never on the order of threads.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// A stream of random draws.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    /// The draws for `purpose`, which `numbers` and `text` tell from others of that purpose.
    pub(super) fn new(seed: u64, purpose: &str, numbers: &[u64], text: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(seed.to_le_bytes());
        digest.update((purpose.len() as u64).to_le_bytes());
        digest.update(purpose.as_bytes());
        for number in numbers {
            digest.update(number.to_le_bytes());
        }
        digest.update(text.as_bytes());
        Self(ChaCha8Rng::from_seed(digest.finalize().into()))
    }

    /// Leaves out the first `count` draws. Every draw takes two words of the generator.
    pub(super) fn skip(&mut self, count: u64) {
        self.0.set_word_pos(2 * u128::from(count));
    }

    /// One of the integers below `end`; 0 where there are none.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// One of the places below `end`.
    pub(super) fn place(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let unit = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }

    /// Uniform in [`low`, `high`).
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A place with a probability in proportion to its weight; `None` where all are 0.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> Option<usize> {
        let mut at = self.unit() * weights.iter().sum::<f64>();
        for (place, &weight) in weights.iter().enumerate() {
            if at < weight {
                return Some(place);
            }
            at -= weight;
        }
        // Rounding may lead beyond the end.
        weights.iter().rposition(|&weight| weight > 0.0)
    }

    /// Brings items into a random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.place(end + 1));
        }
    }
}
