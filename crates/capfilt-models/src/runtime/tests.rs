use super::*;

fn nowhere() -> Places {
    Places {
        explicit: None,
        variable: None,
        cache: None,
        executable: None,
        system: Vec::new(),
    }
}

fn put(folder: &Path, name: &str) -> PathBuf {
    fs_err::create_dir_all(folder).unwrap();
    let file = folder.join(name);
    fs_err::write(&file, "not a library").unwrap();
    file
}

#[cfg(target_os = "linux")]
#[test]
fn places_are_searched_in_the_documented_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let system = put(&at("system"), "libonnxruntime.so.1");
    let mut places = Places {
        system: vec![at("none"), at("system")],
        ..nowhere()
    };
    let found = |places: &Places| {
        let library = find_in(places).unwrap();
        (library.path, library.origin)
    };
    assert_eq!(found(&places), (system, Origin::System));

    let beside = put(&at("bin"), "libonnxruntime.so");
    places.executable = Some(at("bin"));
    assert_eq!(found(&places), (beside, Origin::Executable));

    let cached = put(
        &at("cache").join(installed_name(false)),
        "libonnxruntime.so.1.31.1",
    );
    places.cache = Some(at("cache"));
    assert_eq!(found(&places), (cached, Origin::Cache));

    let cuda = put(
        &at("cache").join(installed_name(true)),
        "libonnxruntime.so.1.31.1",
    );
    assert_eq!(found(&places), (cuda, Origin::Cache));

    let variable = put(&at("variable"), "any-name");
    places.variable = Some(variable.clone());
    assert_eq!(found(&places), (variable, Origin::Variable));

    let explicit = put(&at("explicit"), "any-name");
    places.explicit = Some(explicit.clone());
    assert_eq!(found(&places), (explicit, Origin::Setting));
}

#[cfg(target_os = "linux")]
#[test]
fn the_highest_version_of_a_folder_is_taken_and_other_files_are_not() {
    let root = tempfile::tempdir().unwrap();
    for name in [
        "libonnxruntime.so.1.9.0",
        "libonnxruntime.so.1.31.1",
        "libonnxruntime.so.1.31",
        "libonnxruntime_providers_shared.so",
        "libonnxruntime.so.txt",
    ] {
        put(root.path(), name);
    }
    assert_eq!(
        library_in(root.path()),
        Some(root.path().join("libonnxruntime.so.1.31.1"))
    );
}

#[test]
fn nothing_found_names_the_places_and_the_command_that_mends_it() {
    let places = Places {
        system: vec![PathBuf::from("/nowhere/lib")],
        ..nowhere()
    };
    let message = find_in(&places).unwrap_err().to_string();
    assert!(message.contains("`/nowhere/lib`"), "{message}");
    assert!(message.contains("`capfilt runtime install`"), "{message}");
}

#[test]
fn a_named_file_that_is_missing_is_not_passed_over() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), FILE_NAME);
    let places = Places {
        variable: Some(root.path().join("missing")),
        executable: Some(root.path().to_owned()),
        ..nowhere()
    };
    let message = find_in(&places).unwrap_err().to_string();
    assert!(
        message.contains("ORT_DYLIB_PATH") && message.contains("missing"),
        "{message}"
    );
    // A folder is no file either.
    let places = Places {
        explicit: Some(root.path().to_owned()),
        ..nowhere()
    };
    let message = find_in(&places).unwrap_err().to_string();
    assert!(message.contains("is not a file") && message.contains("capfilt runtime install"));
}

#[test]
fn a_file_that_is_no_library_is_an_error_and_neither_a_hang_nor_a_panic() {
    let root = tempfile::tempdir().unwrap();
    let path = put(root.path(), "libonnxruntime.so");
    let library = RuntimeLibrary {
        path,
        origin: Origin::Cache,
    };
    let message = open(&library, None).unwrap_err().to_string();
    assert!(
        message.contains("cannot be used as ONNX Runtime"),
        "{message}"
    );
    assert!(message.contains("`capfilt runtime install`"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_library_of_something_else_is_refused() {
    let candidates = [
        "/lib/x86_64-linux-gnu/libm.so.6",
        "/lib/aarch64-linux-gnu/libm.so.6",
    ];
    let Some(path) = candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
    else {
        crate::test_skips::skipped(format_args!("no libm found"));
        return;
    };
    let library = RuntimeLibrary {
        path,
        origin: Origin::System,
    };
    let message = open(&library, None).unwrap_err().to_string();
    assert!(message.contains("a library of something else"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_library_that_is_too_old_is_refused_with_its_version() {
    use std::process::Command;
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("old.c");
    fs_err::write(
        &source,
        "struct base { const void *(*api)(unsigned); const char *(*version)(void); };\n\
         static const void *api(unsigned v) { (void)v; return 0; }\n\
         static const char *version(void) { return \"1.10.0\"; }\n\
         static const struct base the_base = { api, version };\n\
         const struct base *OrtGetApiBase(void) { return &the_base; }\n",
    )
    .unwrap();
    let path = root.path().join("libonnxruntime.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&path)
        .arg(&source)
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        crate::test_skips::skipped(format_args!("no C compiler"));
        return;
    }
    let library = RuntimeLibrary {
        path,
        origin: Origin::System,
    };
    let message = open(&library, None).unwrap_err().to_string();
    assert!(
        message.contains("version `1.10.0`, expected 1."),
        "{message}"
    );
    assert!(message.contains("`capfilt runtime install`"), "{message}");
}
