use prost::Message as _;

use super::*;
use crate::error::PackageError;
use crate::preprocessor;
use crate::proto::ModelProto;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn options(task: Task) -> ImportOptions {
    ImportOptions {
        task: Some(task),
        tokenizer: Some(fixtures().join("tiny/vocab.txt")),
        ..ImportOptions::default()
    }
}

/// A folder with the small model's description and the named weights.
fn folder_with(weights: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["tiny/config.json", "tiny/vocab.txt"].iter().chain(weights) {
        let source = fixtures().join(file);
        fs_err::copy(&source, folder.path().join(source.file_name().unwrap())).unwrap();
    }
    folder
}

fn error_of(checkpoint: &Path, options: &ImportOptions) -> String {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("package");
    let error = import(checkpoint, &folder, options)
        .unwrap_err()
        .to_string();
    assert_eq!(
        fs_err::read_dir(output.path()).unwrap().count(),
        0,
        "something was left behind"
    );
    error
}

#[test]
fn every_container_of_the_same_weights_gives_the_same_files() {
    let safetensors = folder_with(&["tiny/model.safetensors"]);
    let pickle = folder_with(&["tiny/pytorch_model.bin"]);
    let sharded = folder_with(&[
        "halves/model.safetensors.index.json",
        "halves/model-00001-of-00002.safetensors",
        "halves/model-00002-of-00002.safetensors",
    ]);
    let output = tempfile::tempdir().unwrap();
    for task in [Task::Captioner, Task::Filter] {
        for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
            let options = ImportOptions {
                precision,
                ..options(task)
            };
            let files = |name: &str, source: &Path| {
                let package = import(source, &output.path().join(name), &options).unwrap();
                assert_eq!(package.manifest.tasks, [task]);
                package.manifest.files
            };
            let expected = files("a", safetensors.path());
            assert_eq!(expected, files("b", pickle.path()));
            assert_eq!(expected, files("c", sharded.path()));
            assert_eq!(expected, files("d", &fixtures().join("tiny.pth")));
        }
    }
}

#[test]
fn defaults_follow_the_kind_of_checkpoint() {
    let output = tempfile::tempdir().unwrap();
    let original = fixtures().join("tiny.pth");
    let package = import(
        &original,
        &output.path().join("a"),
        &options(Task::Captioner),
    )
    .unwrap();
    assert_eq!(package.manifest.prompt, "a picture of ");
    assert_eq!(
        package.manifest.checkpoint.format,
        CheckpointFormat::BlipPth
    );
    assert_eq!(package.manifest.checkpoint.name, "tiny.pth");
    assert_eq!(package.manifest.image, preprocessor::default(8));
    let folder = folder_with(&["tiny/model.safetensors"]);
    let chosen = ImportOptions {
        tokenizer: None,
        ..options(Task::Filter)
    };
    let package = import(folder.path(), &output.path().join("b"), &chosen).unwrap();
    assert_eq!(package.manifest.prompt, "");
    assert_eq!(package.manifest.vision.features, Some(6));
    assert_eq!(package.manifest.tokens.enc, Some(13));
}

#[test]
fn another_picture_size_changes_the_position_table() {
    let output = tempfile::tempdir().unwrap();
    let larger = ImportOptions {
        image_size: Some(12),
        ..options(Task::Filter)
    };
    let package = import(
        &fixtures().join("tiny.pth"),
        &output.path().join("a"),
        &larger,
    )
    .unwrap();
    assert_eq!(package.manifest.image.size, 12);
    assert_eq!(package.manifest.vision.tokens, 10);
    let odd = ImportOptions {
        image_size: Some(10),
        ..options(Task::Filter)
    };
    let error = error_of(&fixtures().join("tiny.pth"), &odd);
    assert!(
        error.contains("10 pixels, expected a multiple of the patch size 4"),
        "{error}"
    );
}

#[test]
fn the_task_is_asked_for_only_where_it_is_not_clear() {
    let both = ImportOptions {
        task: None,
        ..options(Task::Filter)
    };
    let error = error_of(&fixtures().join("tiny.pth"), &both);
    assert!(
        error.contains("pass `--task captioner` or `--task filter`"),
        "{error}"
    );
    let error = error_of(&fixtures().join("command.pth"), &both);
    assert!(error.contains("can neither caption"), "{error}");
}

/// The small model in a folder, every name behind `wrapper`.
fn wrapped(wrapper: &str) -> tempfile::TempDir {
    let folder = folder_with(&[]);
    let checkpoint = Checkpoint::open(&fixtures().join("tiny")).unwrap();
    let tensors = checkpoint.names().map(|name| {
        let shape = checkpoint.shape(name).unwrap().to_vec();
        let values = checkpoint.read(name, &shape).unwrap();
        (format!("{wrapper}{name}"), shape, values)
    });
    crate::save_tensors(&folder.path().join("model.safetensors"), tensors).unwrap();
    folder
}

#[test]
fn wrapped_weights_give_the_same_files_and_are_told() {
    let output = tempfile::tempdir().unwrap();
    let files = |name: &str, source: &Path| {
        let package = import(source, &output.path().join(name), &options(Task::Filter)).unwrap();
        package.manifest.files
    };
    let expected = files("plain", &fixtures().join("tiny"));
    for wrapper in ["_orig_mod.", "module.", "model._orig_mod."] {
        let folder = wrapped(wrapper);
        assert_eq!(expected, files("wrapped", folder.path()), "{wrapper}");
        let (checkpoint, _, about) = describe(folder.path(), &options(Task::Filter)).unwrap();
        let said = format!("took `{wrapper}` off the names of 89 tensors");
        assert_eq!(checkpoint.remarks(), [said]);
        assert!(about.remarks[0].contains("neither `processor_config.json`"));
    }
}

#[test]
fn the_processor_of_transformers_5_reaches_the_package() {
    let folder = folder_with(&["tiny/model.safetensors"]);
    let processor = serde_json::json!({
        "image_processor": {
            "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
            "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "BlipImageProcessor",
            "image_std": [0.5, 0.5, 0.5], "resample": 3, "rescale_factor": 0.003_921_568_627_450_98,
            "size": {"height": 8, "width": 8},
        },
        "processor_class": "BlipProcessor",
    });
    let path = folder.path().join("processor_config.json");
    fs_err::write(&path, processor.to_string()).unwrap();
    let output = tempfile::tempdir().unwrap();
    let package = output.path().join("package");
    let package = import(folder.path(), &package, &options(Task::Filter)).unwrap();
    let image = &package.manifest.image;
    assert_eq!((image.mean, image.std), ([0.5; 3], [0.5; 3]));
    let larger = processor
        .to_string()
        .replace("\"height\":8", "\"height\":16");
    fs_err::write(&path, larger.replace("\"width\":8", "\"width\":16")).unwrap();
    let error = error_of(folder.path(), &options(Task::Filter));
    assert!(
        error.contains("`processor_config.json: image_processor.size` of the model configuration is not usable: {\"height\":16,\"width\":16}, expected {\"height\":8,\"width\":8}"),
        "{error}"
    );
    let asked = ImportOptions {
        image_size: Some(16),
        ..options(Task::Filter)
    };
    let package = import(folder.path(), &output.path().join("larger"), &asked).unwrap();
    assert_eq!(package.manifest.image.size, 16);
    assert_eq!(
        package.manifest.image.mean.map(f32::to_bits),
        [0.5_f32.to_bits(); 3]
    );
}

/// Imports with one text of `config.json` replaced.
fn error_with(from: &str, to: &str) -> String {
    let folder = folder_with(&["tiny/model.safetensors"]);
    let path = folder.path().join("config.json");
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs_err::write(&path, text.replace(from, to)).unwrap();
    error_of(folder.path(), &options(Task::Filter))
}

#[test]
fn a_configuration_that_does_not_fit_the_weights_is_refused() {
    let error = error_with("\"hidden_size\": 12", "\"hidden_size\": 16");
    assert!(error.contains("[12, 8], expected [16, 8]"), "{error}");
    let error = error_with("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"");
    assert!(error.contains("`relu`, expected `gelu`"), "{error}");
    let error = error_with("\"patch_size\": 4", "\"patch_size\": 0");
    assert!(error.contains("`vision_config.patch_size`"), "{error}");
    let error = error_with("\"num_attention_heads\": 1", "\"num_attention_heads\": 7");
    assert!(error.contains("7 heads do not divide the width"), "{error}");
}

#[test]
fn eight_heads_at_width_768_are_refused_with_the_reason() {
    let folder = folder_with(&["tiny/model.safetensors"]);
    let config = r#"{"vision_config": {}, "text_config": {"hidden_size": 768}}"#;
    fs_err::write(folder.path().join("config.json"), config).unwrap();
    let error = error_of(folder.path(), &options(Task::Filter));
    assert!(
        error.contains("8 (or absent, which means 8) at width 768"),
        "{error}"
    );
    assert!(error.contains("write 12"), "{error}");
}

#[test]
fn a_package_is_replaced_and_any_other_folder_refused() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("package");
    let source = fixtures().join("tiny.pth");
    let first = import(&source, &folder, &options(Task::Filter)).unwrap();
    let second = import(&source, &folder, &options(Task::Captioner)).unwrap();
    assert_ne!(first.digest(), second.digest());
    assert!(!folder.join("matcher.onnx").exists());
    assert_eq!(fs_err::read_dir(output.path()).unwrap().count(), 1);

    let other = output.path().join("documents");
    fs_err::create_dir(&other).unwrap();
    fs_err::write(other.join("letter.txt"), "dear").unwrap();
    let error = import(&source, &other, &options(Task::Filter)).unwrap_err();
    assert!(matches!(error, ImportError::OutputExists { .. }), "{error}");
    assert!(other.join("letter.txt").exists());
}

#[test]
fn a_changed_file_is_refused_when_the_package_is_opened() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("package");
    let source = fixtures().join("tiny.pth");
    import(&source, &folder, &options(Task::Filter)).unwrap();
    let weights = folder.join(WEIGHTS);
    let mut bytes = fs_err::read(&weights).unwrap();
    bytes[100] ^= 1;
    fs_err::write(&weights, &bytes).unwrap();
    let error = Package::open(&folder).unwrap_err();
    assert!(
        matches!(&error, PackageError::Digest { path, .. } if *path == weights),
        "{error}"
    );
    fs_err::remove_file(&weights).unwrap();
    let error = Package::open(&folder).unwrap_err();
    assert!(matches!(error, PackageError::Read { .. }), "{error}");
}

/// Shapes of the stored tensors that nodes of the operator `op` read, for one graph of a package.
fn stored_inputs(package: &Package, graph: &str, op: &str) -> Vec<Vec<i64>> {
    let bytes = fs_err::read(package.graph(graph)).unwrap();
    let graph = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap();
    let tensors: BTreeMap<_, _> = graph
        .initializer
        .into_iter()
        .filter(|tensor| !tensor.external_data.is_empty() && tensor.dims.len() == 2)
        .map(|tensor| (tensor.name, tensor.dims))
        .collect();
    let nodes = graph.node.iter().filter(|node| node.op_type == op);
    nodes
        .flat_map(|node| &node.input)
        .filter_map(|name| tensors.get(name).cloned())
        .collect()
}

#[test]
fn the_words_are_stored_once_as_floats_and_transposed_as_bytes() {
    let output = tempfile::tempdir().unwrap();
    let source = fixtures().join("tiny.pth");
    let package = |name: &str, precision| {
        let options = ImportOptions {
            precision,
            ..options(Task::Captioner)
        };
        import(&source, &output.path().join(name), &options).unwrap()
    };
    let floats = package("fp32", Precision::Fp32);
    assert_eq!(stored_inputs(&floats, "decoder", "Gemm"), [[14, 12]]);
    assert_eq!(stored_inputs(&floats, "decoder", "Gather"), [[14, 12]]);
    let bytes = package("int8", Precision::Int8);
    assert!(stored_inputs(&bytes, "decoder", "MatMul").is_empty());
    let products = stored_inputs(&bytes, "decoder", "MatMulIntegerToFloat");
    assert_eq!(
        products.last().map(Vec::as_slice),
        Some([12, 14].as_slice())
    );
}
