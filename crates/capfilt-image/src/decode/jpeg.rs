//! JPEG: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.
//!
//! The decoders underneath are fast, but believe application segments that web pictures get wrong,
//! and fill what is missing with grey. So the headers are read here, by the rules of libjpeg, and
//! they are given a tidy copy:
//!
//! ```text
//! as it came   SOI  APPn..  tables  junk  SOF  tables  SOS  scan data         COM  SOS..        EOI  trailing bytes
//! tidy copy    SOI  (APP14) tables  tables  SOF  SOS  scan data  guard  (tables  SOS..  guard)  EOI
//! ```
//!
//! Components have the usual names there. The guard is a run of 1 bits. No Huffman code consists of
//! 1 bits alone (ITU-T T.81, C.2), so a decoder that needs more than the data runs into an error
//! there, while a complete picture never reads it.
//!
//! `zune-jpeg` decodes the kinds that are usual, which are those that it decodes right. The others
//! go to `jpeg-decoder`, which takes three times as long. What neither gets right is refused.

mod segments;
#[cfg(feature = "turbo")]
mod turbo;

use jpeg_decoder::ColorTransform;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use self::segments::{Frame, Scan, Segments};
use super::Header;
use super::orientation;
use super::raster::{Channels, Raster};
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
    if height == 0 && segments.has_late_height() {
        return Err(DecodeError::unsupported(
            "JPEG with its height behind the first scan (DNL)",
        ));
    }
    let exif = segments.exif.concat();
    let turn = orientation::turn((!exif.is_empty()).then_some(&exif), segments.xmp);
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
    let scans = segments.scans()?;
    Decoder::of(&segments.frame, &scans).map(drop)
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let segments = Segments::read(bytes)?;
    let colours = segments.colours()?;
    let scans = segments.scans()?;
    let decoder = Decoder::of(&segments.frame, &scans)?;
    #[cfg(feature = "turbo")]
    if let Some(raster) = turbo::raster(&segments, &scans, colours) {
        return Ok(raster);
    }
    match decoder {
        // Of several scans it looks for a marker right behind the first.
        Decoder::Usual => usual(
            &segments.tidy(&scans, colours, |number| number > 0 || scans.len() == 1),
            colours,
        ),
        Decoder::General => general(&segments.tidy(&scans, colours, |_| true), colours),
    }
}

/// Which decoder gets a picture right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Decoder {
    /// `zune-jpeg`.
    Usual,
    /// `jpeg-decoder`.
    General,
}

impl Decoder {
    fn of(frame: &Frame<'_>, scans: &[Scan<'_>]) -> Result<Self, DecodeError> {
        let sampling = frame.sampling();
        let is_usual = matches!(
            sampling[..],
            [_] | [[1 | 2, 1 | 2], [1, 1], [1, 1]] | [[1, 1], [1, 1], [1, 1], [1, 1]]
        );
        // Of a baseline picture in several scans it misplaces rows, and it takes all quantisation
        // tables from before the first scan.
        let is_whole = scans.len() == 1 && scans[0].components.is_sorted();
        let has_tables = !scans.iter().any(Scan::has_quantisation);
        if is_usual && has_tables && (is_whole || frame.is_progressive()) {
            return Ok(Self::Usual);
        }
        let largest = frame.largest();
        if let Some([across, down]) = sampling.iter().find(|[across, down]| {
            !largest[0].is_multiple_of(*across) || !largest[1].is_multiple_of(*down)
        }) {
            return Err(DecodeError::unsupported(format!(
                "JPEG with a component sampled {across} x {down} beside one of {} x {}",
                largest[0], largest[1]
            )));
        }
        for scan in scans {
            let what = match scan.components[..] {
                [component] if !is_read_alone(frame, sampling[component], component) => {
                    "JPEG with a component at half of the size in a scan of its own"
                }
                _ if !scan.components.is_sorted() => {
                    "JPEG with components in another order in a scan than in its header"
                }
                _ => continue,
            };
            return Err(DecodeError::unsupported(what));
        }
        Ok(Self::General)
    }
}

/// Whether `jpeg-decoder` finds as many blocks of a component in a scan of its own as there are. It
/// counts those of whole groups, as far as they lie in the picture.
fn is_read_alone(frame: &Frame<'_>, factors: [u8; 2], component: usize) -> bool {
    let (blocks, groups) = (frame.blocks(component), frame.groups());
    let sizes = [frame.width, frame.height].map(|size| usize::from(size).div_ceil(8));
    (0..2).all(|axis| blocks[axis] == sizes[axis].min(groups[axis] * usize::from(factors[axis])))
}

/// Decodes by `zune-jpeg`.
fn usual(tidy: &[u8], colours: Colours) -> Result<Raster, DecodeError> {
    let (space, channels) = match colours {
        Colours::Grey => (ColorSpace::Luma, Channels::Grey),
        _ => (ColorSpace::RGB, Channels::Rgb),
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(space);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(tidy), options);
    let samples = decoder.decode().map_err(explain)?;
    Ok(Raster { channels, samples })
}

/// Decodes by `jpeg-decoder`.
fn general(tidy: &[u8], colours: Colours) -> Result<Raster, DecodeError> {
    let mut decoder = jpeg_decoder::Decoder::new(tidy);
    decoder.set_color_transform(match colours {
        Colours::Grey => ColorTransform::Grayscale,
        Colours::Ycc => ColorTransform::YCbCr,
        Colours::Rgb => ColorTransform::RGB,
        Colours::Cmyk => ColorTransform::CMYK,
        Colours::Ycck => ColorTransform::YCCK,
    });
    let samples = decoder
        .decode()
        .map_err(|error| corrupt(error.to_string()))?;
    Ok(match colours {
        Colours::Grey => Raster {
            channels: Channels::Grey,
            samples,
        },
        Colours::Ycc | Colours::Rgb => Raster {
            channels: Channels::Rgb,
            samples,
        },
        Colours::Cmyk | Colours::Ycck => Raster {
            channels: Channels::Rgb,
            samples: printed(&samples),
        },
    })
}

/// RGB of amounts of cyan, magenta, yellow and black, as Pillow converts them.
fn printed(inks: &[u8]) -> Vec<u8> {
    let (inks, _) = inks.as_chunks::<4>();
    let left = |ink: u8, black: u8| {
        let light = u32::from(255 - black);
        let product = u32::from(ink) * light + 128;
        // Division by 255 in integers, exact for products of two bytes.
        u8::try_from(light - (((product >> 8) + product) >> 8)).unwrap_or(0)
    };
    inks.iter()
        .flat_map(|&[cyan, magenta, yellow, black]| {
            [cyan, magenta, yellow].map(|ink| left(ink, black))
        })
        .collect()
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
        Colours::Rgb | Colours::Cmyk | Colours::Ycck => return None,
    };
    if !segments.is_one_scan() {
        return None;
    }
    let scans = segments.scans().ok()?;
    // Of others it gets the colours wrong at a smaller scale.
    if Decoder::of(&segments.frame, &scans).ok()? != Decoder::Usual {
        return None;
    }
    let tidy = segments.tidy(&scans, colours, |_| true);
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
    let samples = turbo::scaled(&segments, &scans, colours, width, height)
        .or_else(|| decoder.decode().ok())?;
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
    Rgb,
    Cmyk,
    Ycck,
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
