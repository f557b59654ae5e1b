//! The columns of `scored`, `dataset` and `rejected`, and of the shards they come from.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

/// Row id: the mapped one, else `<shard>:<row in file>`.
pub const ID: &str = "id";
/// Where the picture came from.
pub const URL: &str = "url";
/// The web text as it came.
pub const TEXT: &str = "text";
/// The encoded picture, as `{bytes, path}`.
pub const IMAGE: &str = "image";
/// Pixels across, after orientation.
pub const WIDTH: &str = "width";
/// Pixels down, after orientation.
pub const HEIGHT: &str = "height";
/// How the fetch went.
pub const FETCH: &str = "fetch";
/// Every text that may become a caption of the picture.
pub const CANDIDATES: &str = "candidates";
/// Why the row left.
pub const REJECT: &str = "reject";
/// What happened, for people.
pub const DETAIL: &str = "detail";
/// Name of the stage that removed the row.
pub const STAGE: &str = "stage";
/// Name of the stage that dropped the web text.
pub const TEXT_DROPPED_BY: &str = "text_dropped_by";
/// SHA-256 of the stored picture, where a stage looked for duplicates: 32 bytes.
pub const SHA256: &str = "sha256";
/// Perceptual hash of the stored picture, where a stage looked for duplicates; null for one that has
/// too few features.
pub const PERCEPTUAL_HASH: &str = "perceptual_hash";
/// The captions that were kept.
pub const CAPTIONS: &str = "captions";

/// Names of the columns of `scored`, passed-through ones aside, in order.
pub const SCORED: [&str; 14] = [
    ID,
    URL,
    TEXT,
    IMAGE,
    WIDTH,
    HEIGHT,
    FETCH,
    CANDIDATES,
    REJECT,
    DETAIL,
    STAGE,
    TEXT_DROPPED_BY,
    SHA256,
    PERCEPTUAL_HASH,
];

/// Key of the schema metadata that Hugging Face `datasets` reads.
pub const HUGGING_FACE: &str = "huggingface";

fn nullable(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn required(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, false))
}

pub(crate) fn list_of_structs(fields: Fields) -> DataType {
    DataType::List(required("element", DataType::Struct(fields)))
}

/// Fields of an image: `{bytes: binary, path: string}`.
pub fn image_fields() -> Fields {
    Fields::from(vec![
        nullable("bytes", DataType::Binary),
        nullable("path", DataType::Utf8),
    ])
}

/// Fields of `fetch`: `{outcome, status, bytes, attempts, final_url, ms}`.
pub fn fetch_fields() -> Fields {
    Fields::from(vec![
        nullable("outcome", DataType::Utf8),
        nullable("status", DataType::Int32),
        nullable("bytes", DataType::Int64),
        nullable("attempts", DataType::Int32),
        nullable("final_url", DataType::Utf8),
        nullable("ms", DataType::Int64),
    ])
}

/// Fields of one score: `{by, kind, value}`.
pub fn score_fields() -> Fields {
    Fields::from(vec![
        required("by", DataType::Utf8),
        required("kind", DataType::Utf8),
        required("value", DataType::Float32),
    ])
}

/// Fields of one candidate: `{text, source, by, log_prob, scores}`.
pub fn candidate_fields() -> Fields {
    Fields::from(vec![
        required("text", DataType::Utf8),
        required("source", DataType::Utf8),
        nullable("by", DataType::Utf8),
        nullable("log_prob", DataType::Float32),
        required("scores", list_of_structs(score_fields())),
    ])
}

/// Fields of one kept caption: `{text, source, by, score}`.
pub fn caption_fields() -> Fields {
    Fields::from(vec![
        required("text", DataType::Utf8),
        required("source", DataType::Utf8),
        nullable("by", DataType::Utf8),
        nullable("score", DataType::Float32),
    ])
}

/// Type of the `candidates` column.
pub fn candidates_type() -> DataType {
    list_of_structs(candidate_fields())
}

/// Type of the `captions` column.
pub fn captions_type() -> DataType {
    list_of_structs(caption_fields())
}

fn own(name: &str) -> FieldRef {
    match name {
        ID => required(ID, DataType::Utf8),
        IMAGE => nullable(IMAGE, DataType::Struct(image_fields())),
        WIDTH | HEIGHT => nullable(name, DataType::Int32),
        SHA256 => nullable(SHA256, DataType::Binary),
        PERCEPTUAL_HASH => nullable(PERCEPTUAL_HASH, DataType::UInt64),
        FETCH => nullable(FETCH, DataType::Struct(fetch_fields())),
        CANDIDATES => required(CANDIDATES, candidates_type()),
        CAPTIONS => required(CAPTIONS, captions_type()),
        _ => nullable(name, DataType::Utf8),
    }
}

/// Metadata that makes `datasets` decode the `image` column.
fn with_image_feature() -> HashMap<String, String> {
    let features = r#"{"info": {"features": {"image": {"_type": "Image"}}}}"#;
    HashMap::from([(HUGGING_FACE.to_owned(), features.to_owned())])
}

fn schema(names: &[&str], passed: &[FieldRef]) -> SchemaRef {
    let fields: Fields = names
        .iter()
        .map(|name| own(name))
        .chain(passed.iter().cloned())
        .collect();
    Arc::new(Schema::new_with_metadata(fields, with_image_feature()))
}

/// Schema of a `scored` file whose shard passes `passed` through.
pub fn scored(passed: &[FieldRef]) -> SchemaRef {
    schema(&SCORED, passed)
}

/// Schema of a `dataset` file whose shard passes `passed` through.
pub fn dataset(passed: &[FieldRef]) -> SchemaRef {
    schema(&[ID, URL, IMAGE, WIDTH, HEIGHT, CAPTIONS], passed)
}

/// Schema of a `rejected` file.
pub fn rejected() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            required("id", DataType::Utf8),
            nullable("url", DataType::Utf8),
            nullable("stage", DataType::Utf8),
            required("reason", DataType::Utf8),
            nullable("detail", DataType::Utf8),
            nullable("text", DataType::Utf8),
            nullable("source", DataType::Utf8),
            nullable("by", DataType::Utf8),
            nullable("score", DataType::Float32),
            required("transient", DataType::Boolean),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// Output names of the passed-through columns `names`, in order: a name that a column of ours
/// has, or that begins with a dot, gets `input_` in front, as often as it takes to be free.
pub fn passed_names<'a>(names: impl IntoIterator<Item = &'a str> + Clone) -> Vec<String> {
    let ours = |name: &str| SCORED.contains(&name) || name == CAPTIONS || name.starts_with('.');
    let mut taken: HashSet<String> = names
        .clone()
        .into_iter()
        .filter(|name| !ours(name))
        .map(str::to_owned)
        .collect();
    let mut rename = |name: &str| {
        if !ours(name) {
            return name.to_owned();
        }
        let mut free = format!("input_{name}");
        while !taken.insert(free.clone()) {
            free.insert_str(0, "input_");
        }
        free
    };
    names.into_iter().map(&mut rename).collect()
}

/// `data_type` without views and without dictionaries of text or bytes, at any depth.
pub fn plain_type(data_type: &DataType) -> DataType {
    let plain = |field: &FieldRef| -> FieldRef {
        Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(plain_type(field.data_type())),
        )
    };
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::List(field) | DataType::ListView(field) => DataType::List(plain(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => {
            DataType::LargeList(plain(field))
        }
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(plain(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
