//! The end of a piece's plan: rows in order, decided, stored, published.
//!
//! Rows come in any order and are written in the order of the shard. How many wait for an earlier
//! row is bounded by the window; their pictures wait in memory up to a bound, and beyond it on disk.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use capfilt_data::{Candidate, Location, PieceWriter, Written, columns};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::counts::{DecidedCounts, ScoredCounts, count};
use crate::error::StageError;
use crate::file::Images;
use crate::keep::{Rule, Verdict};
use crate::numbers::{Each, Numbers};
use crate::operator::Operator;
use crate::progress::Tally;
use crate::record::stamp;
use crate::row::{
    self, Place, gather, has_room, image_at, image_with_bytes, is_rejected, numbers, project,
    replace, texts,
};
use crate::shelf::{Shelf, blocking};
use crate::spill::Spill;
use crate::window::Window;

/// The operator that writes a piece of `scored`. It gives one row, the report of what it wrote.
#[derive(Debug)]
pub(crate) struct WriteRows {
    /// The file's final name.
    pub(crate) path: Location,
    /// The rows that shall come.
    pub(crate) numbers: Numbers,
    /// Columns of the file.
    pub(crate) schema: SchemaRef,
    /// Key-value pairs that are known before the first row.
    pub(crate) pairs: Vec<(String, String)>,
    /// Of which rows pictures are stored.
    pub(crate) images: Images,
    /// Which captions will be kept.
    pub(crate) rule: Rule,
    /// Whether ids came with the shard, and were not seen before.
    pub(crate) has_ids: bool,
}

impl Operator for WriteRows {
    const NAME: &'static str = "WriteExec";

    fn describe(&self) -> String {
        self.path.to_string()
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
            let file = self.path.to_string();
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
        let tally = config.get_extension::<Tally>();
        let window = config.get_extension::<Window>().unwrap_or_else(|| {
            let first = self.numbers.first().unwrap_or(0);
            Arc::new(Window::new(Arc::default(), first))
        });
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
        let fed = self.feed(input, queue, window, tally.as_deref()).await;
        let writer = encoding
            .join()
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?
            .map_err(StageError::Write)?;
        let counts = fed?;
        let mut pairs = self.pairs.clone();
        stamp(&mut pairs, &Shelf::of(context), &counts);
        let published = blocking(move || writer.publish(pairs)).await?;
        Ok(published.map_err(StageError::Write)?)
    }

    /// Sends all rows in order; stops without an error where nobody takes them any more.
    async fn feed(
        &self,
        mut input: SendableRecordBatchStream,
        queue: mpsc::Sender<RecordBatch>,
        window: Arc<Window>,
        tally: Option<&Tally>,
    ) -> Result<ScoredCounts> {
        let mut all = ScoredCounts::default();
        let mut order = Order::new(&self.numbers, &self.path.scratch(), Arc::clone(&window));
        while let Some(batch) = input.next().await {
            let spilled = order.put(batch?)?;
            window.spill(&spilled);
            while let Some(rows) = order.take()? {
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
                window.advance(order.next());
            }
        }
        match order.missing() {
            None => Ok(all),
            Some(row) => Err(DataFusionError::Internal(format!("the row {row} got lost"))),
        }
    }

    /// `rows` as they are stored, and what is in them.
    fn decided(&self, rows: &RecordBatch) -> Result<(RecordBatch, ScoredCounts, DecidedCounts)> {
        let candidates = row::candidates(rows)?;
        let verdicts = verdicts(&self.rule, &candidates)?;
        let scored = counted(rows, &candidates)?;
        let mut decided = DecidedCounts::default();
        let mut stored = Vec::with_capacity(rows.num_rows());
        for (row, (candidates, verdicts)) in candidates.iter().zip(&verdicts).enumerate() {
            let kept = !is_rejected(rows, row)? && tell(&mut decided, candidates, verdicts);
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

/// What is in `rows`, whose candidates are `candidates`.
pub(crate) fn counted(rows: &RecordBatch, candidates: &[Vec<Candidate>]) -> Result<ScoredCounts> {
    let mut counts = ScoredCounts {
        rows: rows.num_rows() as u64,
        ..ScoredCounts::default()
    };
    for reason in texts(rows, columns::REJECT)?.iter().flatten() {
        count(&mut counts.rejected, reason);
    }
    for candidate in candidates.iter().flatten() {
        count(&mut counts.candidates, candidate.source.as_str());
    }
    Ok(counts)
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
    /// Numbers of the rows that were not taken.
    expected: Peekable<Each>,
    /// The number after the last row that was taken.
    end: u64,
    /// Rows that came before their turn.
    waiting: BTreeMap<u64, Place>,
    /// Bytes of their pictures in memory, by row.
    bytes: BTreeMap<u64, usize>,
    /// Says whether there is room in memory.
    window: Arc<Window>,
    /// The pictures of the others.
    spill: Spill,
}

impl Order {
    /// Nothing waits yet; what has no room in memory will in `folder`.
    fn new(numbers: &Numbers, folder: &Path, window: Arc<Window>) -> Self {
        Self {
            expected: numbers.each().peekable(),
            end: numbers.first().unwrap_or(0),
            waiting: BTreeMap::new(),
            bytes: BTreeMap::new(),
            window,
            spill: Spill::new(folder),
        }
    }

    /// Takes rows in, and gives the numbers of those whose pictures went to disk.
    fn put(&mut self, batch: RecordBatch) -> Result<Vec<u64>> {
        let numbers = numbers(&batch)?.clone();
        let next = self.next();
        let is_next = numbers.values().contains(&next);
        let sizes = (0..batch.num_rows())
            .map(|row| Ok(image_at(&batch, row)?.map_or(0, <[u8]>::len)))
            .collect::<Result<Vec<usize>>>()?;
        let size: usize = sizes.iter().sum();
        let mut spilled = Vec::new();
        let batch = if self.window.park(size as u64, is_next) {
            self.bytes
                .extend(numbers.values().iter().copied().zip(sizes));
            batch
        } else {
            for (row, number) in numbers.values().iter().enumerate() {
                if let Some(picture) = image_at(&batch, row)? {
                    self.spill.put(*number, picture)?;
                    spilled.push(*number);
                }
            }
            let nothing = BinaryArray::new_null(batch.num_rows());
            let image = image_with_bytes(&batch, nothing)?;
            replace(&batch, vec![(columns::IMAGE, image)])?
        };
        for (number, place) in numbers.values().iter().zip(Place::all(batch)) {
            if *number < self.end || self.waiting.insert(*number, place).is_some() {
                return Err(DataFusionError::Internal(format!(
                    "the row {number} came twice"
                )));
            }
        }
        Ok(spilled)
    }

    /// The next rows whose turn it is, a batch at a time.
    fn take(&mut self) -> Result<Option<RecordBatch>> {
        let mut ready = Vec::new();
        let mut pictures = Vec::new();
        let mut bytes = 0;
        while has_room(ready.len(), bytes)
            && let Some(next) = self.expected.peek().copied()
            && let Some(row) = self.waiting.remove(&next)
        {
            self.end = next + 1;
            self.expected.next();
            let held = self.bytes.remove(&next).unwrap_or(0);
            self.window.unpark(held as u64);
            let spilled = self.spill.take(next)?;
            bytes += spilled.as_ref().map_or(held, Vec::len);
            ready.push(row);
            pictures.push(spilled);
        }
        if ready.is_empty() {
            return Ok(None);
        }
        let rows = gather(&ready)?;
        if pictures.iter().all(Option::is_none) {
            return Ok(Some(rows));
        }
        let bytes = pictures
            .iter()
            .enumerate()
            .map(|(row, spilled)| match spilled {
                Some(picture) => Ok(Some(picture.as_slice())),
                None => image_at(&rows, row),
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let image = image_with_bytes(&rows, BinaryArray::from(bytes))?;
        Ok(Some(replace(&rows, vec![(columns::IMAGE, image)])?))
    }

    /// The next row whose turn it is: everything before it was taken.
    fn next(&mut self) -> u64 {
        self.expected.peek().copied().unwrap_or(self.end)
    }

    /// A row that should have come and did not, or came and should not have.
    fn missing(&mut self) -> Option<u64> {
        let unasked = || self.waiting.first_key_value().map(|(number, _)| *number);
        self.expected.peek().copied().or_else(unasked)
    }
}

#[cfg(test)]
mod tests;
