//! What a folder or file holds: the kinds of models that people have, by what tells them.
//!
//! The table is in [`known`]. The first kind that fits counts; an importer takes it, or it is refused
//! with its name and what to do instead.

pub(crate) mod content;
mod known;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoint::{Checkpoint, is_weights};
use crate::error::ImportError;
use known::KNOWN;

/// Who imports a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importer {
    /// [`crate::blip`].
    Blip,
    /// [`crate::open_clip`].
    OpenClip,
}

/// One kind.
struct Known {
    /// What it is, with its article.
    what: &'static str,
    /// Any of these tells it.
    marks: &'static [Mark],
    then: Then,
}

/// What tells a kind.
enum Mark {
    /// All these files or folders are in the folder, or the one file has the name.
    Files(&'static [&'static str]),
    /// There are no weights that are read, but a file with this ending.
    OnlyEnding(&'static str),
    /// `model_type` of `config.json`; a trailing `*` stands for any ending.
    ModelType(&'static str),
    /// One of the `architectures` of `config.json`.
    Architecture(&'static str),
    /// Each of `with` is part of the name of a tensor, and `without` of none.
    Tensors {
        with: &'static [&'static str],
        without: &'static str,
    },
}

/// What is done with a kind.
enum Then {
    Import(Importer),
    /// What to do instead.
    Refuse(&'static str),
}

/// What is seen of a path. What was not looked at is empty, and tells no kind.
#[derive(Default)]
struct Evidence {
    path: PathBuf,
    /// Names in the folder, or of the one file.
    files: BTreeSet<String>,
    model_type: Option<String>,
    architectures: Vec<String>,
    tensors: Vec<String>,
}

/// Opens the checkpoint at `path`, and says who imports it.
pub(crate) fn open(path: &Path) -> Result<(Importer, Checkpoint), ImportError> {
    let mut evidence = Evidence::of_files(path)?;
    evidence.read_config()?;
    // A folder is named for what it is before its weights are looked at.
    evidence.importer()?;
    let checkpoint = Checkpoint::open(path)?;
    evidence.tensors = checkpoint.names().map(str::to_owned).collect();
    Ok((evidence.importer()?, checkpoint))
}

/// Refuses a folder or file whose file names tell that nothing here reads it.
pub(crate) fn refuse_by_files(path: &Path) -> Result<(), ImportError> {
    Evidence::of_files(path)?.importer().map(drop)
}

impl Evidence {
    fn of_files(path: &Path) -> Result<Self, ImportError> {
        let read = |source| ImportError::Read {
            path: path.to_owned(),
            source,
        };
        let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
        let files = if fs_err::metadata(path).map_err(read)?.is_dir() {
            let entries = fs_err::read_dir(path).map_err(read)?;
            let names = entries.map(|entry| Ok(text(&entry?.file_name())));
            names.collect::<std::io::Result<_>>().map_err(read)?
        } else {
            path.file_name().map(text).into_iter().collect()
        };
        Ok(Self {
            path: path.to_owned(),
            files,
            ..Self::default()
        })
    }

    fn read_config(&mut self) -> Result<(), ImportError> {
        let path = self.path.join("config.json");
        if !path.is_file() {
            return Ok(());
        }
        let text = content::read(&path)?;
        let config: Value =
            serde_json::from_slice(&text).map_err(|error| ImportError::Malformed {
                path,
                kind: "the configuration of a model",
                reason: error.to_string(),
            })?;
        self.model_type = config["model_type"].as_str().map(str::to_owned);
        let architectures = config["architectures"].as_array().into_iter().flatten();
        self.architectures = architectures
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect();
        Ok(())
    }

    /// Who imports what this tells. BLIP's importer takes what tells nothing, and says what it misses.
    fn importer(&self) -> Result<Importer, ImportError> {
        let known = KNOWN
            .iter()
            .find(|known| known.marks.iter().any(|mark| self.shows(mark)));
        let (what, advice) = match (known, &self.model_type) {
            (Some(known), _) => match known.then {
                Then::Import(importer) => return Ok(importer),
                Then::Refuse(advice) => (known.what.to_owned(), advice),
            },
            (None, Some(other)) => (
                format!("a model of type `{other}` of transformers"),
                known::NOT_IMPORTED,
            ),
            (None, None) => return Ok(Importer::Blip),
        };
        Err(ImportError::OtherKind {
            path: self.path.clone(),
            what,
            advice: advice.to_owned(),
        })
    }

    fn shows(&self, mark: &Mark) -> bool {
        match *mark {
            Mark::Files(names) => names.iter().all(|&name| self.files.contains(name)),
            Mark::OnlyEnding(ending) => {
                !self.files.iter().any(|name| is_weights(name))
                    && self.files.iter().any(|name| name.ends_with(ending))
            }
            Mark::ModelType(expected) => {
                self.model_type
                    .as_deref()
                    .is_some_and(|got| match expected.strip_suffix('*') {
                        Some(start) => got.starts_with(start),
                        None => got == expected,
                    })
            }
            Mark::Architecture(name) => self.architectures.iter().any(|got| got == name),
            Mark::Tensors { with, without } => {
                let there = |part: &str| self.tensors.iter().any(|name| name.contains(part));
                with.iter().all(|part| there(part)) && (without.is_empty() || !there(without))
            }
        }
    }
}
