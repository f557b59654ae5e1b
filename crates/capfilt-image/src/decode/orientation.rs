//! How a picture is turned, told from its metadata as Pillow 12.3 tells it (`Image.getexif`).

mod png;

pub(super) use png::{Metadata, metadata};

use super::Turn;

/// The orientation, as a TIFF tag.
const ORIENTATION: u16 = 0x112;

/// An EXIF block that begins like none. Pillow then looks no further.
struct Unreadable;

/// The turn that an EXIF block or, where that says nothing of it, an XMP packet asks for.
pub(super) fn turn(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Turn {
    let said = exif.map_or(Ok(None), exif_value);
    said.ok()
        .and_then(|value| value.or_else(|| xmp_value(xmp?)))
        .and_then(Turn::from_exif)
        .unwrap_or(Turn::NoTransforms)
}

/// What an EXIF block says, 0 for what is no whole number. Prefixes that only JPEG needs are
/// skipped, however many there are.
fn exif_value(mut block: &[u8]) -> Result<Option<u8>, Unreadable> {
    while let Some(rest) = block.strip_prefix(b"Exif\0\0") {
        block = rest;
    }
    if block.is_empty() {
        return Ok(None);
    }
    let order = match block.get(..4) {
        Some(b"II\x2a\0" | b"II\0\x2a") => Order::Little,
        Some(b"MM\0\x2a" | b"MM\x2a\0") => Order::Big,
        _ => return Err(Unreadable),
    };
    let directory = block.get(4..8).ok_or(Unreadable)?;
    Ok(directory_value(block, order, order.number(directory)))
}

/// The orientation in the directory at `start`. Of several the last counts; behind an entry whose
/// value lies outside of the block nothing is read.
fn directory_value(block: &[u8], order: Order, start: u64) -> Option<u8> {
    let at = usize::try_from(start).ok()?;
    let count = order.number(block.get(at..at.checked_add(2)?)?);
    let mut found = None;
    for entry in block[at + 2..]
        .chunks_exact(12)
        .take(usize::try_from(count).ok()?)
    {
        let kind = order.number(&entry[2..4]);
        let unit = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 => 8,
            _ => continue,
        };
        let size = unit * order.number(&entry[4..8]);
        let value = if size > 4 {
            let Some(value) = slice(block, order.number(&entry[8..12]), size) else {
                break;
            };
            value
        } else {
            slice(entry, 8, size)?
        };
        if order.number(&entry[..2]) == u64::from(ORIENTATION) && !value.is_empty() {
            found = Some(whole(order, kind, value));
        }
    }
    found
}

fn slice(bytes: &[u8], start: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

/// The first of the values of a tag, 0 when it is no number from 1 to 255.
fn whole(order: Order, kind: u64, value: &[u8]) -> u8 {
    let number = match kind {
        3 | 8 => order.number(&value[..2]),
        4 | 9 | 13 => order.number(&value[..4]),
        16 => order.number(&value[..8]),
        6 => u64::from(value[0]),
        5 | 10 => {
            let (above, below) = (order.number(&value[..4]), order.number(&value[4..8]));
            match above.checked_div(below) {
                Some(number) if number * below == above => number,
                _ => 0,
            }
        }
        11 => {
            let bits = u32::try_from(order.number(&value[..4])).unwrap_or(0);
            return small(f32::from_bits(bits).into());
        }
        12 => return small(f64::from_bits(order.number(&value[..8]))),
        // Text and bytes are no numbers.
        _ => 0,
    };
    u8::try_from(number).unwrap_or(0)
}

/// A float that is a whole number from 1 to 8, else 0.
fn small(number: f64) -> u8 {
    (1..=8)
        .find(|&one| f64::from(one).total_cmp(&number).is_eq())
        .unwrap_or(0)
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    /// At most eight bytes as a number.
    fn number(self, bytes: &[u8]) -> u64 {
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        match self {
            Self::Big => bytes.iter().fold(0, add),
            Self::Little => bytes.iter().rev().fold(0, add),
        }
    }
}

/// What the first mention in an XMP packet says, as an attribute or as an element.
fn xmp_value(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    packet
        .windows(NAME.len() + 3)
        .filter_map(|window| window.strip_prefix(NAME))
        .find_map(|behind| match *behind {
            [b'=', b'"', digit @ b'0'..=b'9'] | [b'>', digit @ b'0'..=b'9', _] => {
                Some(digit - b'0')
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests;
