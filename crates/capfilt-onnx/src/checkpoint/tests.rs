use proptest::prelude::*;

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn error_of(result: Result<impl Sized, ImportError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn every_container_has_the_same_tensors() {
    let folder = Checkpoint::open(&fixtures().join("tiny")).unwrap();
    let original = Checkpoint::open(&fixtures().join("tiny.pth")).unwrap();
    let sharded = Checkpoint::open(&fixtures().join("halves")).unwrap();
    let names: Vec<_> = folder.names().collect();
    assert_eq!(names, original.names().collect::<Vec<_>>());
    assert_eq!(names, sharded.names().collect::<Vec<_>>());
    for name in names {
        let shape = folder.shape(name).unwrap();
        let values = folder.read(name, shape).unwrap();
        assert_eq!(values, original.read(name, shape).unwrap(), "{name}");
        assert_eq!(values, sharded.read(name, shape).unwrap(), "{name}");
    }
}

#[test]
fn what_only_training_needs_is_dropped() {
    for name in [
        "temp",
        "image_queue",
        "text_queue",
        "queue_ptr",
        "ptr_queue",
        "idx_queue",
        "visual_encoder_m.cls_token",
        "vision_proj_m.weight",
        "text_encoder.embeddings.position_ids",
    ] {
        assert_eq!(pickle::hugging_face_name(name), None, "{name}");
    }
    assert_eq!(
        pickle::hugging_face_name("visual_encoder.blocks.3.attn.proj.bias").as_deref(),
        Some("vision_model.encoder.layers.3.self_attn.projection.bias")
    );
    assert_eq!(
        pickle::hugging_face_name("text_decoder.cls.predictions.bias").as_deref(),
        Some("text_decoder.cls.predictions.bias")
    );
}

#[test]
fn a_wrong_shape_names_the_tensor_what_it_has_and_what_was_expected() {
    let checkpoint = Checkpoint::open(&fixtures().join("tiny")).unwrap();
    let error = error_of(checkpoint.read("itm_head.weight", &[2, 768]));
    assert!(
        error.contains("`itm_head.weight` has shape [2, 12], expected [2, 768]"),
        "{error}"
    );
}

#[test]
fn a_missing_tensor_is_named_with_its_neighbours() {
    let checkpoint = Checkpoint::open(&fixtures().join("tiny")).unwrap();
    let error = error_of(checkpoint.read("itm_head.weights", &[2, 12]));
    assert!(error.contains("`itm_head.weights` is missing"), "{error}");
    assert!(error.contains("`itm_head.weight`"), "{error}");
}

#[test]
fn a_truncated_file_is_refused() {
    let bytes = fs_err::read(fixtures().join("tiny/model.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    for (length, expected) in [
        (3, "expected a header"),
        (200, "a header of"),
        (30000, "incomplete"),
    ] {
        fs_err::write(&file, &bytes[..length]).unwrap();
        let error = error_of(Checkpoint::open(folder.path()));
        assert!(error.contains(expected), "{length}: {error}");
    }
}

#[test]
fn integers_and_broken_numbers_are_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let header = r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 8]);
    bytes.extend(1.0_f32.to_le_bytes());
    bytes.extend(f32::NAN.to_le_bytes());
    fs_err::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let error = error_of(checkpoint.read("a", &[1]));
    assert!(
        error.contains("`a` has element type `i64`, expected f32, f16, bf16 or f64"),
        "{error}"
    );
    let error = error_of(checkpoint.read("b", &[2]));
    assert!(
        error.contains("`b` holds a value that is not finite"),
        "{error}"
    );
}

#[test]
fn a_pickle_that_calls_a_command_runs_nothing() {
    let checkpoint = Checkpoint::open(&fixtures().join("command.pth")).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["itm_head.bias"]);
    assert!(!Path::new("executed").exists());
}

#[test]
fn a_shard_outside_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let index = r#"{"weight_map":{"a":"../model.safetensors"}}"#;
    fs_err::write(folder.path().join(SAFETENSORS_INDEX), index).unwrap();
    let error = error_of(Checkpoint::open(folder.path()));
    assert!(
        error.contains("`../model.safetensors`, expected a name without folders"),
        "{error}"
    );
}

#[test]
fn plain_names_have_one_component() {
    assert!(is_plain_name("weights.bin"));
    for name in ["", ".", "..", "a/b", "/a", "a/", "./a", "a\\b", "C:a"] {
        assert!(!is_plain_name(name), "{name}");
    }
}

#[test]
fn every_float_type_is_converted() {
    let half = f16::from_f32(1.5).to_le_bytes();
    let brain = bf16::from_f32(-2.5).to_le_bytes();
    assert_eq!(floats(Dtype::F16, &half), [1.5]);
    assert_eq!(floats(Dtype::Bf16, &brain), [-2.5]);
    assert_eq!(floats(Dtype::F64, &0.1_f64.to_le_bytes()), [0.1_f32]);
}

/// Opens a folder or file with these bytes and reads whatever is found.
fn open_bytes(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs_err::write(&file, bytes).unwrap();
    let path = if file.extension().is_some_and(|extension| extension == "pth") {
        file
    } else {
        folder.path().to_owned()
    };
    if let Ok(checkpoint) = Checkpoint::open(&path) {
        for name in checkpoint.names() {
            let shape = checkpoint.shape(name).unwrap();
            checkpoint.read(name, shape).ok();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_an_error_and_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        open_bytes("model.safetensors", &bytes);
        open_bytes("pytorch_model.bin", &bytes);
        open_bytes("model.pth", &bytes);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (fixture, name) in
            [("tiny/model.safetensors", "model.safetensors"), ("tiny.pth", "model.pth")]
        {
            let mut bytes = fs_err::read(fixtures().join(fixture)).unwrap();
            // Headers are where damage matters.
            let end = bytes.len().min(9000);
            for (place, value) in &places {
                let place = place.index(end);
                bytes[place] = *value;
            }
            open_bytes(name, &bytes);
        }
    }
}

#[test]
fn weights_below_wrappers_have_their_own_names() {
    let names = [
        "text_decoder.bert.encoder.layer.0.attention.self.query.weight",
        "text_decoder.cls.predictions.bias",
        "vision_model.embeddings.class_embedding",
        "vision_model.encoder.layers.0.self_attn.qkv.weight",
    ];
    for (file, remark) in [
        (
            "compiled.pth",
            "took `model._orig_mod.module.` off the names of 4 tensors",
        ),
        (
            "lightning.ckpt",
            "took `state_dict.model.` off the names of 4 tensors",
        ),
        (
            "averaged.pth",
            "took `ema.module.` off the names of 4 tensors",
        ),
    ] {
        let checkpoint = Checkpoint::open(&fixtures().join("kinds").join(file)).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), names, "{file}");
        assert_eq!(checkpoint.remarks(), [remark], "{file}");
    }
    let both = Checkpoint::open(&fixtures().join("kinds/model_and_average.pth")).unwrap();
    assert_eq!(both.read(names[0], &[1]).unwrap(), [1.0]);
    assert_eq!(
        both.remarks(),
        ["left 4 tensors below `ema.` aside: without it their names are there already"]
    );
}
