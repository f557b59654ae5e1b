//! Pillow's resize, value for value.
//!
//! Two passes, horizontal then vertical. Each pass weighs samples with 22-bit integer coefficients, rounds to the
//! nearest integer and clamps to 8 bits, so that nothing depends on the order
//! of floating-point additions. A pass whose side keeps its length is skipped.
//! The horizontal pass covers the rows that the vertical pass reads.
//!
//! Pillow 12.3 turns the order round for pictures that are more than 100 times
//! as high as wide and lose height; so do we, as the rounding between the
//! passes shows in the values.

mod coefficients;

use crate::picture::Picture;
use coefficients::{Coefficients, Filter, PRECISION_BITS};

/// Half of the last place, so that the shift to 8 bits rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Samples that are weighted side by side: few enough for their sums to stay
/// in registers.
const STRIP: usize = 48;

/// Width and height in pixels, both at least 1.
type Size = (u32, u32);

/// Resizes a picture to `width` x `height` pixels with the bicubic kernel
/// (a = -0.5), widened when shrinking so that it does not alias. Equal in every
/// value to `Image.resize((width, height), BICUBIC)` of Pillow 12.3.0.
///
/// A `width` or `height` of 0 counts as 1.
pub fn resize(picture: &Picture, width: u32, height: u32) -> Picture {
    resize_with(picture, width.max(1), height.max(1), Kernels::best())
}

fn resize_with(picture: &Picture, width: u32, height: u32, kernels: Kernels) -> Picture {
    let from = (picture.width(), picture.height());
    let passes = Passes {
        filter: Filter::Bicubic,
        kernels,
    };
    let pixels = passes.resize::<3, { STRIP / 3 }>(picture.pixels(), from, (width, height));
    Picture::from_rows(width, height, pixels)
}

/// Resizes a grey picture with the Lanczos kernel of three lobes. Equal in
/// every value to `Image.resize(to, LANCZOS)` of Pillow 12.3.0 in mode `L`.
pub(crate) fn resize_grey(samples: &[u8], from: Size, to: Size) -> Vec<u8> {
    let passes = Passes {
        filter: Filter::Lanczos,
        kernels: Kernels::best(),
    };
    passes.resize::<1, STRIP>(samples, from, to)
}

/// How the passes over a picture weigh its samples.
///
/// A pixel has `N` samples, and `BAND` is the number of rows that the horizontal pass takes at a
/// time, so that their samples of one column fill a strip.
#[derive(Clone, Copy)]
struct Passes {
    filter: Filter,
    kernels: Kernels,
}

impl Passes {
    /// The passes in the order of Pillow.
    fn resize<const N: usize, const BAND: usize>(
        self,
        source: &[u8],
        from: Size,
        to: Size,
    ) -> Vec<u8> {
        let is_tall = u64::from(from.1) > 100 * u64::from(from.0);
        if is_tall && to.1 < from.1 {
            let lower = self.horizontal_first::<N, BAND>(source, from, (from.0, to.1));
            return self.horizontal_first::<N, BAND>(&lower, (from.0, to.1), to);
        }
        self.horizontal_first::<N, BAND>(source, from, to)
    }

    /// The horizontal pass, then the vertical one, each only where it is needed.
    fn horizontal_first<const N: usize, const BAND: usize>(
        self,
        source: &[u8],
        from: Size,
        to: Size,
    ) -> Vec<u8> {
        let columns = (to.0 != from.0).then(|| Coefficients::new(self.filter, from.0, to.0));
        let rows = (to.1 != from.1).then(|| Coefficients::new(self.filter, from.1, to.1));

        let in_stride = N * from.0 as usize;
        let out_stride = N * to.0 as usize;
        let needed = match &rows {
            Some(rows) => rows.inputs(),
            None => 0..from.1 as usize,
        };
        let first_row = needed.start;
        let source = &source[needed.start * in_stride..needed.end * in_stride];
        let narrowed = columns.map(|columns| {
            horizontal::<N, BAND>(source, in_stride, &columns, out_stride, self.kernels)
        });
        match rows {
            Some(rows) => {
                let mut pixels = vec![0; to.1 as usize * out_stride];
                let source = narrowed.as_deref().unwrap_or(source);
                self.kernels.weigh(source, first_row, &rows, &mut pixels);
                pixels
            }
            None => narrowed.unwrap_or_else(|| source.to_vec()),
        }
    }
}

/// The instruction set that the passes are compiled for. The results are
/// equal, as everything is integer arithmetic.
#[derive(Clone, Copy, Debug)]
enum Kernels {
    /// What every machine of the target has.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Kernels {
    /// The fastest that this machine has.
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Baseline
    }

    /// See [`weigh`].
    fn weigh(self, source: &[u8], first: usize, shares: &Coefficients, target: &mut [u8]) {
        match self {
            Self::Baseline => weigh(source, first, shares, target),
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "`best` has asked the processor for AVX2")]
            Self::Avx2 => unsafe { weigh_avx2(source, first, shares, target) },
        }
    }
}

/// Every row of `source` to the columns that `columns` describes.
///
/// Columns are weighted like rows, once a band of rows is transposed:
///
/// ```text
/// rows of RGB      abc def ghi ..      columns      abc ABC ..
///                  ABC DEF GHI ..                   def DEF ..
/// ```
fn horizontal<const N: usize, const BAND: usize>(
    source: &[u8],
    in_stride: usize,
    columns: &Coefficients,
    out_stride: usize,
    kernels: Kernels,
) -> Vec<u8> {
    let mut target = vec![0; source.len() / in_stride * out_stride];
    let in_width = in_stride / N;
    let mut in_band = vec![[[0; N]; BAND]; in_width];
    let mut out_band = vec![[[0; N]; BAND]; out_stride / N];
    for (in_rows, out_rows) in source
        .chunks(BAND * in_stride)
        .zip(target.chunks_mut(BAND * out_stride))
    {
        // Rows that the last band lacks are filled with any other.
        let rows: [_; BAND] = std::array::from_fn(|index| {
            let row = in_rows.chunks_exact(in_stride).nth(index);
            &row.unwrap_or(in_rows).as_chunks::<N>().0[..in_width]
        });
        for (index, column) in in_band.iter_mut().enumerate().take(in_width) {
            for (pixel, row) in column.iter_mut().zip(&rows) {
                *pixel = row[index];
            }
        }
        kernels.weigh(
            in_band.as_flattened().as_flattened(),
            0,
            columns,
            out_band.as_flattened_mut().as_flattened_mut(),
        );
        for (index, row) in out_rows.chunks_exact_mut(out_stride).enumerate() {
            let (pixels, _) = row.as_chunks_mut::<N>();
            for (column, pixel) in out_band.iter().zip(pixels) {
                *pixel = column[index];
            }
        }
    }
    target
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn weigh_avx2(source: &[u8], first: usize, shares: &Coefficients, target: &mut [u8]) {
    weigh(source, first, shares, target);
}

/// Fills the rows of `target`, one for each output position of `shares`, with
/// weighted sums of the rows of `source`, of which the first is input position
/// `first`. Rows of both are equally long.
#[expect(
    clippy::inline_always,
    reason = "it has to be compiled for the caller's instruction set"
)]
#[inline(always)]
fn weigh(source: &[u8], first: usize, shares: &Coefficients, target: &mut [u8]) {
    let stride = target.len() / shares.len();
    for ((start, weights), out_row) in shares.iter().zip(target.chunks_exact_mut(stride)) {
        let source = &source[(start - first) * stride..];
        let (strips, rest) = out_row.as_chunks_mut::<STRIP>();
        let rest_at = strips.len() * STRIP;
        for (index, strip) in strips.iter_mut().enumerate() {
            let mut sums = [HALF; STRIP];
            for (row, &weight) in source.chunks_exact(stride).zip(weights) {
                let samples = row[index * STRIP..]
                    .first_chunk::<STRIP>()
                    .unwrap_or(&[0; STRIP]);
                add(&mut sums, samples, weight);
            }
            for (sample, sum) in strip.iter_mut().zip(sums) {
                *sample = to_sample(sum);
            }
        }
        if !rest.is_empty() {
            let mut sums = [HALF; STRIP];
            for (row, &weight) in source.chunks_exact(stride).zip(weights) {
                add(&mut sums, &row[rest_at..], weight);
            }
            for (sample, sum) in rest.iter_mut().zip(sums) {
                *sample = to_sample(sum);
            }
        }
    }
}

/// Adds weighted samples to their sums.
#[expect(
    clippy::inline_always,
    reason = "it has to be compiled for the caller's instruction set"
)]
#[inline(always)]
fn add(sums: &mut [i32; STRIP], samples: &[u8], weight: i32) {
    for (sum, &sample) in sums.iter_mut().zip(samples) {
        *sum += i32::from(sample) * weight;
    }
}

/// A sum of weighted samples, as 8 bits.
#[expect(
    clippy::inline_always,
    reason = "it has to be compiled for the caller's instruction set"
)]
#[inline(always)]
fn to_sample(sum: i32) -> u8 {
    #[expect(clippy::cast_sign_loss, reason = "clamped to what 8 bits hold")]
    let sample = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
    sample
}

#[cfg(test)]
pub(crate) mod tests;
