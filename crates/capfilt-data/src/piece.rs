//! Shards and the pieces they are cut into.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The name of an input shard: its path below the literal prefix of the glob, without extension.
/// Folders are kept, with `/` between them.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Shard(String);

/// How Hive names the folder of rows without a value.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// `text` without percent-encoding; as it is where that is not UTF-8 then.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.split_first_chunk::<2>().filter(|_| *first == b'%');
        let code = code.and_then(|(code, after)| {
            let digits = std::str::from_utf8(code).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
            Some((byte, after))
        });
        let (byte, after) = code.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A path from which no shard name can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot name the shard `{}`: {reason}", path.display())]
pub struct ShardNameError {
    path: PathBuf,
    reason: &'static str,
}

impl Shard {
    /// Names the shard at `path`, which a glob with the literal prefix `prefix` found.
    ///
    /// A name is refused where it would leave the output folder or is not UTF-8.
    pub fn name(path: &Path, prefix: &Path) -> Result<Self, ShardNameError> {
        let refuse = |reason| ShardNameError {
            path: path.to_owned(),
            reason,
        };
        let below = path
            .strip_prefix(prefix)
            .map_err(|_| refuse("it is not below the glob's prefix"))?;
        let below = below.with_extension("");
        let mut name = String::new();
        for part in below.components() {
            let std::path::Component::Normal(part) = part else {
                return Err(refuse("`..` is not allowed below the glob's prefix"));
            };
            let part = part
                .to_str()
                .ok_or_else(|| refuse("the path is not UTF-8"))?;
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(part);
        }
        if name.is_empty() {
            return Err(refuse("nothing is left of the path without its extension"));
        }
        Ok(Self(name))
    }

    /// The shard of this name, which was given before.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name, `/` between folders.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What folders named `key=value` say of all rows, from the outermost in: keys and values without
    /// percent-encoding, and no value for `__HIVE_DEFAULT_PARTITION__`.
    pub fn partitions(&self) -> Vec<(String, Option<String>)> {
        let folders = self.0.rsplit_once('/').map_or("", |(folders, _)| folders);
        let pairs = folders.split('/').filter_map(|name| name.split_once('='));
        pairs
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, value)| {
                let value = (value != NO_VALUE).then(|| decoded(value));
                (decoded(key), value)
            })
            .collect()
    }

    /// The id of a row that brings none: `<shard>:<row in file>`.
    pub fn row_id(&self, row: u64) -> String {
        format!("{}:{row}", self.0)
    }

    /// Cuts a shard of `rows` rows into pieces of at most `rows_per_piece`; a shard without rows
    /// is one piece without rows.
    pub fn pieces(&self, rows: u64, rows_per_piece: u64) -> Vec<Piece> {
        let step = rows_per_piece.max(1);
        let whole = rows <= step;
        (0..rows.div_ceil(step).max(1))
            .map(|index| {
                let first = index * step;
                Piece {
                    shard: self.clone(),
                    first,
                    rows: step.min(rows - first),
                    whole,
                }
            })
            .collect()
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A range of rows of one shard: the unit of work and of output.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Piece {
    /// The shard.
    pub shard: Shard,
    /// Its first row, counted from 0 within the file.
    pub first: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Whether it is all of its shard.
    pub whole: bool,
}

impl Piece {
    /// Where its files lie below `scored/`, `dataset/` and `rejected/`: `<shard>.parquet`, or
    /// `<shard>/<first row>.parquet` where the shard has several pieces.
    pub fn file(&self) -> PathBuf {
        PathBuf::from(format!("{self}.parquet"))
    }
}

impl std::fmt::Display for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.whole {
            f.write_str(&self.shard.0)
        } else {
            write!(f, "{}/{}", self.shard.0, self.first)
        }
    }
}

/// The first two of `pieces` that would be written to the same file, as their positions.
pub fn clashing<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> Option<(usize, usize)> {
    let mut seen = HashMap::new();
    pieces.into_iter().enumerate().find_map(|(index, piece)| {
        seen.insert(piece.file(), index)
            .map(|earlier| (earlier, index))
    })
}

#[cfg(test)]
mod tests;
