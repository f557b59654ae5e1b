//! One `[[data]]`: its files, and their rows.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use capfilt_data::candidate::read_captions;
use capfilt_data::columns::{CAPTIONS, ID, IMAGE, TEXT};
use capfilt_data::read::{Wanted, image_column, text_column, texts_column};
use capfilt_data::{Caption, ColumnError, Footer, Found, RECIPE, Stretch, find_shards};
use capfilt_image::{Alpha, DecodeOptions, Orientation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::DataError;
use super::options::{DataSource, Sampling};

/// Rows that are read at once.
const ROWS: usize = 32;

/// A picture and what is said of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: String,
    /// The encoded picture.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) decoding: DecodeOptions,
    /// An empty text is none.
    pub(super) captions: Vec<Caption>,
    pub(super) back_translations: Vec<String>,
}

/// A file and its columns.
#[derive(Debug)]
pub(super) struct Shard {
    name: capfilt_data::Shard,
    footer: Footer,
    image: String,
    text: String,
    id: Option<String>,
    decoding: DecodeOptions,
}

/// Some rows of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    shard: usize,
    stretch: Stretch,
    /// The first row, counted in the file.
    first: u64,
    /// Bytes of the pictures, uncompressed.
    bytes: u64,
}

impl Part {
    /// How many rows.
    pub(super) const fn rows(&self) -> usize {
        self.stretch.rows
    }
}

/// What one `[[data]]` names.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) source: DataSource,
    shards: Vec<Shard>,
    /// Samples that the footers tell; those without a picture or a text are among them.
    pub(super) samples: u64,
}

/// What may be held in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) rows: NonZeroUsize,
    pub(super) bytes: u64,
}

impl Dataset {
    /// Finds the files and reads their footers.
    pub(super) fn open(source: &DataSource, sampling: Sampling) -> Result<Self, DataError> {
        let shards = find_shards(&source.shards)?
            .into_iter()
            .map(|found| Shard::open(found, source))
            .collect::<Result<Vec<_>, _>>()?;
        let samples = shards.iter().map(|shard| shard.samples(sampling)).sum();
        if samples == 0 {
            return Err(DataError::Empty {
                shards: source.shards.clone(),
                files: shards.len(),
            });
        }
        Ok(Self {
            source: source.clone(),
            shards,
            samples,
        })
    }

    /// The digests of the footers, in the order of the files.
    pub(super) fn digests(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().map(|shard| shard.footer.digest.as_str())
    }

    /// How many samples an epoch has of it, on average.
    pub(super) fn share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no data has 2^53 samples")]
        let samples = self.samples as f64;
        self.source.weight.get() * samples
    }

    /// All rows in parts: row groups, cut where they do not fit a quarter of the budget, so that a
    /// few of them are shuffled together.
    pub(super) fn parts(&self, budget: Budget) -> Vec<Part> {
        let mut parts = Vec::new();
        for (shard, Shard { footer, image, .. }) in self.shards.iter().enumerate() {
            let mut first = 0;
            for (group, rows) in footer.group_rows().enumerate() {
                let bytes: u64 = footer.leaves(group, image).map(|leaf| leaf.bytes).sum();
                let pieces = (rows.div_ceil(budget.rows.get().div_ceil(4)))
                    .max(usize::try_from(4 * bytes / budget.bytes.max(1)).unwrap_or(0))
                    .clamp(1, rows.max(1));
                let length = rows.div_ceil(pieces).max(1);
                for start in (0..rows).step_by(length) {
                    let length = length.min(rows - start);
                    parts.push(Part {
                        shard,
                        stretch: Stretch {
                            group,
                            start,
                            rows: length,
                        },
                        first: first + start as u64,
                        bytes: bytes * length as u64 / rows as u64,
                    });
                }
                first += rows as u64;
            }
        }
        parts
    }

    /// Reads the rows of a part.
    pub(super) fn rows(
        &self,
        part: Part,
    ) -> Result<impl Iterator<Item = Result<Row, DataError>>, DataError> {
        let shard = &self.shards[part.shard];
        let columns = &self.source.columns;
        let mut names = vec![shard.image.as_str(), &shard.text];
        names.extend(shard.id.as_deref());
        names.extend(columns.back_translations.iter().map(String::as_str));
        let batches = shard.footer.stretch(&part.stretch, &names, ROWS)?;
        let mut first = part.first;
        let rows = batches.flat_map(move |batch| {
            let rows = batch
                .map_err(DataError::from)
                .and_then(|batch| shard.read(&batch, first, &self.source));
            match rows {
                Ok(rows) => {
                    first += rows.len() as u64;
                    rows.into_iter().map(Ok).collect()
                }
                Err(error) => vec![Err(error)],
            }
        });
        Ok(rows)
    }
}

/// Parts that are read and shuffled together: in the given order, as many as fit.
pub(super) fn windows(parts: &[Part], budget: Budget) -> Vec<Vec<Part>> {
    let mut windows: Vec<Vec<Part>> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for &part in parts {
        rows += part.rows();
        bytes += part.bytes;
        match windows.last_mut() {
            Some(window) if rows <= budget.rows.get() && bytes <= budget.bytes => window.push(part),
            _ => {
                windows.push(vec![part]);
                (rows, bytes) = (part.rows(), part.bytes);
            }
        }
    }
    windows
}

impl Shard {
    /// Reads a file's footer and finds its columns.
    fn open(found: Found, source: &DataSource) -> Result<Self, DataError> {
        let footer = Footer::read(&found.path)?.with_pages()?;
        let schema = Arc::clone(&footer.schema);
        let has = |column: &str| schema.index_of(column).is_ok();
        let find = |option, column: &str, wanted: Wanted| match schema.field_with_name(column) {
            Ok(field) if wanted.accepts(field.data_type()) => Ok(column.to_owned()),
            Ok(field) => Err(DataError::Column {
                option,
                column: column.to_owned(),
                shard: found.path.clone(),
                source: wanted.refuse(field.data_type()),
            }),
            Err(_) => Err(DataError::MissingColumn {
                option,
                column: column.to_owned(),
                shard: found.path.clone(),
                exist: schema.fields().iter().map(|f| f.name().clone()).collect(),
            }),
        };
        let columns = &source.columns;
        let image = columns.image.as_deref().unwrap_or(IMAGE);
        let usual_text = if has(CAPTIONS) { CAPTIONS } else { TEXT };
        let text = columns.text.as_deref().unwrap_or(usual_text);
        let id = columns.id.as_deref().or(has(ID).then_some(ID));
        for column in &columns.back_translations {
            find("back-translations", column, Wanted::Texts)?;
        }
        Ok(Self {
            image: find("image", image, Wanted::Image)?,
            text: find("text", text, Wanted::Texts)?,
            id: id.map(|id| find("id", id, Wanted::Id)).transpose()?,
            decoding: decoding(&footer),
            name: found.shard,
            footer,
        })
    }

    /// How many samples it has.
    fn samples(&self, sampling: Sampling) -> u64 {
        if sampling == Sampling::OneCaption {
            return self.footer.rows();
        }
        let groups = 0..self.footer.group_rows().count();
        groups
            .filter_map(|group| self.footer.leaves(group, &self.text).next())
            .map(|leaf| leaf.values)
            .sum()
    }

    /// The rows of a batch, the first of which is row `first` of the file.
    fn read(
        &self,
        batch: &RecordBatch,
        first: u64,
        source: &DataSource,
    ) -> Result<Vec<Row>, DataError> {
        let images = self.column(batch, "image", &self.image, image_column)?;
        let captions = self.column(batch, "text", &self.text, |array| {
            read_captions(array, source.text_source)
        })?;
        let ids = self
            .id
            .as_ref()
            .map(|id| self.column(batch, "id", id, text_column))
            .transpose()?;
        let mut others = vec![Vec::new(); batch.num_rows()];
        for column in &source.columns.back_translations {
            let texts = self.column(batch, "back-translations", column, texts_column)?;
            for (others, texts) in others.iter_mut().zip(texts) {
                others.extend(texts.into_iter().filter(|text| !text.trim().is_empty()));
            }
        }
        let rows = captions.into_iter().zip(others).enumerate();
        Ok(rows
            .map(|(row, (captions, back_translations))| {
                let id = ids.as_ref().filter(|ids| ids.is_valid(row));
                let id = id.map(|ids| ids.value(row).to_owned());
                let bytes = images.column(0).as_binary::<i32>();
                Row {
                    id: id.unwrap_or_else(|| self.name.row_id(first + row as u64)),
                    bytes: images.is_valid(row).then(|| bytes.value(row).to_vec()),
                    decoding: self.decoding,
                    captions,
                    back_translations,
                }
            })
            .collect())
    }

    fn column<T>(
        &self,
        batch: &RecordBatch,
        option: &'static str,
        column: &str,
        read: impl FnOnce(&ArrayRef) -> Result<T, ColumnError>,
    ) -> Result<T, DataError> {
        let array = batch
            .column_by_name(column)
            .ok_or_else(|| DataError::MissingColumn {
                option,
                column: column.to_owned(),
                shard: self.footer.path.clone(),
                exist: Vec::new(),
            })?;
        read(array).map_err(|source| DataError::Column {
            option,
            column: column.to_owned(),
            shard: self.footer.path.clone(),
            source,
        })
    }
}

/// The part of `capfilt.recipe` that says how the pipeline decoded the pictures that it judged.
#[derive(Deserialize)]
struct Recipe {
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    verb: String,
    options: Value,
}

/// How the pictures of a file are to be decoded: as its pipeline decoded them, else by default.
fn decoding(footer: &Footer) -> DecodeOptions {
    let recipe = footer.value(RECIPE);
    let recipe: Option<Recipe> = recipe.and_then(|recipe| serde_json::from_str(recipe).ok());
    let stages = recipe.map(|recipe| recipe.stages).unwrap_or_default();
    let decode = stages.into_iter().rfind(|stage| stage.verb == "decode");
    let options = decode.map(|stage| stage.options).unwrap_or_default();
    DecodeOptions {
        orientation: option::<Orientation>(&options, "orientation").unwrap_or_default(),
        alpha: option::<Alpha>(&options, "alpha").unwrap_or_default(),
        ..DecodeOptions::default()
    }
}

fn option<T: DeserializeOwned>(options: &Value, key: &str) -> Option<T> {
    serde_json::from_value(options.get(key)?.clone()).ok()
}
