//! Where the pages of a file without a page index begin.
//!
//! Many writers put a whole shard into one row group and write no page index. A reader then cannot
//! read a part of it, and a shard of pictures has to fit into memory. Page headers say enough to
//! make the index: they are read one after the other, and the pages between them are skipped.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, OffsetIndexBuilder, ParquetMetaData, ParquetMetaDataBuilder,
};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::open::Open;

/// Row groups of fewer compressed bytes are read whole anyway.
const LEAST_BYTES: i64 = 16 << 20;

/// Adds a page index for every large row group that has none. A row group in which a page does not
/// begin with a row stays without: it can only be read whole.
pub(crate) fn with_pages(file: &Open, metadata: ParquetMetaData) -> Result<ParquetMetaData> {
    let groups = metadata.num_row_groups();
    let mut index = metadata.offset_index().cloned().unwrap_or_default();
    index.resize(groups, Vec::new());
    let mut found = false;
    for (group, pages) in metadata.row_groups().iter().zip(&mut index) {
        let known =
            !pages.is_empty() && pages.iter().all(|column| !column.page_locations.is_empty());
        if known || group.compressed_size() < LEAST_BYTES {
            continue;
        }
        let rows = group.num_rows();
        let columns: Option<Vec<_>> = group
            .columns()
            .iter()
            .map(|column| column_pages(file, column, rows))
            .collect::<Result<_>>()?;
        if let Some(columns) = columns {
            *pages = columns;
            found = true;
        } else {
            tracing::warn!(
                bytes = group.compressed_size(),
                "a row group has no page index and pages that begin inside a row; it has to fit \
             into memory"
            );
        }
    }
    if !found {
        return Ok(metadata);
    }
    Ok(ParquetMetaDataBuilder::new_from_metadata(metadata)
        .set_offset_index(Some(index))
        .build())
}

/// Remembers where it was read last: that is where a page header begins.
struct Recorder {
    file: Open,
    last: Mutex<u64>,
}

impl Length for Recorder {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Recorder {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = start;
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        self.file.get_bytes(start, length)
    }
}

/// The pages of one column of a row group; `None` where a page begins inside a row.
fn column_pages(
    file: &Open,
    column: &ColumnChunkMetaData,
    rows: i64,
) -> Result<Option<OffsetIndexMetaData>> {
    let recorder = Arc::new(Recorder {
        file: file.clone(),
        last: Mutex::new(0),
    });
    let total = usize::try_from(rows).unwrap_or(0);
    let mut reader = SerializedPageReader::new(Arc::clone(&recorder), column, total, None)?;
    let mut pages: Vec<(u64, i64)> = Vec::new();
    let deepest = column.column_descr().max_rep_level();
    while let Some(page) = reader.peek_next_page()? {
        let start = *recorder.last.lock().unwrap_or_else(PoisonError::into_inner);
        if page.is_dict {
            reader.skip_next_page()?;
            continue;
        }
        let page_rows = match (page.num_rows, page.num_levels) {
            (Some(rows), _) => Some(rows),
            (None, Some(levels)) if deepest == 0 => Some(levels),
            _ => None,
        };
        let page_rows = match page_rows {
            Some(rows) => {
                reader.skip_next_page()?;
                rows
            }
            None => match reader
                .get_next_page()?
                .and_then(|page| rows_of(&page, deepest))
            {
                Some(rows) => rows,
                None => return Ok(None),
            },
        };
        pages.push((start, i64::try_from(page_rows).unwrap_or(i64::MAX)));
    }
    let (start, length) = column.byte_range();
    let ends = pages
        .iter()
        .skip(1)
        .map(|(start, _)| *start)
        .chain([start + length]);
    let mut index = OffsetIndexBuilder::new();
    for ((start, page_rows), end) in pages.iter().zip(ends) {
        let fits = |number: u64| {
            i64::try_from(number)
                .map_err(|_| ParquetError::General("a page lies beyond all files".to_owned()))
        };
        let size = i32::try_from(end - start)
            .map_err(|_| ParquetError::General("a page has more than 2 GiB".to_owned()))?;
        index.append_offset_and_size(fits(*start)?, size);
        index.append_row_count(*page_rows);
    }
    let counted: i64 = pages.iter().map(|(_, rows)| rows).sum();
    if counted != rows {
        return Err(ParquetError::General(format!(
            "pages have {counted} rows, expected {rows}"
        )));
    }
    Ok(Some(index.build()))
}

/// Rows that begin in a page of a list column; `None` where it begins inside a row.
fn rows_of(page: &Page, deepest: i16) -> Option<usize> {
    let Page::DataPage {
        buf,
        num_values,
        rep_level_encoding: Encoding::RLE,
        ..
    } = page
    else {
        return None;
    };
    let (length, levels) = buf.split_first_chunk::<4>()?;
    let levels = levels.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let width = u16::BITS - u16::try_from(deepest).ok()?.leading_zeros();
    zeros(levels, width as usize, usize::try_from(*num_values).ok()?).ok()?
}

/// Counts level 0, the beginning of a row, among `count` levels of `width` bits in the hybrid of
/// run lengths and packed bits; `None` where the first level is another.
fn zeros(levels: &[u8], width: usize, count: usize) -> io::Result<Option<usize>> {
    let mut levels = levels;
    let (mut seen, mut zeros) = (0, 0);
    while seen < count {
        let header = varint(&mut levels)?;
        let run = usize::try_from(header >> 1).map_err(io::Error::other)?;
        let before = (seen, zeros);
        if header & 1 == 0 {
            let mut value = [0; 8];
            let bytes = value
                .get_mut(..width.div_ceil(8))
                .ok_or(io::ErrorKind::InvalidData)?;
            levels.read_exact(bytes)?;
            let run = run.min(count - seen);
            zeros += if value == [0; 8] { run } else { 0 };
            seen += run;
        } else {
            let bytes = run
                .checked_mul(width)
                .and_then(|length| levels.split_at_checked(length));
            let (packed, rest) = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
            levels = rest;
            for at in 0..(run * 8).min(count - seen) {
                let bit = |bit: usize| packed[bit / 8] >> (bit % 8) & 1;
                let is_zero = (at * width..(at + 1) * width).all(|at| bit(at) == 0);
                if seen == 0 && !is_zero {
                    return Ok(None);
                }
                zeros += usize::from(is_zero);
                seen += 1;
            }
        }
        if before.0 == 0 && zeros == 0 {
            return Ok(None);
        }
        if seen == before.0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(Some(zeros))
}

fn varint(bytes: &mut &[u8]) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        bytes.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
