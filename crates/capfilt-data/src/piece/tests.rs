use super::*;

fn shard(path: &str, prefix: &str) -> Shard {
    Shard::name(Path::new(path), Path::new(prefix)).unwrap()
}

#[test]
fn a_shard_is_named_by_its_path_below_the_prefix() {
    assert_eq!(
        shard("data/cc3m/a/00.parquet", "data/cc3m").as_str(),
        "a/00"
    );
    assert_eq!(shard("data/one.parquet", "data").as_str(), "one");
    assert_eq!(shard("data/one.tar.parquet", "data").as_str(), "one.tar");
}

#[test]
fn a_name_that_would_leave_the_output_folder_is_refused() {
    assert!(Shard::name(Path::new("data/../x.parquet"), Path::new("data")).is_err());
    assert!(Shard::name(Path::new("data"), Path::new("data")).is_err());
}

#[test]
fn pieces_cover_every_row_once() {
    let name = shard("d/s.parquet", "d");
    let pieces = name.pieces(25, 10);
    let ranges: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.first, piece.rows))
        .collect();
    assert_eq!(ranges, [(0, 10), (10, 10), (20, 5)]);
    let files: Vec<_> = pieces.iter().map(Piece::file).collect();
    assert_eq!(
        files,
        ["s/0.parquet", "s/10.parquet", "s/20.parquet"].map(PathBuf::from)
    );
    assert_eq!(name.row_id(7), "s:7");
}

#[test]
fn a_shard_that_fits_is_one_file_of_its_own_name() {
    let name = shard("d/s.parquet", "d");
    for rows in [0, 1, 10] {
        let pieces = name.pieces(rows, 10);
        assert_eq!(pieces.len(), 1);
        assert_eq!(
            (pieces[0].rows, pieces[0].file()),
            (rows, PathBuf::from("s.parquet"))
        );
    }
}

#[test]
fn a_dot_in_a_shard_name_is_not_taken_for_an_extension() {
    let name = shard("d/part.v1.parquet", "d");
    assert_eq!(
        name.pieces(1, 10)[0].file(),
        PathBuf::from("part.v1.parquet")
    );
}

#[test]
fn two_pieces_of_one_file_are_found() {
    let mut pieces = shard("d/s.parquet", "d").pieces(25, 10);
    assert_eq!(clashing(&pieces), None);
    pieces.extend(shard("d/s/10.parquet", "d").pieces(5, 10));
    assert_eq!(clashing(&pieces), Some((1, 3)));
}

#[test]
fn folders_named_key_and_value_say_something_of_all_rows() {
    let of = |name: &str| Shard::named(name).partitions();
    let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    assert_eq!(
        of("split=train/x/lang=en/part=0"),
        [pair("split", "train"), pair("lang", "en")]
    );
    assert_eq!(
        of("k=__HIVE_DEFAULT_PARTITION__/a%3Db=%C3%A4%20b=c%zz/e=/p"),
        [
            ("k".to_owned(), None),
            pair("a=b", "ä b=c%zz"),
            pair("e", "")
        ]
    );
    // What is no UTF-8 behind its encoding stays as it is written.
    assert_eq!(of("k=%ff/p"), [pair("k", "%ff")]);
    assert_eq!(of("=v/p"), []);
    assert_eq!(of("k=v"), []);
}
