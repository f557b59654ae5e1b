//! The shards that a pipeline reads.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, SchemaRef};
use capfilt_data::columns::{passed_names, plain_type};
use capfilt_data::footer::hex_digest;
use capfilt_data::read::Wanted;
use capfilt_data::{Footer, FooterError, Found, Location, ShardsError, find_shards};

use crate::at_once::at_once;
use crate::error::PipelineErrorKind;
use crate::file::Columns;

/// The files that `globs` name, each list in the order of their paths.
pub(crate) fn find(globs: &[String]) -> Result<Vec<Found>, PipelineErrorKind> {
    let mut found = Vec::new();
    for glob in globs {
        found.extend(find_shards(glob).map_err(refused)?);
    }
    Ok(found)
}

/// The error as it is told of a pipeline file.
fn refused(error: ShardsError) -> PipelineErrorKind {
    match error {
        ShardsError::Glob { glob, source } if Location::is_url(&glob) => {
            crate::load::value("source.shards", format!("`{glob}` is no glob: {source}"))
        }
        ShardsError::Glob { glob, .. } | ShardsError::None { glob } => {
            PipelineErrorKind::NoShards { glob }
        }
        ShardsError::List { glob, source } => PipelineErrorKind::List { glob, source },
        ShardsError::Location(source) => PipelineErrorKind::Location {
            key: "source.shards",
            source,
        },
        ShardsError::Name(error) => error.into(),
    }
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
