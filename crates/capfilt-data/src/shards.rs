//! The shards that a path, a folder or a glob names, on this machine or in a store.

use std::io;
use std::path::{Path, PathBuf};

use crate::location::{Location, LocationError};
use crate::piece::{Shard, ShardNameError};

/// A shard that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Its name: the path below the literal beginning of the glob.
    pub shard: Shard,
    /// Where it lies.
    pub path: Location,
}

/// Shards that cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// There is nothing.
    #[error(
        "`{glob}` finds no file; expected a Parquet file, a folder of them, or a glob of either"
    )]
    None {
        /// What was asked for.
        glob: String,
    },
    /// A wildcard is not understood.
    #[error("`{glob}` is no glob")]
    Glob {
        /// What was asked for.
        glob: String,
        /// What is wrong with it.
        #[source]
        source: glob::PatternError,
    },
    /// A store or folder cannot be listed.
    #[error("cannot list `{glob}`")]
    List {
        /// What was asked for.
        glob: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A store is not understood.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A file's path makes no name.
    #[error(transparent)]
    Name(#[from] ShardNameError),
}

/// What makes a glob of a path.
const WILD: [char; 3] = ['*', '?', '['];

/// Hidden files are named by their dot or not at all, and a wildcard stays in its folder.
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// `glob` as somebody in another folder names it, when it is relative to `folder`; a URL stays.
pub fn shards_below(folder: &Path, glob: &str) -> String {
    if Location::is_url(glob) {
        glob.to_owned()
    } else {
        folder.join(glob).to_string_lossy().into_owned()
    }
}

/// The shards that `glob` names, in the order of their paths, at least one: a file, the Parquet files
/// below a folder or prefix, or those that match a glob.
pub fn find_shards(glob: &str) -> Result<Vec<Found>, ShardsError> {
    let found = if Location::is_url(glob) {
        objects(glob)?
    } else {
        pattern(glob, glob)?;
        let prefix = prefix(glob);
        let files = shard_files(glob).into_iter();
        let named = files.map(|path| {
            let shard = Shard::name(&path, &prefix)?;
            let path = path.into();
            Ok(Found { shard, path })
        });
        named.collect::<Result<_, ShardsError>>()?
    };
    if found.is_empty() {
        let glob = glob.to_owned();
        return Err(ShardsError::None { glob });
    }
    Ok(found)
}

/// `part` of `glob` as a pattern.
fn pattern(part: &str, glob: &str) -> Result<glob::Pattern, ShardsError> {
    glob::Pattern::new(part).map_err(|source| ShardsError::Glob {
        glob: glob.to_owned(),
        source,
    })
}

/// The objects that a URL names, in the order of their keys: one, those below a prefix that end in
/// `.parquet`, or those that match a glob.
fn objects(url: &str) -> Result<Vec<Found>, ShardsError> {
    let list = |source| ShardsError::List {
        glob: url.to_owned(),
        source,
    };
    let (prefix, rest) = match url.find(WILD) {
        Some(wild) => url.split_at(url[..wild].rfind('/').map_or(0, |slash| slash + 1)),
        None => (url, ""),
    };
    let root = Location::parse(prefix)?;
    if rest.is_empty() && root.is_file().map_err(list)? {
        let name = url.rsplit('/').next().unwrap_or(url);
        let shard = Shard::name(Path::new(name), Path::new(""))?;
        return Ok(vec![Found { shard, path: root }]);
    }
    let rest = if rest.is_empty() {
        "**/*.parquet"
    } else {
        rest
    };
    let pattern = pattern(rest, url)?;
    let below = root.files().map_err(list)?;
    below
        .into_iter()
        .filter(|file| pattern.matches_path_with(file, OPTIONS))
        .map(|file| {
            let shard = Shard::name(&file, Path::new(""))?;
            let path = root.join(file);
            Ok(Found { shard, path })
        })
        .collect()
}

/// The files that `glob` names, in the order of their paths; of a folder, the Parquet files below it.
pub fn shard_files(glob: &str) -> Vec<PathBuf> {
    if glob.contains(WILD) {
        matches(glob)
    } else {
        literal(glob)
    }
}

fn literal(path: &str) -> Vec<PathBuf> {
    let path = PathBuf::from(path);
    if path.is_dir() {
        return matches(&format!(
            "{}/**/*.parquet",
            glob::Pattern::escape(&path.to_string_lossy())
        ));
    }
    if path.is_file() {
        vec![path]
    } else {
        Vec::new()
    }
}

fn matches(glob: &str) -> Vec<PathBuf> {
    let Ok(paths) = glob::glob_with(glob, OPTIONS) else {
        return Vec::new();
    };
    // What cannot be listed is not found; a glob that finds nothing at all is an error.
    let mut paths: Vec<PathBuf> = paths.flatten().filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

/// The folders of `glob` before its first wildcard; of a folder, itself; of a file, its folder.
fn prefix(glob: &str) -> PathBuf {
    if !glob.contains(WILD) {
        let path = Path::new(glob);
        let folder = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(path)
        };
        return folder.to_owned();
    }
    Path::new(glob)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(WILD))
        .collect()
}

#[cfg(test)]
mod tests;
