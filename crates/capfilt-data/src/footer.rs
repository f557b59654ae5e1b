//! What a Parquet file says about itself, and reading its rows again.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::reader::ChunkReader;
use sha2::{Digest, Sha256};

use crate::encryption::Encryption;
use crate::leaves::with_extensions;
use crate::location::Location;
use crate::open::Open;
use crate::write::CONTENT;

/// A Parquet file's footer, and what identifies the file.
#[derive(Clone, Debug)]
pub struct Footer {
    /// The file.
    pub path: Location,
    /// Bytes of the file.
    pub size: u64,
    /// Nanoseconds since 1970 of a file's last change; an object's entity tag.
    pub version: String,
    /// An object's entity tag, on which reading its rows is conditional.
    pub e_tag: Option<String>,
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
    Io(#[from] io::Error),
    /// The bytes are not Parquet, or not all of it is there.
    #[error("`{path}` is not a whole Parquet file")]
    Parquet {
        /// The file.
        path: Location,
        /// What the reader found.
        #[source]
        source: ParquetError,
    },
    /// Some or all of it is encrypted.
    #[error(
        "`{path}` is encrypted: {encryption}; capfilt has no keys, so decrypt it with the program that \
         wrote it (pyarrow: read it with its `decryption_properties`, write it without)"
    )]
    Encrypted {
        /// The file.
        path: Location,
        /// What of it.
        encryption: Encryption,
    },
    /// The rows are not those that were written.
    #[error("`{path}` is damaged: its rows have another digest than when it was written")]
    Damaged {
        /// The file.
        path: Location,
    },
    /// A row could not be read.
    #[error("cannot read the rows of `{path}`")]
    Rows {
        /// The file.
        path: Location,
        /// What the reader found.
        #[source]
        source: ArrowError,
    },
}

impl FooterError {
    /// What an error of the reader means for the file `path`.
    pub(crate) fn of_parquet(path: &Location, error: ParquetError) -> Self {
        let source = match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(error) => return Self::Io(*error),
                Err(inner) => ParquetError::External(inner),
            },
            other => other,
        };
        Self::Parquet {
            path: path.clone(),
            source,
        }
    }
}

/// Bytes at the end of a file that say how long the footer is.
const TAIL: usize = 8;
/// Bytes at the end that are read at once: the footer of most files.
const FOOTER: usize = 64 << 10;

/// SHA-256.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 in hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A digest in hexadecimal.
pub fn hex(digest: &[u8]) -> String {
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
    /// Reads the footer of the file at `path`; of an object mostly in one request.
    pub fn read(path: impl Into<Location>) -> Result<Self, FooterError> {
        let path = path.into();
        let refuse = |source| FooterError::of_parquet(&path, source);
        let file = Open::at(&path)?;
        let size = usize::try_from(file.size).unwrap_or(usize::MAX);
        let last = |bytes: usize| file.get_bytes(file.size - bytes as u64, bytes);
        let end = last(size.min(FOOTER)).map_err(refuse)?;
        let Some((_, tail)) = end.split_last_chunk::<TAIL>() else {
            return Err(refuse(ParquetError::EOF(format!(
                "it has only {size} bytes"
            ))));
        };
        let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
        let encrypted = |encryption| FooterError::Encrypted {
            path: path.clone(),
            encryption,
        };
        if &tail[4..] == b"PARE" {
            return Err(encrypted(Encryption::Footer));
        }
        if &tail[4..] != b"PAR1" || length.saturating_add(TAIL) > size {
            return Err(refuse(ParquetError::General(
                "it does not end as Parquet does".to_owned(),
            )));
        }
        let footer = last(length + TAIL).map_err(refuse)?;
        let digest = hex_digest(&footer[..length]);
        if let Some(found) = Encryption::of(&footer[..length]) {
            return Err(encrypted(found));
        }
        let metadata = ParquetMetaDataReader::new()
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .with_column_index_policy(PageIndexPolicy::Skip)
            .parse_and_finish(&file)
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
        let fields = with_extensions(schema.fields(), about_file.schema_descr());
        Ok(Self {
            size: file.size,
            version: file.version,
            e_tag: file.e_tag,
            digest,
            schema: Arc::new(Schema::new_with_metadata(fields, schema.metadata)),
            metadata: Arc::new(metadata),
            path,
        })
    }

    /// The same with a page index made for large row groups that have none, so that a part of a row
    /// group can be read. Reads every page header of such a row group.
    pub fn with_pages(self) -> Result<Self, FooterError> {
        let file = Open::again(&self)?;
        let metadata = Arc::unwrap_or_clone(self.metadata);
        let metadata = crate::pages::with_pages(&file, metadata)
            .map_err(|source| FooterError::of_parquet(&self.path, source))?;
        Ok(Self {
            metadata: Arc::new(metadata),
            ..self
        })
    }

    /// How many rows the file has.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    /// How many rows each row group has.
    pub fn group_rows(&self) -> impl Iterator<Item = usize> {
        let groups = self.metadata.row_groups().iter();
        groups.map(|group| usize::try_from(group.num_rows()).unwrap_or(0))
    }

    /// What row group `group` stores of a column: one leaf for each field of it without fields.
    pub fn leaves(&self, group: usize, column: &str) -> impl Iterator<Item = Leaf> {
        let leaves = self.metadata.row_group(group).columns().iter();
        leaves
            .filter(move |leaf| {
                leaf.column_path()
                    .parts()
                    .first()
                    .is_some_and(|name| name == column)
            })
            .map(|leaf| Leaf {
                values: u64::try_from(leaf.num_values()).unwrap_or(0),
                bytes: u64::try_from(leaf.uncompressed_size()).unwrap_or(0),
            })
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
        let rows = Open::again(self)?
            .get_read(0)
            .map_err(|source| FooterError::of_parquet(&self.path, source))?;
        let mut rows = rows.take(ends.max().unwrap_or(4));
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
    pub fn batches(&self, columns: Option<&[&str]>, rows: usize) -> Result<Batches, FooterError> {
        let refuse = |source| FooterError::of_parquet(&self.path, source);
        let builder = self.reader(columns)?;
        Ok(Batches {
            path: self.path.clone(),
            reader: builder.with_batch_size(rows).build().map_err(refuse)?,
        })
    }

    /// A reader of the file's rows with only the columns `columns` where some are named.
    fn reader(
        &self,
        columns: Option<&[&str]>,
    ) -> Result<ParquetRecordBatchReaderBuilder<Open>, FooterError> {
        let refuse = |source| FooterError::of_parquet(&self.path, source);
        let file = Open::again(self)?;
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), ArrowReaderOptions::new())
                .map_err(refuse)?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        Ok(builder)
    }

    /// Reads the rows of `stretch` in order, `rows` at a time, with only the columns `columns`.
    pub fn stretch(
        &self,
        stretch: &Stretch,
        columns: &[&str],
        rows: usize,
    ) -> Result<Batches, FooterError> {
        let refuse = |source| FooterError::of_parquet(&self.path, source);
        let builder = self.reader(Some(columns))?;
        let reader = builder
            .with_row_groups(vec![stretch.group])
            .with_offset(stretch.start)
            .with_limit(stretch.rows)
            .with_batch_size(rows)
            .build()
            .map_err(refuse)?;
        let path = self.path.clone();
        Ok(Batches { path, reader })
    }

    /// The error of rows of this file that are not what they should be.
    pub fn unreadable(&self, source: ArrowError) -> FooterError {
        let path = self.path.clone();
        FooterError::Rows { path, source }
    }
}

/// Some rows of one row group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// Which row group of the file.
    pub group: usize,
    /// The first row, counted in the row group.
    pub start: usize,
    /// How many rows.
    pub rows: usize,
}

/// What a row group stores of a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// How many values: of a list as many as it has elements, and one where it is empty or null.
    pub values: u64,
    /// Uncompressed bytes.
    pub bytes: u64,
}

/// The rows of a file, a batch at a time.
pub struct Batches {
    path: Location,
    reader: ParquetRecordBatchReader,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, FooterError>;

    fn next(&mut self) -> Option<Self::Item> {
        let unreadable = |source| FooterError::Rows {
            path: self.path.clone(),
            source,
        };
        Some(self.reader.next()?.map_err(unreadable))
    }
}

#[cfg(test)]
mod tests;
