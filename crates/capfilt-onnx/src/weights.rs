//! The one data file of a package: tensors, each stored once, at aligned offsets.

use std::collections::HashMap;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use half::f16;

use crate::error::ImportError;
use crate::graph::Element;

/// Offset granularity of large tensors: they can be mapped page by page.
const PAGE: u64 = 4096;
/// Offset granularity of small tensors: one cache line.
const LINE: u64 = 64;

/// Where a tensor lies in the data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its name, unique in the file.
    pub(crate) name: String,
    /// Type of its elements.
    pub(crate) element: Element,
    /// Its axes.
    pub(crate) shape: Vec<usize>,
    /// First byte.
    pub(crate) offset: u64,
    /// Number of bytes.
    pub(crate) length: u64,
}

/// Writer of the data file.
pub(crate) struct WeightsFile {
    path: PathBuf,
    file: BufWriter<fs_err::File>,
    end: u64,
    stored: HashMap<String, Stored>,
}

impl WeightsFile {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> Result<Self, ImportError> {
        let write = |source| ImportError::Write {
            path: path.to_owned(),
            source,
        };
        let file = fs_err::File::create_new(path).map_err(write)?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 20, file),
            end: 0,
            stored: HashMap::new(),
        })
    }

    /// The tensor of this name, if it was stored before.
    pub(crate) fn get(&self, name: &str) -> Option<Stored> {
        self.stored.get(name).cloned()
    }

    /// Stores floats as they are.
    pub(crate) fn f32(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[f32],
    ) -> Result<Stored, ImportError> {
        self.store(
            name,
            Element::F32,
            shape,
            values.iter().map(|value| value.to_le_bytes()),
        )
    }

    /// Stores floats rounded to 16 bits (to nearest, ties to even).
    pub(crate) fn f16(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[f32],
    ) -> Result<Stored, ImportError> {
        let bytes = values
            .iter()
            .map(|&value| f16::from_f32(value).to_le_bytes());
        self.store(name, Element::F16, shape, bytes)
    }

    /// Stores signed bytes.
    pub(crate) fn i8(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[i8],
    ) -> Result<Stored, ImportError> {
        self.store(
            name,
            Element::I8,
            shape,
            values.iter().map(|value| value.to_le_bytes()),
        )
    }

    fn store<const N: usize>(
        &mut self,
        name: &str,
        element: Element,
        shape: &[usize],
        values: impl ExactSizeIterator<Item = [u8; N]>,
    ) -> Result<Stored, ImportError> {
        let length = (values.len() * N) as u64;
        let align = if length >= PAGE { PAGE } else { LINE };
        let offset = self.end.next_multiple_of(align);
        self.write(&vec![0; usize::try_from(offset - self.end).unwrap_or(0)])?;
        for value in values {
            self.file
                .write_all(&value)
                .map_err(|source| self.failed(source))?;
        }
        self.end = offset + length;
        let stored = Stored {
            name: name.to_owned(),
            element,
            shape: shape.to_vec(),
            offset,
            length,
        };
        self.stored.insert(name.to_owned(), stored.clone());
        Ok(stored)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        self.file
            .write_all(bytes)
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> ImportError {
        ImportError::Write {
            path: self.path.clone(),
            source,
        }
    }

    /// Writes what is buffered and hands the file over to the disk.
    pub(crate) fn finish(mut self) -> Result<(), ImportError> {
        self.file.flush().map_err(|source| self.failed(source))?;
        self.file
            .get_ref()
            .sync_all()
            .map_err(|source| self.failed(source))
    }
}
