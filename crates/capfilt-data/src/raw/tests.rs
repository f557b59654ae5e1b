use std::path::{Path, PathBuf};

use arrow::array::{BinaryArray, BinaryBuilder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::Field;
use fs_err::File;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

use super::*;

/// A file whose columns are those of `message`, with the values of `columns`.
fn file_of(folder: &Path, message: &str, columns: &[ArrayRef]) -> PathBuf {
    let path = folder.join("a.parquet");
    let message = Arc::new(parse_message_type(message).unwrap());
    let names = message.get_fields().iter().map(|field| field.name());
    let fields = names.zip(columns);
    let fields: Vec<Field> = fields
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let options = ArrowWriterOptions::new()
        .with_skip_arrow_metadata(true)
        .with_parquet_schema(SchemaDescriptor::new(message));
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options).unwrap();
    let batch = RecordBatch::try_new(schema, columns.to_vec()).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn int96(nanoseconds: u64, day: u32) -> Int96 {
    let mut value = Int96::new();
    let low = u32::try_from(nanoseconds & u64::from(u32::MAX)).unwrap();
    let high = u32::try_from(nanoseconds >> 32).unwrap();
    value.set_data(low, high, day);
    value
}

fn file_of_times(folder: &Path, times: &[Int96]) -> PathBuf {
    let path = folder.join("times.parquet");
    let message = Arc::new(parse_message_type("message m { required int96 ts; }").unwrap());
    let file = File::create(&path).unwrap();
    let properties = Arc::new(WriterProperties::default());
    let mut writer = SerializedFileWriter::new(file, message, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<Int96Type>()
        .write_batch(times, None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    path
}

/// The columns of a file as they are stored, with the types that they declare.
fn read(path: &Path) -> (Vec<ArrayRef>, Vec<DataType>) {
    let footer = Footer::read(path).unwrap();
    let raw = footer.raw().unwrap();
    let metadata = ArrowReaderMetadata::try_new(raw.metadata, ArrowReaderOptions::new()).unwrap();
    assert_eq!(metadata.schema(), &raw.schema);
    let file = File::open(path).unwrap().into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let mut batches = reader.build().unwrap();
    let columns = batches.next().unwrap().unwrap().columns().to_vec();
    let declared = footer.schema.fields().iter();
    let declared = declared.map(|field| crate::columns::plain_type(field.data_type()));
    (columns, declared.collect())
}

fn texts(typed: &Typed) -> Vec<Option<&str>> {
    typed.values.as_string::<i32>().iter().collect()
}

#[test]
fn a_text_that_is_none_costs_its_row_alone() {
    let folder = tempfile::tempdir().unwrap();
    let values: ArrayRef = Arc::new(BinaryArray::from(vec![
        Some(b"one".as_slice()),
        Some(b"caf\xe9 au lait"),
        None,
        Some("vier ü".as_bytes()),
    ]));
    let mut lists = ListBuilder::new(BinaryBuilder::new());
    for row in [
        vec![b"a".as_slice(), b"b"],
        vec![],
        vec![b"\xff"],
        vec![b"d"],
    ] {
        lists.append_value(row.iter().map(Some));
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let message = "message m { optional binary a (STRING); \
         optional group b (LIST) { repeated group list { optional binary item (STRING); } } }";
    let (columns, declared) = read(&file_of(folder.path(), message, &[values, lists]));

    let read = typed(&columns[0], &declared[0]).unwrap();
    assert_eq!(texts(&read), [Some("one"), None, None, Some("vier ü")]);
    assert_eq!(
        read.unreadable,
        [(
            1,
            "`caf\u{fffd} au lait` is no UTF-8: byte 3 is 0xe9".to_owned()
        )]
    );

    let read = typed(&columns[1], &declared[1]).unwrap();
    let mut expected = ListBuilder::new(StringBuilder::new());
    expected.append_value([Some("a"), Some("b")]);
    expected.append_value(Vec::<Option<&str>>::new());
    expected.append_null();
    expected.append_value([Some("d")]);
    assert_eq!(read.values.as_list::<i32>(), &expected.finish());
    assert_eq!(read.unreadable.len(), 1);
    assert_eq!(read.unreadable[0].0, 2);
}

#[test]
fn texts_that_only_together_are_letters_are_none() {
    // `é` is c3 a9: one text ends inside it, the next begins there.
    let stored: ArrayRef = Arc::new(BinaryArray::from(vec![
        b"\xc3".as_slice(),
        b"\xa9",
        b"good",
    ]));
    let read = typed(&stored, &DataType::Utf8).unwrap();
    assert_eq!(texts(&read), [None, None, Some("good")]);
}

#[test]
fn a_time_outside_its_type_costs_its_row_alone_and_others_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let day = 86_400_000_000_000;
    // 9999-12-31, 1000-01-01, 0001-01-01, 2024-02-29 23:59:59.999999999, 1969-12-31 23:00.
    let path = file_of_times(
        folder.path(),
        &[
            int96(0, 5_373_484),
            int96(0, 2_086_303),
            int96(0, 1_721_426),
            int96(day - 1, 2_460_370),
            int96(day / 24 * 23, 2_440_587),
        ],
    );
    let (columns, declared) = read(&path);
    assert_eq!(declared, [DataType::Timestamp(TimeUnit::Nanosecond, None)]);
    let nanoseconds = typed(&columns[0], &declared[0]).unwrap();
    let values = nanoseconds.values.as_primitive::<TimestampNanosecondType>();
    assert_eq!(values.value(3), 1_709_251_199_999_999_999);
    assert_eq!(values.value(4), -3_600_000_000_000);
    let refused: Vec<usize> = nanoseconds.unreadable.iter().map(|(row, _)| *row).collect();
    assert_eq!(refused, [0, 1, 2]);
    assert!((0..3).all(|row| values.is_null(row)));
    for ((_, why), time) in
        nanoseconds
            .unreadable
            .iter()
            .zip(["9999-12-31", "1000-01-01", "0001-01-01"])
    {
        assert!(why.contains(time), "{why}");
    }

    // Microseconds hold all of them, and nothing is rounded.
    let microseconds = DataType::Timestamp(TimeUnit::Microsecond, None);
    let read = typed(&columns[0], &microseconds).unwrap();
    let values = read.values.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(
        values.values()[..3],
        [
            253_402_214_400_000_000,
            -30_610_224_000_000_000,
            -62_135_596_800_000_000
        ]
    );
    let refused: Vec<usize> = read.unreadable.iter().map(|(row, _)| *row).collect();
    assert_eq!(refused, [3]);
}

#[test]
fn columns_of_one_name_are_read_apart() {
    let folder = tempfile::tempdir().unwrap();
    let one: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let two: ArrayRef = Arc::new(BinaryArray::from(vec![b"c".as_slice(), b"d"]));
    let message = "message m { optional binary x (STRING); optional binary x; }";
    let path = file_of(folder.path(), message, &[one, two]);
    let raw = Footer::read(&path).unwrap().raw().unwrap();
    let names: Vec<&str> = raw
        .schema
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    assert_eq!(names, ["x", "x_2"]);
    let (columns, declared) = read(&path);
    let first = typed(&columns[0], &declared[0]).unwrap();
    assert_eq!(texts(&first), [Some("a"), Some("b")]);
    assert_eq!(columns[1].as_binary::<i32>().value(1), b"d");
}

/// A file with a part in which values repeat: dictionaries of INT96 are read as well.
#[test]
fn repeated_times_come_out_of_a_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<Int96> = (0..500).map(|row| int96(0, 2_440_588 + row % 3)).collect();
    let (columns, declared) = read(&file_of_times(folder.path(), &times));
    let read = typed(&columns[0], &declared[0]).unwrap();
    let values = read.values.as_primitive::<TimestampNanosecondType>();
    assert!(read.unreadable.is_empty());
    let day = 86_400_000_000_000;
    assert!(
        (0..500)
            .zip([0, day, 2 * day].iter().cycle())
            .all(|(row, time)| values.value(row) == *time)
    );
}
