use std::collections::HashMap;

use arrow::array::{FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use parquet::arrow::ArrowSchemaConverter;

use super::*;
use crate::{Footer, PieceWriter};

fn extended(name: &str, data_type: DataType, extension: &str) -> FieldRef {
    let metadata = HashMap::from([
        (EXTENSION.to_owned(), extension.to_owned()),
        (PARAMETERS.to_owned(), String::new()),
    ]);
    Arc::new(Field::new(name, data_type, true).with_metadata(metadata))
}

#[test]
fn uuids_and_json_keep_their_logical_types_at_any_depth() {
    let fields = vec![
        extended("id", DataType::FixedSizeBinary(16), "arrow.uuid"),
        Arc::new(Field::new(
            "nested",
            DataType::new_list(
                DataType::Struct(
                    vec![
                        Field::clone(&extended("json", DataType::Utf8, "arrow.json")),
                        Field::new("plain", DataType::Utf8, true),
                    ]
                    .into(),
                ),
                true,
            ),
            true,
        )),
    ];
    let plain = ArrowSchemaConverter::new()
        .convert(&Schema::new(fields.clone()))
        .unwrap();
    let written = with_logical_types(&fields, &plain).unwrap().unwrap();
    let logical: Vec<_> = written
        .columns()
        .iter()
        .map(|leaf| leaf.logical_type_ref())
        .collect();
    assert_eq!(
        logical,
        [
            Some(&LogicalType::Uuid),
            Some(&LogicalType::Json),
            Some(&LogicalType::String)
        ]
    );
    // And back: a reader that knows only Parquet's word for it gives Arrow's.
    let bare: Vec<FieldRef> = ArrowSchemaConverter::new()
        .convert(&Schema::new(fields.clone()))
        .map(|_| {
            fields
                .iter()
                .map(|field| {
                    with_leaf_fields(field, &mut |leaf| {
                        Arc::new(Field::clone(leaf).with_metadata(HashMap::new()))
                    })
                })
                .collect()
        })
        .unwrap();
    assert_eq!(with_extensions(&bare, &written), fields);
    assert!(with_logical_types(&bare, &plain).unwrap().is_none());
}

#[test]
fn a_file_of_ours_says_what_its_columns_are_in_both_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = Arc::new(Schema::new(vec![
        extended("id", DataType::FixedSizeBinary(16), "arrow.uuid"),
        extended("json", DataType::Utf8, "arrow.json"),
    ]));
    let mut writer = PieceWriter::create(&path, Arc::clone(&schema)).unwrap();
    let ids = FixedSizeBinaryArray::try_from_iter([[7_u8; 16], [9; 16]].iter()).unwrap();
    let json = StringArray::from(vec!["{}", "[1]"]);
    let rows = RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(json)]).unwrap();
    writer.write(&rows).unwrap();
    writer.publish([]).unwrap();
    let footer = Footer::read(&path).unwrap();
    assert_eq!(footer.schema.fields(), rows.schema_ref().fields());
    let descr = footer.metadata.file_metadata().schema_descr();
    assert_eq!(descr.column(0).logical_type_ref(), Some(&LogicalType::Uuid));
    assert_eq!(descr.column(1).logical_type_ref(), Some(&LogicalType::Json));
    let read: Vec<_> = footer.batches(None, 10).unwrap().collect();
    assert_eq!(read[0].as_ref().unwrap().columns(), rows.columns());
}
