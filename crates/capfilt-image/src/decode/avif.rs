//! AVIF: the still picture of the container, decoded by rav1d, in the colours of libavif.

mod av1;
mod colour;
mod container;

use self::av1::Frame;
use self::colour::Coding;
use self::container::{Still, still};
use super::Header;
use super::raster::{Channels, Raster};
use crate::error::DecodeError;
use crate::format::Format;

pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let Still {
        width,
        height,
        turn,
        ..
    } = still(bytes)?;
    Ok(Header {
        width,
        height,
        turn,
    })
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let still = still(bytes)?;
    let frame = frame(&still.data, &still)?;
    let coding = match still.coding {
        Some(coding) => coding,
        None => frame.coding,
    };
    let colours = colour::raster(&frame, coding)?;
    match &still.alpha {
        None => Ok(colours),
        Some(data) => {
            let alpha = frame_of_alpha(data, &still)?;
            Ok(with_alpha(&colours, &alpha, still.is_multiplied))
        }
    }
}

/// Checks that every byte of the picture is there.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    still(bytes).map(drop)
}

/// Decodes AV1 data, which must be of the size that the container declares.
fn frame(data: &[u8], still: &Still<'_>) -> Result<Frame, DecodeError> {
    let frame = av1::decode(data, still.width, still.height)?;
    if (frame.width, frame.height) != (still.width as usize, still.height as usize) {
        return Err(unsupported(format!(
            "{} x {} coded pixels that are shown as {} x {}",
            frame.width, frame.height, still.width, still.height
        )));
    }
    Ok(frame)
}

/// The opacity of every pixel, in the full range.
fn frame_of_alpha(data: &[u8], still: &Still<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut frame = frame(data, still)?;
    let mut alpha = std::mem::take(&mut frame.planes[0]);
    if !frame.coding.is_full {
        for value in &mut alpha {
            *value = colour::full_range(*value);
        }
    }
    Ok(alpha)
}

/// Grey or RGB and opacity as grey or RGB with it. Colours into which it was multiplied are divided
/// by it.
fn with_alpha(colours: &Raster, alpha: &[u8], is_multiplied: bool) -> Raster {
    let divided = |value: u8, alpha: u8| match (is_multiplied, alpha) {
        (false, _) | (true, 255) => value,
        (true, 0) => 0,
        (true, _) => {
            let (value, alpha) = (u32::from(value), u32::from(alpha));
            u8::try_from((255 * value + alpha / 2) / alpha).unwrap_or(u8::MAX)
        }
    };
    let (channels, bands) = match colours.channels {
        Channels::Grey | Channels::GreyAlpha => (Channels::GreyAlpha, 1),
        Channels::Rgb | Channels::Rgba => (Channels::Rgba, 3),
    };
    let mut samples = Vec::with_capacity(colours.samples.len() + alpha.len());
    for (pixel, &alpha) in colours.samples.chunks_exact(bands).zip(alpha) {
        samples.extend(pixel.iter().map(|&value| divided(value, alpha)));
        samples.push(alpha);
    }
    Raster { channels, samples }
}

fn unsupported(what: impl std::fmt::Display) -> DecodeError {
    DecodeError::unsupported(format!("AVIF with {what}"))
}

fn corrupt(detail: impl Into<String>) -> DecodeError {
    DecodeError::corrupt(Format::Avif, detail)
}
