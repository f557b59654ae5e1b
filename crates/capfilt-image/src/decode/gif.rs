//! GIF: the first frame on its canvas.

use ::gif::{DecodeOptions, Decoder, DecodingError, MemoryLimit};

use super::raster::{Channels, Raster};
use super::{Header, Turn, is_end_of_bytes};
use crate::error::DecodeError;
use crate::format::Format;

pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let (_, frame) = open(bytes)?;
    let (width, height) = (to_u32(frame.canvas_width), to_u32(frame.canvas_height));
    Ok(Header {
        width,
        height,
        turn: Turn::NoTransforms,
    })
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let (mut decoder, frame) = open(bytes)?;
    let mut indices = vec![0; frame.width * frame.height];
    decoder.read_into_buffer(&mut indices).map_err(explain)?;
    let palette = decoder.palette().map_err(explain)?;
    let colours: Vec<[u8; 4]> = (0..=u8::MAX)
        .zip(
            palette
                .as_chunks::<3>()
                .0
                .iter()
                .chain(std::iter::repeat(&[0; 3])),
        )
        .map(|(index, &[red, green, blue])| {
            [
                red,
                green,
                blue,
                if Some(index) == frame.transparent {
                    0
                } else {
                    255
                },
            ]
        })
        .collect();

    // Where the frame leaves the canvas free, Pillow has the transparent
    // colour, or index 0 without one.
    let free = colours[usize::from(frame.transparent.unwrap_or(0))];
    let mut samples: Vec<u8> = free.repeat(frame.canvas_width * frame.canvas_height);
    let row_bytes = 4 * frame.canvas_width;
    for (row, indices) in samples
        .chunks_exact_mut(row_bytes)
        .skip(frame.top)
        .zip(indices.chunks_exact(frame.width))
    {
        let (pixels, _) = row[4 * frame.left..].as_chunks_mut::<4>();
        for (pixel, &index) in pixels.iter_mut().zip(indices) {
            *pixel = colours[usize::from(index)];
        }
    }
    Ok(Raster {
        channels: Channels::Rgba,
        samples,
    })
}

/// Where the first frame lies on its canvas, in pixels.
struct FirstFrame {
    canvas_width: usize,
    canvas_height: usize,
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    transparent: Option<u8>,
}

/// Reads everything up to the pixels of the first frame.
fn open(bytes: &[u8]) -> Result<(Decoder<&[u8]>, FirstFrame), DecodeError> {
    let mut options = DecodeOptions::new();
    // The size of the frame is checked here, before its pixels are read, and
    // all else is bounded by the bytes there are.
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(bytes).map_err(explain)?;
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    let frame = decoder
        .next_frame_info()
        .map_err(explain)?
        .ok_or_else(|| DecodeError::corrupt(Format::Gif, "no frame"))?;
    let frame = FirstFrame {
        // A frame that reaches out of the canvas makes it larger, as in Pillow.
        canvas_width: width.max(usize::from(frame.left) + usize::from(frame.width)),
        canvas_height: height.max(usize::from(frame.top) + usize::from(frame.height)),
        left: frame.left.into(),
        top: frame.top.into(),
        width: frame.width.into(),
        height: frame.height.into(),
        transparent: frame.transparent,
    };
    if frame.width == 0 || frame.height == 0 {
        return Err(DecodeError::corrupt(
            Format::Gif,
            "the first frame has no pixels",
        ));
    }
    Ok((decoder, frame))
}

fn to_u32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn explain(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::UnexpectedEof => DecodeError::Truncated,
        DecodingError::Io(error) if is_end_of_bytes(&error) => DecodeError::Truncated,
        error => DecodeError::corrupt(Format::Gif, error.to_string()),
    }
}
