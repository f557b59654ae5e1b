//! What a Parquet file says about itself, and reading its rows again.

use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use fs_err::File;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use sha2::{Digest, Sha256};

use crate::write::CONTENT;

/// A Parquet file's footer, and what identifies the file.
#[derive(Clone, Debug)]
pub struct Footer {
    /// The file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
    /// Nanoseconds since 1970 of the last change.
    pub modified: u128,
    /// SHA-256 of the footer's bytes, in hexadecimal.
    pub digest: String,
    /// Columns as Arrow types.
    pub schema: SchemaRef,
    /// Row groups, columns, key-value pairs, and the page index where there is one.
    pub metadata: Arc<ParquetMetaData>,
}

/// A file that cannot be read as Parquet.
#[derive(Debug, thiserror::Error)]
pub enum FooterError {
    /// The file could not be opened or read.
    #[error("cannot read a shard")]
    Io(#[from] std::io::Error),
    /// The bytes are not Parquet, or not all of it is there.
    #[error("`{}` is not a whole Parquet file", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        #[source]
        source: ParquetError,
    },
    /// The rows are not those that were written.
    #[error("`{}` is damaged: its rows have another digest than when it was written", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A row could not be read.
    #[error("cannot read the rows of `{}`", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        #[source]
        source: ArrowError,
    },
}

const TAIL: u64 = 8;

/// SHA-256.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 in hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn columns_of(metadata: &ParquetMetaData) -> impl Iterator<Item = &ColumnChunkMetaData> {
    let groups = metadata.row_groups().iter();
    groups.flat_map(RowGroupMetaData::columns)
}

/// Whether the reader would panic over where a column lies.
fn lies_nowhere(column: &ColumnChunkMetaData) -> bool {
    let start = column.dictionary_page_offset();
    start.unwrap_or(column.data_page_offset()) < 0 || column.compressed_size() < 0
}

impl Footer {
    /// Reads the footer of the file at `path`.
    pub fn read(path: &Path) -> Result<Self, FooterError> {
        let refuse = |source| FooterError::Parquet {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        let size = about.len();
        let modified = about
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos());
        if size < TAIL {
            return Err(refuse(ParquetError::EOF(format!(
                "it has only {size} bytes"
            ))));
        }
        let mut tail = [0; 8];
        file.seek(SeekFrom::Start(size - TAIL))?;
        file.read_exact(&mut tail)?;
        let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        if &tail[4..] != b"PAR1" || length + TAIL > size {
            return Err(refuse(ParquetError::General(
                "it does not end as Parquet does".to_owned(),
            )));
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(size - TAIL - length))?;
        file.by_ref().take(length).read_to_end(&mut bytes)?;
        let metadata = ParquetMetaDataReader::new()
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .with_column_index_policy(PageIndexPolicy::Skip)
            .parse_and_finish(file.file())
            .map_err(refuse)?;
        if columns_of(&metadata).any(lies_nowhere) {
            return Err(refuse(ParquetError::General(
                "a column lies before the file".to_owned(),
            )));
        }
        let about_file = metadata.file_metadata();
        // The reader panics over values that an Arrow schema in the footer should not have.
        let schema = catch_unwind(AssertUnwindSafe(|| {
            parquet_to_arrow_schema(about_file.schema_descr(), about_file.key_value_metadata())
        }))
        .unwrap_or_else(|_panic| Err(ParquetError::General("its schema is damaged".to_owned())))
        .map_err(refuse)?;
        Ok(Self {
            path: path.to_owned(),
            size,
            modified,
            digest: hex_digest(&bytes),
            schema: Arc::new(schema),
            metadata: Arc::new(metadata),
        })
    }

    /// The same with a page index made for large row groups that have none, so that a part of a row
    /// group can be read. Reads every page header of such a row group.
    pub fn with_pages(self) -> Result<Self, FooterError> {
        let file = File::open(&self.path)?;
        let metadata = Arc::unwrap_or_clone(self.metadata);
        let metadata = crate::pages::with_pages(file.file(), metadata).map_err(|source| {
            FooterError::Parquet {
                path: self.path.clone(),
                source,
            }
        })?;
        Ok(Self {
            metadata: Arc::new(metadata),
            ..self
        })
    }

    /// How many rows the file has.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    /// The value of a key-value pair.
    pub fn value(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    /// Holds the rows of a file of ours against its [`CONTENT`] pair: whatever a disk did to them
    /// since, nothing wrong follows from them. Reads the whole file.
    pub fn verify(&self) -> Result<(), FooterError> {
        let ends = columns_of(&self.metadata).map(|column| {
            let (start, length) = column.byte_range();
            start.saturating_add(length)
        });
        // A file without rows has just its first four bytes before the footer.
        let mut rows = File::open(&self.path)?.take(ends.max().unwrap_or(4));
        let mut digest = Sha256::new();
        let mut block = vec![0; 1 << 16];
        loop {
            match rows.read(&mut block)? {
                0 => break,
                read => digest.update(&block[..read]),
            }
        }
        if self.value(CONTENT) == Some(&hex(&digest.finalize())) {
            Ok(())
        } else {
            Err(FooterError::Damaged {
                path: self.path.clone(),
            })
        }
    }

    /// Reads the file's rows in order, `rows` at a time, with only the columns `columns` where
    /// some are named. At most one page of each column is held.
    pub fn batches(
        &self,
        columns: Option<&[&str]>,
        rows: usize,
    ) -> Result<ParquetRecordBatchReader, FooterError> {
        let refuse = |source| FooterError::Parquet {
            path: self.path.clone(),
            source,
        };
        let file = File::open(&self.path)?.into_parts().0;
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), ArrowReaderOptions::new())
                .map_err(refuse)?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        builder.with_batch_size(rows).build().map_err(refuse)
    }
}

#[cfg(test)]
mod tests;
