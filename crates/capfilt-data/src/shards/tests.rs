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

#[test]
fn what_exists_is_meant_whatever_letters_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for file in [
        "runs[1]/a.parquet",
        "runs1/b.parquet",
        "c[1].parquet",
        "c1.parquet",
        "d?e #%20ü*.parquet",
        "line\nbreak.parquet",
        "{x}!(y).parquet",
        "-.parquet",
    ] {
        fs_err::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs_err::write(root.join(file), b"").unwrap();
    }
    let at = |below: &str| names(&format!("{}/{below}", root.display()));
    assert_eq!(at("c[1].parquet"), ["c[1]"]);
    assert_eq!(at("runs[1]/*.parquet"), ["a"]);
    assert_eq!(at("runs[1]"), ["a"]);
    assert_eq!(at("d?e #%20ü*.parquet"), ["d?e #%20ü*"]);
    assert_eq!(at("line\nbreak.parquet"), ["line\nbreak"]);
    assert_eq!(at("{x}!(y).parquet"), ["{x}!(y)"]);
    assert_eq!(at("-.parquet"), ["-"]);
    // What does not exist under its name is a pattern, and brackets take a letter's meaning away.
    assert_eq!(at("runs[12]/*.parquet"), ["runs1/b"]);
    assert_eq!(at("runs[[]1]/*.parquet"), ["a"]);
    assert_eq!(at("c[0-9].parquet"), ["c1"]);
    assert_eq!(at("d[?]e*.parquet"), ["d?e #%20ü*"]);
    // So it is in a folder that somebody else names.
    let below = |glob: &str| names(&shards_below(&root.join("runs[1]"), glob));
    assert_eq!(below("*.parquet"), ["a"]);
    assert_eq!(below("a.parquet"), ["a"]);
    assert_eq!(below("../c?.parquet"), ["c1"]);
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_utf_8_is_refused_for_that() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs_err::create_dir(&odd).unwrap();
    fs_err::write(odd.join("a.parquet"), b"").unwrap();
    let error = find_shards(&shards_below(&odd, "*.parquet")).unwrap_err();
    assert!(error.to_string().contains("not UTF-8"), "{error}");
    let error = find_shards(&folder.path().to_string_lossy()).unwrap_err();
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

#[test]
fn objects_are_meant_by_their_keys_whatever_letters_those_have() {
    let root = Location::Object(crate::Object::in_memory());
    for key in [
        "runs[1]/a.parquet",
        "runs1/b.parquet",
        "c[1].parquet",
        "c1.parquet",
        "d?e #%20ü.parquet",
        "runs[1]/.hidden.parquet",
    ] {
        root.join(key).replace(b"").unwrap();
    }
    let at = |rest: &str| -> Vec<String> {
        let found = below(&root, rest, rest).unwrap();
        assert!(found.iter().all(|found| found.path.is_file().unwrap()));
        found.iter().map(|found| found.shard.to_string()).collect()
    };
    assert_eq!(at("c[1].parquet"), ["c[1]"]);
    assert_eq!(at("runs[1]/*.parquet"), ["a"]);
    assert_eq!(at("runs[1]/"), ["a"]);
    assert_eq!(at("runs[12]/*.parquet"), ["runs1/b"]);
    assert_eq!(at("runs[[]1]/*.parquet"), ["a"]);
    assert_eq!(at("d?e #%20ü.parquet"), ["d?e #%20ü"]);
    assert_eq!(at("d?e*.parquet"), ["d?e #%20ü"]);
    assert_eq!(at("runs[1]/.hidden.parquet"), [".hidden"]);
    assert_eq!(at("none[1].parquet"), Vec::<String>::new());
}

#[test]
fn globs_stay_in_their_folder_and_find_no_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for file in [
        "a/x.parquet",
        "a/b/x.parquet",
        "a/b/c/x.parquet",
        "a/.h/x.parquet",
        "a/y.parquet/z.parquet",
    ] {
        fs_err::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs_err::write(root.join(file), b"").unwrap();
    }
    let at = |below: &str| names(&format!("{}/{below}", root.display()));
    assert_eq!(at("a/*/x.parquet"), ["b/x"]);
    assert_eq!(at("a/*.parquet"), ["x"]);
    assert_eq!(at("a/**/x.parquet"), ["b/c/x", "b/x", "x"]);
    assert_eq!(at("a/**/**/x.parquet"), ["b/c/x", "b/x", "x"]);
    assert_eq!(at("**/b/**/x.parquet"), ["a/b/c/x", "a/b/x"]);
    assert_eq!(at("*/.h/*.parquet"), ["a/.h/x"]);
    let refused = find_shards(&format!("{}/a/**", root.display())).unwrap_err();
    assert!(matches!(refused, ShardsError::None { .. }));
}
