//! PNG: palettes and transparency expanded, 16 bits reduced to 8.

use std::io::Cursor;

use ::png::{ColorType, Decoder, DecodingError, Info, Limits, Reader, Transformations};

use super::orientation::{self, Metadata, metadata};
use super::raster::{Channels, Raster};
use super::{Header, METADATA_BYTES, is_end_of_bytes};
use crate::error::DecodeError;
use crate::format::Format;

pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let reader = open(bytes)?;
    let info = reader.info();
    let Metadata { exif, xmp } = metadata(bytes);
    let turn = orientation::turn(exif.as_deref(), xmp.as_deref());
    Ok(Header {
        width: info.width,
        height: info.height,
        turn,
    })
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let mut reader = open(bytes)?;
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => Channels::Grey,
        ColorType::GrayscaleAlpha => Channels::GreyAlpha,
        ColorType::Rgb => Channels::Rgb,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Indexed => {
            return Err(DecodeError::corrupt(Format::Png, "palette missing"));
        }
    };
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| DecodeError::corrupt(Format::Png, "size overflows"))?;
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(explain)?;
    // An animation's first frame may be smaller than the canvas only in
    // broken files; the caller notices the missing pixels.
    samples.truncate(frame.buffer_size());
    Ok(Raster { channels, samples })
}

/// Reads everything up to the pixels.
fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, DecodeError> {
    let mut decoder = Decoder::new_with_limits(
        Cursor::new(bytes),
        Limits {
            bytes: METADATA_BYTES,
        },
    );
    decoder.set_transformations(Transformations::normalize_to_color8());
    // Also that of the compressed pixels, which it would not look at.
    decoder.ignore_checksums(false);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info().map_err(explain)?;
    check_colours(reader.info())?;
    Ok(reader)
}

/// Refuses colours that the decoder would panic at, or not find in the picture.
fn check_colours(info: &Info<'_>) -> Result<(), DecodeError> {
    let depth = info.bit_depth as u8;
    match (
        info.color_type,
        info.palette.as_deref(),
        info.trns.as_deref(),
    ) {
        (_, Some(palette), _) if palette.len() % 3 != 0 => Err(DecodeError::corrupt(
            Format::Png,
            format!(
                "a palette of {} bytes; expected three a colour",
                palette.len()
            ),
        )),
        (ColorType::Grayscale, _, Some(&[grey])) if depth < 8 && grey >> depth != 0 => {
            Err(DecodeError::corrupt(
                Format::Png,
                format!("a transparent grey of {grey}; expected one of {depth} bits"),
            ))
        }
        _ => Ok(()),
    }
}

fn explain(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::IoError(error) if is_end_of_bytes(&error) => DecodeError::Truncated,
        error => DecodeError::corrupt(Format::Png, error.to_string()),
    }
}
