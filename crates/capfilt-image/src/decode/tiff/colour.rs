//! What the samples of a TIFF mean.

use ::tiff::decoder::ifd::Value;
use ::tiff::tags::{CompressionMethod, Tag};

use super::{Reader, Storage, corrupt, explain, number, numbers, unsupported};
use crate::decode::raster::{Channels, Raster};
use crate::error::DecodeError;

/// What the samples of a pixel are. `step` is how many there are, which may be more than are used.
#[derive(Debug)]
pub(super) struct Colours {
    kind: Kind,
    step: usize,
}

#[derive(Debug)]
enum Kind {
    /// Grey, or its negative.
    Grey { is_negative: bool },
    /// Grey and opacity.
    GreyAlpha,
    /// Red, green and blue.
    Rgb,
    /// Red, green, blue and opacity, which may have been multiplied into the colours.
    Rgba { is_multiplied: bool },
    /// An index into RGB colours.
    Palette { colours: Vec<[u8; 3]> },
    /// The same, and opacity.
    PaletteAlpha { colours: Vec<[u8; 3]> },
    /// Cyan, magenta, yellow and black.
    Cmyk,
    /// Luma and chroma of full range and BT.601.
    YCbCr,
}

impl Colours {
    /// Tells by the tags what Pillow tells by them, and refuses the rest.
    pub(super) fn read(reader: &mut Reader<'_>, storage: Storage) -> Result<Self, DecodeError> {
        let Storage { samples, bits, .. } = storage;
        let photometric = number(reader, Tag::PhotometricInterpretation)?.unwrap_or(u16::MAX);
        let extra = numbers(reader, Tag::ExtraSamples)?;
        let others = || {
            unsupported(format!(
                "photometric interpretation {photometric}, {samples} samples of {bits} bits, extra samples {extra:?}"
            ))
        };
        let is_small = matches!(bits, 1 | 2 | 4);
        // 2 is opacity, and so is what Corel Draw 10 wrote.
        let kind = match (photometric, samples, bits, extra.as_slice()) {
            (0 | 1, 1, 8 | 16, []) => Kind::Grey {
                is_negative: photometric == 0,
            },
            (0 | 1, 1, _, []) if is_small => Kind::Grey {
                is_negative: photometric == 0,
            },
            (1, 2, 8, [2]) => Kind::GreyAlpha,
            (2, 3, 8 | 16, []) | (2, 4..=6, 8 | 16, [0, ..]) => Kind::Rgb,
            (2, 4, 8 | 16, [] | [999]) | (2, 4..=6, 8 | 16, [2, ..]) => Kind::Rgba {
                is_multiplied: false,
            },
            (2, 4..=6, 8 | 16, [1, ..]) => Kind::Rgba {
                is_multiplied: true,
            },
            (3, 1, 8, []) | (3, 2, 8, [0]) => Kind::Palette {
                colours: palette(reader, bits)?,
            },
            (3, 1, _, []) if is_small => Kind::Palette {
                colours: palette(reader, bits)?,
            },
            (3, 2, 8, [2]) => Kind::PaletteAlpha {
                colours: palette(reader, bits)?,
            },
            (5, 4, 8 | 16, []) | (5, 5 | 6, 8, [0, ..]) => Kind::Cmyk,
            (6, 1, 8, []) => Kind::Grey { is_negative: false },
            (6, 3, 8, []) => {
                refuse_other_luma(reader, storage)?;
                Kind::YCbCr
            }
            _ => return Err(others()),
        };
        Ok(Self {
            kind,
            step: samples.into(),
        })
    }

    /// Whether the first samples are no amounts but numbers of colours.
    pub(super) fn are_indices(&self) -> bool {
        matches!(self.kind, Kind::Palette { .. } | Kind::PaletteAlpha { .. })
    }

    /// Whether samples are luma and chroma.
    pub(super) fn are_luma(&self) -> bool {
        matches!(self.kind, Kind::YCbCr)
    }

    /// Whether the samples are those that JPEG has: grey, or three of a colour.
    pub(super) fn are_of_jpeg(&self) -> bool {
        matches!(self.kind, Kind::Grey { .. } | Kind::Rgb | Kind::YCbCr) && self.step != 2
    }

    /// Pixels from interleaved samples.
    pub(super) fn into_raster(self, samples: Vec<u8>) -> Raster {
        let Self { kind, step } = self;
        let (channels, samples) = match kind {
            Kind::Grey { is_negative: false } => (Channels::Grey, samples),
            Kind::Grey { is_negative: true } => {
                (Channels::Grey, samples.iter().map(|grey| !grey).collect())
            }
            Kind::GreyAlpha => (Channels::GreyAlpha, samples),
            Kind::Rgb if step == 3 => (Channels::Rgb, samples),
            Kind::Rgba {
                is_multiplied: false,
            } if step == 4 => (Channels::Rgba, samples),
            Kind::Rgb => (
                Channels::Rgb,
                mapped(&samples, step, |p| [p[0], p[1], p[2]]),
            ),
            Kind::Rgba { is_multiplied } => {
                let divided = |value: u8, alpha: u8| match alpha {
                    255 => value,
                    0 => 0,
                    _ => u8::try_from(255 * u32::from(value) / u32::from(alpha)).unwrap_or(255),
                };
                let pixel = |p: &[u8]| {
                    let alpha = if is_multiplied { p[3] } else { 255 };
                    let [red, green, blue] = [p[0], p[1], p[2]].map(|value| divided(value, alpha));
                    [red, green, blue, p[3]]
                };
                (Channels::Rgba, mapped(&samples, step, pixel))
            }
            Kind::Palette { colours } => {
                let pixel = |p: &[u8]| colours[usize::from(p[0])];
                (Channels::Rgb, mapped(&samples, step, pixel))
            }
            Kind::PaletteAlpha { colours } => {
                let pixel = |p: &[u8]| {
                    let [red, green, blue] = colours[usize::from(p[0])];
                    [red, green, blue, p[1]]
                };
                (Channels::Rgba, mapped(&samples, step, pixel))
            }
            Kind::Cmyk => (Channels::Rgb, mapped(&samples, step, rgb_of_cmyk)),
            Kind::YCbCr => (Channels::Rgb, mapped(&samples, step, rgb_of_luma)),
        };
        Raster { channels, samples }
    }
}

/// What `pixel` makes of every `step` samples.
fn mapped<const N: usize>(
    samples: &[u8],
    step: usize,
    pixel: impl Fn(&[u8]) -> [u8; N],
) -> Vec<u8> {
    samples.chunks_exact(step).flat_map(pixel).collect()
}

/// The colours of a palette: all reds in 16 bits, all greens, all blues.
fn palette(reader: &mut Reader<'_>, bits: u16) -> Result<Vec<[u8; 3]>, DecodeError> {
    let values = numbers(reader, Tag::ColorMap)?;
    let count = 1 << bits;
    if values.len() != 3 * count {
        return Err(corrupt(format!(
            "a palette of {} numbers, expected {}",
            values.len(),
            3 * count
        )));
    }
    let high = |at: usize| values[at].to_be_bytes()[0];
    Ok((0..count)
        .map(|index| [high(index), high(count + index), high(2 * count + index)])
        .collect())
}

/// Refuses luma and chroma of other coefficients or ranges, and chroma of fewer pixels where it is
/// not JPEG that has it.
fn refuse_other_luma(reader: &mut Reader<'_>, storage: Storage) -> Result<(), DecodeError> {
    let mut close = |tag, expected: &[f64]| -> Result<bool, DecodeError> {
        let Some(value) = reader.find_tag(Tag::Unknown(tag)).map_err(explain)? else {
            return Ok(true);
        };
        let Value::List(values) = value else {
            return Ok(false);
        };
        let is_close = |(value, expected): (&Value, &f64)| match value {
            Value::Rational(a, b) => (f64::from(*a) / f64::from(*b) - expected).abs() < 1e-3,
            _ => false,
        };
        Ok(values.len() == expected.len() && values.iter().zip(expected).all(is_close))
    };
    if !close(529, &[0.299, 0.587, 0.114])? {
        return Err(unsupported("YCbCr of other coefficients than BT.601"));
    }
    if storage.compression == CompressionMethod::ModernJPEG {
        return Ok(());
    }
    if !close(532, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0])? {
        return Err(unsupported("YCbCr of a limited range"));
    }
    match numbers(reader, Tag::ChromaSubsampling)?.as_slice() {
        [1, 1] => Ok(()),
        _ => Err(unsupported("subsampled YCbCr that is not JPEG")),
    }
}

/// Pillow's conversion.
fn rgb_of_cmyk(cmyk: &[u8]) -> [u8; 3] {
    let white = 255 - u32::from(cmyk[3]);
    [cmyk[0], cmyk[1], cmyk[2]].map(|ink| {
        let product = u32::from(ink) * white + 128;
        let ink = ((product >> 8) + product) >> 8;
        u8::try_from(white.saturating_sub(ink)).unwrap_or(0)
    })
}

/// libtiff's conversion, in numbers of 16 binary places.
fn rgb_of_luma(luma: &[u8]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let y = i32::from(luma[0]);
    let cb = i32::from(luma[1]) - 128;
    let cr = i32::from(luma[2]) - 128;
    [
        y + ((91_881 * cr + HALF) >> 16),
        y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16),
        y + ((116_130 * cb + HALF) >> 16),
    ]
    .map(|value| u8::try_from(value.clamp(0, 255)).unwrap_or(0))
}
