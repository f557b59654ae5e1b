use super::*;

fn names(glob: &str) -> Vec<String> {
    let found = find_shards(glob).unwrap();
    assert!(found.iter().all(|found| found.path.is_file().unwrap()));
    found
        .iter()
        .map(|found| found.shard.as_str().to_owned())
        .collect()
}

#[test]
fn files_folders_and_globs_name_shards() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("in[n]er/deep")).unwrap();
    for file in [
        "b.parquet",
        "a.parquet",
        ".hidden.parquet",
        "a.txt",
        "in[n]er/deep/c.parquet",
    ] {
        fs_err::write(folder.path().join(file), b"").unwrap();
    }
    let at = |below: &str| names(&format!("{}/{below}", folder.path().display()));
    assert_eq!(at(""), ["a", "b", "in[n]er/deep/c"]);
    assert_eq!(at("*.parquet"), ["a", "b"]);
    assert_eq!(at("a.*"), ["a", "a"]);
    assert_eq!(at("**/c.parquet"), ["in[n]er/deep/c"]);
    assert_eq!(at("b.parquet"), ["b"]);
    assert_eq!(at(".hidden.parquet"), [".hidden"]);
}

#[test]
fn a_glob_that_finds_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |below: &str| {
        let glob = format!("{}/{below}", folder.path().display());
        find_shards(&glob).unwrap_err().to_string()
    };
    for below in ["", "*.parquet", "none/a.parquet"] {
        assert!(refusal(below).contains("finds no file"), "{below}");
    }
    assert!(refusal("***").contains("is no glob"));
}
