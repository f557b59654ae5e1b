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

/// The shards that `glob` names, in the order of their paths, at least one: a file, the Parquet files
/// below a folder or prefix, or those that match a glob.
pub fn find_shards(glob: &str) -> Result<Vec<Found>, ShardsError> {
    let none = || ShardsError::None {
        glob: glob.to_owned(),
    };
    let list = |source| ShardsError::List {
        glob: glob.to_owned(),
        source,
    };
    let (folder, rest) = match glob.find(WILD) {
        Some(wild) => glob.split_at(glob[..wild].rfind('/').map_or(0, |slash| slash + 1)),
        None => (glob, ""),
    };
    let root = Location::parse(if folder.is_empty() { "." } else { folder })?;
    if rest.is_empty() && root.is_file().map_err(list)? {
        let name = Path::new(glob.rsplit('/').next().unwrap_or(glob));
        let shard = Shard::name(name, Path::new(""))?;
        return Ok(vec![Found { shard, path: root }]);
    }
    let pattern = if rest.is_empty() {
        "**/*.parquet"
    } else {
        rest
    };
    let pattern = glob::Pattern::new(pattern).map_err(|source| ShardsError::Glob {
        glob: glob.to_owned(),
        source,
    })?;
    let below: Vec<PathBuf> = root.files().map_err(list)?;
    let found: Vec<Found> = below
        .into_iter()
        .filter(|file| pattern.matches_path_with(file, OPTIONS))
        .map(|file| {
            let shard = Shard::name(&file, Path::new(""))?;
            Ok(Found {
                shard,
                path: root.join(file),
            })
        })
        .collect::<Result<_, ShardsError>>()?;
    if found.is_empty() {
        Err(none())
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
