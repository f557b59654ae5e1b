//! Where files lie: on this machine, or in an object store.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::object::Object;
use crate::write::{WriteError, WriteErrorKind, folder_of};

/// A file or folder on this machine, or an object or prefix in a store.
///
/// Everything here blocks; nothing is asked of a store before something is read or written.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Location {
    /// On this machine.
    File(PathBuf),
    /// In an object store.
    Object(Object),
}

/// A text that names no location.
#[derive(Debug, thiserror::Error)]
#[error("cannot use `{url}`: {reason}")]
pub struct LocationError {
    /// As it was written.
    pub url: String,
    /// What is wrong and what would do.
    pub reason: String,
}

/// `path` as it counts from everywhere, whatever the current folder is then.
pub fn absolute(path: &Path) -> PathBuf {
    let path = Path::new(".").join(path);
    std::path::absolute(&path).unwrap_or(path)
}

impl Location {
    /// What `path` names: an object for `s3://bucket/key`, `gs://bucket/key` and
    /// `az://container/key`, else a file. Keys are taken as they are written, without
    /// percent-decoding. Credentials and endpoint of a store are those of the environment.
    pub fn parse(path: impl AsRef<Path>) -> Result<Self, LocationError> {
        let path = path.as_ref();
        match path.to_str().filter(|text| Self::is_url(text)) {
            Some(url) => Object::open(url).map(Self::Object),
            None => Ok(Self::File(path.to_owned())),
        }
    }

    /// Whether a text is a URL rather than a path.
    pub fn is_url(text: &str) -> bool {
        text.contains("://")
    }

    /// The folder or file on this machine.
    pub fn as_file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Object(_) => None,
        }
    }

    /// The same without links, `.` and `..`, so that it can be compared with others. What does not exist
    /// is what stands at the end of what does.
    #[must_use]
    pub fn resolved(&self) -> Self {
        match self {
            Self::File(path) => Self::File(resolved(path)),
            Self::Object(_) => self.clone(),
        }
    }

    /// Whether this lies below `folder`; of files, both must be [`resolved`](Self::resolved).
    pub fn is_below(&self, folder: &Self) -> bool {
        match (self, folder) {
            (Self::File(path), Self::File(folder)) => path.starts_with(folder),
            (Self::Object(object), Self::Object(folder)) => object.is_below(folder),
            _ => false,
        }
    }

    /// What lies at `below` under this.
    #[must_use]
    pub fn join(&self, below: impl AsRef<Path>) -> Self {
        match self {
            Self::File(path) => Self::File(path.join(below)),
            Self::Object(object) => Self::Object(object.join(below.as_ref())),
        }
    }

    /// A folder on this machine for what is needed until the file here is finished.
    pub fn scratch(&self) -> PathBuf {
        match self {
            Self::File(path) => folder_of(path).to_owned(),
            Self::Object(_) => std::env::temp_dir(),
        }
    }

    /// Whether there is a file or object here.
    pub fn is_file(&self) -> io::Result<bool> {
        match self {
            Self::File(path) => Ok(path.is_file()),
            Self::Object(object) => object.exists(),
        }
    }

    /// Whether there is a folder here, or there are objects below.
    pub fn is_folder(&self) -> io::Result<bool> {
        match self {
            Self::File(path) => Ok(path.is_dir()),
            Self::Object(object) => object.is_prefix(),
        }
    }

    /// The whole content.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => fs_err::read(path),
            Self::Object(object) => object.read().map(Into::into),
        }
    }

    /// Replaces what is here by `bytes`, whole or not at all.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), WriteError> {
        match self {
            Self::File(path) => crate::write::replace(path, bytes),
            Self::Object(object) => object.put(bytes.to_vec()),
        }
        .map_err(|error| WriteError {
            path: self.clone(),
            kind: WriteErrorKind::of_io(error),
        })
    }

    /// Removes the file, unless it is gone.
    pub fn remove(&self) -> io::Result<()> {
        match self {
            Self::File(path) => crate::write::remove(path),
            Self::Object(object) => object.remove(),
        }
    }

    /// All files below: sorted, as paths below this. None where there is no folder.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        match self {
            Self::File(folder) => list(folder, Path::new(""), &mut files)?,
            Self::Object(prefix) => files = prefix.list()?,
        }
        files.sort();
        Ok(files)
    }

    /// Those whose names end in `.parquet`, hidden ones left out.
    pub fn parquet_files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = self.files()?;
        files.retain(|file| is_shown(file) && file.extension().is_some_and(|e| e == "parquet"));
        Ok(files)
    }
}

/// `path` without links, `.` and `..`, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = fs_err::canonicalize(path) {
        return path;
    }
    let mut resolved = PathBuf::new();
    // Where the current folder is not known, what is relative to it stays so.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for part in absolute.components() {
        if part == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(part);
        // A link leads elsewhere, and `..` behind it out of there.
        if let Ok(canonical) = fs_err::canonicalize(&resolved) {
            resolved = canonical;
        }
    }
    resolved
}

/// Whether no part of a path is hidden.
fn is_shown(path: &Path) -> bool {
    path.iter()
        .all(|part| !part.to_string_lossy().starts_with('.'))
}

/// Adds all files of `folder/below` and its folders to `found`.
fn list(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs_err::read_dir(folder.join(below)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(folder, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object(object) => object.fmt(f),
        }
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&Self> for Location {
    fn from(location: &Self) -> Self {
        location.clone()
    }
}

#[cfg(test)]
mod tests;
