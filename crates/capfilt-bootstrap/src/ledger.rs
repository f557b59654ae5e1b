//! What is done, and with what.
//!
//! A step is known by a digest of what it is told, of what it reads and of the steps that it needs. There are two versions
//! of it:
//!
//! | version | what it is of |
//! | --- | --- |
//! | 1, up to commit 497e7fa | paths as they are, and the size and time of every shard; marks have no version |
//! | 2 | digests of their content in the place of all paths: what was moved or copied is the same |
//!
//! A mark of version 1 is judged by that rule, so that nothing is done again that lies where it lay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use capfilt_data::footer::{hex, hex_digest};
use capfilt_data::{Footer, Location, WriteError, find_shards};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::file::BootstrapFile;
use crate::step::{Kind, Layout, Step, StepError};

#[cfg(test)]
mod tests;

/// Name of the ledger in the output folder.
const NAME: &str = "steps.json";

/// The steps of an output folder that were begun, and a lock that keeps a second bootstrap away.
#[derive(Debug)]
pub struct Ledger {
    layout: Layout,
    marks: Marks,
    contents: Contents,
    _lock: fs_err::File,
}

/// Marks of steps by their names.
type Marks = BTreeMap<String, Mark>;

/// What is known of a step that was begun.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// Absent in version 1.
    #[serde(default = "first")]
    version: u32,
    /// Digest of what it was told and of what it used.
    digest: String,
    /// How far it came.
    state: State,
    /// How long it took, over all starts.
    seconds: f64,
}

/// The version of the marks that are made.
const VERSION: u32 = 2;

const fn first() -> u32 {
    1
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was begun, and not seen to end well.
    Begun,
    /// It is done.
    Done,
}

/// What a bootstrap would find of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outlook {
    /// It was never begun.
    New,
    /// What it is told, or what it uses, is not what it was: it is done again.
    Changed,
    /// It goes on.
    Begun {
        /// How long it took so far.
        seconds: f64,
    },
    /// It is done.
    Done {
        /// How long it took.
        seconds: f64,
    },
}

/// An output folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another bootstrap is at work there.
    #[error("another bootstrap is at work on `{}`: wait for it, or choose another output", output.display())]
    Busy {
        /// The folder.
        output: PathBuf,
    },
    /// A file or folder cannot be read, written or removed.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The ledger is no ledger.
    #[error("`{}` cannot be read as the list of finished steps; remove it to do all steps again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The ledger has no JSON form.
    #[error("cannot write `{}`", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A step cannot be told what to do.
    #[error(transparent)]
    Step(#[from] StepError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LedgerError + use<> {
    let path = path.to_owned();
    move |source| LedgerError::Io { path, source }
}

/// What is known of the steps in `layout`.
fn marks(layout: &Layout) -> Result<Marks, LedgerError> {
    let path = layout.output.join(NAME);
    match fs_err::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|source| LedgerError::Damaged { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(at(&path)(error)),
    }
}

/// What a bootstrap would find of each of `steps`, also while one is at work in `layout`.
pub fn outlook(
    steps: &[Step],
    all: &BootstrapFile,
    layout: &Layout,
) -> Result<Vec<Outlook>, LedgerError> {
    let marks = marks(layout)?;
    let mut contents = Contents::default();
    let mut done = BTreeSet::new();
    let looked = steps.iter().map(|step| {
        let Some(mark) = marks.get(&step.name) else {
            return Ok(Outlook::New);
        };
        // What it would be told is known when what it needs is there.
        if !step.needs.iter().all(|need| done.contains(need)) {
            return Ok(Outlook::Changed);
        }
        let digest = digest(mark.version, step, all, layout, &marks, &mut contents)?;
        let found = mark.outlook(&digest, &layout.result(step));
        if matches!(found, Outlook::Done { .. }) {
            done.insert(&step.name);
        }
        Ok(found)
    });
    looked.collect()
}

impl Mark {
    /// What it says of a step that is told what `digest` is of, and fills `result`.
    fn outlook(&self, digest: &str, result: &Path) -> Outlook {
        let seconds = self.seconds;
        if self.digest != digest {
            Outlook::Changed
        } else if self.state == State::Done && result.exists() {
            Outlook::Done { seconds }
        } else {
            Outlook::Begun { seconds }
        }
    }
}

impl Ledger {
    /// The ledger of `layout`, which is empty at first.
    pub fn open(layout: Layout) -> Result<Self, LedgerError> {
        let output = &layout.output;
        fs_err::create_dir_all(output).map_err(at(output))?;
        let path = output.join(".lock");
        let lock = fs_err::File::create(&path).map_err(at(&path))?;
        match lock.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::Busy {
                    output: output.clone(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
        }
        let marks = marks(&layout)?;
        Ok(Self {
            layout,
            marks,
            contents: Contents::default(),
            _lock: lock,
        })
    }

    /// Seconds of every step.
    pub(crate) fn seconds(&self) -> BTreeMap<String, f64> {
        let marks = self.marks.iter();
        marks
            .map(|(name, mark)| (name.clone(), mark.seconds))
            .collect()
    }

    /// Looks whether `step` is done with what it is told now. If not, it is marked as begun, its file is written, and
    /// what it made of other things is removed. What it needs is done.
    pub fn begin(&mut self, step: &Step, all: &BootstrapFile) -> Result<State, LedgerError> {
        let (layout, marks, contents) = (&self.layout, &self.marks, &mut self.contents);
        let mut digest = |version| digest(version, step, all, layout, marks, contents);
        let result = layout.result(step);
        let before = marks.get(&step.name);
        let mut version = before.map_or(VERSION, |mark| mark.version);
        let mut now = digest(version)?;
        let seconds = match before.map(|mark| mark.outlook(&now, &result)) {
            Some(Outlook::Done { .. }) => return Ok(State::Done),
            // Its mark stays of its version: those of the steps that need it are made of it.
            Some(Outlook::Begun { seconds }) => seconds,
            Some(Outlook::Changed | Outlook::New) | None => {
                version = VERSION;
                now = digest(version)?;
                // A run takes over by itself what an edited pipeline leaves as it was.
                let takes_over = matches!(step.kind, Kind::Run { .. });
                if !takes_over && result.is_dir() {
                    fs_err::remove_dir_all(&result).map_err(at(&result))?;
                }
                0.0
            }
        };
        if let Some(text) = step.file(all, layout)? {
            let path = self.layout.file(&step.name);
            let folder = path.parent().unwrap_or(&self.layout.output);
            fs_err::create_dir_all(folder).map_err(at(folder))?;
            Location::File(path).replace(text.as_bytes())?;
        }
        let mark = Mark {
            version,
            digest: now,
            state: State::Begun,
            seconds,
        };
        self.marks.insert(step.name.clone(), mark);
        self.save()?;
        Ok(State::Begun)
    }

    /// Adds time that a step under way took.
    pub fn add(&mut self, step: &Step, took: Duration) -> Result<(), LedgerError> {
        let Some(mark) = self.marks.get_mut(&step.name) else {
            return Ok(());
        };
        mark.seconds += took.as_secs_f64();
        self.save()
    }

    /// Marks a step as done.
    pub fn finish(&mut self, step: &Step) -> Result<(), LedgerError> {
        let Some(mark) = self.marks.get_mut(&step.name) else {
            return Ok(());
        };
        mark.state = State::Done;
        self.save()
    }

    fn save(&self) -> Result<(), LedgerError> {
        let path = self.layout.output.join(NAME);
        let text = serde_json::to_vec_pretty(&self.marks).map_err(|source| LedgerError::Json {
            path: path.clone(),
            source,
        })?;
        Ok(Location::File(path).replace(&text)?)
    }
}

/// Digest by the rule of `version` of what a step is told, of what it reads and of the steps that it needs.
fn digest(
    version: u32,
    step: &Step,
    all: &BootstrapFile,
    layout: &Layout,
    marks: &Marks,
    contents: &mut Contents,
) -> Result<String, LedgerError> {
    let mut digest = Sha256::new();
    let mut part = |text: &[u8]| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    let by_content = (version > first()).then(|| all.by_content(|path| contents.of(path)));
    let (told, layout) = match &by_content {
        Some(file) => (file, &layout.nameless()),
        None => (all, layout),
    };
    part(step.file(told, layout)?.unwrap_or_default().as_bytes());
    for argument in step.arguments(told, layout) {
        part(argument.as_encoded_bytes());
    }
    if by_content.is_none() {
        for shards in step.shards(all) {
            part(shards.as_bytes());
            // What cannot be listed now is told by the step itself.
            for found in find_shards(shards).unwrap_or_default() {
                part(found.path.to_string().as_bytes());
                part(identity(&found.path).as_bytes());
            }
        }
    }
    for need in &step.needs {
        let digest = marks.get(need).map(|mark| mark.digest.as_bytes());
        part(digest.unwrap_or_default());
    }
    Ok(hex(&digest.finalize()))
}

/// Size and time of a shard on disk, by which version 1 knows it; those of a store are known by their names.
fn identity(path: &Location) -> String {
    let about = path.as_file().and_then(|path| fs_err::metadata(path).ok());
    let Some(about) = about else {
        return String::new();
    };
    let changed = about
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = changed.unwrap_or_default().as_nanos();
    format!("{} {nanoseconds}", about.len())
}

/// Digests of what paths name; each is read once.
#[derive(Debug, Default)]
struct Contents(BTreeMap<String, String>);

impl Contents {
    /// Digest of the footers of the shards that `path` names, or of the tokenizer there. What cannot be read has none: the
    /// step itself says so.
    fn of(&mut self, path: &str) -> String {
        let digest = self.0.entry(path.to_owned());
        digest
            .or_insert_with(|| {
                let found = find_shards(path).unwrap_or_default();
                let footers = found.into_iter().map(|found| Footer::read(found.path));
                let digests = footers.map(|footer| footer.map(|footer| footer.digest));
                match digests.collect::<Result<Vec<String>, _>>() {
                    Ok(digests) if !digests.is_empty() => hex_digest(digests.concat().as_bytes()),
                    _ => tokenizer(Path::new(path))
                        .map_or_else(String::new, |json| hex_digest(&json)),
                }
            })
            .clone()
    }
}

/// The file of the tokenizer at `path`, which may be a folder.
fn tokenizer(path: &Path) -> Option<Vec<u8>> {
    let in_folder = ["tokenizer.json", "vocab.txt"].map(|name| path.join(name));
    let files = [path.to_owned()].into_iter().chain(in_folder);
    files.into_iter().find_map(|file| fs_err::read(file).ok())
}
