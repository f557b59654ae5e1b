//! BMP and TIFF, through the `image` crate.

use std::io::Cursor;

use ::image::codecs::bmp::BmpDecoder;
use ::image::codecs::tiff::TiffDecoder;
use ::image::{ColorType, ImageDecoder, ImageError, Limits};

use super::raster::{Channels, Raster, high_bytes};
use super::{Header, METADATA_BYTES, Turn, bmp_depth, is_end_of_bytes};
use crate::error::DecodeError;
use crate::format::Format;

pub(super) fn bmp_header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let decoder =
        BmpDecoder::new(Cursor::new(bytes)).map_err(|error| explain(error, Format::Bmp))?;
    Ok(header(decoder, Format::Bmp))
}

pub(super) fn bmp_raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let decoder =
        BmpDecoder::new(Cursor::new(bytes)).map_err(|error| explain(error, Format::Bmp))?;
    let mut raster = raster(decoder, Format::Bmp)?;
    bmp_depth::round_down(bytes, &mut raster);
    Ok(raster)
}

pub(super) fn tiff_header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let decoder =
        TiffDecoder::new(Cursor::new(bytes)).map_err(|error| explain(error, Format::Tiff))?;
    Ok(header(decoder, Format::Tiff))
}

pub(super) fn tiff_raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let decoder =
        TiffDecoder::new(Cursor::new(bytes)).map_err(|error| explain(error, Format::Tiff))?;
    raster(decoder, Format::Tiff)
}

fn header(mut decoder: impl ImageDecoder, format: Format) -> Header {
    let (width, height) = decoder.dimensions();
    // An unreadable orientation is no reason to lose the picture.
    let turn = match format {
        Format::Tiff => decoder.orientation().unwrap_or(Turn::NoTransforms),
        _ => Turn::NoTransforms,
    };
    Header {
        width,
        height,
        turn,
    }
}

fn raster(mut decoder: impl ImageDecoder, format: Format) -> Result<Raster, DecodeError> {
    let size = decoder.total_bytes();
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(size.saturating_mul(2).saturating_add(METADATA_BYTES as u64));
    decoder
        .set_limits(limits)
        .map_err(|error| explain(error, format))?;
    let colour = decoder.color_type();
    let (channels, is_wide) = match colour {
        ColorType::L8 => (Channels::Grey, false),
        ColorType::La8 => (Channels::GreyAlpha, false),
        ColorType::Rgb8 => (Channels::Rgb, false),
        ColorType::Rgba8 => (Channels::Rgba, false),
        ColorType::L16 => (Channels::Grey, true),
        ColorType::La16 => (Channels::GreyAlpha, true),
        ColorType::Rgb16 => (Channels::Rgb, true),
        ColorType::Rgba16 => (Channels::Rgba, true),
        other => {
            return Err(DecodeError::unsupported(format!("{format} of {other:?}")));
        }
    };
    let size = usize::try_from(size).map_err(|_| DecodeError::corrupt(format, "size overflows"))?;
    let mut samples = vec![0; size];
    decoder
        .read_image(&mut samples)
        .map_err(|error| explain(error, format))?;
    let samples = if is_wide {
        high_bytes(&samples)
    } else {
        samples
    };
    Ok(Raster { channels, samples })
}

fn explain(error: ImageError, format: Format) -> DecodeError {
    match error {
        ImageError::IoError(error) if is_end_of_bytes(&error) => DecodeError::Truncated,
        ImageError::Unsupported(error) => DecodeError::unsupported(error.to_string()),
        error => DecodeError::corrupt(format, error.to_string()),
    }
}
