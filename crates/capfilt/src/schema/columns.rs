//! The Parquet columns as JSON Schemas of one row. The word `parquet` beside a type is the column's
//! own type, which JSON has no word for.

use arrow::datatypes::{DataType, Field, Schema};
use capfilt_data::{Kind, Reject, Source, columns};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The dialect of every schema of ours.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What each column is, and each field of a column, by its path.
const MEANINGS: &[(&str, &str)] = &[
    ("attempts", "How often the fetch was tried."),
    (
        "by",
        "Name of the stage; null for a text that came with the row.",
    ),
    ("bytes", "Encoded bytes as they came, or their number."),
    (
        "candidates",
        "Every text that may become a caption of the picture, with its scores.",
    ),
    ("captions", "The captions that were kept."),
    ("detail", "What happened, for people."),
    (
        "fetch",
        "How the fetch went. Only `ms` and `attempts` may differ between equal runs.",
    ),
    ("final_url", "The URL after redirects."),
    ("height", "Pixels down, of the stored picture."),
    (
        "id",
        "A label: the mapped id, else `<shard>:<row in file>`. Duplicates are allowed.",
    ),
    ("image", "The encoded picture; null where there is none."),
    ("kind", "What a score says."),
    (
        "log_prob",
        "Log probability under the captioner that wrote the text.",
    ),
    ("ms", "Duration of the fetch in milliseconds."),
    ("outcome", "`ok`, or the reason why there is no picture."),
    ("path", "A name for the picture, or null."),
    (
        "perceptual_hash",
        "pHash of the stored picture, where a stage looked for duplicates; null for one with too few \
         features.",
    ),
    ("reason", "Why it was removed."),
    (
        "reject",
        "Why the row left before any decision; null while it is in.",
    ),
    ("score", "The score that decided; null where there is none."),
    ("scores", "What the scorers said."),
    (
        "sha256",
        "SHA-256 of the stored picture, where a stage looked for duplicates.",
    ),
    ("source", "Where a text came from."),
    ("stage", "Name of the stage that removed it."),
    ("status", "The HTTP status."),
    ("text", "The text as it came."),
    (
        "text_dropped_by",
        "Name of the stage that dropped the web text.",
    ),
    ("transient", "Whether trying again may well end otherwise."),
    ("url", "Where the picture came from."),
    (
        "value",
        "A probability from 0 to 1 for `match`, a cosine from -1 to 1 for `similarity`.",
    ),
    ("width", "Pixels across, of the stored picture."),
];

/// The columns that a run writes.
pub(super) fn output() -> Value {
    json!({
        "$schema": DIALECT,
        "title": "output columns",
        "description": "One row of each kind of Parquet file in an output folder. Columns that pass \
            through stand beside these; one that is named like a column of ours is renamed \
            `input_<name>`.",
        "type": "object",
        "properties": {
            "scored": row(
                "scored/<piece>.parquet: one row per input row, in input order. Everything that was learnt.",
                &columns::scored(&[]),
            ),
            "dataset": row(
                "dataset/<piece>.parquet: one row per picture with at least one kept caption.",
                &columns::dataset(&[]),
            ),
            "rejected": row(
                "rejected/<piece>.parquet: one row per thing removed.",
                &columns::rejected(),
            ),
        },
        "$defs": {
            "reject": words::<Reject>(),
            "source": words::<Source>(),
            "kind": words::<Kind>(),
        },
    })
}

/// The columns that a run reads. Their names are those of `[source] columns`.
pub(super) fn input() -> Value {
    let picture = json!({ "description": "Encoded bytes.", "parquet": ["binary", "large_binary", "binary_view"], "type": "string" });
    let layout = json!({
        "description": "The Hugging Face `Image` layout.",
        "type": "object",
        "properties": { "bytes": picture, "path": { "type": ["string", "null"] } },
        "required": ["bytes"],
    });
    let list = json!({
        "description": "The first element counts.",
        "type": "array",
        "items": { "anyOf": [picture, layout] },
    });
    let text = json!(["string", "large_string", "string_view"]);
    json!({
        "$schema": DIALECT,
        "title": "input columns",
        "description": "One row of an input shard. `[source] columns` maps these names to the \
            shard's; a URL or a picture is needed. Other columns pass through; folders named `key=value` give columns `input_key`.",
        "type": "object",
        "properties": {
            "url": { "description": "Where the picture is.", "parquet": text, "type": ["string", "null"] },
            "text": {
                "description": "The web text. A row without one is still captioned.",
                "parquet": text,
                "type": ["string", "null"],
            },
            "image": { "description": "The picture itself.", "anyOf": [picture, layout, list, { "type": "null" }] },
            "id": { "description": "A label of the row.", "parquet": text, "type": ["string", "null"] },
        },
        "anyOf": [{ "required": ["url"] }, { "required": ["image"] }],
    })
}

/// The closed set of words of an enum.
fn words<T: JsonSchema>() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    schema.remove("$schema");
    schema.remove("title");
    schema.into()
}

/// One row with the columns of an Arrow schema.
fn row(description: &str, schema: &Schema) -> Value {
    let mut row = object(schema.fields().iter().map(AsRef::as_ref));
    row.insert("description".to_owned(), description.into());
    row.into()
}

fn object<'field>(fields: impl Iterator<Item = &'field Field> + Clone) -> Map<String, Value> {
    let properties: Map<String, Value> = fields
        .clone()
        .map(|field| (field.name().clone(), column(field)))
        .collect();
    let required: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
    Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), properties.into()),
        ("required".to_owned(), required.into()),
    ])
}

/// A column or a field of one.
fn column(field: &Field) -> Value {
    let mut schema = of_type(field.data_type());
    match field.name().as_str() {
        name @ ("source" | "kind") => refer(&mut schema, name),
        "reject" | "reason" => refer(&mut schema, "reject"),
        _ => {}
    }
    if field.is_nullable() {
        schema = match schema.get("type") {
            Some(Value::String(one)) => {
                let both = json!([one, "null"]);
                schema.insert("type".to_owned(), both);
                schema
            }
            _ => Map::from_iter([("anyOf".to_owned(), json!([schema, { "type": "null" }]))]),
        };
    }
    let meaning = MEANINGS.iter().find(|(name, _)| name == field.name());
    if let Some((_, meaning)) = meaning {
        schema.insert("description".to_owned(), json!(meaning));
    }
    schema.into()
}

/// Replaces a plain string by one of the closed sets.
fn refer(schema: &mut Map<String, Value>, set: &str) {
    schema.clear();
    schema.insert("$ref".to_owned(), json!(format!("#/$defs/{set}")));
}

fn of_type(data_type: &DataType) -> Map<String, Value> {
    let plain = |json_type: &str, parquet: &str| {
        Map::from_iter([
            ("type".to_owned(), json!(json_type)),
            ("parquet".to_owned(), json!(parquet)),
        ])
    };
    match data_type {
        DataType::Utf8 => plain("string", "string"),
        DataType::Binary => plain("string", "binary"),
        DataType::Boolean => plain("boolean", "boolean"),
        DataType::Int32 => plain("integer", "int32"),
        DataType::Int64 => plain("integer", "int64"),
        DataType::UInt64 => plain("integer", "uint64"),
        DataType::Float32 => plain("number", "float"),
        DataType::Float64 => plain("number", "double"),
        DataType::Struct(fields) => object(fields.iter().map(AsRef::as_ref)),
        DataType::List(element) => Map::from_iter([
            ("type".to_owned(), json!("array")),
            ("items".to_owned(), column(element)),
        ]),
        other => Map::from_iter([("parquet".to_owned(), json!(other.to_string()))]),
    }
}

#[cfg(test)]
mod tests;
