//! Taking the keep decisions again from stored scores.

use std::path::{Path, PathBuf};

use capfilt_data::{Footer, Location, remove_leftovers};
use capfilt_models::{ModelError, Stop};

use crate::at_once::try_on_processors;
use crate::counts::DecidedCounts;
use crate::derive::{PieceFiles, derive, judge};
use crate::error::{PipelineError, RunError};
use crate::file::{Dataset, KeepTable};
use crate::keep::Rule;
use crate::load::{Pipeline, reload};
use crate::lock::OutputLock;
use crate::manifest;
use crate::record::{IMAGES, RunFile, now};
use crate::removal;
use crate::strangers::DatasetCounts;

/// What shall be decided otherwise.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// A threshold instead of the `[keep]` table.
    pub threshold: Option<f64>,
    /// `key.path=value`, as for a run; only `keep` has an effect.
    pub set: Vec<String>,
    /// Only counts; writes nothing.
    pub dry_run: bool,
}

/// What a decision changed.
#[derive(Clone, Debug)]
pub struct DecideReport {
    /// The rule in words.
    pub rule: String,
    /// Pieces that were looked at.
    pub pieces: u64,
    /// Pieces that a run has still to bring to their end; nothing is decided about them.
    pub halfway: u64,
    /// Pieces that the same rule had decided already.
    pub unchanged: u64,
    /// Pieces whose dataset changed: the others have the captions that they had.
    pub datasets: u64,
    /// Counts before.
    pub before: DecidedCounts,
    /// Counts after.
    pub after: DecidedCounts,
    /// Whether pictures were stored by an earlier decision: this one can only tighten it.
    pub only_tightens: bool,
}

/// Decides about every finished piece of `output`, also where the run left the dataset for later. Blocks; no
/// model and no fetch.
pub fn decide(
    output: &Location,
    decision: &Decision,
    stop: &Stop,
) -> Result<DecideReport, RunError> {
    let began = now();
    let nothing = || RunError::NothingScored {
        output: output.clone(),
    };
    let lock = OutputLock::take_existing(output)?.ok_or_else(nothing)?;
    let mut record = RunFile::read(output)?.ok_or_else(|| RunError::NothingScored {
        output: output.clone(),
    })?;
    if !decision.dry_run {
        // Nothing that somebody asked to be gone is published again.
        let (_, now) = removal::finish(output, Some(record.clone()), stop)?;
        record = now.unwrap_or(record);
    }
    let pipeline = pipeline(output, &record, decision)?;
    let rule = &pipeline.keep;
    let mut report = DecideReport {
        rule: rule.describe(),
        pieces: 0,
        halfway: 0,
        unchanged: 0,
        datasets: 0,
        before: record.counts.decided.clone(),
        after: DecidedCounts::default(),
        only_tightens: false,
    };
    if !decision.dry_run {
        remove_leftovers(output)?;
    }
    let files = record.pieces_of(output)?;
    if files.is_empty() {
        return Err(RunError::NothingScored {
            output: output.clone(),
        });
    }
    let decided = try_on_processors(&files, |file| {
        one(output, file, &record, rule, decision.dry_run, stop)
    })?;
    report.halfway = decided.iter().filter(|piece| piece.is_none()).count() as u64;
    for piece in decided.into_iter().flatten() {
        report.pieces += 1;
        report.unchanged += u64::from(piece.effect == Effect::Nothing);
        report.datasets += u64::from(piece.effect == Effect::Dataset);
        report.only_tightens |= piece.only_tightens;
        if piece.is_of_run {
            report.after.add(&piece.counts);
        }
    }
    if !decision.dry_run {
        // One that died before it was recorded may have left nothing to do but that.
        let changed = report.unchanged < report.pieces || record.digests.decision != rule.digest();
        record.pipeline = pipeline.file.clone();
        record.pipeline.store.dataset = Dataset::Now;
        record.digests.decision = rule.digest();
        record.counts.decided = report.after.clone();
        record.counts.dataset = Some(DatasetCounts::of(output, &record)?);
        if changed {
            manifest::keep(&record, output, began)?;
        }
        record.write(output)?;
    }
    drop(lock);
    Ok(report)
}

/// The pipeline that made `output`, deciding as `decision` says.
pub(crate) fn pipeline(
    output: &Location,
    record: &RunFile,
    decision: &Decision,
) -> Result<Pipeline, RunError> {
    let mut file = record.pipeline.clone();
    if let Some(threshold) = decision.threshold {
        file.keep = Some(KeepTable {
            threshold: Some(threshold),
            where_: None,
        });
    }
    let path = PathBuf::from(output.join("run.json").to_string());
    reload(file, &decision.set, &path, output).map_err(|kind| PipelineError { path, kind }.into())
}

/// What was decided about a piece.
struct Decided {
    /// Whether its shard is one of the last run.
    is_of_run: bool,
    counts: DecidedCounts,
    effect: Effect,
    only_tightens: bool,
}

/// What a decision changes of a piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Effect {
    /// Nothing: it was decided so before.
    Nothing,
    /// Only what `rejected` says about the rule.
    Rejected,
    /// The rows of the dataset.
    Dataset,
}

/// Decides about the piece at `file`; not about one that a run brought only to some stage.
fn one(
    output: &Location,
    file: &Path,
    record: &RunFile,
    rule: &Rule,
    dry_run: bool,
    stop: &Stop,
) -> Result<Option<Decided>, RunError> {
    let paths = PieceFiles::new(output, file);
    let scored = Footer::read(&paths.scored)?;
    let is_of_run = record.has_shard_of(&scored);
    if is_of_run && !record.made(&scored) {
        return Ok(None);
    }
    let stored = scored.value(IMAGES).unwrap_or("all");
    let only_tightens = stored != "all" && stored != rule.digest();
    if let Some(counts) = paths.derived(&scored, &rule.digest(), Dataset::Now) {
        return Ok(Some(Decided {
            is_of_run,
            counts,
            effect: Effect::Nothing,
            only_tightens,
        }));
    }
    let stopped = || stop.is_stopped();
    let judged = if dry_run {
        judge(&paths, &scored, rule, &stopped)?
    } else {
        scored.verify()?;
        derive(&paths, &scored, (rule, Dataset::Now), &stopped)?
    };
    let judged = judged.ok_or(RunError::Model(ModelError::Cancelled))?;
    Ok(Some(Decided {
        is_of_run,
        counts: judged.counts,
        effect: if judged.dataset_stands {
            Effect::Rejected
        } else {
            Effect::Dataset
        },
        only_tightens,
    }))
}
