//! Safetensors files, mapped into memory.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use super::{Dtype, Entry, Source};
use crate::error::ImportError;

/// Bytes of one tensor in a mapped file.
pub(super) struct Bytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl Bytes {
    /// The bytes, row-major, little-endian.
    pub(super) fn get(&self) -> &[u8] {
        self.map.get(self.range.clone()).unwrap_or_default()
    }
}

/// Names, types, shapes and places of all tensors of the file.
pub(super) fn open(path: &Path) -> Result<Vec<(String, Entry)>, ImportError> {
    let read = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let file = fs_err::File::open(path).map_err(read)?;
    let map = Arc::new(map(file.file()).map_err(read)?);
    let malformed = |reason: String| ImportError::Malformed {
        path: path.to_owned(),
        kind: "safetensors",
        reason,
    };
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&map)
        .map_err(|error| malformed(error.to_string()))?;
    let start = header + size_of::<u64>();
    let end = metadata.data_len().saturating_add(start);
    if end != map.len() {
        let reason = format!(
            "{} bytes, expected {end}: the file is incomplete",
            map.len()
        );
        return Err(malformed(reason));
    }
    let entries = metadata.tensors().into_iter().map(|(name, info)| {
        let (from, to) = info.data_offsets;
        let entry = Entry {
            dtype: dtype(info.dtype),
            shape: info.shape.clone(),
            source: Source::Safetensors(Bytes {
                map: Arc::clone(&map),
                range: start + from..start + to,
            }),
        };
        (name, entry)
    });
    Ok(entries.collect())
}

#[expect(unsafe_code, reason = "mapping a file has no safe form")]
fn map(file: &std::fs::File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read only. A file that another program shortens meanwhile ends this
    // process with a bus error and changes no memory; checkpoints are not written while read.
    unsafe { Mmap::map(file) }
}

fn dtype(dtype: safetensors::Dtype) -> Dtype {
    match dtype {
        safetensors::Dtype::F64 => Dtype::F64,
        safetensors::Dtype::F32 => Dtype::F32,
        safetensors::Dtype::F16 => Dtype::F16,
        safetensors::Dtype::BF16 => Dtype::Bf16,
        safetensors::Dtype::I64 => Dtype::Other("i64"),
        safetensors::Dtype::I32 => Dtype::Other("i32"),
        safetensors::Dtype::I8 => Dtype::Other("i8"),
        safetensors::Dtype::U8 => Dtype::Other("u8"),
        safetensors::Dtype::BOOL => Dtype::Other("bool"),
        _ => Dtype::Other("another type than those"),
    }
}
