use std::io::Write as _;

use super::*;

#[test]
fn every_machine_has_at_most_one_wheel_of_a_kind() {
    for (index, a) in WHEELS.iter().enumerate() {
        assert_eq!(a.sha256.len(), 64);
        assert!(a.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
        for b in &WHEELS[..index] {
            assert_ne!((a.os, a.arch, a.cuda), (b.os, b.arch, b.cuda));
            assert_ne!(a.sha256, b.sha256);
        }
    }
}

#[test]
fn a_machine_without_a_wheel_is_told_what_to_do() {
    let message = wheel_for("plan9", "mips", false).unwrap_err().to_string();
    assert!(
        message.contains("plan9 on mips") && message.contains("ORT_DYLIB_PATH"),
        "{message}"
    );
    assert!(wheel_for("macos", "aarch64", true).is_err());
}

#[test]
fn libraries_and_licences_are_kept_and_nothing_else() {
    for name in [
        "libonnxruntime.so.1.31.1",
        "libonnxruntime_providers_cuda.so",
        "libonnxruntime.1.31.1.dylib",
        "onnxruntime.dll",
        "LICENSE",
        "ThirdPartyNotices.txt",
    ] {
        assert!(is_wanted(name), "{name}");
    }
    for name in [
        "onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so",
        "onnxruntime_validation.py",
        "__init__.py",
        "libother.so",
    ] {
        assert!(!is_wanted(name), "{name}");
    }
}

#[test]
fn a_wheel_is_unpacked_flat_and_cannot_write_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let wheel = root.path().join("a.whl");
    let mut archive = zip::ZipWriter::new(fs_err::File::create(&wheel).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for name in [
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
        "onnxruntime/capi/onnxruntime_pybind11_state.so",
        "onnxruntime/LICENSE",
        "../libonnxruntime.so.evil",
        "other/libonnxruntime.so",
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(name.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    let folder = root.path().join("unpacked");
    fs_err::create_dir(&folder).unwrap();
    unpack(&wheel, &folder).unwrap();
    let mut names: Vec<String> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["LICENSE", "libonnxruntime.so.1.31.1"]);
    assert!(!root.path().join("libonnxruntime.so.evil").exists());
}

#[test]
fn another_wheel_than_the_pinned_one_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.whl");
    fs_err::write(&file, b"abc").unwrap();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    check_digest(&file, abc).unwrap();
    let message = check_digest(&file, WHEELS[0].sha256)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains(abc) && message.contains("nothing was installed"),
        "{message}"
    );
}
