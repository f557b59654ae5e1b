//! How DataFusion's Parquet scan reads a file, wherever that lies.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use capfilt_data::{Location, Object};
use capfilt_fetch::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::object_store::path::Path as StorePath;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::shelf::blocking;

/// The file at `path` for a scan that reads through [`Readers`]; `e_tag` is an object's entity tag.
pub(crate) fn file(path: &Location, size: u64, e_tag: Option<String>) -> PartitionedFile {
    let content = match path {
        Location::File(path) => Content::File(path.clone()),
        Location::Object(object) => Content::Object(object.clone(), e_tag),
    };
    let mut file = PartitionedFile::new("", size).with_extension(FileRanges {
        content: Arc::new(content),
        size,
    });
    // Only for messages: its own reader knows where it lies.
    file.object_meta.location = StorePath::from(path.to_string());
    file
}

/// Readers of the files that [`file`] gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readers;

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        match file.extension::<FileRanges>() {
            Some(ranges) => Ok(Box::new(ranges.clone())),
            None => Err(DataFusionError::Internal(
                "a file is read that nobody opened".to_owned(),
            )),
        }
    }
}

/// Reads ranges of a file.
#[derive(Clone)]
struct FileRanges {
    content: Arc<Content>,
    size: u64,
}

enum Content {
    /// On this machine. DataFusion's own reader takes paths for keys of a store, which may not have
    /// every letter that a path may.
    File(PathBuf),
    /// In a store, with its entity tag.
    Object(Object, Option<String>),
}

impl AsyncFileReader for FileRanges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let ranges = self.get_byte_ranges(vec![range]);
        async move { Ok(ranges.await?.pop().unwrap_or_default()) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let content = Arc::clone(&self.content);
        async move {
            match &*content {
                Content::Object(object, e_tag) => {
                    Ok(object.read_ranges(ranges, e_tag.as_deref()).await?)
                }
                Content::File(path) => {
                    let path = path.clone();
                    let read = blocking(move || {
                        let mut file = fs_err::File::open(path)?.into_parts().0;
                        ranges
                            .into_iter()
                            .map(|range| read(&mut file, range))
                            .collect()
                    });
                    read.await
                        .map_err(|error| ParquetError::External(Box::new(error)))?
                }
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let mut metadata = ParquetMetaDataReader::new();
            if let Some(options) = options {
                metadata = metadata
                    .with_metadata_options(Some(options.metadata_options().clone()))
                    .with_column_index_policy(options.column_index_policy())
                    .with_offset_index_policy(options.offset_index_policy());
            }
            let size = self.size;
            Ok(Arc::new(metadata.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

fn read(file: &mut File, range: Range<u64>) -> ParquetResult<Bytes> {
    let wanted = range.end.saturating_sub(range.start);
    let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
    file.seek(SeekFrom::Start(range.start))?;
    file.take(wanted).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == wanted {
        return Ok(bytes.into());
    }
    Err(ParquetError::EOF(format!(
        "expected {wanted} bytes at {}, got {}",
        range.start,
        bytes.len()
    )))
}
