//! Rows of a `scored` file as they were after the stages that stand, and which rows can be.
//!
//! What stages that changed, or are gone, did to a row is undone: it is in again where they removed
//! it, and has its web text, without their captions and scores. What they destroyed cannot be undone:
//! such rows go through all stages.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, SchemaRef};
use capfilt_data::candidate::candidates_array;
use capfilt_data::read::plain_array;
use capfilt_data::{Candidate, Footer, Reject, Source, columns};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::Stream;

use crate::error::RunError;
use crate::file::{Images, TextSource};
use crate::keep::{Rule, Verdict};
use crate::numbers::Numbers;
use crate::operator::Operator;
use crate::plan::Plan;
use crate::row::{self, column, text_at, texts};
use crate::scan::{admitted, constant, web_candidate};
use crate::source::Mapping;
use crate::stages::{Stage, Verb};
use crate::write::verdicts;

/// Rows that are looked at together where no picture is read.
const ROWS: usize = 4_096;

/// The path of a picture lies beside its bytes, and tells whether there is a picture.
const PICTURE: &str = "image.path";

/// What the stages that stand are called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stand {
    all: HashSet<String>,
    scorers: HashSet<String>,
    has_fetch: bool,
    has_decode: bool,
}

impl Stand {
    pub(crate) fn of(stages: &[Stage]) -> Self {
        let mut stand = Self::default();
        for stage in stages {
            stand.all.insert(stage.name.clone());
            match stage.verb {
                Verb::Score(_) => {
                    stand.scorers.insert(stage.name.clone());
                }
                Verb::Fetch(_) => stand.has_fetch = true,
                Verb::Decode(_) => stand.has_decode = true,
                Verb::Where(_) | Verb::WhereText(_) | Verb::Dedup(_) | Verb::Caption(_) => {}
            }
        }
        stand
    }

    pub(crate) fn has(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.all.contains(name))
    }

    /// The candidates of each stored row as they were.
    pub(crate) fn restored(
        &self,
        stored: &RecordBatch,
        source: Source,
    ) -> Result<Vec<Vec<Candidate>>> {
        let web = texts(stored, columns::TEXT)?;
        let dropped_by = texts(stored, columns::TEXT_DROPPED_BY)?;
        let candidates = row::candidates(stored)?.into_iter().enumerate();
        let restored = candidates.map(|(row, candidates)| {
            let is_dropped = self.has(text_at(dropped_by, row));
            let text = text_at(web, row).filter(|_| !is_dropped);
            self.candidates(text, source, candidates)
        });
        Ok(restored.collect())
    }

    /// The candidates of one row whose web text is `text`, unless that was dropped.
    fn candidates(
        &self,
        text: Option<&str>,
        source: Source,
        stored: Vec<Candidate>,
    ) -> Vec<Candidate> {
        let mut web = web_candidate(text, source);
        let mut synthetic = Vec::new();
        for mut candidate in stored {
            candidate
                .scores
                .retain(|score| self.scorers.contains(&score.by));
            if candidate.source != Source::Synthetic {
                if let Some(web) = &mut web {
                    web.scores = candidate.scores;
                }
            } else if self.has(candidate.by.as_deref()) {
                synthetic.push(candidate);
            }
        }
        web.into_iter().chain(synthetic).collect()
    }
}

/// The operator that gives rows of a `scored` file as they were after some stages.
#[derive(Debug)]
pub(crate) struct RestoreRows {
    stand: Stand,
    numbers: Numbers,
    text_source: Source,
    /// Whether pictures keep their hashes.
    hashed: bool,
    mapping: Mapping,
}

impl RestoreRows {
    /// For the rows `numbers` after the stages `stand`.
    pub(crate) fn new(
        stand: &[Stage],
        numbers: Numbers,
        text_source: TextSource,
        hashed: bool,
        mapping: Mapping,
    ) -> Self {
        Self {
            stand: Stand::of(stand),
            numbers,
            text_source: text_source.into(),
            hashed,
            mapping,
        }
    }

    fn restored(
        &self,
        stored: &RecordBatch,
        numbers: &[u64],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let stand = &self.stand;
        let stages = texts(stored, columns::STAGE)?;
        let dropped_by = texts(stored, columns::TEXT_DROPPED_BY)?;
        let rows = stored.num_rows();
        let reasons = texts(stored, columns::REJECT)?;
        let left: Vec<bool> = (0..rows)
            .map(|row| is_final(reasons, row) || stand.has(text_at(stages, row)))
            .collect();
        let web = texts(stored, columns::TEXT)?;
        let unread = |row: usize| is_unread(web, dropped_by, row);
        let dropped: Vec<bool> = (0..rows)
            .map(|row| unread(row) || stand.has(text_at(dropped_by, row)))
            .collect();
        let told: Vec<bool> = (0..rows).map(|row| left[row] || unread(row)).collect();
        let only = |name: &str, rows: &[bool]| -> Result<ArrayRef> {
            let old = texts(stored, name)?;
            let kept = rows.iter().enumerate();
            let kept = kept.map(|(row, keep)| if *keep { text_at(old, row) } else { None });
            Ok(Arc::new(kept.collect::<StringArray>()))
        };
        let candidates = stand.restored(stored, self.text_source)?;
        let unless = |known: bool, name: &str| -> Result<ArrayRef> {
            let stored = column(stored, name)?;
            Ok(if known {
                Arc::clone(stored)
            } else {
                new_null_array(stored.data_type(), rows)
            })
        };
        let arrays = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                row::ROW => Ok(Arc::new(UInt64Array::from(numbers.to_vec())) as ArrayRef),
                name @ (columns::REJECT | columns::STAGE) => only(name, &left),
                columns::DETAIL => only(columns::DETAIL, &told),
                columns::TEXT_DROPPED_BY => only(columns::TEXT_DROPPED_BY, &dropped),
                columns::CANDIDATES => Ok(Arc::new(candidates_array(&candidates)?) as ArrayRef),
                name @ (columns::WIDTH | columns::HEIGHT) => unless(stand.has_decode, name),
                name @ (columns::SHA256 | columns::PERCEPTUAL_HASH) => {
                    unless(stand.has_decode && self.hashed, name)
                }
                columns::FETCH => unless(stand.has_fetch, columns::FETCH),
                name => self.passed_column(stored, name, field.data_type()),
            });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
    }
}

impl RestoreRows {
    /// A column that every stage passes through. Files of before folders gave columns have none of those.
    fn passed_column(
        &self,
        stored: &RecordBatch,
        name: &str,
        data_type: &DataType,
    ) -> Result<ArrayRef> {
        let mut partitions = self.mapping.partitions.iter();
        let partition = partitions.find(|(field, _)| field.name() == name);
        match (stored.column_by_name(name), partition) {
            (None, Some((_, value))) => Ok(constant(value.as_deref(), stored.num_rows())),
            _ => plain_array(column(stored, name)?, data_type)
                .map_err(|error| DataFusionError::External(Box::new(error))),
        }
    }
}

impl Operator for RestoreRows {
    const NAME: &'static str = "RestoreExec";

    fn describe(&self) -> String {
        format!("rows={}, stages={}", self.numbers, self.stand.all.len())
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
            self.restored(batch, numbers, &schema)
        })
    }
}

/// Which rows of the piece in `scored`, whose first row is `first`, can be restored after `stand`
/// stages of `plan`, and which must go through all of them. Reads no picture.
pub(crate) fn split(
    plan: &Plan,
    scored: &Footer,
    first: u64,
    stand: usize,
) -> std::result::Result<(Numbers, Numbers), RunError> {
    let (first_stages, changed) = plan.pipeline.stages.split_at(stand);
    let stand = Stand::of(first_stages);
    let has_picture = stand.has_decode || stand.has_fetch;
    let reads_picture = changed.iter().any(|stage| stage.verb.reads_pictures());
    let must_store = match plan.pipeline.file.store.images {
        Images::All => Need::All,
        Images::Kept => Need::Kept {
            rule: &plan.pipeline.keep,
            source: plan.pipeline.file.source.text_source.into(),
        },
    };
    let need = if reads_picture { Need::All } else { must_store };
    let mut names = vec![
        columns::REJECT,
        columns::STAGE,
        columns::TEXT_DROPPED_BY,
        columns::TEXT,
        PICTURE,
    ];
    if matches!(need, Need::Kept { .. }) {
        names.push(columns::CANDIDATES);
    }
    let (mut restored, mut others) = (Vec::new(), Vec::new());
    let mut number = first;
    for batch in scored.batches(Some(&names), ROWS)? {
        let batch = batch?;
        let failed = |source: DataFusionError| RunError::Plan {
            piece: scored.path.to_string(),
            source,
        };
        let lost = lost(&batch, &stand, has_picture, &need).map_err(failed)?;
        for lost in lost {
            let to = if lost { &mut others } else { &mut restored };
            to.push(number..number + 1);
            number += 1;
        }
    }
    Ok((restored.into_iter().collect(), others.into_iter().collect()))
}

/// Whether the row left for what no change of the pipeline brings back: somebody asked to take it out, or
/// it could not be read.
fn is_final(reasons: &StringArray, row: usize) -> bool {
    let reason = text_at(reasons, row);
    [Reject::Removed, Reject::BadValue]
        .into_iter()
        .any(|fixed| reason == Some(fixed.as_str()))
}

/// Whether the row came without its web text, which could not be read.
fn is_unread(web: &StringArray, dropped_by: &StringArray, row: usize) -> bool {
    dropped_by.is_valid(row) && web.is_null(row)
}

/// Of which rows the picture must be there.
enum Need<'a> {
    All,
    /// Of those with a caption that the rule keeps, as they will be restored.
    Kept {
        rule: &'a Rule,
        /// Where the texts come from.
        source: Source,
    },
}

/// For each row, whether something that is needed is not stored.
fn lost(
    batch: &RecordBatch,
    stand: &Stand,
    has_picture: bool,
    need: &Need<'_>,
) -> Result<Vec<bool>> {
    let reasons = texts(batch, columns::REJECT)?;
    let stages = texts(batch, columns::STAGE)?;
    let dropped_by = texts(batch, columns::TEXT_DROPPED_BY)?;
    let web = texts(batch, columns::TEXT)?;
    let pictures = column(batch, columns::IMAGE)?.as_struct();
    let kept = match need {
        Need::All => vec![true; batch.num_rows()],
        Need::Kept { rule, source } => verdicts(rule, &stand.restored(batch, *source)?)?
            .iter()
            .map(|row| row.contains(&Verdict::Kept))
            .collect(),
    };
    Ok((0..batch.num_rows())
        .map(|row| {
            if is_final(reasons, row) || stand.has(text_at(stages, row)) {
                return false;
            }
            let is_unread = is_unread(web, dropped_by, row);
            let dropped_by = text_at(dropped_by, row).filter(|_| !is_unread);
            // The text was scored before it was dropped, and its scores with it.
            let scores =
                dropped_by.is_some() && !stand.has(dropped_by) && !stand.scorers.is_empty();
            let picture = has_picture && kept[row] && pictures.is_null(row);
            scores || picture
        })
        .collect())
}
