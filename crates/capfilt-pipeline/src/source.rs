//! The shards that a pipeline reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, SchemaRef};
use capfilt_data::columns::{passed_names, plain_type};
use capfilt_data::footer::hex_digest;
use capfilt_data::read::Wanted;
use capfilt_data::{Footer, FooterError, Location, Shard};

use crate::at_once::at_once;
use crate::error::PipelineErrorKind;
use crate::file::Columns;

/// A file that the pipeline names.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) shard: Shard,
    pub(crate) path: Location,
}

/// The files that `globs` name, each list in the order of their paths.
pub(crate) fn find(globs: &[String]) -> Result<Vec<Found>, PipelineErrorKind> {
    let mut found = Vec::new();
    for glob in globs {
        let before = found.len();
        if Location::is_url(glob) {
            found.extend(objects(glob)?);
        } else {
            let prefix = prefix(glob);
            for path in shard_files(glob) {
                let shard = Shard::name(&path, &prefix)?;
                let path = path.into();
                found.push(Found { shard, path });
            }
        }
        if found.len() == before {
            return Err(PipelineErrorKind::NoShards { glob: glob.clone() });
        }
    }
    Ok(found)
}

/// What makes a glob of a path.
const WILD: [char; 3] = ['*', '?', '['];

/// Hidden files are named by their dot or not at all, and a wildcard stays in its folder.
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The objects that a URL names, in the order of their keys: one, those below a prefix that end in
/// `.parquet`, or those that match a glob.
fn objects(url: &str) -> Result<Vec<Found>, PipelineErrorKind> {
    let failed = |source| PipelineErrorKind::List {
        glob: url.to_owned(),
        source,
    };
    let refused = |source| PipelineErrorKind::Location {
        key: "source.shards",
        source,
    };
    let (prefix, rest) = match url.find(WILD) {
        Some(wild) => url.split_at(url[..wild].rfind('/').map_or(0, |slash| slash + 1)),
        None => (url, ""),
    };
    let root = Location::parse(prefix).map_err(refused)?;
    if rest.is_empty() && root.is_file().map_err(failed)? {
        let name = url.rsplit('/').next().unwrap_or(url);
        let shard = Shard::name(Path::new(name), Path::new(""))?;
        return Ok(vec![Found { shard, path: root }]);
    }
    let pattern = if rest.is_empty() {
        "**/*.parquet"
    } else {
        rest
    };
    let pattern = glob::Pattern::new(pattern).map_err(|error| {
        crate::load::value("source.shards", format!("`{url}` is no glob: {error}"))
    })?;
    let below = root.files().map_err(failed)?;
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

/// What identifies a shard: bytes, time of change or entity tag, and digest of the footer.
pub(crate) fn identity(footer: &Footer) -> String {
    hex_digest(format!("{} {} {}", footer.size, footer.version, footer.digest).as_bytes())
}

/// Where the columns of a shard go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mapping {
    pub(crate) url: Option<usize>,
    pub(crate) text: Option<usize>,
    pub(crate) image: Option<usize>,
    pub(crate) id: Option<usize>,
    /// Position in the shard and field in the output.
    pub(crate) passed: Vec<(usize, FieldRef)>,
}

impl Mapping {
    /// Finds the columns of a shard with the columns `schema`.
    pub(crate) fn resolve(
        columns: &Columns,
        schema: &SchemaRef,
        path: &Location,
    ) -> Result<Self, PipelineErrorKind> {
        let exist = || {
            schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect()
        };
        let find = |key: &'static str, named: Option<&String>, wanted: Wanted| {
            let name = match named {
                Some(name) => name.as_str(),
                None if columns.is_empty() => key,
                None => return Ok(None),
            };
            match schema.index_of(name) {
                Ok(index) if wanted.accepts(schema.field(index).data_type()) => Ok(Some(index)),
                Ok(index) if named.is_some() => Err(PipelineErrorKind::ColumnType {
                    key,
                    column: name.to_owned(),
                    shard: path.clone(),
                    source: wanted.refuse(schema.field(index).data_type()),
                }),
                Err(_) if named.is_some() => Err(PipelineErrorKind::MissingColumn {
                    key,
                    column: name.to_owned(),
                    shard: path.clone(),
                    exist: exist(),
                }),
                _ => Ok(None),
            }
        };
        let url = find("url", columns.url.as_ref(), Wanted::Text)?;
        let text = find("text", columns.text.as_ref(), Wanted::Text)?;
        let image = find("image", columns.image.as_ref(), Wanted::Image)?;
        let id = find("id", columns.id.as_ref(), Wanted::Id)?;
        if url.is_none() && text.is_none() && image.is_none() {
            return Err(PipelineErrorKind::NoColumns {
                shard: path.clone(),
                exist: exist(),
            });
        }
        let used = [url, text, image, id];
        let others: Vec<usize> = (0..schema.fields().len())
            .filter(|index| !used.contains(&Some(*index)))
            .collect();
        let names: Vec<&str> = others
            .iter()
            .map(|index| schema.field(*index).name().as_str())
            .collect();
        let passed = others
            .iter()
            .zip(passed_names(names.iter().copied()))
            .map(|(index, name)| {
                let plain = plain_type(schema.field(*index).data_type());
                (*index, Arc::new(Field::new(name, plain, true)) as FieldRef)
            })
            .collect();
        Ok(Self {
            url,
            text,
            image,
            id,
            passed,
        })
    }

    /// Fields of the passed-through columns.
    pub(crate) fn passed_fields(&self) -> Vec<FieldRef> {
        self.passed
            .iter()
            .map(|(_, field)| Arc::clone(field))
            .collect()
    }
}

/// Shards in the same order with their footers, or why they cannot be read.
pub(crate) fn open_all(
    found: Vec<Found>,
) -> impl Iterator<Item = (Found, Result<Footer, FooterError>)> {
    let opened = at_once(&found, |found| Footer::read(&found.path)?.with_pages());
    found.into_iter().zip(opened)
}

#[cfg(test)]
mod tests;
