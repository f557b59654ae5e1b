use super::*;

#[test]
fn what_has_no_scheme_is_a_file() {
    for path in ["a/b.parquet", "/a", "a:b", "c:\\a"] {
        assert_eq!(Location::parse(path).unwrap(), Location::File(path.into()));
    }
}

#[test]
fn what_is_no_store_is_refused_with_what_would_do() {
    for (url, reason) in [
        ("http://a/b", "expected a path, `s3://`, `gs://` or `az://`"),
        ("file:///a", "expected a path, `s3://`, `gs://` or `az://`"),
        ("s3:///key", "no bucket; expected `s3://BUCKET/..`"),
        ("gs://", "no bucket; expected `gs://BUCKET/..`"),
        ("s3://bucket/a//b", "empty path segment"),
        ("s3://bucket/a/../b", "illegal"),
    ] {
        let error = Location::parse(url).unwrap_err().to_string();
        let start = format!("cannot use `{url}`: ");
        assert!(error.starts_with(&start), "{error}");
        if cfg!(feature = "cloud") || !url.contains("bucket") {
            assert!(
                error.to_lowercase().contains(&reason.to_lowercase()),
                "{error}"
            );
        }
    }
}

#[cfg(feature = "cloud")]
#[test]
fn keys_are_taken_as_they_are_written() {
    let at = Location::parse("s3://bucket/a b/50%.parquet").unwrap();
    assert_eq!(at.to_string(), "s3://bucket/a b/50%.parquet");
    assert_eq!(at.as_file(), None);
    let output = Location::parse("s3://bucket/out/").unwrap();
    assert_eq!(
        output.join("scored").join("deep/a.parquet").to_string(),
        "s3://bucket/out/scored/deep/a.parquet"
    );
    let outside = output.join("../a.parquet").to_string();
    assert_eq!(outside, "s3://bucket/out/%2E%2E/a.parquet");
    assert_eq!(
        Location::parse("s3://bucket")
            .unwrap()
            .join("a")
            .to_string(),
        "s3://bucket/a"
    );
    assert_eq!(output, Location::parse("s3://bucket/out").unwrap());
    assert_ne!(output, Location::parse("s3://other/out").unwrap());
    assert_ne!(output, Location::parse("gs://bucket/out").unwrap());
}

#[cfg(feature = "cloud")]
#[test]
fn a_store_that_needs_an_account_says_which_variable_names_it() {
    match Location::parse("az://container/a.parquet") {
        Ok(at) => assert_eq!(at.to_string(), "az://container/a.parquet"),
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
        }
    }
}

#[cfg(not(feature = "cloud"))]
#[test]
fn without_the_feature_it_is_named() {
    let error = Location::parse("s3://bucket/out").unwrap_err().to_string();
    assert!(error.contains("without the feature `cloud`"), "{error}");
}

#[test]
fn files_are_listed_in_order_and_hidden_ones_are_not_shards() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        ".x.parquet",
        "b/.c/d.parquet",
        "b/a.parquet",
        "a.parquet",
        "run.json",
    ];
    let memory = Location::Object(Object::in_memory());
    for location in [folder.path().into(), memory] {
        assert_eq!(location.files().unwrap(), [] as [&Path; 0]);
        for name in names {
            let path = location.join(name);
            if let Location::File(path) = &path {
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            }
            assert!(!path.is_file().unwrap());
            path.replace(b"here").unwrap();
            assert!(path.is_file().unwrap() && !path.is_folder().unwrap());
            assert_eq!(path.read().unwrap(), b"here");
        }
        assert!(location.join("b").is_folder().unwrap());
        assert!(!location.join("b").is_file().unwrap());
        assert!(!location.join("c").is_folder().unwrap());
        let mut sorted = names.map(PathBuf::from);
        sorted.sort();
        assert_eq!(location.files().unwrap(), sorted);
        let shown = ["a.parquet", "b/a.parquet"].map(PathBuf::from);
        assert_eq!(location.parquet_files().unwrap(), shown);
        for _twice in 0..2 {
            location.join("a.parquet").remove().unwrap();
        }
        assert!(!location.join("a.parquet").is_file().unwrap());
        let missing = location.join("c").read().unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}

#[cfg(unix)]
#[test]
fn a_location_is_the_same_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs_err::create_dir_all(root.join("out/scored")).unwrap();
    std::os::unix::fs::symlink(root.join("out"), root.join("link")).unwrap();
    let own = Location::File(root.join("out/scored")).resolved();
    for (path, is_below) in [
        ("out/scored/a.parquet", true),
        ("./out/./scored/a.parquet", true),
        ("x/../out/scored/a.parquet", true),
        ("link/scored/a.parquet", true),
        ("link/../out/scored/a.parquet", true),
        ("out/scored_too/a.parquet", false),
        ("out/a.parquet", false),
    ] {
        let path = Location::File(root.join(path)).resolved();
        assert_eq!(path.is_below(&own), is_below, "{path}");
    }
    let memory = Location::Object(Object::in_memory());
    let other = Location::Object(Object::in_memory());
    assert!(memory.join("a/b").is_below(&memory.join("a")));
    assert!(!memory.join("ab/c").is_below(&memory.join("a")));
    assert!(!memory.join("a/b").is_below(&own));
    assert!(other.join("a/b").is_below(&memory.join("a")));
}
