//! The shards that a pipeline reads.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use capfilt_data::columns::{passed_names, plain_type, same_but_for_case, with_own_features};
use capfilt_data::footer::hex_digest;
use capfilt_data::read::Wanted;
use capfilt_data::{Footer, FooterError, Found, Location, Shard, ShardsError, find_shards};

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
        error @ ShardsError::NotUtf8 { .. } => {
            crate::load::value("source.shards", error.to_string())
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
    /// Columns that the names of folders give, each with the value of all rows. They stand behind those
    /// of the shard.
    pub(crate) partitions: Vec<(FieldRef, Option<String>)>,
}

impl Mapping {
    /// Finds the columns of `shard`, which lies at `path` and has the columns `schema`.
    pub(crate) fn resolve(
        columns: &Columns,
        schema: &SchemaRef,
        shard: &Shard,
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
            let of_name = schema.fields().iter().filter(|field| field.name() == name);
            let count = of_name.count();
            if count > 1 {
                return Err(PipelineErrorKind::SameColumn {
                    key,
                    column: name.to_owned(),
                    shard: path.clone(),
                    count,
                });
            }
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
        let keys = shard.partitions();
        let names: Vec<&str> = others
            .iter()
            .map(|index| schema.field(*index).name().as_str())
            .collect();
        let keys_alone = keys.iter().map(|(key, _)| key.as_str());
        let mut names = passed_names(names.iter().copied(), keys_alone).into_iter();
        let fields = with_own_features(schema);
        let passed = others
            .iter()
            .zip(names.by_ref())
            .map(|(index, name)| {
                let field = Field::clone(&fields[*index]).with_name(name);
                let plain = plain_type(field.data_type());
                let field = field.with_data_type(plain).with_nullable(true);
                (*index, Arc::new(field) as FieldRef)
            })
            .collect();
        let partitions = names
            .zip(keys)
            .map(|(name, (_, value))| (Arc::new(Field::new(name, DataType::Utf8, true)), value))
            .collect();
        Ok(Self {
            url,
            text,
            image,
            id,
            passed,
            partitions,
        })
    }

    /// Fields of the passed-through columns, those of folders last.
    pub(crate) fn passed_fields(&self) -> Vec<FieldRef> {
        let own = self.passed.iter().map(|(_, field)| field);
        let partitions = self.partitions.iter().map(|(field, _)| field);
        own.chain(partitions).cloned().collect()
    }

    /// Names of passed-through columns that are not as they were or that readers may take for another, in
    /// words. The shard has the columns `schema`.
    pub(crate) fn doubts(&self, schema: &SchemaRef) -> Vec<String> {
        let numbered = self.passed.iter().filter_map(|(index, field)| {
            let name = schema.field(*index).name();
            let same = schema.fields().iter().filter(|field| field.name() == name);
            let is_other = same.count() > 1 && !field.name().ends_with(name.as_str());
            is_other.then(|| {
                format!(
                    "the input has more than one column `{name}`: the output calls one of them `{}`",
                    field.name()
                )
            })
        });
        let fields = self.passed_fields();
        let names = fields.iter().map(|field| field.name().as_str());
        let same = same_but_for_case(names).map(|(one, other)| {
            format!(
                "the columns `{one}` and `{other}` of the output differ by case only: pyarrow, datasets and \
                 DuckDB read both, Spark and Hive do not unless they are told to look at case"
            )
        });
        numbered.chain(same).collect()
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
