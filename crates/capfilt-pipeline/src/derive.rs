//! From a `scored` piece to its `dataset` and `rejected` pieces, without any model.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};
use capfilt_data::candidate::{captions_array, read_candidates};
use capfilt_data::{CONTENT, Candidate, Caption, Footer, PieceWriter, Reject, Source, columns};
use datafusion::error::DataFusionError;

use crate::counts::{DecidedCounts, count};
use crate::error::{RunError, chain};
use crate::keep::{Rule, STEP, Verdict};
use crate::record::{COUNTS, DECISION, IMAGES, PASSES, SCORED, pairs_of};
use crate::row::{column, image_at, is_rejected, text_at, texts};
use crate::write::{tell, verdicts};

/// Rows that are read at once: few, because pictures ride along.
const ROWS: usize = 16;

/// Where the files of one piece lie.
#[derive(Clone, Debug)]
pub(crate) struct PieceFiles {
    pub(crate) scored: PathBuf,
    pub(crate) dataset: PathBuf,
    pub(crate) rejected: PathBuf,
}

impl PieceFiles {
    /// The files of the piece at `file` below the folders of `output`.
    pub(crate) fn new(output: &Path, file: &Path) -> Self {
        let below = |folder: &str| output.join(folder).join(file);
        Self {
            scored: below("scored"),
            dataset: below("dataset"),
            rejected: below("rejected"),
        }
    }

    /// The counts of the derived files, where both follow from `scored` by `decision`.
    pub(crate) fn derived(&self, scored: &Footer, decision: &str) -> Option<DecidedCounts> {
        let content = scored.value(CONTENT)?;
        let fresh = |path: &Path| {
            let footer = Footer::read(path).ok()?;
            let follows =
                footer.value(SCORED) == Some(content) && footer.value(DECISION) == Some(decision);
            follows.then_some(footer)
        };
        fresh(&self.rejected)?;
        serde_json::from_str(fresh(&self.dataset)?.value(COUNTS)?).ok()
    }
}

/// Writes `dataset` and `rejected` of a piece as `rule` decides. Both stream: a batch of rows is
/// held at a time. `stopped` is asked now and then; where it says so, nothing is published.
pub(crate) fn derive(
    files: &PieceFiles,
    scored: &Footer,
    rule: &Rule,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<DecidedCounts>, RunError> {
    let schema = derived_schema(&scored.schema);
    let mut dataset = PieceWriter::create(&files.dataset, schema)?;
    let mut rejected = PieceWriter::create(&files.rejected, columns::rejected())?;
    let written = each_decided(files, scored, rule, stopped, |kept, removed| {
        dataset.write(&kept)?;
        rejected.write(&removed)?;
        Ok(())
    })?;
    let Some(counts) = written else {
        return Ok(None);
    };
    let content = scored.value(CONTENT).unwrap_or_default().to_owned();
    let own = [CONTENT, COUNTS, IMAGES, DECISION, PASSES, SCORED];
    let mut pairs: Vec<(String, String)> = pairs_of(scored)
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .collect();
    pairs.push((SCORED.to_owned(), content));
    pairs.push((DECISION.to_owned(), rule.digest()));
    let json = serde_json::to_string(&counts)
        .map_err(|error| failed(files, DataFusionError::External(Box::new(error))))?;
    pairs.push((COUNTS.to_owned(), json));
    dataset.publish(pairs.clone())?;
    rejected.publish(pairs)?;
    Ok(Some(counts))
}

/// The counts that [`derive`] would give; writes nothing.
pub(crate) fn count_only(
    files: &PieceFiles,
    scored: &Footer,
    rule: &Rule,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<DecidedCounts>, RunError> {
    each_decided(files, scored, rule, stopped, |_kept, _removed| Ok(()))
}

/// Decides the rows of `scored` and hands each batch on, as rows of the dataset and as rejected
/// ones. Counts what was decided; nothing where it was stopped.
fn each_decided(
    files: &PieceFiles,
    scored: &Footer,
    rule: &Rule,
    stopped: &dyn Fn() -> bool,
    mut take: impl FnMut(RecordBatch, RecordBatch) -> Result<(), RunError>,
) -> Result<Option<DecidedCounts>, RunError> {
    let schema = derived_schema(&scored.schema);
    let mut counts = DecidedCounts::default();
    for batch in scored.batches(None, ROWS)? {
        if stopped() {
            return Ok(None);
        }
        let batch = batch.map_err(|source| capfilt_data::FooterError::Rows {
            path: files.scored.clone(),
            source,
        })?;
        let failed = |source| failed(files, source);
        let decided = Decided::new(batch, rule).map_err(failed)?;
        let kept = decided.dataset(&schema, &mut counts).map_err(failed)?;
        let removed = decided.rejected(&mut counts).map_err(failed)?;
        take(kept, removed)?;
    }
    Ok(Some(counts))
}

fn failed(files: &PieceFiles, source: DataFusionError) -> RunError {
    RunError::Plan {
        piece: files.scored.display().to_string(),
        source,
    }
}

/// Columns of the `dataset` file that follows from a `scored` file with the columns `scored`.
fn derived_schema(scored: &SchemaRef) -> SchemaRef {
    columns::dataset(&passed(scored))
}

/// The passed-through columns of a `scored` file.
pub(crate) fn passed(scored: &SchemaRef) -> Vec<FieldRef> {
    let is_ours = |field: &&FieldRef| columns::SCORED.contains(&field.name().as_str());
    let fields = scored.fields().iter();
    fields.filter(|field| !is_ours(field)).cloned().collect()
}

/// Rows of `scored` with a verdict on every candidate.
struct Decided {
    rows: RecordBatch,
    candidates: Vec<Vec<Candidate>>,
    verdicts: Vec<Vec<Verdict>>,
}

impl Decided {
    fn new(rows: RecordBatch, rule: &Rule) -> Result<Self, DataFusionError> {
        let candidates = read_candidates(column(&rows, columns::CANDIDATES)?)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let verdicts = verdicts(rule, &candidates)?;
        Ok(Self {
            rows,
            candidates,
            verdicts,
        })
    }

    /// Rows with at least one kept caption.
    fn dataset(
        &self,
        schema: &SchemaRef,
        counts: &mut DecidedCounts,
    ) -> Result<RecordBatch, DataFusionError> {
        let widths = column(&self.rows, columns::WIDTH)?;
        let mut kept_rows = Vec::with_capacity(self.rows.num_rows());
        let mut captions = Vec::new();
        for (row, (candidates, verdicts)) in self.candidates.iter().zip(&self.verdicts).enumerate()
        {
            if is_rejected(&self.rows, row)? {
                kept_rows.push(false);
                continue;
            }
            let mut told = DecidedCounts::default();
            let any = tell(&mut told, candidates, verdicts);
            // A picture that was decoded but is not there was not stored by an earlier decision.
            let dropped = widths.is_valid(row) && image_at(&self.rows, row)?.is_none();
            if any && dropped {
                counts.images_not_stored += 1;
                kept_rows.push(false);
                continue;
            }
            counts.add(&told);
            if any {
                counts.images += 1;
                captions.push(kept(candidates, verdicts));
            } else {
                counts.images_without_captions += 1;
            }
            kept_rows.push(any);
        }
        let rows = filter_record_batch(&self.rows, &BooleanArray::from(kept_rows))?;
        let captions: ArrayRef = Arc::new(captions_array(&captions)?);
        let arrays = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                columns::CAPTIONS => Ok(Arc::clone(&captions)),
                name => column(&rows, name).cloned(),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
    }

    /// A row for each row that left, each web text that was dropped and each caption removed.
    fn rejected(&self, counts: &mut DecidedCounts) -> Result<RecordBatch, DataFusionError> {
        let get = |name| texts(&self.rows, name);
        let (reasons, details) = (get(columns::REJECT)?, get(columns::DETAIL)?);
        let (stages, dropped_by) = (get(columns::STAGE)?, get(columns::TEXT_DROPPED_BY)?);
        let (ids, urls, web) = (get(columns::ID)?, get(columns::URL)?, get(columns::TEXT)?);
        let mut removed = Vec::new();
        for (row, (candidates, verdicts)) in self.candidates.iter().zip(&self.verdicts).enumerate()
        {
            let row_of = |reason: Reject| Removed {
                id: ids.value(row).to_owned(),
                url: text_at(urls, row).map(str::to_owned),
                stage: None,
                reason,
                detail: None,
                text: None,
                source: None,
                by: None,
                score: None,
            };
            if let Some(reason) = text_at(reasons, row) {
                let reason = Reject::from_str(reason)
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
                removed.push(Removed {
                    stage: text_at(stages, row).map(str::to_owned),
                    detail: text_at(details, row).map(str::to_owned),
                    ..row_of(reason)
                });
                continue;
            }
            if let Some(stage) = text_at(dropped_by, row) {
                count(&mut counts.removed, Reject::WhereText.as_str());
                count(&mut counts.removed_sources, Source::Web.as_str());
                removed.push(Removed {
                    stage: Some(stage.to_owned()),
                    text: text_at(web, row).map(str::to_owned),
                    source: Some(Source::Web),
                    ..row_of(Reject::WhereText)
                });
            }
            for (candidate, verdict) in candidates.iter().zip(verdicts) {
                if let Verdict::Removed(reason, detail) = verdict {
                    removed.push(Removed {
                        stage: Some(STEP.to_owned()),
                        detail: Some(detail.clone()),
                        text: Some(candidate.text.clone()),
                        source: Some(candidate.source),
                        by: candidate.by.clone(),
                        score: candidate.score(),
                        ..row_of(*reason)
                    });
                }
            }
        }
        Ok(removed_batch(&removed)?)
    }
}

fn kept(candidates: &[Candidate], verdicts: &[Verdict]) -> Vec<Caption> {
    candidates
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| **verdict == Verdict::Kept)
        .map(|(candidate, _)| Caption {
            text: candidate.text.clone(),
            source: candidate.source,
            by: candidate.by.clone(),
            score: candidate.score(),
        })
        .collect()
}

/// A row of `rejected`.
struct Removed {
    id: String,
    url: Option<String>,
    stage: Option<String>,
    reason: Reject,
    detail: Option<String>,
    text: Option<String>,
    source: Option<Source>,
    by: Option<String>,
    score: Option<f32>,
}

fn removed_batch(rows: &[Removed]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let texts = |get: &dyn Fn(&Removed) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let scores: Float32Array = rows.iter().map(|row| row.score).collect();
    let transient: BooleanArray = rows
        .iter()
        .map(|row| Some(row.reason.is_transient()))
        .collect();
    RecordBatch::try_new(
        columns::rejected(),
        vec![
            texts(&|row| Some(&row.id)),
            texts(&|row| row.url.as_deref()),
            texts(&|row| row.stage.as_deref()),
            texts(&|row| Some(row.reason.as_str())),
            texts(&|row| row.detail.as_deref()),
            texts(&|row| row.text.as_deref()),
            texts(&|row| row.source.map(Source::as_str)),
            texts(&|row| row.by.as_deref()),
            Arc::new(scores),
            Arc::new(transient),
        ],
    )
}

/// Reads the footer of a finished piece; `None` where there is none, or one that cannot be read,
/// which is as good as none.
pub(crate) fn finished(path: &Path) -> Option<Footer> {
    match Footer::read(path) {
        Ok(footer) => Some(footer),
        Err(error) => {
            if path.exists() {
                tracing::warn!(
                    path = %path.display(),
                    error = chain(&error),
                    "a finished piece cannot be read and is made again"
                );
            }
            None
        }
    }
}
