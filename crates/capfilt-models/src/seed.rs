//! Seeds of random draws.

use sha2::{Digest as _, Sha256};

/// The seed of one row's draws: SHA-256 of the seed (8 bytes, little-endian), the length of the
/// stage's name in bytes (8 bytes, little-endian), the name, and the row id.
///
/// Depends on nothing else: not on batches, order, devices or other rows.
pub fn row_seed(seed: u64, stage: &str, row_id: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    digest.update((stage.len() as u64).to_le_bytes());
    digest.update(stage.as_bytes());
    digest.update(row_id.as_bytes());
    digest.finalize().into()
}

#[cfg(test)]
mod tests;
