//! Finished files that are no pieces of the input any more.
//!
//! Where a shard is cut into other pieces than before, for it grew or `rows-per-piece` changed, the files
//! of the old pieces would stand beside those of the new ones, with the same rows. What trainers read
//! of them goes before the first new piece comes; what was scored goes once all new pieces are there.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use capfilt_data::{Footer, Location, Shard};

use crate::derive::PieceFiles;
use crate::error::RunError;
use crate::record::{RunFile, SHARD};

/// A finished file that is no piece of its shard any more.
#[derive(Clone, Debug)]
pub(crate) struct Stranger {
    /// Name of its shard.
    pub(crate) shard: String,
    /// Its path below `scored`, `dataset` and `rejected`.
    file: PathBuf,
}

impl Stranger {
    /// Those in `output`, where these shards have the pieces at `files`. Files of other shards are none:
    /// an input that is gone takes nothing with it.
    pub(crate) fn find<'a>(
        output: &Location,
        shards: impl IntoIterator<Item = &'a Shard>,
        files: &HashSet<PathBuf>,
    ) -> Result<Vec<Self>, RunError> {
        let shards: HashSet<&str> = shards.into_iter().map(Shard::as_str).collect();
        let scored = output.join("scored");
        let mut strangers = Vec::new();
        for file in scored.parquet_files()? {
            if files.contains(&file) {
                continue;
            }
            // What cannot be read belongs to nobody.
            let footer = Footer::read(scored.join(&file)).ok();
            let shard = footer.and_then(|footer| footer.value(SHARD).map(str::to_owned));
            if let Some(shard) = shard.filter(|shard| shards.contains(shard.as_str())) {
                strangers.push(Self { shard, file });
            }
        }
        Ok(strangers)
    }

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
        let strangers = Stranger::find(output, shards.iter().map(|(shard, _)| shard), &planned)?;
        let strangers: HashSet<PathBuf> = strangers.into_iter().map(|one| one.file).collect();
        let mut files = output.join("scored").parquet_files()?;
        files.retain(|file| !strangers.contains(file));
        Ok(files)
    }
}
