//! TIFF: the first page, with the colours of libtiff and Pillow.
//!
//! The `tiff` crate finds the strips and tiles, unpacks them and undoes their prediction. What the
//! samples mean is decided in [`colour`]: the crate refuses palettes, drops what stands behind the
//! colours before it undoes the prediction, and does not tell colours that were multiplied by their
//! opacity from others. So it is told that every picture is some number of grey bands. Strips that
//! are JPEG pictures go to our own JPEG decoder, see [`jpeg`].

mod colour;
mod jpeg;

use std::io::Cursor;

use ::tiff::TiffError;
use ::tiff::decoder::{ChunkType, Decoder, Limits};
use ::tiff::tags::{CompressionMethod, Tag};

use self::colour::Colours;
use super::raster::{Raster, high_bytes};
use super::{Header, METADATA_BYTES, Turn, is_end_of_bytes};
use crate::error::DecodeError;
use crate::format::Format;

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// How samples are stored.
#[derive(Clone, Copy, Debug)]
struct Storage {
    width: u32,
    height: u32,
    /// Of one pixel.
    samples: u16,
    /// Of one sample.
    bits: u16,
    /// Whether each band of the picture is stored by itself.
    is_planar: bool,
    compression: CompressionMethod,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let mut reader = open(bytes)?;
    let (width, height) = reader.dimensions().map_err(explain)?;
    // An unreadable orientation is no reason to lose the picture.
    let turn = reader
        .find_tag_unsigned::<u8>(Tag::Orientation)
        .ok()
        .flatten()
        .and_then(Turn::from_exif)
        .unwrap_or(Turn::NoTransforms);
    Ok(Header {
        width,
        height,
        turn,
    })
}

pub(super) fn raster(bytes: &[u8]) -> Result<Raster, DecodeError> {
    let mut reader = open(bytes)?;
    let storage = Storage::read(&mut reader)?;
    let colours = Colours::read(&mut reader, storage)?;
    if storage.compression == CompressionMethod::ModernJPEG {
        return jpeg::raster(bytes, &mut reader, storage, &colours);
    }
    let samples = unpacked(bytes, storage, colours.are_indices())?;
    Ok(colours.into_raster(samples))
}

fn open(bytes: &[u8]) -> Result<Reader<'_>, DecodeError> {
    Decoder::new(Cursor::new(bytes)).map_err(explain)
}

impl Storage {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (width, height) = reader.dimensions().map_err(explain)?;
        let bits = numbers(reader, Tag::BitsPerSample)?;
        let storage = Self {
            width,
            height,
            samples: number(reader, Tag::SamplesPerPixel)?.unwrap_or(1),
            bits: bits.first().copied().unwrap_or(1),
            is_planar: number(reader, Tag::PlanarConfiguration)? == Some(2),
            compression: CompressionMethod::from_u16_exhaustive(
                number(reader, Tag::Compression)?.unwrap_or(1),
            ),
        };
        // The crate reads the bits of a byte in one order only.
        if number(reader, Tag::FillOrder)?.is_some_and(|order| order != 1) {
            return Err(unsupported("bits in reverse order"));
        }
        let formats = numbers(reader, Tag::SampleFormat)?;
        if formats.iter().any(|&format| format != 1) {
            return Err(unsupported("samples that are signed or no integers"));
        }
        let (tile_width, tile_height) = reader.chunk_dimensions();
        let tile = u64::from(tile_width) * u64::from(tile_height);
        // One that is larger than the picture has a size that is usual.
        if reader.get_chunk_type() == ChunkType::Tile
            && tile > (storage.pixels() as u64).max(1 << 20)
        {
            return Err(unsupported(format!(
                "tiles of {tile_width} x {tile_height} pixels"
            )));
        }
        Ok(storage)
    }

    fn pixels(self) -> usize {
        self.width as usize * self.height as usize
    }
}

/// The samples in 8 bits, interleaved. Those of fewer bits are spread over the whole range unless
/// they are `indices` of a palette.
fn unpacked(bytes: &[u8], storage: Storage, indices: bool) -> Result<Vec<u8>, DecodeError> {
    let bands = as_bands(bytes).ok_or_else(|| corrupt("the photometric interpretation"))?;
    let samples = usize::from(storage.samples);
    let size = (storage.width as usize * samples * usize::from(storage.bits))
        .div_ceil(8)
        .saturating_mul(storage.height as usize);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = size.saturating_add(METADATA_BYTES);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    let mut reader = Decoder::new(Cursor::new(bands.as_slice()))
        .map_err(explain)?
        .with_limits(limits);
    let layout = reader.image_buffer_layout().map_err(explain)?;
    if layout.complete_len > size.saturating_add(METADATA_BYTES) {
        return Err(corrupt("the samples do not fit the declared size"));
    }
    let mut packed = vec![0; layout.complete_len];
    reader.read_image_bytes(&mut packed).map_err(explain)?;
    let unpacked = match storage.bits {
        8 => packed,
        16 => high_bytes(&packed),
        bits => spread(&packed, storage.width as usize * samples, bits, indices),
    };
    Ok(if storage.is_planar && samples > 1 {
        interleaved(&unpacked, storage.pixels(), samples)
    } else {
        unpacked
    })
}

/// Rows of samples of 1, 2 or 4 bits, each beginning with a byte, as one byte a sample.
fn spread(packed: &[u8], row: usize, bits: u16, indices: bool) -> Vec<u8> {
    let most = (1_u8 << bits) - 1;
    let scale = if indices { 1 } else { u8::MAX / most };
    let per_byte = 8 / usize::from(bits);
    packed
        .chunks(row.div_ceil(per_byte))
        .flat_map(|bytes| {
            (0..row).map(move |at| {
                let shift = 8 - usize::from(bits) * (at % per_byte + 1);
                ((bytes.get(at / per_byte).copied().unwrap_or(0) >> shift) & most) * scale
            })
        })
        .collect()
}

/// Bands one after another as pixels one after another.
fn interleaved(bands: &[u8], pixels: usize, samples: usize) -> Vec<u8> {
    let mut interleaved = vec![0; pixels * samples];
    for (band, values) in bands.chunks(pixels).take(samples).enumerate() {
        for (pixel, &value) in values.iter().enumerate() {
            interleaved[pixel * samples + band] = value;
        }
    }
    interleaved
}

/// A copy that says of its first picture that it is grey, whatever its colours are.
fn as_bands(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_little = bytes.first()? == &b'I';
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        let join = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
        Some(if is_little {
            bytes.iter().rev().fold(0, join)
        } else {
            bytes.iter().fold(0, join)
        })
    };
    // BigTIFF has wider numbers. Behind an entry's tag and type stand a count and a value.
    let (pointer, wide, entry) = match number(2, 2)? {
        43 => (number(8, 8)?, 8, 20),
        _ => (number(4, 4)?, 4, 12),
    };
    let count_length = if wide == 8 { 8 } else { 2 };
    let first = pointer.checked_add(count_length)?;
    let at = (0..number(pointer, count_length)?)
        .map_while(|index| first.checked_add(entry * index))
        .take_while(|&at| at < bytes.len())
        .find(|&at| number(at, 2) == Some(usize::from(Tag::PhotometricInterpretation.to_u16())))?;
    // Of one byte, two, four or eight.
    let length = match number(at + 2, 2)? {
        1 => 1,
        3 => 2,
        4 => 4,
        16 => 8,
        _ => return None,
    };
    let mut bands = bytes.to_vec();
    let value = bands.get_mut(at + 4 + wide..at + 4 + wide + length)?;
    value.fill(0);
    let lowest = if is_little { 0 } else { length - 1 };
    value[lowest] = 1;
    Some(bands)
}

/// A tag of one number.
fn number(reader: &mut Reader<'_>, tag: Tag) -> Result<Option<u16>, DecodeError> {
    reader.find_tag_unsigned(tag).map_err(explain)
}

/// A tag of any count of numbers; of none when it is missing.
fn numbers(reader: &mut Reader<'_>, tag: Tag) -> Result<Vec<u16>, DecodeError> {
    let numbers = reader.find_tag_unsigned_vec(tag).map_err(explain)?;
    Ok(numbers.unwrap_or_default())
}

fn explain(error: TiffError) -> DecodeError {
    match error {
        TiffError::IoError(error) if is_end_of_bytes(&error) => DecodeError::Truncated,
        TiffError::UnsupportedError(error) => unsupported(error.to_string()),
        error => corrupt(error.to_string()),
    }
}

fn unsupported(what: impl std::fmt::Display) -> DecodeError {
    DecodeError::unsupported(format!("TIFF with {what}"))
}

fn corrupt(detail: impl Into<String>) -> DecodeError {
    DecodeError::corrupt(Format::Tiff, detail)
}
