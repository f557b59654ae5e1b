use super::*;

#[test]
fn what_is_not_parquet_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    for bytes in [
        b"".as_slice(),
        b"PAR1",
        b"not parquet at all",
        b"PAR1\xff\xff\xff\x7fPAR1",
    ] {
        fs_err::write(&path, bytes).unwrap();
        let error = Footer::read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("x.parquet` is not a whole Parquet file"),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_an_io_error() {
    assert!(matches!(
        Footer::read(std::path::Path::new("/nowhere.parquet")),
        Err(FooterError::Io(_))
    ));
}

#[test]
fn a_stretch_is_some_rows_of_a_row_group() {
    use arrow::array::{Array as _, ArrayRef, AsArray as _, Int32Array, ListArray};
    use arrow::datatypes::{Field, Int32Type, Schema};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let lists = |range: std::ops::Range<i32>| {
        let row = |number| Some((0..number % 3).map(Some).collect::<Vec<_>>());
        ListArray::from_iter_primitive::<Int32Type, _, _>(range.map(row))
    };
    let fields = vec![
        Field::new("n", arrow::datatypes::DataType::Int32, false),
        Field::new("l", lists(0..1).data_type().clone(), true),
    ];
    let schema = Arc::new(Schema::new(fields));
    let mut writer = crate::PieceWriter::create(&path, Arc::clone(&schema)).unwrap();
    for first in [0, 10] {
        let numbers: ArrayRef = Arc::new((first..first + 10).collect::<Int32Array>());
        let columns = vec![numbers, Arc::new(lists(first..first + 10)) as ArrayRef];
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
            .unwrap();
        writer.content().unwrap();
    }
    writer.publish([]).unwrap();

    let footer = Footer::read(&path).unwrap();
    assert_eq!(footer.group_rows().collect::<Vec<_>>(), [10, 10]);
    let values = |group, column| {
        let leaves = footer.leaves(group, column);
        leaves.map(|leaf| leaf.values).collect::<Vec<_>>()
    };
    assert_eq!(values(0, "n"), [10]);
    // Lists of 0, 1, 2, 0, 1, 2, 0, 1, 2, 0 values: four are empty and count as one.
    assert_eq!(values(0, "l"), [9 + 4]);
    assert!(values(0, "none").is_empty());
    let stretch = Stretch {
        group: 1,
        start: 3,
        rows: 5,
    };
    let numbers: Vec<i32> = footer
        .stretch(&stretch, &["n"], 2)
        .unwrap()
        .flat_map(|batch| {
            let batch = batch.unwrap();
            assert_eq!(batch.num_columns(), 1);
            batch
                .column(0)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(numbers, [13, 14, 15, 16, 17]);
}
