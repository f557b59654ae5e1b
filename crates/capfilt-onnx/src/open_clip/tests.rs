use std::path::PathBuf;

use capfilt_image::Fit;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{CheckpointFormat, Family, ImportOptions, Package, Task, import};

fn golden(model: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/open_clip")
        .join(model)
}

/// A folder like that of `model`, its configuration changed.
fn folder_with(model: &str, change: impl FnOnce(&mut Value)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["open_clip_model.safetensors", "tokenizer.json"] {
        fs_err::copy(golden(model).join(file), folder.path().join(file)).unwrap();
    }
    let config = fs_err::read(golden(model).join("open_clip_config.json")).unwrap();
    let mut config = serde_json::from_slice(&config).unwrap();
    change(&mut config);
    let path = folder.path().join("open_clip_config.json");
    fs_err::write(path, config.to_string()).unwrap();
    folder
}

fn imported(checkpoint: &TempDir, options: &ImportOptions) -> Result<Package, String> {
    let output = tempfile::tempdir().unwrap();
    let package = import(checkpoint.path(), &output.path().join("package"), options);
    package.map_err(|error| error.to_string())
}

fn error_of(model: &str, change: impl FnOnce(&mut Value)) -> String {
    let options = ImportOptions {
        task: Some(Task::Filter),
        ..ImportOptions::default()
    };
    imported(&folder_with(model, change), &options).unwrap_err()
}

#[test]
fn the_family_comes_from_the_content_and_decides_the_tasks() {
    for (model, family, fit) in [
        ("clip", Family::Clip, Fit::Crop),
        ("filip", Family::Filip, Fit::Stretch),
    ] {
        let folder = folder_with(model, |_| {});
        let package = imported(&folder, &ImportOptions::default()).unwrap();
        let manifest = &package.manifest;
        assert_eq!(manifest.family, family);
        assert_eq!(manifest.tasks, [Task::Filter]);
        assert_eq!(manifest.image.fit, fit);
        assert_eq!(manifest.checkpoint.format, CheckpointFormat::OpenClip);
        assert_eq!(manifest.tokens.dec, None);
    }
    let folder = folder_with("coca", |_| {});
    let error = imported(&folder, &ImportOptions::default()).unwrap_err();
    assert!(error.contains("pass `--task captioner`"), "{error}");
    let options = ImportOptions {
        task: Some(Task::Captioner),
        ..ImportOptions::default()
    };
    let tokens = imported(&folder, &options).unwrap().manifest.tokens;
    assert_eq!(tokens.dec, Some(tokens.cls));
    let error = imported(&folder_with("clip", |_| {}), &options).unwrap_err();
    assert!(error.contains("is no captioner, it is a filter"), "{error}");
}

#[test]
fn what_would_compute_something_else_is_refused_by_name() {
    for (model, pointer, value, expected) in [
        (
            "clip",
            "/model_cfg/vision_cfg/timm_model_name",
            json!("x"),
            "unknown field `timm_model_name`",
        ),
        (
            "clip",
            "/model_cfg/vision_cfg/pool_type",
            json!("avg"),
            "`avg`, expected `tok`",
        ),
        (
            "clip",
            "/model_cfg/text_cfg/pool_type",
            json!("last"),
            "`last`, expected `argmax` or `eos`",
        ),
        (
            "clip",
            "/model_cfg/text_cfg/heads",
            json!(5),
            "5 heads do not divide the width 32",
        ),
        (
            "clip",
            "/model_cfg/text_cfg/vocab_size",
            json!(100),
            "this tokenizer belongs to another model",
        ),
        (
            "clip",
            "/model_cfg/embed_dim",
            json!(21),
            "`visual.proj` has shape [32, 20], expected [32, 21]",
        ),
        (
            "clip",
            "/preprocess_cfg/size",
            json!([24, 32]),
            "[24, 32], expected the model's 24",
        ),
        (
            "clip",
            "/preprocess_cfg/resize_mode",
            json!("longest"),
            "`longest`, expected `shortest` or `squash`",
        ),
        (
            "clip",
            "/model_cfg/capfilt_family",
            json!("coca"),
            "`coca` without `multimodal_cfg`",
        ),
        (
            "coca",
            "/model_cfg/multimodal_cfg/heads",
            json!(2),
            "2, expected 4 as the text encoder has",
        ),
        (
            "coca",
            "/model_cfg/vision_cfg/attn_pooler_queries",
            json!(1),
            "1, expected 2 or more",
        ),
        (
            "coca",
            "/model_cfg/text_cfg/embed_cls",
            json!(false),
            "false, expected true for CoCa",
        ),
        (
            "filip",
            "/model_cfg/capfilt_family",
            json!("clip"),
            "`argmax` takes the token with the highest id",
        ),
    ] {
        let error = error_of(model, |config| {
            let (table, field) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(table).unwrap()[field] = value;
        });
        assert!(error.contains(expected), "{pointer}: {error}");
    }
}

/// As the trainer exports it: `open_clip`'s classes know no family, and give the features of all tokens.
#[test]
fn a_filip_may_be_told_beside_the_model_and_pool_nothing() {
    let folder = folder_with("filip", |config| {
        let model = config["model_cfg"].as_object_mut().unwrap();
        let family = model.remove("capfilt_family").unwrap();
        model["vision_cfg"]["pool_type"] = json!("none");
        model["text_cfg"]["pool_type"] = json!("none");
        config["capfilt_family"] = family;
    });
    let package = imported(&folder, &ImportOptions::default()).unwrap();
    assert_eq!(package.manifest.family, Family::Filip);
    let error = error_of("clip", |config| {
        config["model_cfg"]["vision_cfg"]["pool_type"] = json!("none");
    });
    assert!(error.contains("`none`, expected `tok`"), "{error}");
}

#[test]
fn a_tower_without_its_tensors_names_the_one_that_is_missing() {
    let error = error_of("clip", |config| {
        config["model_cfg"]["text_cfg"]["layers"] = json!(3);
    });
    assert!(
        error.contains("`transformer.resblocks.2.") && error.contains("is missing"),
        "{error}"
    );
}

#[test]
fn another_picture_size_is_refused() {
    let options = ImportOptions {
        image_size: Some(32),
        ..ImportOptions::default()
    };
    let error = imported(&folder_with("clip", |_| {}), &options).unwrap_err();
    assert!(error.contains("32 pixels, expected 24"), "{error}");
}
