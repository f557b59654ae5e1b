use capfilt_image::Preprocess;

use super::*;
use crate::manifest::{
    CheckpointFormat, CheckpointSource, Family, SpecialTokens, Task, TextSizes, VisionSizes,
};
use crate::precision::Precision;

fn manifest() -> Manifest {
    let names = [
        "vision.onnx",
        "cross.onnx",
        "select.onnx",
        "decoder.onnx",
        TOKENIZER,
        WEIGHTS,
    ];
    Manifest {
        format: FORMAT,
        family: Family::Blip,
        tasks: vec![Task::Captioner],
        precision: Precision::Int8,
        image: Preprocess {
            fit: capfilt_image::Fit::Stretch,
            size: 384,
            mean: [0.481_454_66, 0.1, 0.2],
            std: [0.3, 0.4, 0.5],
        },
        vision: VisionSizes {
            layers: 12,
            width: 768,
            heads: 12,
            patch: 16,
            tokens: 577,
            features: None,
        },
        text: TextSizes {
            layers: 12,
            width: 768,
            heads: 12,
            vocabulary: 30524,
            positions: 512,
        },
        tokens: SpecialTokens {
            pad: 0,
            cls: 101,
            sep: 102,
            dec: Some(30522),
            enc: None,
        },
        prompt: "a picture of ".to_owned(),
        decoding: serde_json::json!("greedy"),
        files: names
            .iter()
            .map(|name| ((*name).to_owned(), Digest::of_bytes(name.as_bytes())))
            .collect(),
        checkpoint: CheckpointSource {
            format: CheckpointFormat::BlipPth,
            name: "model.pth".to_owned(),
            digest: Digest::of_bytes(b"model"),
        },
    }
}

/// Writes files that have the manifest's digests, and the manifest.
fn written(manifest: &Manifest) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in manifest.files.keys().filter(|name| is_plain_name(name)) {
        fs_err::write(folder.path().join(name), name).unwrap();
    }
    let text = serde_json::to_vec(manifest).unwrap();
    fs_err::write(folder.path().join(MANIFEST), text).unwrap();
    folder
}

fn error_of(manifest: &Manifest) -> PackageError {
    Package::open(written(manifest).path()).unwrap_err()
}

#[test]
fn a_manifest_round_trips() {
    let folder = written(&manifest());
    let package = Package::open(folder.path()).unwrap();
    assert_eq!(package.manifest, manifest());
    assert_eq!(package.graph("vision"), folder.path().join("vision.onnx"));
    assert_eq!(package.tokenizer(), folder.path().join("tokenizer.json"));
}

#[test]
fn the_digest_of_a_package_is_that_of_its_manifest() {
    let folder = written(&manifest());
    let expected = Digest::of_file(&folder.path().join(MANIFEST)).unwrap();
    assert_eq!(*Package::open(folder.path()).unwrap().digest(), expected);
    assert_eq!(
        Digest::of_bytes(b"abc").as_str(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn another_format_is_refused_before_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(
        folder.path().join(MANIFEST),
        r#"{"format": 99, "news": true}"#,
    )
    .unwrap();
    let error = Package::open(folder.path()).unwrap_err();
    assert!(
        matches!(
            error,
            PackageError::Version {
                got: 99,
                expected: FORMAT,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_folder_without_manifest_is_no_package() {
    let folder = tempfile::tempdir().unwrap();
    let error = Package::open(folder.path()).unwrap_err();
    assert!(matches!(error, PackageError::NotAPackage { .. }), "{error}");
}

#[test]
fn unknown_fields_are_refused() {
    let mut value = serde_json::to_value(manifest()).unwrap();
    value["surprise"] = true.into();
    let folder = written(&manifest());
    fs_err::write(folder.path().join(MANIFEST), value.to_string()).unwrap();
    let error = Package::open(folder.path()).unwrap_err();
    assert!(matches!(error, PackageError::Manifest { .. }), "{error}");
}

#[test]
fn files_outside_of_the_folder_are_refused() {
    let mut outside = manifest();
    outside
        .files
        .insert("../secret".to_owned(), Digest::of_bytes(b""));
    assert!(matches!(error_of(&outside), PackageError::FileName { .. }));
}

#[test]
fn a_graph_that_the_task_needs_must_be_named() {
    let mut short = manifest();
    short.files.remove("decoder.onnx");
    let error = error_of(&short);
    assert!(matches!(&error, PackageError::MissingFile { name, .. } if name == "decoder.onnx"));
}

#[test]
fn the_schema_names_every_field_of_the_manifest() {
    let schema = schemars::schema_for!(Manifest);
    let value = serde_json::to_value(manifest()).unwrap();
    for field in value.as_object().unwrap().keys() {
        assert!(
            schema.as_value()["properties"].get(field).is_some(),
            "{field}"
        );
    }
}
