//! From a range of rows of a shard to rows on their way.
//!
//! DataFusion's own Parquet scan does the reading. A piece is one partition that reads one file in
//! windows, one after the other, so that neither a large row group nor a large piece is ever in
//! memory as a whole:
//!
//! ```text
//! row groups  |        0        |           1           |
//! piece             |-----------------------|
//! windows           |---|---|---|---|---|---|
//! ```
//!
//! Where only some rows of a piece are wanted, windows select them, and those without any are left
//! out.
//!
//! Shards are read as they are stored ([`capfilt_data::Raw`]), for a reader that meets a value that is
//! not what its column declares ends there. Here, only the row of such a value leaves.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, RecordBatch, StringArray, StructArray, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, SchemaRef};
use capfilt_data::candidate::candidates_array;
use capfilt_data::columns::plain_type;
use capfilt_data::read::{image_column, text_column};
use capfilt_data::{Candidate, ColumnError, Footer, Reject, Shard, Source, columns, typed};
use capfilt_fetch::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};

use crate::file::TextSource;
use crate::numbers::{Each, Numbers};
use crate::operator::{Operator, StageExec};
use crate::reader::{self, Readers};
use crate::row::{self, BATCH_ROWS};
use crate::source::Mapping;
use crate::window::Window;

/// Compressed bytes that one window reads.
const WINDOW_BYTES: u64 = 8 << 20;

/// The plan of the rows `numbers` of one shard up to the first stage.
pub(crate) fn plan(
    footer: &Footer,
    shard: &Shard,
    numbers: &Numbers,
    mapping: &Mapping,
    text_source: TextSource,
) -> Result<Arc<dyn ExecutionPlan>> {
    let raw = footer
        .raw()
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    let scan = scan(footer, &raw.schema, &raw.metadata, numbers);
    let source = SourceRows {
        shard: shard.clone(),
        columns: Arc::clone(&footer.schema),
        numbers: numbers.clone(),
        mapping: mapping.clone(),
        text_source: text_source.into(),
    };
    Ok(StageExec::over(scan, Arc::new(source)))
}

/// The rows `numbers` of a `scored` file whose first row is `first`.
pub(crate) fn stored(footer: &Footer, first: u64, numbers: &Numbers) -> Arc<dyn ExecutionPlan> {
    let numbers = numbers.counted_from(first);
    scan(footer, &footer.schema, &footer.metadata, &numbers)
}

/// The rows `numbers` of a file, read by `metadata` into the columns `schema`.
fn scan(
    footer: &Footer,
    schema: &SchemaRef,
    metadata: &Arc<ParquetMetaData>,
    numbers: &Numbers,
) -> Arc<dyn ExecutionPlan> {
    let groups = footer.metadata.num_row_groups();
    let windows = windows(footer, numbers);
    let files: Vec<PartitionedFile> = windows
        .into_iter()
        .map(|window| {
            let mut plan = ParquetAccessPlan::new_none(groups);
            plan.set(window.group, window.access());
            let file = reader::file(&footer.path, footer.size, footer.e_tag.clone());
            file.with_extension(plan)
        })
        .collect();
    let source = ParquetSource::new(Arc::clone(schema)).with_parquet_file_reader_factory(Arc::new(
        KnownFooter {
            metadata: Arc::clone(metadata),
            readers: Readers,
        },
    ));
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
        .with_file_group(FileGroup::new(files))
        .with_batch_size(Some(BATCH_ROWS))
        .with_preserve_order(true)
        .build();
    DataSourceExec::from_data_source(config)
}

/// Rows of one row group that are read together.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Part {
    group: usize,
    group_rows: usize,
    rows: Vec<Range<usize>>,
}

impl Part {
    fn access(&self) -> RowGroupAccess {
        if matches!(self.rows.as_slice(), [all] if *all == (0..self.group_rows)) {
            return RowGroupAccess::Scan;
        }
        RowGroupAccess::Selection(RowSelection::from_consecutive_ranges(
            self.rows.iter().cloned(),
            self.group_rows,
        ))
    }
}

/// The windows that cover the rows `numbers`, in order.
fn windows(footer: &Footer, numbers: &Numbers) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (group, about) in footer.metadata.row_groups().iter().enumerate() {
        let rows = u64::try_from(about.num_rows()).unwrap_or(0);
        let end = start + rows;
        let bytes = u64::try_from(about.compressed_size()).unwrap_or(0).max(1);
        // Without an index of pages every window would read the whole row group.
        let step = if has_pages(&footer.metadata, group) {
            u64::max(rows.saturating_mul(WINDOW_BYTES) / bytes, BATCH_ROWS as u64)
        } else {
            rows
        };
        let at = |row: u64| usize::try_from(row - start).unwrap_or(usize::MAX);
        let mut first = start;
        while let Some(next) = numbers.within(&(first..end)).next() {
            let last = (next.start + step).min(end);
            parts.push(Part {
                group,
                group_rows: usize::try_from(rows).unwrap_or(usize::MAX),
                rows: numbers
                    .within(&(next.start..last))
                    .map(|range| at(range.start)..at(range.end))
                    .collect(),
            });
            first = last;
        }
        start = end;
    }
    parts
}

/// Whether it is known where the pages of a row group begin.
fn has_pages(metadata: &ParquetMetaData, group: usize) -> bool {
    metadata
        .offset_index()
        .and_then(|index| index.get(group))
        .is_some_and(|columns| {
            !columns.is_empty()
                && columns
                    .iter()
                    .all(|column| !column.page_locations.is_empty())
        })
}

/// Gives every window the footer that was read when the run was planned, or what is made of it.
struct KnownFooter {
    metadata: Arc<ParquetMetaData>,
    readers: Readers,
}

impl fmt::Debug for KnownFooter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownFooter").finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for KnownFooter {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let inner = self.readers.create_reader(partition, file, hint, metrics)?;
        Ok(Box::new(KnownFooterReader {
            metadata: Arc::clone(&self.metadata),
            inner,
        }))
    }
}

struct KnownFooterReader {
    metadata: Arc<ParquetMetaData>,
    inner: Box<dyn AsyncFileReader + Send>,
}

impl AsyncFileReader for KnownFooterReader {
    fn get_bytes(
        &mut self,
        range: Range<u64>,
    ) -> BoxFuture<'_, datafusion::parquet::errors::Result<Bytes>> {
        self.inner.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, datafusion::parquet::errors::Result<Vec<Bytes>>> {
        self.inner.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, datafusion::parquet::errors::Result<Arc<ParquetMetaData>>> {
        let metadata = Arc::clone(&self.metadata);
        async move { Ok(metadata) }.boxed()
    }
}

/// Gives the shard's columns the names and forms that stages know, and each row its number.
#[derive(Debug)]
struct SourceRows {
    shard: Shard,
    /// The shard's columns as it declares them.
    columns: SchemaRef,
    numbers: Numbers,
    mapping: Mapping,
    text_source: Source,
}

impl Operator for SourceRows {
    const NAME: &'static str = "SourceExec";

    fn describe(&self) -> String {
        format!("shard={}, rows={}", self.shard, self.numbers)
    }

    fn schema(&self, _: &SchemaRef) -> SchemaRef {
        row::schema(&self.mapping.passed_fields())
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = self.schema(&input.schema());
        let numbers = self.numbers.each();
        admitted(input, numbers, &context, move |batch, numbers| {
            self.named(batch, numbers, &schema)
        })
    }
}

/// The rows of `input`, which have the numbers `numbers`, as `named` makes them of a batch and its
/// numbers. They come as the window of the piece admits them.
pub(crate) fn admitted<F>(
    input: SendableRecordBatchStream,
    numbers: Each,
    context: &TaskContext,
    named: F,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static + use<F>
where
    F: Fn(&RecordBatch, &[u64]) -> Result<RecordBatch> + Send + Sync + 'static,
{
    let window = context.session_config().get_extension::<Window>();
    let named = Arc::new(named);
    futures::stream::try_unfold((input, numbers), move |(mut input, mut numbers)| {
        let (window, named) = (window.clone(), Arc::clone(&named));
        async move {
            let Some(batch) = input.next().await else {
                if let Some(window) = window {
                    window.read();
                }
                return ended(numbers);
            };
            let batch = batch?;
            let numbered: Vec<u64> = numbers.by_ref().take(batch.num_rows()).collect();
            let rows = named(&batch, &numbered)?;
            if let (Some(window), Some(first)) = (window, numbered.first()) {
                window.admit(*first).await;
                for (index, number) in numbered.iter().enumerate() {
                    let bytes = row::image_at(&rows, index)?.map_or(0, <[u8]>::len);
                    window.hold(*number, bytes as u64);
                }
            }
            Ok(Some((rows, (input, numbers))))
        }
    })
}

/// The text that came with a row, as a candidate; a text of white space alone is none.
pub(crate) fn web_candidate(text: Option<&str>, source: Source) -> Option<Candidate> {
    let text = text.filter(|text| !text.trim().is_empty());
    text.map(|text| Candidate {
        text: text.to_owned(),
        source,
        by: None,
        log_prob: None,
        scores: Vec::new(),
    })
}

fn of_column(error: ColumnError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

type NextRows = Option<(RecordBatch, (SendableRecordBatchStream, Each))>;

/// A shard that gives fewer rows than its footer promised is broken.
fn ended(mut numbers: Each) -> Result<NextRows> {
    numbers.next().map_or(Ok(None), |missing| {
        Err(DataFusionError::ParquetError(Box::new(ParquetError::EOF(
            format!("the rows end before row {missing}"),
        ))))
    })
}

/// What [`columns::STAGE`] says of rows that could not be read.
const SOURCE: &str = "source";

/// The column of rows that all have `value`.
pub(crate) fn constant(value: Option<&str>, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec![value; rows]))
}

/// What could not be read of some rows, in words.
struct Unread<'a> {
    source: &'a SourceRows,
    numbers: &'a [u64],
    /// Of each row, what takes it out.
    rows: Vec<Option<String>>,
    /// Of each row, what is wrong with its text.
    texts: Vec<Option<String>>,
}

impl Unread<'_> {
    /// The column at `index` of `batch` as it declares itself.
    fn column(&mut self, batch: &RecordBatch, index: usize) -> Result<ArrayRef> {
        let field = self.source.columns.field(index);
        let read = typed(batch.column(index), &plain_type(field.data_type())).map_err(of_column)?;
        let told = if self.source.mapping.text == Some(index) {
            &mut self.texts
        } else {
            &mut self.rows
        };
        for (row, why) in read.unreadable {
            told[row].get_or_insert_with(|| {
                format!(
                    "row {} of `{}`, column `{}`: {why}",
                    self.numbers[row],
                    self.source.shard,
                    field.name()
                )
            });
        }
        Ok(read.values)
    }

    fn texts(&mut self, batch: &RecordBatch, index: Option<usize>) -> Result<Option<StringArray>> {
        let Some(index) = index else { return Ok(None) };
        let column = self.column(batch, index)?;
        text_column(&column).map(Some).map_err(of_column)
    }

    /// Reasons, what happened, stages, and by whom texts were dropped.
    fn told(&self) -> [ArrayRef; 4] {
        let each = |value: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
            Arc::new((0..self.rows.len()).map(value).collect::<StringArray>())
        };
        let is_out = |row: usize| self.rows[row].is_some();
        let word = |is: bool, word: &str| is.then(|| word.to_owned());
        [
            each(&|row| word(is_out(row), Reject::BadValue.as_str())),
            each(&|row| self.rows[row].clone().or_else(|| self.texts[row].clone())),
            each(&|row| word(is_out(row), SOURCE)),
            each(&|row| word(self.texts[row].is_some(), SOURCE)),
        ]
    }
}

impl SourceRows {
    fn named(
        &self,
        batch: &RecordBatch,
        numbers: &[u64],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut unread = Unread {
            source: self,
            numbers,
            rows: vec![None; rows],
            texts: vec![None; rows],
        };
        let ids = unread.texts(batch, self.mapping.id)?;
        let ids: StringArray = numbers
            .iter()
            .enumerate()
            .map(|(index, number)| {
                let mapped = ids.as_ref().and_then(|ids| row::text_at(ids, index));
                Some(mapped.map_or_else(|| self.shard.row_id(*number), str::to_owned))
            })
            .collect();
        let nothing = || StringArray::new_null(rows);
        let urls = unread.texts(batch, self.mapping.url)?;
        let texts = unread.texts(batch, self.mapping.text)?;
        let texts = texts.unwrap_or_else(nothing);
        let image = match self.mapping.image {
            Some(index) => image_column(&unread.column(batch, index)?).map_err(of_column)?,
            None => StructArray::new_null(columns::image_fields(), rows),
        };
        let passed = self.mapping.passed.iter();
        let passed = passed
            .map(|(index, _)| unread.column(batch, *index))
            .collect::<Result<Vec<_>>>()?;
        let partitions = self.mapping.partitions.iter();
        let partitions = partitions.map(|(_, value)| constant(value.as_deref(), rows));
        let candidates: Vec<Vec<Candidate>> = texts
            .iter()
            .map(|text| web_candidate(text, self.text_source).into_iter().collect())
            .collect();
        let [reasons, details, stages, dropped_by] = unread.told();
        let ours: [ArrayRef; 15] = [
            Arc::new(UInt64Array::from(numbers.to_vec())),
            Arc::new(ids),
            Arc::new(urls.unwrap_or_else(nothing)),
            Arc::new(texts),
            Arc::new(image),
            Arc::new(Int32Array::new_null(rows)),
            Arc::new(Int32Array::new_null(rows)),
            new_null_array(&DataType::Struct(columns::fetch_fields()), rows),
            Arc::new(candidates_array(&candidates)?),
            reasons,
            details,
            stages,
            dropped_by,
            new_null_array(&DataType::Binary, rows),
            new_null_array(&DataType::UInt64, rows),
        ];
        let arrays = ours.into_iter().chain(passed).chain(partitions);
        Ok(RecordBatch::try_new(Arc::clone(schema), arrays.collect())?)
    }
}
