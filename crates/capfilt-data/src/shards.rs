//! The shards that a path, a folder or a glob names, on this machine or in a store.

use std::io;
use std::path::{Components, Path, PathBuf};

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
    /// There is nothing, and the path has letters that are none.
    #[error("`{glob}` cannot be found: its path is not UTF-8; rename the folder that is not")]
    NotUtf8 {
        /// What was asked for, as far as it can be shown.
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
///
/// Nothing of `folder` needs to be escaped: what exists is taken literally (see [`find_shards`]).
pub fn shards_below(folder: &Path, glob: &str) -> String {
    if Location::is_url(glob) {
        glob.to_owned()
    } else {
        folder.join(glob).to_string_lossy().into_owned()
    }
}

/// The shards that `glob` names, in the order of their paths, at least one: a file, the Parquet files
/// below a folder or prefix, or those that match a glob.
///
/// Part by part, what exists under just that name is meant, whatever letters it has: `a[1].parquet` is
/// the file of this name where there is one, else `a1.parquet`.
pub fn find_shards(glob: &str) -> Result<Vec<Found>, ShardsError> {
    let found = if Location::is_url(glob) {
        objects(glob)?
    } else {
        let (literal, rest) = literal_part(glob.as_ref(), |path| path.symlink_metadata().is_ok());
        pattern(&rest, glob)?;
        let prefix = if rest.is_empty() && !literal.is_dir() {
            literal.parent().unwrap_or(&literal)
        } else {
            &literal
        };
        let files = files(&literal, &rest).into_iter();
        let named = files.map(|path| {
            let shard = Shard::name(&path, prefix)?;
            let path = path.into();
            Ok(Found { shard, path })
        });
        named.collect::<Result<_, ShardsError>>()?
    };
    if found.is_empty() {
        let glob = glob.to_owned();
        return Err(if glob.contains(char::REPLACEMENT_CHARACTER) {
            ShardsError::NotUtf8 { glob }
        } else {
            ShardsError::None { glob }
        });
    }
    Ok(found)
}

/// The parts of `glob` up to the first that is a pattern, as they are called, and the rest. `exists` says
/// whether there is something of a name.
fn literal_part(glob: &Path, exists: impl Fn(&Path) -> bool) -> (PathBuf, String) {
    let mut literal = PathBuf::new();
    let mut parts = glob.components();
    loop {
        let rest = parts.as_path();
        let Some(part) = parts.next() else {
            return (literal, String::new());
        };
        let name = part.as_os_str().to_string_lossy();
        let unescaped = unescaped(&name);
        if !name.contains(WILD) || exists(&literal.join(part)) {
            literal.push(part);
        } else if let Some(name) = unescaped {
            literal.push(name);
        } else {
            return (literal, rest.to_string_lossy().into_owned());
        }
    }
}

/// What `pattern` matches, where that is one name only: `a[[]1[]]` is `a[1]`.
fn unescaped(pattern: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let escaped = WILD.iter().chain(&[']']).copied();
        let mut escaped = escaped.map(|letter| (letter, format!("[{letter}]")));
        if let Some((letter, form)) = escaped.find(|(_, form)| rest.starts_with(form)) {
            name.push(letter);
            rest = &rest[form.len()..];
        } else if WILD.contains(&letter) {
            return None;
        } else {
            name.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    Some(name)
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
    below(&root, rest, url)
}

/// The objects below `root` that `rest` names; all of it is `glob`.
fn below(root: &Location, rest: &str, glob: &str) -> Result<Vec<Found>, ShardsError> {
    let all = root.files().map_err(|source| ShardsError::List {
        glob: glob.to_owned(),
        source,
    })?;
    let exists = |path: &Path| all.iter().any(|file| file.starts_with(path));
    let (literal, rest) = literal_part(Path::new(rest), exists);
    let (prefix, rest) = if rest.is_empty() && all.contains(&literal) {
        let name = literal.file_name().unwrap_or_default().to_string_lossy();
        let rest = glob::Pattern::escape(&name);
        (literal.parent().unwrap_or(&literal), rest)
    } else if rest.is_empty() {
        (literal.as_path(), "**/*.parquet".to_owned())
    } else {
        (literal.as_path(), rest)
    };
    let pattern = pattern(&rest, glob)?;
    let named = all.iter().filter_map(|file| {
        let below = file.strip_prefix(prefix).ok()?;
        pattern
            .matches_path_with(below, OPTIONS)
            .then_some((file, below))
    });
    named
        .map(|(file, below)| {
            let shard = Shard::name(below, Path::new(""))?;
            let path = root.join(file);
            Ok(Found { shard, path })
        })
        .collect()
}

/// The files that `glob` names, in the order of their paths; of a folder, the Parquet files below it.
pub fn shard_files(glob: &str) -> Vec<PathBuf> {
    let (literal, rest) = literal_part(glob.as_ref(), |path| path.symlink_metadata().is_ok());
    files(&literal, &rest)
}

/// The files that match `rest` below `literal`; without that, the file there, or the Parquet files below
/// the folder there.
fn files(literal: &Path, rest: &str) -> Vec<PathBuf> {
    let rest = if rest.is_empty() && literal.is_dir() {
        "**/*.parquet"
    } else {
        rest
    };
    let mut found = Vec::new();
    matches(literal, &Path::new(rest).components(), &mut found);
    found.sort();
    found.dedup();
    found
}

/// Adds the files that `parts` of a glob match below `folder`. What cannot be listed is not found: a glob
/// that finds nothing at all is an error. (The walk of the crate `glob` panics over names that are not
/// UTF-8; here they are found, and refused for that.)
fn matches(folder: &Path, parts: &Components<'_>, found: &mut Vec<PathBuf>) {
    let mut rest = parts.clone();
    let Some(part) = rest.next() else {
        if folder.is_file() {
            found.push(folder.to_owned());
        }
        return;
    };
    let part = part.as_os_str().to_string_lossy();
    if !part.contains(WILD) {
        return matches(&folder.join(&*part), &rest, found);
    }
    let is_deep = part == "**";
    if is_deep {
        matches(folder, &rest, found);
    }
    let Ok(pattern) = glob::Pattern::new(if is_deep { "*" } else { &part }) else {
        return;
    };
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    for entry in fs_err::read_dir(here).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !pattern.matches_with(&name.to_string_lossy(), OPTIONS) {
            continue;
        }
        let path = folder.join(name);
        if !is_deep {
            matches(&path, &rest, found);
        } else if path.is_dir() {
            matches(&path, parts, found);
        }
    }
}

#[cfg(test)]
mod tests;
