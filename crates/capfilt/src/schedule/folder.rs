//! The files of a folder, and what starts each of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capfilt_data::Location;
use capfilt_pipeline::NewOutput;

use super::file::{Scheduled, UnusableError};
use super::timetable::{After, Entry};

/// A file that nothing can be started by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be used.
    #[error(transparent)]
    Unusable(Arc<UnusableError>),
    /// Its `after` names no file.
    #[error(
        "`{file}`: `after`: there is no file `{}`; expected another file, relative to this one",
        after.display()
    )]
    AfterMissing { file: String, after: PathBuf },
    /// Its `after` names a file that cannot be used.
    #[error(
        "`{file}`: `after`: `{}` is no file that can be used; expected a pipeline, training or bootstrap file, \
         relative to this one", after.display()
    )]
    AfterUnusable {
        file: String,
        after: PathBuf,
        source: Arc<UnusableError>,
    },
    /// It comes after itself.
    #[error("`after`: {} is a circle, which would start itself for ever; take one `after` out", files.join(" after "))]
    Circle { files: Vec<String> },
    /// The output of the file that it comes after cannot be looked at.
    #[error("`{file}`: cannot tell whether `{after}` has new output")]
    Output {
        file: String,
        after: String,
        source: io::Error,
    },
}

/// What starts each file of a folder, or why nothing can, by name.
pub(crate) type Files = BTreeMap<String, Result<Entry, FileError>>;

/// The files of a folder; those elsewhere that they come after are read along.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    place: Place,
    sources: BTreeMap<Place, Source>,
    /// By output folder.
    outputs: HashMap<Location, NewOutput>,
}

/// A path whose folder has no links in it: two that differ are two files.
type Place = PathBuf;

fn place(path: &Path) -> io::Result<Place> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs_err::canonicalize(folder.unwrap_or_else(|| Path::new(".")))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

impl Folder {
    /// The folder at `path`, of which nothing is read yet.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            place: fs_err::canonicalize(path)?,
            sources: BTreeMap::new(),
            outputs: HashMap::new(),
        })
    }

    /// Where the file `name` of the folder lies.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads the files that changed, and looks for new output.
    pub(crate) fn look(&mut self) -> io::Result<Files> {
        let names = self.list()?;
        let mut sources = BTreeMap::new();
        let mut paths: VecDeque<PathBuf> = names.iter().map(|name| self.file(name)).collect();
        while let Some(path) = paths.pop_front() {
            // A folder that is not there has no file, as will be said of who names it.
            let Ok(place) = place(&path) else { continue };
            if sources.contains_key(&place) {
                continue;
            }
            let source = Source::read(&path, self.sources.remove(&place));
            paths.extend(source.after().map(Path::to_owned));
            sources.insert(place, source);
        }
        self.sources = sources;
        let entries = names.into_iter().map(|name| {
            let entry = self.entry(&name);
            (name, entry)
        });
        Ok(entries.collect())
    }

    /// What the program is called with to do the file `name`.
    pub(crate) fn arguments(&self, name: &str) -> [OsString; 2] {
        let source = self.sources.get(&self.place.join(name));
        let scheduled = source.and_then(|source| source.scheduled.as_ref().ok());
        let command = scheduled.map_or("run", |scheduled| scheduled.command);
        [command.into(), self.file(name).into()]
    }

    /// The names of the files that could be started. The ending is all that tells them from others.
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs_err::read_dir(&self.path)? {
            let path = entry?.path();
            let is_toml = path.extension().is_some_and(|ending| ending == "toml");
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Editors keep hidden files beside the one that is edited.
            if is_toml && !name.starts_with('.') && path.is_file() {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    /// What starts the file `name`.
    fn entry(&mut self, name: &str) -> Result<Entry, FileError> {
        let place = self.place.join(name);
        let Some(source) = self.sources.get(&place) else {
            return Ok(Entry::default());
        };
        let scheduled = source
            .scheduled
            .as_ref()
            .map_err(|error| FileError::Unusable(Arc::clone(error)))?;
        let schedule = scheduled.schedule.clone();
        let Some(path) = source.after() else {
            return Ok(Entry {
                schedule,
                after: None,
            });
        };
        let other = self.after(&place).filter(|_| path.is_file());
        let Some((other_place, other)) = other else {
            return Err(FileError::AfterMissing {
                file: name.to_owned(),
                after: path.to_owned(),
            });
        };
        self.refuse_circle(&place)?;
        let other = other
            .scheduled
            .as_ref()
            .map_err(|error| FileError::AfterUnusable {
                file: name.to_owned(),
                after: path.to_owned(),
                source: Arc::clone(error),
            })?;
        let after = self.name(other_place);
        let output = other.output.clone();
        let newest = match self
            .outputs
            .entry(output.clone())
            .or_default()
            .newest(&output)
        {
            Ok(newest) => newest.map(str::to_owned),
            Err(source) => {
                return Err(FileError::Output {
                    file: name.to_owned(),
                    after,
                    source,
                });
            }
        };
        Ok(Entry {
            schedule,
            after: Some(After {
                file: after,
                newest,
            }),
        })
    }

    /// The file that the one at `place` comes after.
    fn after(&self, place: &Path) -> Option<(&Path, &Source)> {
        let after = self::place(self.sources.get(place)?.after()?).ok()?;
        let (place, source) = self.sources.get_key_value(&after)?;
        Some((place, source))
    }

    /// Refuses a file that comes after itself, by however many others.
    fn refuse_circle(&self, place: &Path) -> Result<(), FileError> {
        let mut files = vec![self.name(place)];
        let mut at = place;
        while let Some((next, _)) = self.after(at)
            && files.len() <= self.sources.len()
        {
            files.push(self.name(next));
            if next == place {
                return Err(FileError::Circle { files });
            }
            at = next;
        }
        Ok(())
    }

    /// How a file is called: by its name in the folder, elsewhere by its place.
    fn name(&self, place: &Path) -> String {
        let inside = place.parent() == Some(&self.place);
        match place.file_name().filter(|_| inside) {
            Some(name) => name.to_string_lossy().into_owned(),
            None => place.display().to_string(),
        }
    }
}

/// A file as it was last read.
#[derive(Debug)]
struct Source {
    text: Option<String>,
    /// Whether that is the text that counts.
    settled: bool,
    scheduled: Result<Box<Scheduled>, Arc<UnusableError>>,
}

impl Source {
    /// Reads the file at `path`, which was read `before`.
    ///
    /// A new text counts once it was read twice, so that none counts that is being written.
    fn read(path: &Path, before: Option<Self>) -> Self {
        let text = fs_err::read_to_string(path).ok();
        match before {
            Some(before) if before.text != text => Self {
                text,
                settled: false,
                ..before
            },
            Some(before) if before.settled => before,
            _ => Self {
                scheduled: Scheduled::read(path, text.as_deref().unwrap_or_default())
                    .map(Box::new)
                    .map_err(Arc::new),
                text,
                settled: true,
            },
        }
    }

    /// The file that it comes after.
    fn after(&self) -> Option<&Path> {
        self.scheduled.as_ref().ok()?.after.as_deref()
    }
}

#[cfg(test)]
mod tests;
