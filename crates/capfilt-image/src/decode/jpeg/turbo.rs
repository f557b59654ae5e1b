//! Decoding by the system's libjpeg-turbo, with the feature `turbo`.
//!
//! It is asked first, and has to be content with a picture: where it fails or only warns, the answer
//! is `None` and the decoders that are always there judge the picture, so what is refused stays the
//! same. Its transform and upsampling are left at the accurate ones, which are Pillow's.
//!
//! It needs no guard behind the data. It warns when a code goes on behind them, and of a guard, too.

use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

use super::{Channels, Colours, Raster, Scan, Segments};

/// The picture in full size. `None` for kinds that are rare, too.
pub(super) fn raster(
    segments: &Segments<'_>,
    scans: &[Scan<'_>],
    colours: Colours,
) -> Option<Raster> {
    let channels = match colours {
        Colours::Grey => Channels::Grey,
        _ => Channels::Rgb,
    };
    let samples = decode(segments, scans, colours, 1)?;
    Some(Raster { channels, samples })
}

/// The samples of the picture at 1/8, 1/4 or 1/2, whichever gives `width` x `height` pixels.
pub(super) fn scaled(
    segments: &Segments<'_>,
    scans: &[Scan<'_>],
    colours: Colours,
    width: u16,
    height: u16,
) -> Option<Vec<u8>> {
    let frame = segments.frame;
    let parts = [8, 4, 2].into_iter().find(|&parts| {
        frame.width.div_ceil(parts) == width && frame.height.div_ceil(parts) == height
    })?;
    decode(segments, scans, colours, parts)
}

/// The samples of the picture with one pixel for each square of `parts` x `parts`.
fn decode(
    segments: &Segments<'_>,
    scans: &[Scan<'_>],
    colours: Colours,
    parts: u16,
) -> Option<Vec<u8>> {
    // Of several scans it would take a missing one for a grey component.
    if !segments.is_one_scan() {
        return None;
    }
    let format = match colours {
        Colours::Grey => PixelFormat::GRAY,
        Colours::Ycc | Colours::Rgb => PixelFormat::RGB,
        Colours::Cmyk | Colours::Ycck => return None,
    };
    let tidy = segments.tidy(scans, colours, |_| false);
    let width = usize::from(segments.frame.width.div_ceil(parts));
    let height = usize::from(segments.frame.height.div_ceil(parts));
    let pitch = width * format.size();
    let mut samples = vec![0; pitch * height];
    let image = Image {
        pixels: samples.as_mut_slice(),
        width,
        pitch,
        height,
        format,
    };
    // Making one takes less than a microsecond, and nothing of another picture can be left in it.
    let mut decompressor = Decompressor::new().ok()?;
    decompressor
        .set_scaling_factor(ScalingFactor::new(1, parts.into()))
        .ok()?;
    decompressor.decompress(&tidy, image).ok()?;
    Some(samples)
}

#[cfg(test)]
mod tests;
