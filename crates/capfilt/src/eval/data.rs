//! Rows of Parquet files: pictures, their texts, and what is known of these.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use capfilt_data::columns::{CAPTIONS, IMAGE, TEXT};
use capfilt_data::footer::hex_digest;
use capfilt_data::read::{Wanted, image_column, text_column, texts_column};
use capfilt_data::{ColumnError, Footer, shard_files};
use capfilt_image::{DecodeError, DecodeOptions, Preprocess};
use capfilt_models::ModelError;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::EvalError;
use crate::failure::{self, Failure};
use crate::session::Session;

/// Rows that are read at once.
const ROWS: usize = 32;
/// How many of the pictures that cannot be used are told one by one.
const TOLD: u64 = 5;

/// The columns that are read, as typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// Pictures; `image` by default.
    pub(crate) image: Option<String>,
    /// Texts; `captions` where there is such a column, else `text`.
    pub(crate) text: Option<String>,
    /// Whether the texts belong to the picture.
    pub(crate) truth: Option<String>,
    /// What kind of row it is.
    pub(crate) group: Option<String>,
}

/// A text that a row has beside a picture.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) text: String,
    /// Whether it belongs to the picture; it does where nothing else is said.
    pub(crate) right: bool,
    pub(crate) group: Option<String>,
}

/// A picture that rows show, one or several.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) claims: Vec<Claim>,
    /// The first row that shows it, over all files.
    row: u64,
}

/// What the rows say; rows with the same bytes of a picture speak of one picture.
pub(crate) struct Data {
    shards: Vec<Shard>,
    /// In the order of their first rows.
    pub(crate) pictures: Vec<Picture>,
    pub(crate) rows: u64,
    /// Rows without a picture, without a text, or without the truth that they should have.
    pub(crate) incomplete: u64,
    /// Whether a look at the pictures has told which cannot be used.
    told: Cell<bool>,
}

/// A file and its columns.
#[derive(Clone)]
struct Shard {
    footer: Footer,
    image: String,
    text: String,
    truth: Option<String>,
    group: Option<String>,
}

impl Picture {
    /// The texts that belong to it.
    pub(crate) fn right(&self) -> impl Iterator<Item = &str> {
        let right = self.claims.iter().filter(|claim| claim.right);
        right.map(|claim| claim.text.as_str())
    }
}

impl Data {
    /// Reads all rows of the files that `globs` name.
    pub(crate) async fn read(globs: &[String], columns: &Columns) -> Result<Self, Failure> {
        let (globs, columns) = (globs.to_vec(), columns.clone());
        tokio::task::spawn_blocking(move || Ok(read(&globs, &columns)?))
            .await
            .map_err(Failure::Worker)?
    }

    /// How many files there are.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Does `work` for the pictures whose indices are `wanted` and that can be used, some of them at
    /// once. `work` gets the picture's index and its pixels.
    pub(crate) async fn each<T>(
        &self,
        wanted: impl Fn(usize) -> bool,
        preprocess: &Preprocess,
        at_once: usize,
        session: &Session,
        work: impl AsyncFn(usize, Vec<f32>) -> Result<T, ModelError>,
    ) -> Result<Looked<T>, Failure> {
        let (sender, mut receiver) = mpsc::channel(at_once);
        let indices = (0..self.pictures.len()).filter(|&index| wanted(index));
        let rows: Vec<(u64, usize)> = indices
            .map(|index| (self.pictures[index].row, index))
            .collect();
        let shards = self.shards.clone();
        let reading = tokio::task::spawn_blocking(move || pictures(&shards, &rows, &sender));
        let pictures = stream::poll_fn(|context| receiver.poll_recv(context));
        let tell = !self.told.replace(true);
        let mut looked = Looked {
            results: self.pictures.iter().map(|_| None).collect(),
            unusable: 0,
        };
        let mut done = std::pin::pin!(
            pictures
                .map(async |(index, bytes): (usize, Vec<u8>)| {
                    let result = match pixels(bytes, preprocess).await? {
                        Ok(pixels) => Ok(work(index, pixels).await?),
                        Err(unusable) => Err(unusable),
                    };
                    Ok::<_, Failure>((index, result))
                })
                .buffered(at_once)
        );
        while let Some((index, result)) = done.try_next().await? {
            match result {
                Ok(result) => looked.results[index] = Some(result),
                Err(error) => {
                    looked.unusable += 1;
                    if tell && looked.unusable <= TOLD {
                        let row = self.pictures[index].row;
                        failure::render(&UnusableError { row, source: error }, None, session);
                    }
                }
            }
        }
        reading.await.map_err(Failure::Worker)??;
        Ok(looked)
    }
}

/// What came of the pictures.
pub(crate) struct Looked<T> {
    /// In the places of the pictures; none for those that cannot be used or were not wanted.
    pub(crate) results: Vec<Option<T>>,
    /// Pictures that cannot be used.
    pub(crate) unusable: u64,
}

/// A picture of the data that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the picture of row {row} of the data")]
struct UnusableError {
    row: u64,
    source: DecodeError,
}

/// A picture as the model reads it.
async fn pixels(
    bytes: Vec<u8>,
    preprocess: &Preprocess,
) -> Result<Result<Vec<f32>, DecodeError>, Failure> {
    let preprocess = preprocess.clone();
    tokio::task::spawn_blocking(move || {
        let picture = capfilt_image::decode(&bytes, &DecodeOptions::default())?;
        Ok(preprocess.tensor(&picture))
    })
    .await
    .map_err(Failure::Worker)
}

fn read(globs: &[String], columns: &Columns) -> Result<Data, EvalError> {
    let mut shards = Vec::new();
    for glob in globs {
        let files = shard_files(glob);
        if files.is_empty() {
            return Err(EvalError::NoShards { glob: glob.clone() });
        }
        for file in files {
            shards.push(Shard::open(&file, columns)?);
        }
    }
    let mut data = Data {
        shards: Vec::new(),
        pictures: Vec::new(),
        rows: 0,
        incomplete: 0,
        told: Cell::new(false),
    };
    let mut known: HashMap<String, usize> = HashMap::new();
    for shard in &shards {
        for batch in shard.batches(&[])? {
            let batch = batch?;
            let images = shard.images(&batch)?;
            let rows = shard.said(&batch)?;
            for (row, (texts, right, group)) in rows.into_iter().enumerate() {
                let number = data.rows;
                data.rows += 1;
                let bytes = bytes_at(&images, row);
                let (Some(bytes), Some(right), false) = (bytes, right, texts.is_empty()) else {
                    data.incomplete += 1;
                    continue;
                };
                let index = *known
                    .entry(hex_digest(bytes))
                    .or_insert(data.pictures.len());
                if index == data.pictures.len() {
                    data.pictures.push(Picture {
                        claims: Vec::new(),
                        row: number,
                    });
                }
                let claims = texts.into_iter().map(|text| Claim {
                    text,
                    right,
                    group: group.clone(),
                });
                data.pictures[index].claims.extend(claims);
            }
        }
    }
    data.shards = shards;
    Ok(data)
}

/// Sends the pictures of `rows`, which have their row and index, in that order; ends early when
/// nobody listens.
fn pictures(
    shards: &[Shard],
    rows: &[(u64, usize)],
    sender: &mpsc::Sender<(usize, Vec<u8>)>,
) -> Result<(), EvalError> {
    let mut rows = rows.iter().peekable();
    let mut number = 0;
    for shard in shards {
        for batch in shard.batches(&[&shard.image])? {
            let images = shard.images(&batch?)?;
            for row in 0..images.len() {
                let wanted = rows.next_if(|(wanted, _)| *wanted == number);
                number += 1;
                let Some(((_, index), bytes)) = wanted.zip(bytes_at(&images, row)) else {
                    continue;
                };
                if sender.blocking_send((*index, bytes.to_vec())).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The bytes of a picture.
fn bytes_at(images: &StructArray, row: usize) -> Option<&[u8]> {
    let bytes = images.column(0).as_binary::<i32>();
    images.is_valid(row).then(|| bytes.value(row))
}

/// The texts of a row, whether they belong to its picture where that is known, and its group.
type Said = (Vec<String>, Option<bool>, Option<String>);

impl Shard {
    /// Reads a file's footer and finds its columns.
    fn open(path: &Path, columns: &Columns) -> Result<Self, EvalError> {
        let footer = Footer::read(path)?.with_pages()?;
        let schema = &footer.schema;
        let find = |option: &'static str, column: &str, wanted: Wanted| match schema
            .index_of(column)
        {
            Ok(index) if wanted.accepts(schema.field(index).data_type()) => Ok(column.to_owned()),
            Ok(index) => Err(EvalError::Column {
                option,
                column: column.to_owned(),
                shard: path.into(),
                source: wanted.refuse(schema.field(index).data_type()),
            }),
            Err(_) => Err(EvalError::MissingColumn {
                option,
                column: column.to_owned(),
                shard: path.into(),
                exist: schema
                    .fields()
                    .iter()
                    .map(|field| field.name().clone())
                    .collect(),
            }),
        };
        let usual_text = if schema.index_of(CAPTIONS).is_ok() {
            CAPTIONS
        } else {
            TEXT
        };
        let text = columns.text.as_deref().unwrap_or(usual_text);
        let optional = |option, column: Option<&String>, wanted| {
            column
                .map(|column| find(option, column, wanted))
                .transpose()
        };
        Ok(Self {
            image: find(
                "image",
                columns.image.as_deref().unwrap_or(IMAGE),
                Wanted::Image,
            )?,
            text: find("text", text, Wanted::Texts)?,
            truth: optional("truth", columns.truth.as_ref(), Wanted::Truth)?,
            group: optional("group", columns.group.as_ref(), Wanted::Id)?,
            footer,
        })
    }

    /// All rows, with `only` these columns or, where none are named, with all that are used.
    fn batches(
        &self,
        only: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, EvalError>> + use<>, EvalError> {
        let optional = [self.truth.as_deref(), self.group.as_deref()];
        let mut columns = vec![self.image.as_str(), &self.text];
        columns.extend(optional.into_iter().flatten());
        let columns = if only.is_empty() { &columns } else { only };
        let batches = self.footer.batches(Some(columns), ROWS)?;
        Ok(batches.map(|batch| batch.map_err(EvalError::Shard)))
    }

    fn images(&self, batch: &RecordBatch) -> Result<StructArray, EvalError> {
        let column = self.column(batch, "image", &self.image)?;
        image_column(column).map_err(self.refuse("image", &self.image))
    }

    /// What the rows say of their pictures.
    fn said(&self, batch: &RecordBatch) -> Result<Vec<Said>, EvalError> {
        let texts = self.column(batch, "text", &self.text)?;
        let texts = texts_column(texts).map_err(self.refuse("text", &self.text))?;
        let truth = match &self.truth {
            Some(truth) => self.column(batch, "truth", truth)?.as_boolean_opt(),
            None => None,
        };
        let group = match &self.group {
            Some(group) => {
                let column = self.column(batch, "group", group)?;
                Some(text_column(column).map_err(self.refuse("group", group))?)
            }
            None => None,
        };
        let rows = texts.into_iter().enumerate().map(|(row, texts)| {
            let right = match truth {
                Some(truth) => truth.is_valid(row).then(|| truth.value(row)),
                None => Some(true),
            };
            let group = group.as_ref().filter(|group| group.is_valid(row));
            (texts, right, group.map(|group| group.value(row).to_owned()))
        });
        Ok(rows.collect())
    }

    fn column<'batch>(
        &self,
        batch: &'batch RecordBatch,
        option: &'static str,
        column: &str,
    ) -> Result<&'batch ArrayRef, EvalError> {
        batch
            .column_by_name(column)
            .ok_or_else(|| EvalError::MissingColumn {
                option,
                column: column.to_owned(),
                shard: self.footer.path.clone(),
                exist: Vec::new(),
            })
    }

    fn refuse(&self, option: &'static str, column: &str) -> impl FnOnce(ColumnError) -> EvalError {
        let (column, shard) = (column.to_owned(), self.footer.path.clone());
        move |source| EvalError::Column {
            option,
            column,
            shard,
            source,
        }
    }
}
