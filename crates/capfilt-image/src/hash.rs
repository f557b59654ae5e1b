//! What a picture looks like, in 64 bits.
//!
//! The hash of pHash in the form of `imagehash.phash` of Python's `ImageHash`: the picture in grey
//! at 32 x 32 pixels, its discrete cosine transform in two dimensions, and of its 8 x 8 lowest
//! frequencies one bit each, set where the coefficient is above their median. Copies that were
//! encoded again or resized differ in few bits; a crop differs in many.

use std::f64::consts::PI;
use std::sync::LazyLock;

use crate::picture::Picture;
use crate::resize::resize_grey;

/// Pixels of a side before the transform.
const SIDE: usize = 32;

/// Frequencies that are kept of each direction.
const FREQUENCIES: usize = 8;

/// Bits of a hash.
const BITS: usize = FREQUENCIES * FREQUENCIES;

/// Coefficients that differ by less are equal but for rounding: each is a sum of 1024 terms below
/// 256 in double precision.
const ROUNDING: f64 = 1e-6;

/// `COSINES[k][n]` is cos(pi k (2 n + 1) / 64), of which the DCT-II is made.
static COSINES: LazyLock<[[f64; SIDE]; FREQUENCIES]> = LazyLock::new(|| {
    let angle = PI / 64.0;
    let mut cosines = [[0.0; SIDE]; FREQUENCIES];
    for (k, row) in (0_u32..).zip(&mut cosines) {
        for (n, cosine) in (0_u32..).zip(row) {
            *cosine = (angle * f64::from(k * (2 * n + 1))).cos();
        }
    }
    cosines
});

/// The perceptual hash of a picture, or nothing for one that has too few features to tell it by:
/// half of its coefficients or more are zero, as in a plain picture, in stripes, and in a drawing of
/// one centred square. Such pictures have the same hash whatever their colours are.
///
/// The most significant bit belongs to the mean brightness, the next ones to rising horizontal
/// frequencies, row after row: the number that `str(imagehash.phash(picture))` of `ImageHash` 4.3.2
/// writes in hexadecimal. A coefficient that equals the median but for rounding is not above it here;
/// in `ImageHash` that is an accident of its arithmetic.
pub fn perceptual_hash(picture: &Picture) -> Option<u64> {
    let coefficients = low_frequencies(&small_grey(picture));
    let zeros = coefficients.iter().filter(|one| one.abs() < ROUNDING);
    if zeros.count() >= BITS / 2 {
        return None;
    }
    let threshold = median(coefficients) + ROUNDING;
    let bits = coefficients.iter().fold(0, |bits, coefficient| {
        (bits << 1) | u64::from(*coefficient > threshold)
    });
    Some(bits)
}

/// The picture in grey, `SIDE` x `SIDE` samples.
fn small_grey(picture: &Picture) -> Vec<u8> {
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let grey: Vec<u8> = pixels.iter().copied().map(luma).collect();
    #[expect(clippy::cast_possible_truncation, reason = "32")]
    let side = SIDE as u32;
    resize_grey(&grey, (picture.width(), picture.height()), (side, side))
}

/// The luma of ITU-R BT.601 in 16-bit fixed point, as Pillow's `convert("L")` rounds it.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    #[expect(clippy::cast_possible_truncation, reason = "the shares add up to 2^16")]
    let luma = ((sum + 0x8000) >> 16) as u8;
    luma
}

/// The lowest coefficients of the DCT-II in both directions, without its factor of 4, row by row.
fn low_frequencies(samples: &[u8]) -> [f64; BITS] {
    let cosines = &*COSINES;
    // Down the columns, then along the rows.
    let columns: [[f64; SIDE]; FREQUENCIES] = cosines.map(|cosines| {
        let mut sums = [0.0; SIDE];
        for (row, cosine) in samples.chunks_exact(SIDE).zip(cosines) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += f64::from(*sample) * cosine;
            }
        }
        sums
    });
    std::array::from_fn(|at| {
        let (row, cosines) = (&columns[at / FREQUENCIES], &cosines[at % FREQUENCIES]);
        row.iter()
            .zip(cosines)
            .map(|(sum, cosine)| sum * cosine)
            .sum()
    })
}

/// Halfway between the two in the middle.
fn median(mut coefficients: [f64; BITS]) -> f64 {
    coefficients.sort_unstable_by(f64::total_cmp);
    f64::midpoint(coefficients[BITS / 2 - 1], coefficients[BITS / 2])
}

#[cfg(test)]
mod tests;
