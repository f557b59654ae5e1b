//! Pictures that wait for an earlier row, on disk.
//!
//! Rows are written in the order of the shard, and one that is slow holds back all behind it. Their
//! pictures are done meanwhile, and would fill the memory: beyond a little they wait in a file
//! without a name, which is gone with the run however that ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use capfilt_data::{WriteError, WriteErrorKind, unnamed_in};

use crate::error::StageError;

/// Pictures by the number of their row.
#[derive(Debug)]
pub(crate) struct Spill {
    folder: PathBuf,
    file: Option<File>,
    /// Where each picture lies.
    places: BTreeMap<u64, Place>,
    end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    bytes: usize,
}

impl Spill {
    /// Nothing yet; a file in `folder` when the first picture comes.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            file: None,
            places: BTreeMap::new(),
            end: 0,
        }
    }

    /// Keeps the picture of `row`.
    pub(crate) fn put(&mut self, row: u64, picture: &[u8]) -> Result<(), StageError> {
        self.try_put(row, picture)
            .map_err(|error| self.failed(error))
    }

    /// Takes the picture of `row`, if it was put here.
    pub(crate) fn take(&mut self, row: u64) -> Result<Option<Vec<u8>>, StageError> {
        self.try_take(row).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> StageError {
        StageError::Write(WriteError {
            path: self.folder.as_path().into(),
            kind: WriteErrorKind::of_io(error),
        })
    }

    fn try_put(&mut self, row: u64, picture: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(unnamed_in(&self.folder)?),
        };
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(picture)?;
        let place = Place {
            start: self.end,
            bytes: picture.len(),
        };
        self.places.insert(row, place);
        self.end += picture.len() as u64;
        Ok(())
    }

    fn try_take(&mut self, row: u64) -> io::Result<Option<Vec<u8>>> {
        let (Some(place), Some(file)) = (self.places.remove(&row), &mut self.file) else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(place.start))?;
        let mut picture = vec![0; place.bytes];
        file.read_exact(&mut picture)?;
        if self.places.is_empty() {
            // Nobody waits any more: the disk has its room back.
            self.end = 0;
            file.set_len(0)?;
        }
        Ok(Some(picture))
    }
}

#[cfg(test)]
mod tests;
