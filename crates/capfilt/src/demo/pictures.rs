//! The pictures that the repository carries.

use std::path::Path;

use arrow::array::{Array, AsArray};
use axum::body::Bytes;
use capfilt_data::Footer;
use capfilt_data::read::{image_column, text_column};

use super::DemoError;

/// A picture with its title.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// Path below the server's root, made of letters, digits and `/._-` only.
    pub(crate) path: String,
    pub(crate) title: Option<String>,
    pub(crate) license: String,
    pub(crate) png: Bytes,
}

/// All of them, in the order of the file.
#[derive(Debug)]
pub(crate) struct Pictures {
    pictures: Vec<Picture>,
    digest: String,
}

const ROWS: usize = 64;

impl Pictures {
    /// Reads `pictures.parquet`.
    pub(crate) fn read(path: &Path) -> Result<Self, DemoError> {
        let footer = Footer::read(path)?;
        let mut pictures = Vec::new();
        for batch in footer.batches(None, ROWS)? {
            let batch = batch?;
            let unusable = |column, source| DemoError::Column {
                path: path.into(),
                column,
                source,
            };
            let column = |name| {
                batch
                    .column_by_name(name)
                    .ok_or_else(|| unusable(name, None))
            };
            let text =
                |name| text_column(column(name)?).map_err(|error| unusable(name, Some(error)));
            let (titles, licenses) = (text("title")?, text("license")?);
            let images =
                image_column(column("image")?).map_err(|error| unusable("image", Some(error)))?;
            let (bytes, paths) = (
                images.column(0).as_binary::<i32>(),
                images.column(1).as_string::<i32>(),
            );
            pictures.extend((0..batch.num_rows()).map(|row| Picture {
                path: format!("/{}", paths.value(row)),
                title: titles.is_valid(row).then(|| titles.value(row).to_owned()),
                license: licenses.value(row).to_owned(),
                png: Bytes::copy_from_slice(bytes.value(row)),
            }));
        }
        Ok(Self {
            pictures,
            digest: footer.digest,
        })
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Picture> {
        self.pictures.iter()
    }

    /// One with a title, for troubles that need a good picture.
    pub(crate) fn example(&self) -> Option<&Picture> {
        self.iter().rfind(|picture| picture.title.is_some())
    }

    pub(crate) fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Changes when the pictures do.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}
