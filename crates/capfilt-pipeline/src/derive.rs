//! From a `scored` piece to its `dataset` and `rejected` pieces, without any model.

use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use capfilt_data::candidate::captions_array;
use capfilt_data::footer::hex_digest;
use capfilt_data::{
    CONTENT, Candidate, Caption, Footer, FooterError, Location, PieceWriter, Reject, Source,
    columns,
};
use datafusion::error::DataFusionError;

use crate::counts::{DecidedCounts, count};
use crate::error::{RunError, chain};
use crate::file::Dataset;
use crate::keep::{Rule, STEP, Verdict};
use crate::record::{COUNTS, DECISION, IMAGES, PASSES, SCORED, VERDICTS, pairs_of};
use crate::row::{self, column, is_rejected, text_at, texts};
use crate::write::{tell, verdicts};

/// Rows that are read at once with their pictures.
const ROWS: usize = 16;

/// Rows that are judged at once, without their pictures.
const JUDGED: usize = 2_048;

/// What a judgement reads. The path of a picture lies beside its bytes, and tells whether there is a
/// picture.
const READ: [&str; 10] = [
    columns::ID,
    columns::URL,
    columns::TEXT,
    "image.path",
    columns::WIDTH,
    columns::CANDIDATES,
    columns::REJECT,
    columns::DETAIL,
    columns::STAGE,
    columns::TEXT_DROPPED_BY,
];

/// Where the files of one piece lie.
#[derive(Clone, Debug)]
pub(crate) struct PieceFiles {
    pub(crate) scored: Location,
    pub(crate) dataset: Location,
    pub(crate) rejected: Location,
}

impl PieceFiles {
    /// The files of the piece at `file` below the folders of `output`.
    pub(crate) fn new(output: &Location, file: &Path) -> Self {
        let below = |folder: &str| output.join(folder).join(file);
        Self {
            scored: below("scored"),
            dataset: below("dataset"),
            rejected: below("rejected"),
        }
    }

    /// Deletes the piece if it is damaged, as the `error` says: nobody can tell what is in it, and the
    /// run makes it again. What cannot be read now, but is whole, or says nothing about itself, is not
    /// deleted: that is an error.
    pub(crate) fn delete_damaged(&self, error: FooterError) -> Result<(), RunError> {
        match Footer::read(&self.scored).and_then(|footer| footer.verify()) {
            Ok(()) | Err(FooterError::Io(_)) => return Err(RunError::Piece(error)),
            Err(_) => {}
        }
        let (piece, error) = (&self.scored, chain(&error));
        tracing::warn!(%piece, error, "a finished piece is damaged and deleted; it is made again");
        for path in [&self.scored, &self.dataset, &self.rejected] {
            path.remove()?;
        }
        Ok(())
    }

    /// Whether the derived files follow from `scored`, by whatever decision.
    pub(crate) fn follow(&self, scored: &Footer, dataset: Dataset) -> bool {
        follows(&self.rejected, scored).is_some()
            && self.has_no_other_dataset(dataset, |dataset| is_of(dataset, scored))
    }

    /// The counts of the derived files, where they follow from `scored` by `decision`.
    pub(crate) fn derived(
        &self,
        scored: &Footer,
        decision: &str,
        dataset: Dataset,
    ) -> Option<DecidedCounts> {
        let rejected = follows(&self.rejected, scored)?;
        let verdicts = rejected.value(VERDICTS)?;
        let is_same =
            |dataset: &Footer| is_of(dataset, scored) && dataset.value(VERDICTS) == Some(verdicts);
        let is_fresh = rejected.value(DECISION) == Some(decision)
            && self.has_no_other_dataset(dataset, is_same);
        is_fresh
            .then(|| serde_json::from_str(rejected.value(COUNTS)?).ok())
            .flatten()
    }

    /// Whether the dataset `is` as it should be, or is written later and not there.
    fn has_no_other_dataset(&self, dataset: Dataset, is: impl Fn(&Footer) -> bool) -> bool {
        match finished(&self.dataset) {
            Ok(Some(found)) => is(&found),
            Ok(None) => dataset == Dataset::Later,
            Err(_) => false,
        }
    }
}

/// The footer of the derived file at `path`, if that follows from `scored`.
fn follows(path: &Location, scored: &Footer) -> Option<Footer> {
    let footer = Footer::read(path).ok()?;
    is_of(&footer, scored).then_some(footer)
}

/// Whether a derived file follows from `scored`.
fn is_of(derived: &Footer, scored: &Footer) -> bool {
    let content = scored.value(CONTENT);
    content.is_some() && derived.value(SCORED) == content
}

/// What a rule says about the rows of a piece.
pub(crate) struct Judgement {
    pub(crate) counts: DecidedCounts,
    /// Whether the dataset that is there already has just these rows.
    pub(crate) dataset_stands: bool,
    /// Identifies which candidates are kept: what the dataset's rows follow from.
    verdicts: String,
}

/// Writes `dataset` and `rejected` of a piece as `rule` decides. Both stream. Where the rule keeps what
/// an earlier one kept, the dataset stays as it is, however large its pictures are; one that is to be
/// written later and follows from something else goes. `rejected` says by which rule, so it is published
/// last. `stopped` is asked now and then; where it says so, nothing is published.
pub(crate) fn derive(
    files: &PieceFiles,
    scored: &Footer,
    (rule, when): (&Rule, Dataset),
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Judgement>, RunError> {
    let mut rejected = PieceWriter::create(&files.rejected, columns::rejected())?;
    let judged = each_judged(files, scored, rule, stopped, |rows| {
        let removed = rows.rejected().map_err(|source| failed(files, source))?;
        Ok(rejected.write(&removed)?)
    })?;
    let Some(judged) = judged else {
        return Ok(None);
    };
    let content = scored.value(CONTENT).unwrap_or_default().to_owned();
    let own = [CONTENT, COUNTS, IMAGES, DECISION, PASSES, SCORED];
    let mut pairs: Vec<(String, String)> = pairs_of(scored)
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .collect();
    pairs.push((SCORED.to_owned(), content));
    pairs.push((DECISION.to_owned(), rule.digest()));
    pairs.push((VERDICTS.to_owned(), judged.verdicts.clone()));
    let counts = serde_json::json!(judged.counts).to_string();
    pairs.push((COUNTS.to_owned(), counts));
    if !judged.dataset_stands && when == Dataset::Later {
        files.dataset.remove()?;
    } else if !judged.dataset_stands {
        let Some(dataset) = dataset_of(files, scored, rule, stopped)? else {
            return Ok(None);
        };
        dataset.publish(pairs.clone())?;
    }
    rejected.publish(pairs)?;
    Ok(Some(judged))
}

/// What [`derive`] would decide; writes nothing, and reads no picture.
pub(crate) fn judge(
    files: &PieceFiles,
    scored: &Footer,
    rule: &Rule,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Judgement>, RunError> {
    each_judged(files, scored, rule, stopped, |_rows| Ok(()))
}

/// Judges the rows of `scored`, without their pictures, and hands each batch on. Nothing where it was
/// stopped.
fn each_judged(
    files: &PieceFiles,
    scored: &Footer,
    rule: &Rule,
    stopped: &dyn Fn() -> bool,
    mut take: impl FnMut(&Judged) -> Result<(), RunError>,
) -> Result<Option<Judgement>, RunError> {
    let mut counts = DecidedCounts::default();
    let mut verdicts = Vec::new();
    for batch in scored.batches(Some(&READ), JUDGED)? {
        if stopped() {
            return Ok(None);
        }
        let rows = Judged::new(batch?, rule).map_err(|source| failed(files, source))?;
        rows.count(&mut counts)
            .map_err(|source| failed(files, source))?;
        for row in &rows.verdicts {
            verdicts.extend(
                row.iter()
                    .map(|verdict| u8::from(*verdict == Verdict::Kept)),
            );
            verdicts.push(u8::MAX);
        }
        take(&rows)?;
    }
    let verdicts = hex_digest(&verdicts);
    let dataset = follows(&files.dataset, scored);
    Ok(Some(Judgement {
        counts,
        dataset_stands: dataset.is_some_and(|dataset| dataset.value(VERDICTS) == Some(&verdicts)),
        verdicts,
    }))
}

/// The rows of the dataset, written but not published; nothing where it was stopped.
fn dataset_of(
    files: &PieceFiles,
    scored: &Footer,
    rule: &Rule,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<PieceWriter>, RunError> {
    let schema = columns::dataset(&passed(&scored.schema));
    let mut dataset = PieceWriter::create(&files.dataset, Arc::clone(&schema))?;
    for batch in scored.batches(None, ROWS)? {
        if stopped() {
            return Ok(None);
        }
        let kept = Judged::new(batch?, rule)
            .and_then(|rows| rows.dataset(&schema))
            .map_err(|source| failed(files, source))?;
        dataset.write(&kept)?;
    }
    Ok(Some(dataset))
}

fn failed(files: &PieceFiles, source: DataFusionError) -> RunError {
    RunError::Plan {
        piece: files.scored.to_string(),
        source,
    }
}

/// The passed-through columns of a `scored` file.
pub(crate) fn passed(scored: &SchemaRef) -> Vec<FieldRef> {
    let mut fields = columns::with_own_features(scored);
    fields.retain(|field| !columns::SCORED.contains(&field.name().as_str()));
    fields
}

/// Rows of `scored` with a verdict on every candidate.
struct Judged {
    rows: RecordBatch,
    candidates: Vec<Vec<Candidate>>,
    verdicts: Vec<Vec<Verdict>>,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// It left before any decision.
    Left,
    /// It has captions, but its picture was not stored by an earlier decision.
    NotStored,
    /// It has no caption.
    WithoutCaptions,
    /// It is in the dataset.
    Kept,
}

impl Judged {
    fn new(rows: RecordBatch, rule: &Rule) -> Result<Self, DataFusionError> {
        let candidates = row::candidates(&rows)?;
        let verdicts = verdicts(rule, &candidates)?;
        Ok(Self {
            rows,
            candidates,
            verdicts,
        })
    }

    fn fates(&self) -> Result<Vec<Fate>, DataFusionError> {
        let widths = column(&self.rows, columns::WIDTH)?;
        let pictures = column(&self.rows, columns::IMAGE)?;
        let rows = self.verdicts.iter().enumerate();
        rows.map(|(row, verdicts)| {
            Ok(if is_rejected(&self.rows, row)? {
                Fate::Left
            } else if !verdicts.contains(&Verdict::Kept) {
                Fate::WithoutCaptions
            // A picture that was decoded but is not there was not stored by an earlier decision.
            } else if widths.is_valid(row) && pictures.is_null(row) {
                Fate::NotStored
            } else {
                Fate::Kept
            })
        })
        .collect()
    }

    fn count(&self, counts: &mut DecidedCounts) -> Result<(), DataFusionError> {
        let dropped_by = texts(&self.rows, columns::TEXT_DROPPED_BY)?;
        let web = texts(&self.rows, columns::TEXT)?;
        for (row, fate) in self.fates()?.into_iter().enumerate() {
            match fate {
                Fate::Left => continue,
                Fate::NotStored => counts.images_not_stored += 1,
                Fate::WithoutCaptions => counts.images_without_captions += 1,
                Fate::Kept => counts.images += 1,
            }
            if fate != Fate::NotStored {
                tell(counts, &self.candidates[row], &self.verdicts[row]);
            }
            if dropped_by.is_valid(row) {
                let reason = why_dropped(text_at(web, row));
                count(&mut counts.removed, reason.as_str());
                count(&mut counts.removed_sources, Source::Web.as_str());
            }
        }
        Ok(())
    }

    /// Rows with at least one kept caption.
    fn dataset(&self, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
        let kept: Vec<bool> = self
            .fates()?
            .into_iter()
            .map(|fate| fate == Fate::Kept)
            .collect();
        let captions: Vec<Vec<Caption>> = (0..kept.len())
            .filter(|row| kept[*row])
            .map(|row| captions(&self.candidates[row], &self.verdicts[row]))
            .collect();
        let captions: ArrayRef = Arc::new(captions_array(&captions)?);
        let rows = filter_record_batch(&self.rows, &BooleanArray::from(kept))?;
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
    fn rejected(&self) -> Result<RecordBatch, DataFusionError> {
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
                let text = text_at(web, row);
                let detail = text_at(details, row).filter(|_| text.is_none());
                removed.push(Removed {
                    stage: Some(stage.to_owned()),
                    detail: detail.map(str::to_owned),
                    text: text.map(str::to_owned),
                    source: Some(Source::Web),
                    ..row_of(why_dropped(text))
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

/// Why the web text was dropped: one that is not there could not be read.
const fn why_dropped(text: Option<&str>) -> Reject {
    if text.is_some() {
        Reject::WhereText
    } else {
        Reject::BadValue
    }
}

fn captions(candidates: &[Candidate], verdicts: &[Verdict]) -> Vec<Caption> {
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

fn removed_batch(rows: &[Removed]) -> Result<RecordBatch, ArrowError> {
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

/// Reads the footer of a finished piece; `None` where there is none, or one that is no Parquet file,
/// which is as good as none.
pub(crate) fn finished(path: &Location) -> Result<Option<Footer>, FooterError> {
    match Footer::read(path) {
        Ok(footer) => Ok(Some(footer)),
        Err(FooterError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error @ FooterError::Io(_)) => Err(error),
        Err(error) => {
            tracing::warn!(
                %path,
                error = chain(&error),
                "a finished piece cannot be read and is made again"
            );
            Ok(None)
        }
    }
}
