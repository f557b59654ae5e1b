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

/// What makes `datasets` decode the `image` column.
const IMAGE_FEATURE: &str = r#"{"info": {"features": {"image": {"_type": "Image"}}}}"#;

/// Metadata from which `datasets` learns the kinds of the `image` column and of `passed`, and `passed`
/// without what only that is for.
fn with_features(passed: &[FieldRef]) -> (HashMap<String, String>, Vec<FieldRef>) {
    let mut features: serde_json::Value = serde_json::from_str(IMAGE_FEATURE).unwrap_or_default();
    let mut text = IMAGE_FEATURE.to_owned();
    let mut fields = Vec::new();
    for field in passed {
        let mut metadata = field.metadata().clone();
        let feature = metadata.remove(HUGGING_FACE);
        let feature = feature.and_then(|feature| serde_json::from_str(&feature).ok());
        let Some(feature) = feature else {
            fields.push(Arc::clone(field));
            continue;
        };
        features["info"]["features"][field.name()] = feature;
        text = features.to_string();
        fields.push(Arc::new(Field::clone(field).with_metadata(metadata)));
    }
    (HashMap::from([(HUGGING_FACE.to_owned(), text)]), fields)
}

/// The columns of `schema`, each with what `datasets` knows of it (like the names of a `ClassLabel`)
/// under [`HUGGING_FACE`] in its metadata: [`scored`] and [`dataset`] put that where `datasets` looks.
pub fn with_own_features(schema: &Schema) -> Vec<FieldRef> {
    let known = schema.metadata().get(HUGGING_FACE);
    let known = known.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let features = known.as_ref().map(|known| &known["info"]["features"]);
    let fields = schema.fields().iter();
    fields
        .map(
            |field| match features.and_then(|all| all.get(field.name())) {
                None => Arc::clone(field),
                Some(feature) => {
                    let mut metadata = field.metadata().clone();
                    metadata.insert(HUGGING_FACE.to_owned(), feature.to_string());
                    Arc::new(Field::clone(field).with_metadata(metadata))
                }
            },
        )
        .collect()
}

fn schema(names: &[&str], passed: &[FieldRef]) -> SchemaRef {
    let (metadata, passed) = with_features(passed);
    let ours = names.iter().map(|name| own(name));
    let fields: Fields = ours.chain(passed).collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
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

/// Output names of the passed-through columns `names`, and of those that the folders of a shard give
/// by the keys `keys`, in order. A name that is taken gets `input_` in front, as often as it takes to be
/// free; of columns of one name, all but the first are numbered.
///
/// Taken are the names of our columns and those that begin with a dot. A key always is: the output has
/// the same folders as the input, and readers like pyarrow make a column of that name of them.
pub fn passed_names<'a>(
    names: impl IntoIterator<Item = &'a str> + Clone,
    keys: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let own: HashSet<&str> = names.clone().into_iter().collect();
    let ours = |name: &str| SCORED.contains(&name) || name == CAPTIONS || name.starts_with('.');
    let prefixed = |name: &str| {
        let mut free = format!("input_{name}");
        while ours(&free) || own.contains(free.as_str()) {
            free.insert_str(0, "input_");
        }
        free
    };
    let names = names.into_iter().map(|name| {
        if ours(name) {
            prefixed(name)
        } else {
            name.to_owned()
        }
    });
    let free: Vec<String> = names.chain(keys.into_iter().map(prefixed)).collect();
    apart(free.iter().map(String::as_str))
}

/// `names` where of those that are equal all but the first are numbered: `x`, `x_2`, `x_3`.
pub(crate) fn apart<'a>(names: impl IntoIterator<Item = &'a str> + Clone) -> Vec<String> {
    let mut taken: HashSet<String> = names.clone().into_iter().map(str::to_owned).collect();
    let mut seen = HashSet::new();
    let mut free = |name: &str| {
        if seen.insert(name.to_owned()) {
            return name.to_owned();
        }
        let numbered = (2_u64..).map(|number| format!("{name}_{number}"));
        let mut free = numbered.filter(|name| taken.insert(name.clone()));
        free.next().unwrap_or_default()
    };
    names.into_iter().map(&mut free).collect()
}

/// The first of `names` that differ from an earlier one, or a column of ours, by their case only, with
/// that: some readers, like Spark and Hive, cannot tell them apart.
pub fn same_but_for_case<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<(String, String)> {
    let ours = SCORED.iter().copied().chain([CAPTIONS]);
    let mut seen: HashMap<String, &str> = HashMap::new();
    ours.chain(names).find_map(|name| {
        let before = seen.insert(name.to_lowercase(), name)?;
        Some((before.to_owned(), name.to_owned()))
    })
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
        DataType::Struct(fields) => {
            let names = apart(fields.iter().map(|field| field.name().as_str()));
            let named = fields.iter().zip(names);
            let named = named.map(|(field, name)| Field::clone(&plain(field)).with_name(name));
            DataType::Struct(named.collect())
        }
        DataType::Map(entries, sorted) => DataType::Map(plain(entries), *sorted),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
