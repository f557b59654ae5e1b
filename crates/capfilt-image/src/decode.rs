//! One still picture from encoded bytes.
//!
//! Two passes over the bytes: the header alone, which allocates nothing that
//! the header asks for, then the pixels, when the declared size is allowed.

#[cfg(feature = "avif")]
mod avif;
mod bmp;
mod bmp_depth;
mod gif;
mod jpeg;
mod orientation;
mod png;
mod raster;
mod structure;
mod tiff;
mod webp;

pub use structure::check;

use ::image::metadata::Orientation as Turn;

use crate::error::DecodeError;
use crate::format::{Format, sniff, sniff_unsupported};
use crate::options::{DecodeOptions, Orientation};
use crate::picture::Picture;

/// The most memory in bytes for what a file holds beside its pixels: colour
/// profiles, metadata, one decoded row. Compressed ones can lie.
const METADATA_BYTES: usize = 64 << 20;

/// The longest side in pixels. Longer ones exist only in attacks: resizing
/// takes memory in proportion to a side, many times that of its pixels.
const MAX_SIDE: u32 = 1 << 20;

/// What the header of a picture says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// The format, from the first bytes.
    pub format: Format,
    /// Width in pixels of the picture that [`decode`] would give.
    pub width: u32,
    /// Height in pixels of the picture that [`decode`] would give.
    pub height: u32,
}

/// Stored size in pixels and how to turn the picture for showing it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Header {
    width: u32,
    height: u32,
    turn: Turn,
}

/// Reads the header of a picture and refuses it when it declares more than
/// `options.max_pixels` pixels. Nothing is decoded, so that what is probed
/// successfully can still turn out cut off or damaged.
pub fn probe(bytes: &[u8], options: &DecodeOptions) -> Result<Probe, DecodeError> {
    let (format, header) = inspect(bytes, options)?;
    let turn = turn(format, header, options);
    let (width, height) = turned_sides(turn, header.width, header.height);
    Ok(Probe {
        format,
        width,
        height,
    })
}

/// Decodes a picture; of an animation, the first frame. Bytes after the end
/// of the picture are ignored.
///
/// 16-bit samples are reduced to their high byte.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Picture, DecodeError> {
    let (format, header) = inspect(bytes, options)?;
    let raster = match format {
        Format::Jpeg => jpeg::raster(bytes)?,
        Format::Png => png::raster(bytes)?,
        Format::WebP => webp::raster(bytes)?,
        Format::Gif => gif::raster(bytes)?,
        Format::Bmp => bmp::raster(bytes)?,
        Format::Tiff => tiff::raster(bytes)?,
        Format::Avif => avif::raster(bytes)?,
    };
    let picture = raster
        .into_rgb(options.alpha)
        .and_then(|pixels| Picture::try_new(header.width, header.height, pixels).ok())
        .ok_or_else(|| DecodeError::corrupt(format, "the pixels do not fill the declared size"))?;
    Ok(picture.turned(turn(format, header, options)))
}

/// As [`decode`], of most baseline JPEG pictures at 1/2, 1/4 or 1/8 of their
/// size: at the smallest that leaves about `width` x `height` pixels or more.
///
/// A pixel then is about the mean of those that it stands for, as the lowest
/// frequencies of a block tell it. Finding those alone takes less time.
pub fn decode_scaled(
    bytes: &[u8],
    options: &DecodeOptions,
    width: u32,
    height: u32,
) -> Result<Picture, DecodeError> {
    let (format, header) = inspect(bytes, options)?;
    let turn = turn(format, header, options);
    let (width, height) = turned_sides(turn, width, height);
    let scaled = match format {
        Format::Jpeg => jpeg::scaled(bytes, width, height),
        _ => None,
    };
    match scaled {
        Some(picture) => Ok(picture.turned(turn)),
        // Damage is told here, too.
        None => decode(bytes, options),
    }
}

/// The format and the header, of an allowed size.
fn inspect(bytes: &[u8], options: &DecodeOptions) -> Result<(Format, Header), DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let Some(format) = sniff(bytes) else {
        return Err(
            sniff_unsupported(bytes).map_or(DecodeError::NotAnImage, DecodeError::unsupported)
        );
    };
    let header = match format {
        Format::Jpeg => jpeg::header(bytes)?,
        Format::Png => png::header(bytes)?,
        Format::WebP => webp::header(bytes)?,
        Format::Gif => gif::header(bytes)?,
        Format::Bmp => bmp::header(bytes)?,
        Format::Tiff => tiff::header(bytes)?,
        Format::Avif => avif::header(bytes)?,
    };
    let Header { width, height, .. } = header;
    if width == 0 || height == 0 {
        return Err(DecodeError::corrupt(
            format,
            format!("size {width} x {height}"),
        ));
    }
    if u64::from(width) * u64::from(height) > options.max_pixels {
        return Err(DecodeError::TooManyPixels {
            width,
            height,
            limit: options.max_pixels,
        });
    }
    if width.max(height) > MAX_SIDE {
        return Err(DecodeError::unsupported(format!(
            "a picture of {width} x {height} pixels, with a side over {MAX_SIDE},"
        )));
    }
    Ok((format, header))
}

/// How the picture is turned under `options`.
fn turn(format: Format, header: Header, options: &DecodeOptions) -> Turn {
    match (options.orientation, format) {
        (Orientation::Apply, _) | (Orientation::Ignore, Format::Tiff) => header.turn,
        (Orientation::Ignore, _) => Turn::NoTransforms,
    }
}

/// Width and height after a turn, or before it.
fn turned_sides(turn: Turn, width: u32, height: u32) -> (u32, u32) {
    match turn {
        Turn::Rotate90 | Turn::Rotate270 | Turn::Rotate90FlipH | Turn::Rotate270FlipH => {
            (height, width)
        }
        _ => (width, height),
    }
}

/// Whether an error comes from the end of the bytes.
fn is_end_of_bytes(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::UnexpectedEof
}

/// Stands in for the decoder of AVIF where the program was built without it.
#[cfg(not(feature = "avif"))]
mod avif {
    use super::raster::Raster;
    use super::{DecodeError, Header};

    fn refused<T>(_bytes: &[u8]) -> Result<T, DecodeError> {
        Err(DecodeError::unsupported(
            "AVIF, which takes a program built with `--features avif`,",
        ))
    }

    pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
        refused(bytes)
    }

    pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
        refused(bytes)
    }

    pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
        refused(bytes)
    }
}

#[cfg(test)]
mod tests;
