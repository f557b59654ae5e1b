//! The end of a piece's plan: rows in order, decided, stored, published.
//!
//! Rows come in any order and are written in the order of the shard. What waits for an earlier row
//! is bounded by the piece's window.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use capfilt_data::candidate::read_candidates;
use capfilt_data::{Candidate, PieceWriter, Written, columns};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::counts::{DecidedCounts, ScoredCounts, count};
use crate::error::StageError;
use crate::file::Images;
use crate::keep::{Rule, Verdict};
use crate::operator::Operator;
use crate::progress::Tally;
use crate::record::stamp;
use crate::row::{
    BATCH_ROWS, column, image_at, image_with_bytes, is_rejected, numbers, project, replace,
    text_at, texts,
};
use crate::shelf::{Shelf, blocking};
use crate::window::Window;

/// The operator that writes a piece of `scored`. It gives one row, the report of what it wrote.
#[derive(Debug)]
pub(crate) struct WriteRows {
    /// The file's final name.
    pub(crate) path: PathBuf,
    /// The first row's number.
    pub(crate) first: u64,
    /// Columns of the file.
    pub(crate) schema: SchemaRef,
    /// Key-value pairs that are known before the first row.
    pub(crate) pairs: Vec<(String, String)>,
    /// Of which rows pictures are stored.
    pub(crate) images: Images,
    /// Which captions will be kept.
    pub(crate) rule: Rule,
    /// Whether ids came with the shard.
    pub(crate) has_ids: bool,
}

impl Operator for WriteRows {
    const NAME: &'static str = "WriteExec";

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn schema(&self, _: &SchemaRef) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("file", DataType::Utf8, false),
            Field::new("rows", DataType::UInt64, false),
            Field::new("bytes", DataType::UInt64, false),
        ]))
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = self.schema(&input.schema());
        stream::once(async move {
            let file = self.path.display().to_string();
            let written = self.write(input, &context).await?;
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from(vec![file])),
                Arc::new(UInt64Array::from(vec![written.rows])),
                Arc::new(UInt64Array::from(vec![written.bytes])),
            ];
            Ok(RecordBatch::try_new(schema, columns)?)
        })
    }
}

impl WriteRows {
    async fn write(
        &self,
        input: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> Result<Written> {
        let config = context.session_config();
        let (window, tally) = (
            config.get_extension::<Window>(),
            config.get_extension::<Tally>(),
        );
        let (path, schema) = (self.path.clone(), Arc::clone(&self.schema));
        // Encoding has a thread of its own; the short queue keeps rows coming meanwhile.
        let (queue, mut batches) = mpsc::channel::<RecordBatch>(2);
        let encoding = datafusion::common::runtime::SpawnedTask::spawn_blocking(move || {
            let mut writer = PieceWriter::create(&path, schema)?;
            while let Some(batch) = batches.blocking_recv() {
                writer.write(&batch)?;
            }
            Ok::<_, capfilt_data::WriteError>(writer)
        });
        let fed = self
            .feed(input, queue, window.as_deref(), tally.as_deref())
            .await;
        let writer = encoding
            .join()
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?
            .map_err(StageError::Write)?;
        let counts = fed?;
        let mut pairs = self.pairs.clone();
        pairs.extend(stamp(&Shelf::of(context), &counts));
        let published = blocking(move || writer.publish(pairs)).await?;
        Ok(published.map_err(StageError::Write)?)
    }

    /// Sends all rows in order; stops without an error where nobody takes them any more.
    async fn feed(
        &self,
        mut input: SendableRecordBatchStream,
        queue: mpsc::Sender<RecordBatch>,
        window: Option<&Window>,
        tally: Option<&Tally>,
    ) -> Result<ScoredCounts> {
        let mut all = ScoredCounts::default();
        let mut order = Order::new(self.first);
        while let Some(batch) = input.next().await {
            order.put(&batch?)?;
            while let Some(rows) = order.take()? {
                let count = rows.num_rows() as u64;
                let (rows, scored, decided) = self.decided(&rows)?;
                all.add(&scored);
                if let Some(tally) = tally {
                    if self.has_ids {
                        tally.ids(texts(&rows, columns::ID)?.iter().flatten());
                    }
                    tally.rows(&scored, &decided);
                }
                if queue.send(rows).await.is_err() {
                    return Ok(all);
                }
                if let Some(window) = window {
                    window.advance(order.next);
                }
                debug_assert!(count > 0);
            }
        }
        if order.is_empty() {
            Ok(all)
        } else {
            Err(DataFusionError::Internal(format!(
                "the row {} got lost",
                order.next
            )))
        }
    }

    /// `rows` as they are stored, and what is in them.
    fn decided(&self, rows: &RecordBatch) -> Result<(RecordBatch, ScoredCounts, DecidedCounts)> {
        let candidates = read_candidates(column(rows, columns::CANDIDATES)?)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let verdicts = verdicts(&self.rule, &candidates)?;
        let mut scored = ScoredCounts {
            rows: rows.num_rows() as u64,
            ..ScoredCounts::default()
        };
        let mut decided = DecidedCounts::default();
        let reasons = texts(rows, columns::REJECT)?;
        let mut stored = Vec::with_capacity(rows.num_rows());
        for (row, (candidates, verdicts)) in candidates.iter().zip(&verdicts).enumerate() {
            for candidate in candidates {
                count(&mut scored.candidates, candidate.source.as_str());
            }
            let kept = if is_rejected(rows, row)? {
                count(
                    &mut scored.rejected,
                    text_at(reasons, row).unwrap_or_default(),
                );
                false
            } else {
                tell(&mut decided, candidates, verdicts)
            };
            stored.push(kept || self.images == Images::All);
        }
        let rows = project(rows, &self.schema)?;
        if stored.iter().all(|stored| *stored) {
            return Ok((rows, scored, decided));
        }
        let bytes = stored
            .iter()
            .enumerate()
            .map(|(row, stored)| {
                if *stored {
                    image_at(&rows, row)
                } else {
                    Ok(None)
                }
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let image = image_with_bytes(&rows, BinaryArray::from(bytes))?;
        let rows = replace(&rows, vec![(columns::IMAGE, image)])?;
        Ok((rows, scored, decided))
    }
}

/// Counts the verdicts on one row's candidates, and says whether any is kept.
pub(crate) fn tell(
    decided: &mut DecidedCounts,
    candidates: &[Candidate],
    verdicts: &[Verdict],
) -> bool {
    let mut any = false;
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        match verdict {
            Verdict::Kept => {
                decided.keep(candidate.source);
                any = true;
            }
            Verdict::Removed(reason, _) => {
                count(&mut decided.removed, reason.as_str());
                count(&mut decided.removed_sources, candidate.source.as_str());
            }
        }
    }
    any
}

/// The verdicts of `rule`, in the form of `rows`.
pub(crate) fn verdicts(rule: &Rule, rows: &[Vec<Candidate>]) -> Result<Vec<Vec<Verdict>>> {
    let all: Vec<&Candidate> = rows.iter().flatten().collect();
    let mut verdicts = rule.decide(&all)?.into_iter();
    Ok(rows
        .iter()
        .map(|row| verdicts.by_ref().take(row.len()).collect())
        .collect())
}

/// Puts rows back into the order of the shard.
struct Order {
    /// The first row that was not taken.
    next: u64,
    /// Rows that came before their turn, one each.
    waiting: BTreeMap<u64, RecordBatch>,
}

impl Order {
    fn new(first: u64) -> Self {
        Self {
            next: first,
            waiting: BTreeMap::new(),
        }
    }

    fn put(&mut self, batch: &RecordBatch) -> Result<()> {
        for (index, number) in numbers(batch)?.values().iter().enumerate() {
            if *number < self.next
                || self
                    .waiting
                    .insert(*number, batch.slice(index, 1))
                    .is_some()
            {
                return Err(DataFusionError::Internal(format!(
                    "the row {number} came twice"
                )));
            }
        }
        Ok(())
    }

    /// The next rows whose turn it is, a batch at a time.
    fn take(&mut self) -> Result<Option<RecordBatch>> {
        let mut ready = Vec::new();
        while ready.len() < BATCH_ROWS
            && let Some(row) = self.waiting.remove(&self.next)
        {
            self.next += 1;
            ready.push(row);
        }
        let Some(first) = ready.first() else {
            return Ok(None);
        };
        Ok(Some(concat_batches(first.schema_ref(), &ready)?))
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests;
