//! Pixels as a decoder gives them.

use crate::options::Alpha;

/// 8-bit samples, interleaved, rows from top to bottom.
pub(super) struct Raster {
    pub(super) channels: Channels,
    pub(super) samples: Vec<u8>,
}

/// What one pixel of a [`Raster`] consists of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

impl Raster {
    /// RGB bytes, or `None` when there is no room for them.
    pub(super) fn into_rgb(self, alpha: Alpha) -> Option<Vec<u8>> {
        let pixels = match self.channels {
            Channels::Rgb => return Some(self.samples),
            Channels::Grey => self.samples.len(),
            Channels::GreyAlpha => self.samples.len() / 2,
            Channels::Rgba => self.samples.len() / 4,
        };
        let mut rgb = Vec::new();
        rgb.try_reserve_exact(pixels.checked_mul(3)?).ok()?;
        match self.channels {
            Channels::Rgb => {}
            Channels::Grey => {
                rgb.extend(self.samples.iter().flat_map(|&grey| [grey; 3]));
            }
            Channels::GreyAlpha => {
                let (pixels, _) = self.samples.as_chunks::<2>();
                rgb.extend(
                    pixels
                        .iter()
                        .flat_map(|&[grey, a]| [laid(grey, a, alpha); 3]),
                );
            }
            Channels::Rgba => {
                let (pixels, _) = self.samples.as_chunks::<4>();
                rgb.extend(pixels.iter().flat_map(|&[red, green, blue, a]| {
                    [
                        laid(red, a, alpha),
                        laid(green, a, alpha),
                        laid(blue, a, alpha),
                    ]
                }));
            }
        }
        Some(rgb)
    }
}

/// A sample of opacity `a` on white, rounded as Pillow's `paste` with a mask
/// does; or the sample itself.
fn laid(sample: u8, a: u8, alpha: Alpha) -> u8 {
    match alpha {
        Alpha::Drop => sample,
        Alpha::White => {
            let sum = u32::from(sample) * u32::from(a) + 255 * (255 - u32::from(a)) + 128;
            // Division by 255 in integers, exact for sums of 16 bits.
            u8::try_from(((sum >> 8) + sum) >> 8).unwrap_or(u8::MAX)
        }
    }
}

/// The high bytes of 16-bit samples in the byte order of this machine.
pub(super) fn high_bytes(samples: &[u8]) -> Vec<u8> {
    let (samples, _) = samples.as_chunks::<2>();
    samples
        .iter()
        .map(|&sample| u16::from_ne_bytes(sample).to_be_bytes()[0])
        .collect()
}
