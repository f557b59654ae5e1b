//! Taking the keep decisions again from stored scores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use capfilt_data::{Footer, remove_leftovers};
use capfilt_models::Stop;

use crate::counts::DecidedCounts;
use crate::derive::{PieceFiles, derive};
use crate::error::{PipelineError, RunError};
use crate::file::KeepTable;
use crate::load::{Pipeline, reload};
use crate::lock::OutputLock;
use crate::manifest;
use crate::record::{IMAGES, RunFile, now};

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
    /// Pieces that the same rule had decided already.
    pub unchanged: u64,
    /// Counts before.
    pub before: DecidedCounts,
    /// Counts after.
    pub after: DecidedCounts,
    /// Whether pictures were stored by an earlier decision: this one can only tighten it.
    pub only_tightens: bool,
}

/// Decides about every finished piece of `output`. Blocks; no model and no fetch.
pub fn decide(output: &Path, decision: &Decision, stop: &Stop) -> Result<DecideReport, RunError> {
    let began = now();
    let lock = OutputLock::take(output)?;
    let mut record = RunFile::read(output)?.ok_or_else(|| RunError::NothingScored {
        output: output.to_owned(),
    })?;
    let pipeline = pipeline(output, &record, decision)?;
    let rule = &pipeline.keep;
    let mut report = DecideReport {
        rule: rule.describe(),
        pieces: 0,
        unchanged: 0,
        before: record.counts.decided.clone(),
        after: DecidedCounts::default(),
        only_tightens: false,
    };
    if !decision.dry_run {
        remove_leftovers(output)?;
    }
    let mut files = Vec::new();
    pieces(&output.join("scored"), Path::new(""), &mut files)?;
    for file in files {
        let paths = PieceFiles::new(output, &file);
        let footer = Footer::read(&paths.scored)?;
        report.pieces += 1;
        let stored = footer.value(IMAGES).unwrap_or("all");
        report.only_tightens |= stored != "all" && stored != rule.digest();
        if let Some(counts) = paths.derived(&footer, &rule.digest()) {
            report.unchanged += 1;
            report.after.add(&counts);
            continue;
        }
        let derived = if decision.dry_run {
            crate::derive::count_only(&paths, &footer, rule, &|| stop.is_stopped())?
        } else {
            footer.verify()?;
            derive(&paths, &footer, rule, &|| stop.is_stopped())?
        };
        let Some(counts) = derived else {
            return Err(RunError::Model(capfilt_models::ModelError::Cancelled));
        };
        report.after.add(&counts);
    }
    if report.pieces == 0 {
        return Err(RunError::NothingScored {
            output: output.to_owned(),
        });
    }
    if !decision.dry_run {
        // One that died before it was recorded may have left nothing to do but that.
        let changed = report.unchanged < report.pieces || record.digests.decision != rule.digest();
        record.pipeline = pipeline.file.clone();
        record.digests.decision = rule.digest();
        record.counts.decided = report.after.clone();
        if changed {
            manifest::keep(&record, output, began)?;
        }
        record.write(output)?;
    }
    drop(lock);
    Ok(report)
}

/// The pipeline that made `output`, deciding as `decision` says.
fn pipeline(output: &Path, record: &RunFile, decision: &Decision) -> Result<Pipeline, RunError> {
    let mut file = record.pipeline.clone();
    if let Some(threshold) = decision.threshold {
        file.keep = Some(KeepTable {
            threshold: Some(threshold),
            where_: None,
        });
    }
    let path = output.join("run.json");
    reload(file, &decision.set, &path, output).map_err(|kind| PipelineError { path, kind }.into())
}

/// The `.parquet` files below `folder`, sorted, as paths below it.
fn pieces(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), RunError> {
    let mut entries = BTreeMap::new();
    let listed = match fs_err::read_dir(folder.join(below)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        entries.insert(entry.file_name(), entry.file_type()?.is_dir());
    }
    for (name, is_folder) in entries {
        let path = below.join(&name);
        if is_folder {
            pieces(folder, &path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            found.push(path);
        }
    }
    Ok(())
}
