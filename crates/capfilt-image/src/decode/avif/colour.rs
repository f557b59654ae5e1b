//! Luma and chroma to colours (ITU-T H.273), with the choices of libavif: chroma of fewer pixels is
//! interpolated between its four nearest, and one that is said to lie elsewhere is not.

use super::{Frame, unsupported};
use crate::decode::raster::{Channels, Raster};
use crate::error::DecodeError;

/// How colours were coded, in the numbers of H.273.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Coding {
    pub(super) primaries: u64,
    pub(super) matrix: u64,
    /// Whether values take the whole range or leave room at both ends.
    pub(super) is_full: bool,
}

/// What makes colours of luma and chroma.
enum Matrix {
    /// Green, blue and red as they are.
    Identity,
    /// Green and orange differences.
    YCgCo,
    /// The weights of red and of blue in luma.
    Weights { red: f64, blue: f64 },
}

/// Places behind the point of the numbers in the tables.
const PLACES: i32 = 16;

/// For each value of a plane, what it adds to a colour.
type Table = Box<[i32; 256]>;

/// The pixels of a frame: grey or RGB.
pub(super) fn raster(frame: &Frame, coding: Coding) -> Result<Raster, DecodeError> {
    let matrix = matrix(coding)?;
    let [luma, blue, red] = &frame.planes;
    let Some((across, down)) = frame.chroma else {
        let samples = luma.iter().map(|&value| {
            if coding.is_full {
                value
            } else {
                full_range(value)
            }
        });
        return Ok(Raster {
            channels: Channels::Grey,
            samples: samples.collect(),
        });
    };
    let convert: Box<dyn Fn(u8, u8, u8) -> [u8; 3]> = match matrix {
        Matrix::Identity if (across, down) != (1, 1) => {
            return Err(unsupported("RGB whose bands differ in size"));
        }
        Matrix::Identity if coding.is_full => Box::new(|green, blue, red| [red, green, blue]),
        Matrix::Identity => Box::new(|green, blue, red| [red, green, blue].map(full_range)),
        Matrix::YCgCo if coding.is_full => Box::new(rgb_of_cgco),
        Matrix::YCgCo => return Err(unsupported("YCgCo of a limited range")),
        Matrix::Weights { red, blue } => Box::new(weighted(red, blue, coding.is_full)),
    };
    let mut samples = Vec::with_capacity(3 * luma.len());
    let chroma_width = frame.width.div_ceil(across);
    let (mut blues, mut reds) = (vec![0; frame.width], vec![0; frame.width]);
    for (row, lumas) in luma.chunks_exact(frame.width).enumerate() {
        for (plane, values) in [(blue, &mut blues), (red, &mut reds)] {
            let rows = ChromaRows::at(plane, chroma_width, row, down);
            rows.spread(values, across);
        }
        let pixels = lumas.iter().zip(&blues).zip(&reds);
        samples.extend(pixels.flat_map(|((&luma, &blue), &red)| convert(luma, blue, red)));
    }
    Ok(Raster {
        channels: Channels::Rgb,
        samples,
    })
}

/// The two rows of a plane of chroma that are nearest to a row of luma.
struct ChromaRows<'a> {
    near: &'a [u8],
    far: &'a [u8],
}

impl<'a> ChromaRows<'a> {
    fn at(plane: &'a [u8], width: usize, row: usize, down: usize) -> Self {
        let last = plane.len() / width - 1;
        let near = row / down;
        let far = match (down, row % 2) {
            (1, _) => near,
            (_, 0) => near.saturating_sub(1),
            (_, _) => (near + 1).min(last),
        };
        let row = |index: usize| &plane[index * width..(index + 1) * width];
        Self {
            near: row(near),
            far: row(far),
        }
    }

    /// Values for every pixel of the row of luma: three parts of the nearest, one of the next, both
    /// ways. The last column takes its nearest alone, as libyuv has it where the width is odd.
    fn spread(&self, values: &mut [u8], across: usize) {
        if across == 1 {
            values.copy_from_slice(self.near);
            return;
        }
        let sum = |at: usize| 3 * u16::from(self.near[at]) + u16::from(self.far[at]);
        let last = self.near.len() - 1;
        let width = values.len();
        for (x, value) in values.iter_mut().enumerate() {
            let near = x / 2;
            let far = match x % 2 {
                _ if x + 1 == width => near,
                0 => near.saturating_sub(1),
                _ => (near + 1).min(last),
            };
            *value = u8::try_from((3 * sum(near) + sum(far) + 8) >> 4).unwrap_or(u8::MAX);
        }
    }
}

fn matrix(coding: Coding) -> Result<Matrix, DecodeError> {
    let weights = |red, blue| Ok(Matrix::Weights { red, blue });
    match (coding.matrix, coding.primaries) {
        (0, _) => Ok(Matrix::Identity),
        (1, _) | (12, 1 | 2) => weights(0.2126, 0.0722),
        // What is not said is BT.601, as in MIAF.
        (2 | 5 | 6, _) | (12, 5 | 6) => weights(0.299, 0.114),
        (4, _) => weights(0.30, 0.11),
        (7, _) => weights(0.212, 0.087),
        (8, _) => Ok(Matrix::YCgCo),
        (9, _) | (12, 9) => weights(0.2627, 0.0593),
        (matrix, _) => Err(unsupported(format!("the matrix coefficients {matrix}"))),
    }
}

/// The conversion for weights of red and blue.
fn weighted(red: f64, blue: f64, is_full: bool) -> impl Fn(u8, u8, u8) -> [u8; 3] {
    let green = 1.0 - red - blue;
    let (luma_scale, chroma_scale, black) = if is_full {
        (1.0, 1.0, 0.0)
    } else {
        (255.0 / 219.0, 255.0 / 224.0, 16.0)
    };
    // The half that rounds is in luma, which every colour has.
    let luma = table(black, luma_scale, 0.5);
    let of_chroma = |weight: f64| table(128.0, 2.0 * weight * chroma_scale, 0.0);
    let red_in_red = of_chroma(1.0 - red);
    let red_in_green = of_chroma(-(1.0 - red) * red / green);
    let blue_in_green = of_chroma(-(1.0 - blue) * blue / green);
    let blue_in_blue = of_chroma(1.0 - blue);
    move |y, u, v| {
        let (y, u, v) = (luma[usize::from(y)], usize::from(u), usize::from(v));
        [
            y + red_in_red[v],
            y + blue_in_green[u] + red_in_green[v],
            y + blue_in_blue[u],
        ]
        .map(|value| clamped(value >> PLACES))
    }
}

fn table(zero: f64, scale: f64, offset: f64) -> Table {
    let mut table = Box::new([0; 256]);
    for (value, entry) in (0_u8..=255).zip(table.iter_mut()) {
        let number = (f64::from(value) - zero) * scale + offset;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below 2^10, and so below 2^26 with its places"
        )]
        let fixed = (number * f64::from(1 << PLACES)).round() as i32;
        *entry = fixed;
    }
    table
}

fn rgb_of_cgco(luma: u8, green: u8, orange: u8) -> [u8; 3] {
    let (y, green, orange) = (
        i32::from(luma),
        i32::from(green) - 128,
        i32::from(orange) - 128,
    );
    [y - green + orange, y + green, y - green - orange].map(clamped)
}

/// A value from 16 to 235 as one from 0 to 255.
pub(super) fn full_range(value: u8) -> u8 {
    clamped(((i32::from(value) - 16) * 255 + 109) / 219)
}

fn clamped(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).unwrap_or(0)
}
