//! WebP: lossy, lossless, with alpha; of an animation, the first frame.

use std::io::Cursor;

use ::image_webp::{DecodingError, WebPDecoder};

use super::raster::{Channels, Raster};
use super::{Header, METADATA_BYTES, is_end_of_bytes, orientation};
use crate::error::DecodeError;
use crate::format::Format;

pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let exif = decoder
        .exif_metadata()
        .map_err(|error| explain(error, bytes))?;
    let xmp = decoder
        .xmp_metadata()
        .map_err(|error| explain(error, bytes))?;
    let turn = orientation::turn(exif.as_deref(), xmp.as_deref());
    Ok(Header {
        width,
        height,
        turn,
    })
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let mut decoder = open(bytes)?;
    let channels = if decoder.has_alpha() {
        Channels::Rgba
    } else {
        Channels::Rgb
    };
    let size = decoder
        .output_buffer_size()
        .ok_or_else(|| DecodeError::corrupt(Format::WebP, "size overflows"))?;
    // Pixel planes of the decoder count against its limit too.
    decoder.set_memory_limit(size.saturating_mul(4).saturating_add(METADATA_BYTES));
    let mut samples = vec![0; size];
    decoder
        .read_image(&mut samples)
        .map_err(|error| explain(error, bytes))?;
    Ok(Raster { channels, samples })
}

/// Reads the list of chunks.
fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, DecodeError> {
    let mut decoder =
        WebPDecoder::new(Cursor::new(bytes)).map_err(|error| explain(error, bytes))?;
    decoder.set_memory_limit(METADATA_BYTES);
    Ok(decoder)
}

fn explain(error: DecodingError, bytes: &[u8]) -> DecodeError {
    match error {
        DecodingError::IoError(error) if is_end_of_bytes(&error) => DecodeError::Truncated,
        // A cut bit stream fails in many ways; the container knows its size.
        _ if is_cut(bytes) => DecodeError::Truncated,
        error => DecodeError::corrupt(Format::WebP, error.to_string()),
    }
}

/// Whether the RIFF container declares more bytes than there are.
fn is_cut(bytes: &[u8]) -> bool {
    let declared = bytes
        .get(4..8)
        .and_then(|size| size.try_into().ok())
        .map(u32::from_le_bytes);
    declared.is_none_or(|size| u64::from(size) + 8 > bytes.len() as u64)
}
