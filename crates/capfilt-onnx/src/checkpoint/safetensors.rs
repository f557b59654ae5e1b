//! Safetensors files, read one tensor at a time.
//!
//! Tensors are read, not mapped: every weight is needed once, so that memory stays at the largest
//! tensor, and a file that shrinks meanwhile is an error instead of a bus error.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Dtype, Entry, Source};
use crate::error::ImportError;

/// Longest header that is read: thousands of tensors take less than a megabyte.
const LONGEST_HEADER: u64 = 64 << 20;

/// Bytes of one tensor in an open file.
pub(super) struct Bytes {
    file: Arc<Mutex<fs_err::File>>,
    offset: u64,
    length: usize,
}

impl Bytes {
    /// The bytes, row-major, little-endian.
    pub(super) fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = vec![0; self.length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Names, types, shapes and places of all tensors of the file.
pub(super) fn open(path: &Path) -> Result<Vec<(String, Entry)>, ImportError> {
    let read = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let malformed = |reason: String| ImportError::Malformed {
        path: path.to_owned(),
        kind: "safetensors",
        reason,
    };
    let mut file = fs_err::File::open(path).map_err(read)?;
    let size = file.metadata().map_err(read)?.len();
    let mut bytes = vec![0; size_of::<u64>()];
    if size < bytes.len() as u64 {
        return Err(malformed(format!("{size} bytes, expected a header")));
    }
    file.read_exact(&mut bytes).map_err(read)?;
    let header = bytes
        .first_chunk()
        .map_or(0, |length| u64::from_le_bytes(*length));
    if header > LONGEST_HEADER || header > size - bytes.len() as u64 {
        let reason = format!("a header of {header} bytes in a file of {size} bytes");
        return Err(malformed(reason));
    }
    (&mut file)
        .take(header)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    let json = bytes.get(size_of::<u64>()..).unwrap_or_default();
    let metadata: safetensors::tensor::Metadata =
        serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    let start = bytes.len() as u64;
    let expected = start.saturating_add(metadata.data_len() as u64);
    if size != expected {
        return Err(malformed(format!(
            "{size} bytes, expected {expected}: the file is incomplete"
        )));
    }
    let file = Arc::new(Mutex::new(file));
    let mut entries = Vec::new();
    for (name, info) in metadata.tensors() {
        let (from, to) = info.data_offsets;
        if from > to || start.saturating_add(to as u64) > size {
            return Err(malformed(format!(
                "tensor `{name}` lies outside of the file"
            )));
        }
        let bytes = Bytes {
            file: Arc::clone(&file),
            offset: start + from as u64,
            length: to - from,
        };
        let entry = Entry {
            dtype: dtype(info.dtype),
            shape: info.shape.clone(),
            source: Source::Safetensors(bytes),
        };
        entries.push((name, entry));
    }
    Ok(entries)
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
        _ => Dtype::Other("a type of few bits or none of floats"),
    }
}
