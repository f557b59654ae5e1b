//! Finished files that are no pieces of the input any more.
//!
//! Where a shard is cut into other pieces than before, for it grew or `rows-per-piece` changed, the files
//! of the old pieces would stand beside those of the new ones, with the same rows. What trainers read
//! of them goes before the first new piece comes; what was scored goes once all new pieces are there.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;

use capfilt_data::{Footer, FooterError, Location, Shard};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::at_once::at_once;
use crate::counts::DecidedCounts;
use crate::derive::PieceFiles;
use crate::error::RunError;
use crate::record::{COUNTS, RunFile, SHARD};

/// Names of shards that are told at most.
const TOLD: usize = 3;

/// A finished file that is no piece of its shard any more.
#[derive(Clone, Debug)]
pub(crate) struct Stranger {
    /// Name of its shard.
    pub(crate) shard: String,
    /// Its path below `scored`, `dataset` and `rejected`.
    file: PathBuf,
}

/// Finished files that are no pieces of the input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strangers {
    /// Those of shards that are cut otherwise now.
    pub(crate) cut: Vec<Stranger>,
    /// How many are of shards that the input does not have. They stay: an input that is gone takes
    /// nothing with it.
    pub(crate) of_others: u64,
    /// Those shards.
    others: BTreeSet<String>,
}

impl Strangers {
    /// Those in `output`, where these shards have the pieces at `files`.
    pub(crate) fn find<'a>(
        output: &Location,
        shards: impl IntoIterator<Item = &'a Shard>,
        files: &HashSet<PathBuf>,
    ) -> Result<Self, RunError> {
        let shards: HashSet<&str> = shards.into_iter().map(Shard::as_str).collect();
        let scored = output.join("scored");
        let mut found = Self::default();
        for file in scored.parquet_files()? {
            if files.contains(&file) {
                continue;
            }
            // What cannot be read belongs to nobody.
            let footer = Footer::read(scored.join(&file)).ok();
            match footer.and_then(|footer| footer.value(SHARD).map(str::to_owned)) {
                Some(shard) if shards.contains(shard.as_str()) => {
                    found.cut.push(Stranger { shard, file });
                }
                Some(shard) => {
                    found.of_others += 1;
                    found.others.insert(shard);
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// What is to be said of pieces of shards that the input does not have.
    pub(crate) fn told(&self, output: &Location) -> Option<String> {
        if self.of_others == 0 {
            return None;
        }
        let names: Vec<&str> = self.others.iter().take(TOLD).map(String::as_str).collect();
        let more = if self.others.len() > TOLD { ", .." } else { "" };
        Some(format!(
            "{} finished pieces of {} shards that this input does not have stay in `{output}`, and trainers \
             read them too ({}{more}); name those shards as well, or choose another `--output`",
            self.of_others,
            self.others.len(),
            names.join(", ")
        ))
    }
}

/// What is in `dataset`, whichever input it came from.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatasetCounts {
    /// Files.
    pub pieces: u64,
    /// Images, each with at least one caption.
    pub images: u64,
    /// Captions.
    pub captions: u64,
    /// Files of shards that the last run's input does not have.
    pub pieces_of_other_inputs: u64,
}

impl DatasetCounts {
    /// What is in the `dataset` of `output`, whose last run is `run`.
    pub(crate) fn of(output: &Location, run: &RunFile) -> Result<Self, RunError> {
        let dataset = output.join("dataset");
        let files = dataset.parquet_files()?;
        let mut counts = Self::default();
        for footer in at_once(&files, |file| Footer::read(dataset.join(file))) {
            let footer = match footer {
                // What cannot be read is made again, and counted then.
                Err(FooterError::Parquet { .. }) => continue,
                footer => footer?,
            };
            let decided = footer
                .value(COUNTS)
                .map(serde_json::from_str::<DecidedCounts>);
            counts.pieces += 1;
            counts.images += footer.rows();
            counts.captions += decided
                .and_then(Result::ok)
                .map_or(0, |counts| counts.captions_kept());
            counts.pieces_of_other_inputs += u64::from(!run.has_shard_of(&footer));
        }
        Ok(counts)
    }
}

impl Stranger {
    /// Removes what trainers read of it.
    pub(crate) fn remove_derived(&self, output: &Location) -> io::Result<()> {
        let files = PieceFiles::new(output, &self.file);
        files.dataset.remove()?;
        files.rejected.remove()
    }

    /// What was scored.
    pub(crate) fn scored(&self, output: &Location) -> Location {
        PieceFiles::new(output, &self.file).scored
    }

    /// Removes what was scored.
    pub(crate) fn remove_scored(&self, output: &Location) -> io::Result<()> {
        self.scored(output).remove()
    }
}

impl RunFile {
    /// The files of the finished pieces below `scored`, without strangers.
    pub(crate) fn pieces_of(&self, output: &Location) -> Result<Vec<PathBuf>, RunError> {
        let step = self.pipeline.source.rows_per_piece.get();
        let shards: Vec<(Shard, u64)> = self
            .inputs
            .iter()
            .map(|input| (Shard::named(&input.shard), input.rows))
            .collect();
        let planned = shards
            .iter()
            .flat_map(|(shard, rows)| shard.pieces(*rows, step))
            .map(|piece| piece.file())
            .collect();
        let strangers = Strangers::find(output, shards.iter().map(|(shard, _)| shard), &planned)?;
        let strangers: HashSet<PathBuf> = strangers.cut.into_iter().map(|one| one.file).collect();
        let mut files = output.join("scored").parquet_files()?;
        files.retain(|file| !strangers.contains(file));
        Ok(files)
    }
}
