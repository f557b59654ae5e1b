use std::path::Path;

use arrow::datatypes::{DataType, Schema};

use super::*;

fn touch(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "").unwrap();
    }
}

fn names(folder: &Path, glob: &str) -> Vec<String> {
    let glob = folder.join(glob).to_string_lossy().into_owned();
    find(&[glob])
        .unwrap()
        .iter()
        .map(|found| found.shard.to_string())
        .collect()
}

#[test]
fn shards_are_named_below_the_literal_part_of_the_glob() {
    let folder = tempfile::tempdir().unwrap();
    touch(
        folder.path(),
        &[
            "d/b/1.parquet",
            "d/a.parquet",
            "d/b/.hidden.parquet",
            "d/x.txt",
        ],
    );
    assert_eq!(names(folder.path(), "d/*.parquet"), ["a"]);
    assert_eq!(names(folder.path(), "d/**/*.parquet"), ["a", "b/1"]);
    assert_eq!(names(folder.path(), "*/b/?.parquet"), ["d/b/1"]);
    assert_eq!(names(folder.path(), "d/a.parquet"), ["a"]);
    assert_eq!(names(folder.path(), "d"), ["a", "b/1"]);
}

#[test]
fn a_glob_that_finds_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for glob in ["*.parquet", "absent.parquet"] {
        let glob = folder.path().join(glob).to_string_lossy().into_owned();
        assert!(matches!(
            find(&[glob]),
            Err(PipelineErrorKind::NoShards { .. })
        ));
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("URL", DataType::LargeUtf8, true),
        Field::new("text", DataType::Utf8View, true),
        Field::new("image", DataType::Int32, true),
        Field::new("id", DataType::Int64, true),
    ]))
}

fn resolve(columns: &Columns) -> Result<Mapping, PipelineErrorKind> {
    let shard = Shard::named("x");
    Mapping::resolve(columns, &schema(), &shard, &Path::new("x.parquet").into())
}

#[test]
fn columns_are_found_by_their_own_names_where_none_is_named() {
    let mapping = resolve(&Columns::default()).unwrap();
    assert_eq!(
        (mapping.url, mapping.text, mapping.image, mapping.id),
        (None, Some(1), None, Some(3))
    );
    let passed: Vec<_> = mapping
        .passed
        .iter()
        .map(|(_, field)| field.name().as_str())
        .collect();
    assert_eq!(passed, ["URL", "input_image"]);
}

#[test]
fn where_some_are_named_only_those_are_used() {
    let columns = Columns {
        url: Some("URL".to_owned()),
        ..Columns::default()
    };
    let mapping = resolve(&columns).unwrap();
    assert_eq!(
        (mapping.url, mapping.text, mapping.id),
        (Some(0), None, None)
    );
    let passed: Vec<_> = mapping
        .passed
        .iter()
        .map(|(_, field)| field.name().as_str())
        .collect();
    assert_eq!(passed, ["input_text", "input_image", "input_id"]);
}

#[test]
fn a_missing_column_is_refused_with_those_that_exist() {
    let columns = Columns {
        url: Some("url".to_owned()),
        ..Columns::default()
    };
    assert_eq!(
        resolve(&columns).unwrap_err().to_string(),
        "`source.columns.url`: there is no column `url` in `x.parquet`; there are URL, text, image, id"
    );
}

#[test]
fn a_column_of_the_wrong_type_is_refused() {
    let columns = Columns {
        image: Some("image".to_owned()),
        ..Columns::default()
    };
    let error = resolve(&columns).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`source.columns.image`: the column `image` of `x.parquet`"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.starts_with("a column of type `Int32` cannot be used here"),
        "{cause}"
    );
}

#[test]
fn folders_give_columns_behind_those_of_the_shard() {
    let shard = Shard::named("split=train/lang=__HIVE_DEFAULT_PARTITION__/x");
    let path = Path::new("x.parquet").into();
    let mapping = Mapping::resolve(&Columns::default(), &schema(), &shard, &path).unwrap();
    let names: Vec<_> = mapping
        .passed_fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["URL", "input_image", "input_split", "input_lang"]);
    let values: Vec<_> = mapping
        .partitions
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    assert_eq!(values, [Some("train".to_owned()), None]);
}

#[test]
fn a_column_that_is_there_twice_cannot_be_mapped() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("url", DataType::Utf8, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("text", DataType::Utf8, true),
    ]));
    let shard = Shard::named("x");
    let path = Path::new("x.parquet").into();
    let error = Mapping::resolve(&Columns::default(), &schema, &shard, &path).unwrap_err();
    assert!(
        error.to_string().contains("has 2 columns `text`"),
        "{error}"
    );
    let columns = Columns {
        url: Some("url".to_owned()),
        ..Columns::default()
    };
    let mapping = Mapping::resolve(&columns, &schema, &shard, &path).unwrap();
    let names: Vec<_> = mapping
        .passed
        .iter()
        .map(|(_, field)| field.name())
        .collect();
    assert_eq!(names, ["input_text", "input_text_2"]);
    assert_eq!(mapping.doubts(&schema).len(), 1);
}
