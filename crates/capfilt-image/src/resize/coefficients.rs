//! Which input samples an output sample is made of, and in which shares.

use std::f64::consts::PI;
use std::ops::Range;

/// Fraction bits of a coefficient. Sums of 8-bit samples weighted with them
/// stay within 32 bits.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// How the weight of an input sample falls with its distance.
#[derive(Clone, Copy, Debug)]
pub(super) enum Filter {
    /// Keys' cubic convolution with a = -0.5.
    Bicubic,
    /// The sinc function in a window of three lobes.
    Lanczos,
}

impl Filter {
    /// Half the width in samples before widening.
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at a distance of `x` samples.
    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bicubic => cubic(x),
            Self::Lanczos => lanczos(x),
        }
    }
}

/// The coefficients for one side of a picture: for every output position the
/// first input position and the weights of the inputs from there on.
pub(super) struct Coefficients {
    /// First input position and number of weights, for every output position.
    windows: Vec<(usize, usize)>,
    /// The weights of all windows, each padded to `stride`.
    weights: Vec<i32>,
    stride: usize,
}

impl Coefficients {
    /// Coefficients to bring `input` samples to `output` samples, both at
    /// least 1. When shrinking, the filter is widened by the factor.
    pub(super) fn new(filter: Filter, input: u32, output: u32) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let widening = scale.max(1.0);
        let support = filter.support() * widening;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small, positive"
        )]
        let stride = support.ceil() as usize * 2 + 1;

        let mut windows = Vec::with_capacity(output as usize);
        let mut weights = Vec::with_capacity(output as usize * stride);
        let mut shares = Vec::with_capacity(stride);
        for position in 0..output {
            let center = (f64::from(position) + 0.5) * scale;
            let start = to_position(center - support + 0.5, input);
            let end = to_position(center + support + 0.5, input);
            shares.clear();
            shares.extend((start..end).map(|position| {
                filter.weight((f64::from(position) - center + 0.5) * (1.0 / widening))
            }));
            // Added up in this order, as the last bit of the sum counts.
            let total: f64 = shares.iter().sum();
            windows.push((start as usize, shares.len()));
            weights.extend(shares.iter().map(|share| to_integer(share / total)));
            weights.resize(windows.len() * stride, 0);
        }
        Self {
            windows,
            weights,
            stride,
        }
    }

    /// Number of output positions.
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    /// First input position and weights, for every output position.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.windows
            .iter()
            .zip(self.weights.chunks_exact(self.stride))
            .map(|(&(start, length), weights)| (start, &weights[..length]))
    }

    /// The input positions that are read at all.
    pub(super) fn inputs(&self) -> Range<usize> {
        let start = self.windows.first().map_or(0, |&(start, _)| start);
        let end = self
            .windows
            .last()
            .map_or(0, |&(start, length)| start + length);
        start..end
    }
}

/// Keys' cubic convolution kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// sinc(x) sinc(x / 3) within three lobes.
fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

/// sin(pi x) / (pi x), continued at 0.
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let angle = x * PI;
    angle.sin() / angle
}

/// The integer part of `x`, within `0..=limit`.
fn to_position(x: f64, limit: u32) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at 0"
    )]
    let position = x as u32;
    position.min(limit)
}

/// A share as a coefficient, halves rounded away from zero.
fn to_integer(share: f64) -> i32 {
    let scaled = share * f64::from(1 << PRECISION_BITS);
    #[expect(clippy::cast_possible_truncation, reason = "a share is below 2")]
    let rounded = if share < 0.0 {
        scaled - 0.5
    } else {
        scaled + 0.5
    } as i32;
    rounded
}
