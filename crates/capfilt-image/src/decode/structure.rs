//! Whether a picture is there to its end, told from its structure alone.
//!
//! Every format says where its parts end: JPEG by markers, PNG by the lengths of its chunks, GIF by
//! those of its blocks, WebP by the length of the whole, AVIF by the places of its data. Following
//! them finds what was cut off or appended to, at the speed at which memory is read; damage inside of
//! a part is not found.

use super::{Probe, avif, decode, jpeg, probe};
use crate::error::DecodeError;
use crate::format::Format;
use crate::options::DecodeOptions;

/// Checks that a picture is of an allowed size and there from its header to its end, without
/// decoding it. Bytes after the end are ignored, as [`decode`] ignores them. BMP and TIFF pictures
/// have no end to look for and are decoded.
pub fn check(bytes: &[u8], options: &DecodeOptions) -> Result<Probe, DecodeError> {
    let probe = probe(bytes, options)?;
    match probe.format {
        Format::Jpeg => jpeg::check(bytes)?,
        Format::Png => png(bytes).ok_or(DecodeError::Truncated)?,
        Format::Gif => gif(bytes).ok_or(DecodeError::Truncated)?,
        Format::WebP => web_p(bytes).ok_or(DecodeError::Truncated)?,
        Format::Avif => avif::check(bytes)?,
        Format::Bmp | Format::Tiff => drop(decode(bytes, options)?),
    }
    Ok(probe)
}

/// Chunks of length, name, content and checksum, up to the one that ends the picture.
fn png(bytes: &[u8]) -> Option<()> {
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        let name = bytes.get(at + 4..at + 8)?;
        at = at
            .checked_add(usize::try_from(length).ok()?)?
            .checked_add(12)?;
        bytes.get(at - 4..at)?;
        if name == b"IEND" {
            return Some(());
        }
    }
}

/// Blocks up to the end of the first frame, which is the one that is decoded.
fn gif(bytes: &[u8]) -> Option<()> {
    let palette = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut at = 13 + palette(*bytes.get(10)?);
    loop {
        let kind = *bytes.get(at)?;
        at += match kind {
            // An extension, with its label.
            b'!' => 2,
            // A frame, with its place, its palette and the width of its codes.
            b',' => 11 + palette(*bytes.get(at + 9)?),
            _ => return None,
        };
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
        if kind == b',' {
            return Some(());
        }
    }
}

/// One length for everything behind it.
fn web_p(bytes: &[u8]) -> Option<()> {
    let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    bytes.get(..usize::try_from(length).ok()?.checked_add(8)?)?;
    Some(())
}
