//! BMP, through the `image` crate.

use std::io::Cursor;

use ::image::codecs::bmp::BmpDecoder;
use ::image::{ColorType, ImageDecoder, ImageError, Limits};

use super::raster::{Channels, Raster};
use super::{Header, METADATA_BYTES, Turn, bmp_depth, is_end_of_bytes};
use crate::error::DecodeError;
use crate::format::Format;

pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let (width, height) = open(bytes)?.dimensions();
    Ok(Header {
        width,
        height,
        turn: Turn::NoTransforms,
    })
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let mut decoder = open(bytes)?;
    let size = decoder.total_bytes();
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(size.saturating_mul(2).saturating_add(METADATA_BYTES as u64));
    decoder.set_limits(limits).map_err(explain)?;
    let channels = match decoder.color_type() {
        ColorType::L8 => Channels::Grey,
        ColorType::Rgb8 => Channels::Rgb,
        ColorType::Rgba8 => Channels::Rgba,
        other => return Err(DecodeError::unsupported(format!("BMP of {other:?}"))),
    };
    let size =
        usize::try_from(size).map_err(|_| DecodeError::corrupt(Format::Bmp, "size overflows"))?;
    let mut samples = vec![0; size];
    decoder.read_image(&mut samples).map_err(explain)?;
    let mut raster = Raster { channels, samples };
    bmp_depth::round_down(bytes, &mut raster);
    Ok(raster)
}

fn open(bytes: &[u8]) -> Result<BmpDecoder<Cursor<&[u8]>>, DecodeError> {
    BmpDecoder::new(Cursor::new(bytes)).map_err(explain)
}

fn explain(error: ImageError) -> DecodeError {
    match error {
        ImageError::IoError(error) if is_end_of_bytes(&error) => DecodeError::Truncated,
        ImageError::Unsupported(error) => DecodeError::unsupported(error.to_string()),
        error => DecodeError::corrupt(Format::Bmp, error.to_string()),
    }
}
