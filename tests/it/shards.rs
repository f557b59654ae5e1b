//! Writes input shards and pictures for tests, and reads what a run wrote.

use fs_err::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int32Type};
use capfilt_image::{DecodeOptions, Quality, decode, encode_jpeg};
use image::{ImageFormat, Rgb, RgbImage};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::FixtureServer;

/// One input row: an encoded picture or none, and a text or none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) id: Option<String>,
    pub(crate) picture: Option<Vec<u8>>,
    pub(crate) text: Option<String>,
}

impl Row {
    /// A row with a good picture of its own and this text.
    pub(crate) fn good(seed: u8, text: &str) -> Self {
        Self {
            id: None,
            picture: Some(png(96, 80, seed)),
            text: Some(text.to_owned()),
        }
    }

    /// A row with these picture bytes.
    pub(crate) fn with_picture(bytes: Vec<u8>, text: &str) -> Self {
        Self {
            id: None,
            picture: Some(bytes),
            text: Some(text.to_owned()),
        }
    }
}

/// A PNG picture of the given size; different seeds give different pictures.
pub(crate) fn png(width: u32, height: u32, seed: u8) -> Vec<u8> {
    png_of(&picture(width, height, seed))
}

/// A square PNG picture that does not compress, of about three bytes a pixel.
pub(crate) fn noise(side: u32, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    png_of(&RgbImage::from_fn(side, side, |_, _| {
        Rgb([next(), next(), next()])
    }))
}

/// A picture as PNG.
pub(crate) fn png_of(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(picture.as_raw()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A picture as BMP.
pub(crate) fn bmp(width: u32, height: u32, seed: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture(width, height, seed)
        .write_to(&mut bytes, ImageFormat::Bmp)
        .unwrap();
    bytes.into_inner()
}

/// A picture as JPEG.
pub(crate) fn jpeg(width: u32, height: u32, seed: u8) -> Vec<u8> {
    let picture = decode(&png(width, height, seed), &DecodeOptions::default()).unwrap();
    encode_jpeg(&picture, Quality::try_from(90).unwrap()).unwrap()
}

fn picture(width: u32, height: u32, seed: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let inside = (x / 16 + y / 16 + u32::from(seed)) % 3 == 0;
        let [red, green, blue] = if inside {
            [220, 40, seed]
        } else {
            [240, 240, 255 - seed]
        };
        Rgb([red, green, blue])
    })
}

/// Writes a shard with the columns `image` (binary), `text` and, when some row has one, `id`.
pub(crate) fn write(path: &Path, rows: &[Row]) {
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "image",
            Arc::new(
                rows.iter()
                    .map(|row| row.picture.as_deref())
                    .collect::<BinaryArray>(),
            ),
        ),
        (
            "text",
            Arc::new(
                rows.iter()
                    .map(|row| row.text.as_deref())
                    .collect::<StringArray>(),
            ),
        ),
    ];
    if rows.iter().any(|row| row.id.is_some()) {
        let ids = rows
            .iter()
            .map(|row| row.id.as_deref())
            .collect::<StringArray>();
        columns.push(("id", Arc::new(ids)));
    }
    write_columns(path, columns);
}

/// Writes a shard with the columns `url` and `alt`: of a server's pictures at `paths`, with a text of
/// each path.
pub(crate) fn write_urls(
    path: &Path,
    server: &FixtureServer,
    paths: &[impl AsRef<str>],
    alt: impl Fn(&str) -> String,
) {
    let column = |text: &dyn Fn(&str) -> String| -> ArrayRef {
        let texts = paths.iter().map(|path| Some(text(path.as_ref())));
        Arc::new(texts.collect::<StringArray>())
    };
    let url = column(&|path| server.url(path));
    write_columns(path, vec![("url", url), ("alt", column(&alt))]);
}

/// The text that pictures have by default.
pub(crate) fn what_is_at(path: &str) -> String {
    format!("what is at {path}")
}

/// Writes a shard with any columns.
pub(crate) fn write_columns(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    fs_err::create_dir_all(path.parent().expect("a shard lies in a folder")).unwrap();
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A whole Parquet file as one batch.
pub(crate) fn read(path: &Path) -> RecordBatch {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.into_parts().0).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// A text column by name, nulls kept.
#[track_caller]
pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = batch.column_by_name(column).unwrap_or_else(|| {
        panic!(
            "no column `{column}` in {:?}",
            batch
                .schema()
                .fields()
                .iter()
                .map(|f| f.name())
                .collect::<Vec<_>>()
        )
    });
    let array = cast(array, &DataType::Utf8).unwrap();
    array
        .as_string::<i32>()
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect()
}

/// An int32 column by name, nulls kept.
#[track_caller]
pub(crate) fn numbers(batch: &RecordBatch, column: &str) -> Vec<Option<i32>> {
    let array = batch.column_by_name(column).unwrap();
    array.as_primitive::<Int32Type>().iter().collect()
}

/// The texts of every row's list of structs (`candidates` or `captions`).
pub(crate) fn listed_texts(batch: &RecordBatch, column: &str) -> Vec<Vec<String>> {
    let lists = batch.column_by_name(column).unwrap().as_list::<i32>();
    let of_row = |row: usize| {
        if lists.is_null(row) {
            return Vec::new();
        }
        let structs = lists.value(row);
        let texts = structs.as_struct().column_by_name("text").unwrap();
        let texts = cast(texts, &DataType::Utf8).unwrap();
        texts
            .as_string::<i32>()
            .iter()
            .map(|text| text.unwrap_or_default().to_owned())
            .collect()
    };
    (0..lists.len()).map(of_row).collect()
}

/// Every file below a folder, as sorted paths relative to it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs_err::read_dir(folder) else {
            return;
        };
        for entry in entries.map(Result::unwrap) {
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, Path::new(""), &mut found);
    found.sort();
    found
}
