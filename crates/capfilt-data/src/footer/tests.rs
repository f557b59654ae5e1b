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
