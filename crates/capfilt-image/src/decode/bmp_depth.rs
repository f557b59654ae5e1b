//! Colours of BMP pictures of 16 bits a pixel, which have 5 or 6 bits each.

use super::raster::{Channels, Raster};

/// Rounds samples that were spread to 8 bits and rounded to the nearest down, as Pillow does.
pub(super) fn round_down(bytes: &[u8], raster: &mut Raster) {
    let (Channels::Rgb, Some(bits)) = (raster.channels, bits_of_colours(bytes)) else {
        return;
    };
    let largest = bits.map(|bits| (1_u16 << bits) - 1);
    for pixel in raster.samples.as_chunks_mut::<3>().0 {
        for (sample, largest) in pixel.iter_mut().zip(largest) {
            *sample = rounded_down(*sample, largest);
        }
    }
}

/// Bits of red, green and blue in a BMP of 16 bits a pixel. `None` for others.
fn bits_of_colours(bytes: &[u8]) -> Option<[u8; 3]> {
    // Bits of a pixel, kind of compression, and masks behind the 40 bytes of the header.
    let (pixel, compression) = (bytes.get(28..30)?, bytes.get(30..34)?);
    if bytes.get(14)? < &40 || pixel != [16, 0] {
        return None;
    }
    match (compression[0], bytes.get(54..66)?) {
        (0, _) | (3, b"\0\x7c\0\0\xe0\x03\0\0\x1f\0\0\0") => Some([5, 5, 5]),
        (3, b"\0\xf8\0\0\xe0\x07\0\0\x1f\0\0\0") => Some([5, 6, 5]),
        _ => None,
    }
}

/// A sample that was spread to 8 bits and rounded to the nearest, rounded down as Pillow does.
fn rounded_down(sample: u8, largest: u16) -> u8 {
    let before = (u16::from(sample) * largest + 127) / 255;
    u8::try_from(before * 255 / largest).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_of_five_and_six_bits_is_rounded_down() {
        for largest in [31_u16, 63] {
            for sample in 0..=largest {
                let nearest = u8::try_from((sample * 255 + largest / 2) / largest).unwrap();
                let down = u8::try_from(sample * 255 / largest).unwrap();
                assert_eq!(
                    rounded_down(nearest, largest),
                    down,
                    "{sample} of {largest}"
                );
            }
        }
    }
}
