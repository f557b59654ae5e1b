//! How DataFusion's Parquet scan reads a file, wherever that lies.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use capfilt_data::{Location, Object};
use capfilt_fetch::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path as StorePath;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::Result as ParquetResult;
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;

/// The file at `path` for a scan that reads through [`Readers`]; `e_tag` is an object's entity tag.
pub(crate) fn file(path: &Location, size: u64, e_tag: Option<String>) -> Result<PartitionedFile> {
    let file = PartitionedFile::new("", size);
    let (mut file, path) = match path {
        Location::File(path) => {
            // The library wants absolute paths without `..`.
            let path = StorePath::from_absolute_path(fs_err::canonicalize(path)?)
                .map_err(|error| DataFusionError::ObjectStore(Box::new(error.into())))?;
            (file, path)
        }
        Location::Object(object) => {
            let ranges = ObjectRanges {
                object: object.clone(),
                size,
                e_tag,
            };
            // Only for messages: its own reader knows where it lies.
            let path = StorePath::from(object.to_string());
            (file.with_extension(ranges), path)
        }
    };
    file.object_meta.location = path;
    Ok(file)
}

/// Readers of files on this machine, and of those in stores.
pub(crate) struct Readers(DefaultParquetFileReaderFactory);

impl Default for Readers {
    fn default() -> Self {
        let disk = Arc::new(LocalFileSystem::new());
        Self(DefaultParquetFileReaderFactory::new(disk))
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readers").finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        match file.extension::<ObjectRanges>() {
            Some(ranges) => Ok(Box::new(ranges.clone())),
            None => self.0.create_reader(partition, file, hint, metrics),
        }
    }
}

/// Reads a file in a store.
#[derive(Clone)]
struct ObjectRanges {
    object: Object,
    size: u64,
    e_tag: Option<String>,
}

impl AsyncFileReader for ObjectRanges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let ranges = self.get_byte_ranges(vec![range]);
        async move { Ok(ranges.await?.pop().unwrap_or_default()) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            let read = self.object.read_ranges(ranges, self.e_tag.as_deref());
            Ok(read.await?)
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
