//! JPEG: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.
//!
//! The decoder underneath is fast, but believes application segments that
//! web pictures get wrong, and fills what is missing with grey. So the headers
//! are read here, by the rules of libjpeg, and it is given a tidy copy:
//!
//! ```text
//! as it came   SOI  APPn..  tables  junk  SOF  tables  SOS  scan data  EOI  trailing bytes
//! tidy copy    SOI  (APP14) tables        SOF  tables  SOS  scan data  guard  EOI
//! ```
//!
//! The guard is a run of 1 bits. No Huffman code consists of 1 bits alone
//! (ITU-T T.81, C.2), so a decoder that needs more than the data runs into an
//! error there, while a complete picture never reads it.

#[cfg(feature = "turbo")]
mod turbo;

use jpeg_decoder::ColorTransform;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::raster::{Channels, Raster};
use super::{Header, Turn, exif_turn};
use crate::error::DecodeError;
use crate::format::Format;
use crate::picture::Picture;

/// Scans of a progressive picture; real ones have about ten. More only make
/// decoding slow.
const MAX_SCANS: usize = 100;

/// 1 bits, with the zero byte that has to follow 0xff in scan data.
const GUARD: [u8; 64] = {
    let mut guard = [0; 64];
    let mut index = 0;
    while index < guard.len() {
        guard[index] = 0xff;
        index += 2;
    }
    guard
};

pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let segments = Segments::read(bytes)?;
    let Frame { width, height, .. } = segments.frame;
    let turn = segments.exif.map_or(Turn::NoTransforms, exif_turn);
    Ok(Header {
        width: width.into(),
        height: height.into(),
        turn,
    })
}

/// Follows the markers to the end of the picture.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let segments = Segments::read(bytes)?;
    segments.colours()?;
    segments.data().map(drop)
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let segments = Segments::read(bytes)?;
    let colours = segments.colours()?;
    #[cfg(feature = "turbo")]
    if let Some(raster) = turbo::raster(&segments, colours) {
        return Ok(raster);
    }
    let tidy = segments.tidy(colours, &GUARD)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(match colours {
            Colours::Grey => ColorSpace::Luma,
            // Asking for the colours that it takes the samples for gives the
            // samples themselves.
            Colours::RgbTakenForYcc => ColorSpace::YCbCr,
            Colours::Ycc | Colours::Rgb | Colours::Cmyk | Colours::Ycck => ColorSpace::RGB,
        });
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(tidy.as_slice()), options);
    let samples = decoder.decode().map_err(explain)?;
    let channels = if colours == Colours::Grey {
        Channels::Grey
    } else {
        Channels::Rgb
    };
    Ok(Raster { channels, samples })
}

/// The picture at the smallest of 1/8, 1/4 and 1/2 that has about `width` x
/// `height` pixels or more. `None` where there is none, for damaged pictures,
/// and for kinds that are rare or, like progressive ones, need bounds that this
/// decoder does not have.
pub(super) fn scaled(bytes: &[u8], width: u32, height: u32) -> Option<Picture> {
    let segments = Segments::read(bytes).ok()?;
    let colours = segments.colours().ok()?;
    let transform = match colours {
        Colours::Grey => ColorTransform::Grayscale,
        Colours::Ycc => ColorTransform::YCbCr,
        Colours::Rgb | Colours::RgbTakenForYcc | Colours::Cmyk | Colours::Ycck => return None,
    };
    if !segments.is_one_scan() {
        return None;
    }
    let tidy = segments.tidy(colours, &GUARD).ok()?;
    let mut decoder = jpeg_decoder::Decoder::new(tidy.as_slice());
    decoder.set_color_transform(transform);
    let (width, height) = decoder
        .scale(width.try_into().ok()?, height.try_into().ok()?)
        .ok()?;
    if width == segments.frame.width {
        return None;
    }
    #[cfg(not(feature = "turbo"))]
    let samples = decoder.decode().ok()?;
    #[cfg(feature = "turbo")]
    let samples =
        turbo::scaled(&segments, colours, width, height).or_else(|| decoder.decode().ok())?;
    let pixels = match colours {
        Colours::Grey => samples.iter().flat_map(|&grey| [grey; 3]).collect(),
        _ => samples,
    };
    Picture::try_new(width.into(), height.into(), pixels).ok()
}

/// What the samples of a picture mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Colours {
    Grey,
    Ycc,
    /// RGB under component names that say so.
    Rgb,
    /// RGB that only the Adobe segment tells from YCbCr.
    RgbTakenForYcc,
    Cmyk,
    Ycck,
}

/// The frame header.
#[derive(Clone, Copy)]
struct Frame<'a> {
    /// Which of the fifteen processes of T.81.
    process: u8,
    /// Bits of a sample.
    precision: u8,
    width: u16,
    height: u16,
    /// Three bytes each: name, sampling factors, quantisation table.
    components: &'a [[u8; 3]],
}

/// A JPEG file cut into its segments.
struct Segments<'a> {
    frame: Frame<'a>,
    /// Tables, frame header and scan header with their markers, in order.
    needed: Vec<&'a [u8]>,
    /// Number of components in the first scan.
    scan_components: usize,
    /// Everything behind the first scan header.
    rest: &'a [u8],
    has_jfif: bool,
    /// The colour transform of an Adobe segment.
    adobe: Option<u8>,
    /// The first EXIF block, from its TIFF header on.
    exif: Option<&'a [u8]>,
}

impl<'a> Segments<'a> {
    /// Reads up to and including the first scan header.
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut frame = None;
        let mut needed = Vec::new();
        let (mut has_jfif, mut adobe, mut exif) = (false, None, None);
        // Behind the start-of-image marker.
        let mut at = 2;
        loop {
            let (marker, start) = next_marker(bytes, at).ok_or(DecodeError::Truncated)?;
            at = start;
            match marker {
                // Markers without content: repeated starts, restarts, TEM.
                0xd8 | 0xd0..=0xd7 | 0x01 => continue,
                0xd9 => return Err(corrupt("it ends before any scan")),
                _ => {}
            }
            let length = bytes
                .get(at..at + 2)
                .and_then(|length| length.try_into().ok())
                .map(u16::from_be_bytes)
                .ok_or(DecodeError::Truncated)?;
            let end = at + usize::from(length);
            if length < 2 {
                return Err(corrupt(format!("segment {marker:#04x} of length {length}")));
            }
            let content = bytes.get(at + 2..end).ok_or(DecodeError::Truncated)?;
            match marker {
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    if frame.is_some() {
                        return Err(corrupt("two frame headers"));
                    }
                    frame = Some(Frame::read(marker, content)?);
                    needed.push(&bytes[at - 2..end]);
                }
                // Huffman tables, quantisation tables, restart interval.
                0xc4 | 0xdb | 0xdd => needed.push(&bytes[at - 2..end]),
                0xda => {
                    needed.push(&bytes[at - 2..end]);
                    return Ok(Self {
                        frame: frame.ok_or_else(|| corrupt("a scan before the frame header"))?,
                        needed,
                        scan_components: content.first().copied().unwrap_or(0).into(),
                        rest: &bytes[end..],
                        has_jfif,
                        adobe,
                        exif,
                    });
                }
                0xe0 => has_jfif |= content.starts_with(b"JFIF\0"),
                0xe1 => exif = exif.or_else(|| content.strip_prefix(b"Exif\0\0")),
                // "Adobe", version, two words of flags, transform.
                0xee if content.starts_with(b"Adobe") => {
                    adobe = content.get(11).copied().or(adobe);
                }
                _ => {}
            }
            at = end;
        }
    }

    /// What libjpeg takes the samples for.
    fn colours(&self) -> Result<Colours, DecodeError> {
        let Frame {
            process,
            precision,
            components,
            ..
        } = self.frame;
        match process {
            0xc0..=0xc2 => {}
            0xc3 | 0xc7 | 0xcb | 0xcf => return Err(DecodeError::unsupported("lossless JPEG")),
            0xc9 | 0xca | 0xcd | 0xce => {
                return Err(DecodeError::unsupported("JPEG with arithmetic coding"));
            }
            _ => return Err(DecodeError::unsupported("hierarchical JPEG")),
        }
        if precision != 8 {
            return Err(DecodeError::unsupported(format!(
                "JPEG of {precision} bits"
            )));
        }
        match components {
            [_] => Ok(Colours::Grey),
            // The decoder goes by these names whatever other segments say.
            [[b'R', ..], [b'G', ..], [b'B', ..]] => Ok(Colours::Rgb),
            [_, _, _] if !self.has_jfif && self.adobe == Some(0) => Ok(Colours::RgbTakenForYcc),
            [_, _, _] => Ok(Colours::Ycc),
            [_, _, _, _] => Ok(match self.adobe {
                None | Some(0) => Colours::Cmyk,
                Some(_) => Colours::Ycck,
            }),
            other => Err(DecodeError::unsupported(format!(
                "JPEG of {} components",
                other.len()
            ))),
        }
    }

    /// Whether the first scan has everything in it.
    fn is_one_scan(&self) -> bool {
        self.frame.process != 0xc2 && self.scan_components == self.frame.components.len()
    }

    /// The scan data, as far as it belongs to the picture.
    fn data(&self) -> Result<&'a [u8], DecodeError> {
        let scan = end_of_scan(self.rest);
        let image = scan + end_of_image(&self.rest[scan..]).ok_or(DecodeError::Truncated)?;
        // A lone scan with everything in it cannot be followed by another, so
        // there the first marker ends the data.
        let data = &self.rest[..if self.is_one_scan() { scan } else { image }];
        if u64::try_from(data.len()).unwrap_or(u64::MAX) * 8 < self.frame.least_bits() {
            return Err(corrupt("too few bytes for the declared size"));
        }
        Ok(data)
    }

    /// The tidy copy of the module's description, with a guard.
    fn tidy(&self, colours: Colours, guard: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let data = self.data()?;
        let headers: usize = self.needed.iter().map(|segment| segment.len()).sum();
        let mut tidy = Vec::with_capacity(headers + data.len() + 128);
        tidy.extend_from_slice(&[0xff, 0xd8]);
        if colours == Colours::Ycck {
            tidy.extend_from_slice(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x02");
        }
        for segment in &self.needed {
            tidy.extend_from_slice(segment);
        }
        tidy.extend_from_slice(data);
        tidy.extend_from_slice(guard);
        tidy.extend_from_slice(&[0xff, 0xd9]);
        Ok(tidy)
    }
}

impl<'a> Frame<'a> {
    /// A frame header from the content of its segment.
    fn read(process: u8, content: &'a [u8]) -> Result<Self, DecodeError> {
        let &[
            precision,
            height_high,
            height_low,
            width_high,
            width_low,
            count,
            ref rest @ ..,
        ] = content
        else {
            return Err(corrupt("short frame header"));
        };
        let (components, spare) = rest.as_chunks::<3>();
        if components.len() != usize::from(count) || !spare.is_empty() {
            return Err(corrupt("frame header of a wrong length"));
        }
        Ok(Self {
            process,
            precision,
            width: u16::from_be_bytes([width_high, width_low]),
            height: u16::from_be_bytes([height_high, height_low]),
            components,
        })
    }

    /// A lower bound for the bits of scan data: the blocks of 8 x 8 of a
    /// component in full resolution, one bit each.
    fn least_bits(&self) -> u64 {
        let factors = || self.components.iter().map(|&[_, sampling, _]| sampling);
        let largest = factors().max().unwrap_or(0);
        let is_full = |sampling: u8| sampling >> 4 <= largest >> 4 && sampling & 15 <= largest & 15;
        if !factors().all(is_full) {
            return 0;
        }
        u64::from(self.width.div_ceil(8)) * u64::from(self.height.div_ceil(8))
    }
}

/// The next marker at or behind `at`, and the position behind it. Junk before
/// it is skipped, as libjpeg does.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut at = at;
    loop {
        at += first_ff(bytes.get(at..)?)?;
        at += bytes[at..].iter().position(|&byte| byte != 0xff)?;
        let marker = bytes[at];
        at += 1;
        if marker != 0 {
            return Some((marker, at));
        }
    }
}

/// Where the first 0xff is.
fn first_ff(bytes: &[u8]) -> Option<usize> {
    // Few blocks have one, and `contains` looks at many bytes at once.
    const BLOCK: usize = 64;
    let blocks = bytes
        .chunks(BLOCK)
        .take_while(|block| !block.contains(&0xff));
    let start = blocks.count() * BLOCK;
    let at = bytes.get(start..)?.iter().position(|&byte| byte == 0xff)?;
    Some(start + at)
}

/// Length of scan data up to the first marker other than a restart.
fn end_of_scan(data: &[u8]) -> usize {
    let mut at = 0;
    while let Some((marker, behind)) = next_marker(data, at) {
        if !(0xd0..=0xd7).contains(&marker) {
            return behind - 2;
        }
        at = behind;
    }
    data.len()
}

/// Length of everything up to the end-of-image marker. In scan data 0xff is
/// escaped and tables hold no 0xff, so the first such pair is the marker.
fn end_of_image(data: &[u8]) -> Option<usize> {
    data.windows(2).position(|pair| pair == [0xff, 0xd9])
}

fn explain(error: DecodeErrors) -> DecodeError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            DecodeError::unsupported(format!("JPEG with {scheme:?}"))
        }
        // The end-of-image marker is there, so bytes are wrong, not missing.
        error => corrupt(error.to_string()),
    }
}

fn corrupt(detail: impl Into<String>) -> DecodeError {
    DecodeError::corrupt(Format::Jpeg, detail)
}
