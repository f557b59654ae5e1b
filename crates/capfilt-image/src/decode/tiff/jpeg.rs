//! Strips and tiles that are JPEG pictures.
//!
//! They have tables in common, which stand in a tag, and leave it to the TIFF what their components
//! are. Both is put into each before our own decoder has it, so that a JPEG means here what it means
//! as a file.

use ::tiff::decoder::ChunkType;
use ::tiff::tags::Tag;

use super::{Colours, Reader, Storage, corrupt, explain, unsupported};
use crate::decode::jpeg;
use crate::decode::raster::{Channels, Raster};
use crate::error::DecodeError;

pub(super) fn raster(
    bytes: &[u8],
    reader: &mut Reader<'_>,
    storage: Storage,
    colours: &Colours,
) -> Result<Raster, DecodeError> {
    if storage.bits != 8 || storage.is_planar || !colours.are_of_jpeg() {
        return Err(unsupported(
            "JPEG data that is neither grey nor colours of three bands",
        ));
    }
    let channels = match storage.samples {
        1 => Channels::Grey,
        _ => Channels::Rgb,
    };
    let start = start(reader, storage, colours)?;
    let (tile_width, tile_height) = reader.chunk_dimensions();
    // Strips may be declared as high as one likes.
    let most_height = match reader.get_chunk_type() {
        ChunkType::Strip => tile_height.min(storage.height),
        ChunkType::Tile => tile_height,
    };
    let across = storage.width.div_ceil(tile_width) as usize;
    let row = storage.width as usize * usize::from(storage.samples);
    let mut samples = vec![0; row * storage.height as usize];
    for (index, data) in chunks(bytes, reader)?.into_iter().enumerate() {
        let chunk = reader.chunk_data_dimensions(u32::try_from(index).unwrap_or(u32::MAX));
        let joined = joined(&start, data?)?;
        let header = jpeg::header(&joined)?;
        let fits = |inside: u32, outside: u32, chunk: u32| inside >= chunk && inside <= outside;
        if !fits(header.width, tile_width, chunk.0) || !fits(header.height, most_height, chunk.1) {
            return Err(corrupt(format!(
                "a JPEG of {} x {} pixels in a place of {} x {}",
                header.width, header.height, chunk.0, chunk.1
            )));
        }
        let decoded = jpeg::raster(&joined)?;
        if decoded.channels != channels {
            return Err(corrupt("a JPEG of another number of components"));
        }
        let bands = usize::from(storage.samples);
        let left = index % across * tile_width as usize * bands;
        let top = index / across * tile_height as usize;
        let used = chunk.0 as usize * bands;
        let rows = decoded.samples.chunks(header.width as usize * bands);
        let places = samples.chunks_mut(row).skip(top);
        for (from, to) in rows.take(chunk.1 as usize).zip(places) {
            to[left..left + used].copy_from_slice(&from[..used]);
        }
    }
    Ok(Raster { channels, samples })
}

/// The data of every strip or tile, in the order of the picture.
fn chunks<'a>(
    bytes: &'a [u8],
    reader: &mut Reader<'_>,
) -> Result<Vec<Result<&'a [u8], DecodeError>>, DecodeError> {
    let (offsets, lengths) = match reader.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let mut places = |tag| {
        let places = reader
            .find_tag_unsigned_vec::<usize>(tag)
            .map_err(explain)?;
        Ok::<_, DecodeError>(places.unwrap_or_default())
    };
    let data = |(offset, length): (usize, usize)| {
        let end = offset.checked_add(length).ok_or(DecodeError::Truncated)?;
        bytes.get(offset..end).ok_or(DecodeError::Truncated)
    };
    let (offsets, lengths) = (places(offsets)?, places(lengths)?);
    Ok(offsets.into_iter().zip(lengths).map(data).collect())
}

/// What every JPEG begins with: the tables, and Adobe's word on what the components are.
fn start(
    reader: &mut Reader<'_>,
    storage: Storage,
    colours: &Colours,
) -> Result<Vec<u8>, DecodeError> {
    let tables = match reader.find_tag(Tag::JPEGTables).map_err(explain)? {
        Some(tables) => tables.into_u8_vec().map_err(explain)?,
        None => b"\xff\xd8\xff\xd9".to_vec(),
    };
    let mut start = match tables.strip_suffix(b"\xff\xd9") {
        Some(start) if start.starts_with(b"\xff\xd8") => start.to_vec(),
        _ => return Err(corrupt("JPEG tables without a start or an end")),
    };
    if storage.samples == 3 {
        start.extend_from_slice(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
        start.push(u8::from(colours.are_luma()));
    }
    Ok(start)
}

/// A JPEG of its own from what they have in common and the data of one.
fn joined(start: &[u8], data: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let data = data
        .strip_prefix(b"\xff\xd8")
        .ok_or_else(|| corrupt("JPEG data without a start"))?;
    // Two words on the components would contradict each other.
    let head = &data[..data.len().min(64)];
    if [&b"JFIF\0"[..], b"Adobe"]
        .iter()
        .any(|word| head.windows(5).any(|part| part == *word))
    {
        return Err(unsupported("JPEG data that has headers of its own"));
    }
    Ok([start, data].concat())
}
