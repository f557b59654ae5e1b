//! Writing safetensors files.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::{Dtype, View};

use crate::error::ImportError;

struct Floats {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Floats {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes a safetensors file of 32-bit floats: name, shape and row-major values of every tensor.
/// The file is on the disk when this returns.
pub fn save_tensors(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
) -> Result<(), ImportError> {
    let tensors = tensors.into_iter().map(|(name, shape, values)| {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        (name, Floats { shape, bytes })
    });
    let write = |source| ImportError::Write {
        path: path.to_owned(),
        source,
    };
    let format = [("format".to_owned(), "pt".to_owned())].into();
    let bytes = safetensors::serialize(tensors, Some(format))
        .map_err(|error| write(std::io::Error::other(error)))?;
    fs_err::write(path, bytes).map_err(write)?;
    let file = fs_err::File::open(path).map_err(write)?;
    file.sync_all().map_err(write)
}
