//! Small shards, rows and pictures for tests.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray, StructArray, UInt64Array,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use capfilt_data::candidate::candidates_array;
use capfilt_data::{Candidate, Source, columns};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;

use crate::row;

/// A BMP picture of one colour.
pub(crate) fn bmp(width: u32, height: u32, shade: u8) -> Vec<u8> {
    let stride = (3 * width).next_multiple_of(4);
    let size = stride * height;
    let mut bytes = b"BM".to_vec();
    for word in [54 + size, 0, 54, 40, width, height] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    for word in [0, size, 2835, 2835, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.resize(bytes.len() + size as usize, shade);
    bytes
}

/// `bytes` as a `data:` URL, percent-encoded.
pub(crate) fn data_url(bytes: &[u8]) -> String {
    let mut url = String::from("data:image/bmp,");
    for byte in bytes {
        write!(url, "%{byte:02X}").unwrap();
    }
    url
}

/// Writes a Parquet file with `group` rows in a row group.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch, group: usize) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .build();
    let file = fs_err::File::create(path).unwrap().into_parts().0;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// A table of texts.
pub(crate) fn texts(columns: Vec<(&str, Vec<Option<String>>)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, texts)| (name, Arc::new(StringArray::from(texts)) as ArrayRef, true)),
    )
    .unwrap()
}

/// A row on its way, for [`rows`].
#[derive(Clone, Default)]
pub(crate) struct Row {
    pub(crate) text: Option<&'static str>,
    pub(crate) url: Option<String>,
    pub(crate) image: Option<Vec<u8>>,
    pub(crate) sides: Option<(i32, i32)>,
    pub(crate) reject: Option<&'static str>,
}

/// Rows on their way, numbered from `first`, with a passed-through column `nsfw`.
pub(crate) fn rows(first: u64, rows: &[Row]) -> RecordBatch {
    let count = rows.len();
    let passed = vec![Arc::new(Field::new("nsfw", DataType::Utf8, true))];
    let schema = row::schema(&passed);
    let texts = |get: &dyn Fn(&Row) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let side = |get: fn((i32, i32)) -> i32| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| row.sides.map(get))
                .collect::<Int32Array>(),
        )
    };
    let bytes: BinaryArray = rows.iter().map(|row| row.image.as_deref()).collect();
    let nulls = arrow::array::Array::nulls(&bytes).cloned();
    let paths = new_null_array(&DataType::Utf8, count);
    let image = StructArray::new(columns::image_fields(), vec![Arc::new(bytes), paths], nulls);
    let candidates: Vec<Vec<Candidate>> = rows
        .iter()
        .map(|row| row.text.map(web).into_iter().collect())
        .collect();
    let numbers = first..first + count as u64;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(numbers.clone())),
        Arc::new(
            numbers
                .map(|number| Some(format!("s:{number}")))
                .collect::<StringArray>(),
        ),
        texts(&|row| row.url.clone()),
        texts(&|row| row.text.map(str::to_owned)),
        Arc::new(image),
        side(|(width, _)| width),
        side(|(_, height)| height),
        new_null_array(&DataType::Struct(columns::fetch_fields()), count),
        Arc::new(candidates_array(&candidates).unwrap()),
        texts(&|row| row.reject.map(str::to_owned)),
        texts(&|_| None),
        texts(&|_| None),
        texts(&|_| None),
        new_null_array(&DataType::Binary, count),
        new_null_array(&DataType::UInt64, count),
        texts(&|_| Some("UNLIKELY".to_owned())),
    ];
    RecordBatch::try_new(schema, arrays).unwrap()
}

/// A web text as a candidate.
pub(crate) fn web(text: &str) -> Candidate {
    Candidate {
        text: text.to_owned(),
        source: Source::Web,
        by: None,
        log_prob: None,
        scores: Vec::new(),
    }
}

/// The texts of a column of `batch`.
pub(crate) fn column_texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    row::texts(batch, name)
        .unwrap()
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect()
}

/// An input that gives `batches` and counts nothing.
pub(crate) fn input(
    batches: Vec<datafusion::error::Result<RecordBatch>>,
) -> datafusion::execution::SendableRecordBatchStream {
    let schema = match batches.iter().flatten().next() {
        Some(batch) => batch.schema(),
        None => Arc::new(Schema::empty()),
    };
    Box::pin(
        datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(
            schema,
            futures::stream::iter(batches),
        ),
    )
}
