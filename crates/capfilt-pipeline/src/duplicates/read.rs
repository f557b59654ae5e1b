//! From Parquet files to the digests and hashes of their pictures.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use capfilt_data::columns::{PERCEPTUAL_HASH, SHA256};
use capfilt_data::{Footer, Location, columns};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::parquet::arrow::RowNumber;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::Order;
use crate::reader::{self, Readers};

/// Rank of the first row of a file.
const FIRST: &str = "first";
/// Number of a row in its file.
const NUMBER: &str = "number";

/// A Parquet file with the columns [`SHA256`] and [`PERCEPTUAL_HASH`]. Of others only `reject` is
/// read, if it is there.
#[derive(Clone, Debug)]
pub struct HashFile {
    path: Location,
    size: u64,
    e_tag: Option<String>,
    pub(super) rows: u64,
}

/// A file without hashes.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{path}` has no hashes: expected the column `{column}` of type {expected}, got {got}; run its \
     pipeline again with this version"
)]
pub struct HashFileError {
    path: Location,
    column: &'static str,
    expected: DataType,
    got: String,
}

impl HashFile {
    /// The file with this footer.
    pub fn new(footer: &Footer) -> std::result::Result<Self, HashFileError> {
        for (column, expected) in [
            (SHA256, DataType::Binary),
            (PERCEPTUAL_HASH, DataType::UInt64),
        ] {
            let field = footer.schema.field_with_name(column).ok();
            if field.is_none_or(|field| *field.data_type() != expected) {
                return Err(HashFileError {
                    path: footer.path.clone(),
                    column,
                    expected,
                    got: field
                        .map_or_else(|| "none".to_owned(), |field| field.data_type().to_string()),
                });
            }
        }
        Ok(Self {
            path: footer.path.clone(),
            size: footer.size,
            e_tag: footer.e_tag.clone(),
            rows: footer.rows(),
        })
    }
}

/// The pictures of all files: `rank` (uint64), `sha256` (binary) and `hash` (uint64, nullable),
/// ordered by digest and rank.
pub(super) async fn pictures(
    session: &SessionContext,
    order: &Order<'_>,
) -> Result<SendableRecordBatchStream> {
    session.register_table("files", Arc::new(table(session, order)?))?;
    let sql = "
        SELECT first + CAST(number AS BIGINT UNSIGNED) AS rank, sha256, perceptual_hash AS hash
        FROM files
        WHERE sha256 IS NOT NULL AND reject IS NULL
        ORDER BY sha256, rank";
    session.sql(sql).await?.execute_stream().await
}

/// The files as they lie, each read in order and as many side by side as there are processors.
fn table(session: &SessionContext, order: &Order<'_>) -> Result<StreamingTable> {
    let stored = Schema::new(vec![
        Field::new(SHA256, DataType::Binary, true),
        Field::new(PERCEPTUAL_HASH, DataType::UInt64, true),
        Field::new(columns::REJECT, DataType::Utf8, true),
    ]);
    let schema = TableSchema::builder(Arc::new(stored))
        .with_table_partition_cols(vec![Arc::new(Field::new(FIRST, DataType::UInt64, false))])
        .with_virtual_columns(vec![Arc::new(
            Field::new(NUMBER, DataType::Int64, false).with_extension_type(RowNumber),
        )])
        .build();
    let mut files = Vec::with_capacity(order.files.len());
    for (first, _, _, file) in &order.files {
        let file = reader::file(&file.path, file.size, file.e_tag.clone());
        files.push(file.with_partition_values(vec![ScalarValue::UInt64(Some(*first))]));
    }
    let side_by_side = session.copied_config().target_partitions();
    let groups = files.chunks(files.len().div_ceil(side_by_side).max(1));
    let groups: Vec<_> = groups.map(|files| FileGroup::new(files.to_vec())).collect();
    let partitions = groups.len();
    let readers = Arc::new(Readers);
    let source = ParquetSource::new(schema).with_parquet_file_reader_factory(readers);
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
        .with_file_groups(groups)
        .build();
    let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(config);
    let schema = scan.schema();
    let partitions = (0..partitions).map(|partition| -> Arc<dyn PartitionStream> {
        Arc::new(Part {
            scan: Arc::clone(&scan),
            schema: Arc::clone(&schema),
            partition,
        })
    });
    StreamingTable::try_new(Arc::clone(&schema), partitions.collect())
}

/// One partition of a scan.
#[derive(Debug)]
struct Part {
    scan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    partition: usize,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.scan
            .execute(self.partition, context)
            .unwrap_or_else(|error| {
                let schema = Arc::clone(&self.schema);
                let failed = futures::stream::once(std::future::ready(Err(error)));
                Box::pin(RecordBatchStreamAdapter::new(schema, failed))
            })
    }
}
