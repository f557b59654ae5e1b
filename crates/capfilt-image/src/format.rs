//! Picture formats, told from the first bytes.

use std::fmt;

/// A picture format that [`crate::decode`] knows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// GIF.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF.
    Tiff,
    /// AVIF. It is read with the feature `avif` alone.
    Avif,
}

impl Format {
    /// The usual spelling, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Avif => "AVIF",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The format of a picture, from its first bytes; declared types and file
/// names are not believed. `None` for everything else.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [0x89, b'P', b'N', b'G', ..] => Some(Format::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(Format::WebP),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
        [b'B', b'M', ..] if is_bitmap(bytes) => Some(Format::Bmp),
        _ if is_of_brand(bytes, &[b"avif", b"avis"]) => Some(Format::Avif),
        _ => None,
    }
}

/// Two letters are weak evidence, so the size of the second header must be
/// one of those that exist.
fn is_bitmap(bytes: &[u8]) -> bool {
    match bytes.get(14..18) {
        Some(size) => matches!(size, [12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]),
        None => false,
    }
}

/// Whether the first box of a file names one of `brands`, as its own or as one that it is
/// compatible with.
fn is_of_brand(bytes: &[u8], brands: &[&[u8; 4]]) -> bool {
    let Some((header, names)) = bytes.split_at_checked(8) else {
        return false;
    };
    let [size @ .., b'f', b't', b'y', b'p'] = header else {
        return false;
    };
    let size = size
        .iter()
        .fold(0, |size, &byte| size << 8 | usize::from(byte));
    let (names, _) = names[..names.len().min(size.saturating_sub(8))].as_chunks::<4>();
    // Behind the first stands its version.
    let mut named = names.iter().enumerate().filter(|(place, _)| *place != 1);
    named.any(|(_, name)| brands.contains(&name))
}

/// The name of a picture format that is recognised only to say so.
pub(crate) fn sniff_unsupported(bytes: &[u8]) -> Option<&'static str> {
    const HEIF: &[&[u8; 4]] = &[
        b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1",
    ];
    match bytes {
        _ if is_of_brand(bytes, HEIF) => Some("HEIF"),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Some("JPEG XL"),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => {
            Some("JPEG 2000")
        }
        [b'8', b'B', b'P', b'S', 0, 1 | 2, ..] => Some("PSD"),
        [0, 0, 1, 0, count, 0, ..] if *count > 0 => Some("ICO"),
        _ => is_svg(bytes).then_some("SVG"),
    }
}

/// Whether an XML document's first element, as far as the first kilobyte
/// tells, is `svg`.
fn is_svg(bytes: &[u8]) -> bool {
    let head = bytes.get(..1024).unwrap_or(bytes);
    let head = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    head.starts_with(b"<svg")
        || (head.starts_with(b"<?xml") && head.windows(4).any(|window| window == b"<svg"))
}
