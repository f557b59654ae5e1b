use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::checkpoint::save_tensors;
use crate::{ImportOptions, import};

/// A folder with these texts in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs_err::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A small tensor of each name, in the file.
fn write_tensors(file: &Path, names: &[&str]) {
    let tensors = names
        .iter()
        .map(|name| ((*name).to_owned(), vec![1, 1], vec![0.5]));
    save_tensors(file, tensors).unwrap();
}

fn config(model_type: &str, architecture: &str) -> String {
    json!({"model_type": model_type, "architectures": [architecture]}).to_string()
}

#[track_caller]
fn assert_refused(path: &Path, expected: &[&str]) {
    let output = tempfile::tempdir().unwrap();
    let error = import(
        path,
        &output.path().join("package"),
        &ImportOptions::default(),
    );
    let error = error.unwrap_err().to_string();
    for text in expected {
        assert!(error.contains(text), "no `{text}` in: {error}");
    }
}

#[test]
fn models_of_transformers_are_named_by_their_type() {
    for (model_type, what) in [
        (
            "clip",
            "is a CLIP model of transformers: it is not imported in this form yet; import open_clip's form",
        ),
        (
            "siglip",
            "is a SigLIP model of transformers: it is not imported; expected a BLIP captioner",
        ),
        ("siglip2", "is a SigLIP model"),
        ("blip-2", "is a BLIP-2 model"),
        ("instructblip", "is an InstructBLIP model"),
        ("instructblipvideo", "is an InstructBLIP model"),
        ("florence2", "is a Florence-2 model"),
        ("llava", "is a LLaVA model"),
        ("llava_onevision", "is a LLaVA model"),
        ("git", "is a GIT model"),
        ("vision-encoder-decoder", "such as ViT-GPT2"),
        (
            "blip_text_model",
            "is one half of a BLIP of transformers: expected the whole model",
        ),
        (
            "qwen3_vl",
            "is a model of type `qwen3_vl` of transformers: it is not imported",
        ),
    ] {
        // Weights do not matter: a folder without any is named, too.
        let folder = folder(&[("config.json", &config(model_type, "Model"))]);
        assert_refused(folder.path(), &[what]);
        write_tensors(&folder.path().join("model.safetensors"), &["logit_scale"]);
        assert_refused(folder.path(), &[what]);
    }
}

#[test]
fn folders_of_other_programs_are_named_by_their_files() {
    for (files, what) in [
        (
            &["adapter_config.json", "adapter_model.safetensors"][..],
            "is a LoRA adapter, not a model: it has no weights of its own; merge it",
        ),
        (&["adapter_model.bin"], "is a LoRA adapter"),
        (
            &["model.json", "weights.bin", "vision.onnx"],
            "is a model package, the result of an import: use it as it is",
        ),
        (&["model_index.json"], "is a pipeline of diffusers"),
        (
            &["config.json", "blip-f16.gguf"],
            "is weights of llama.cpp (GGUF): expected weights of PyTorch",
        ),
        (
            &["tf_model.h5", "training_args.bin"],
            "is weights of TensorFlow",
        ),
        (&["flax_model.msgpack"], "is weights of Flax"),
        (&["model.onnx"], "is a graph of ONNX"),
    ] {
        let folder = folder(&[]);
        for name in files {
            fs_err::write(folder.path().join(name), "{}").unwrap();
        }
        assert_refused(folder.path(), &[what]);
    }
    let cache = folder(&[]);
    for name in ["blobs", "refs", "snapshots"] {
        fs_err::create_dir(cache.path().join(name)).unwrap();
    }
    assert_refused(
        cache.path(),
        &["is a folder of the hub's cache: pass the folder below its `snapshots/`"],
    );
}

#[test]
fn an_adapter_beside_its_model_is_refused() {
    // `from_pretrained` of transformers would put the adapter on another model.
    let folder = folder(&[("adapter_config.json", "{}"), ("config.json", "{}")]);
    write_tensors(
        &folder.path().join("model.safetensors"),
        &["itm_head.weight"],
    );
    assert_refused(folder.path(), &["is a LoRA adapter"]);
    let unnamed = self::folder(&[(
        "config.json",
        &config("blip", "BlipForConditionalGeneration"),
    )]);
    let names =
        ["base_model.model.text_decoder.bert.encoder.layer.0.attention.self.query.lora_A.weight"];
    write_tensors(&unnamed.path().join("model.safetensors"), &names);
    assert_refused(unnamed.path(), &["is a LoRA adapter"]);
}

#[test]
fn blips_of_other_tasks_are_named() {
    let vqa = "is a BLIP that answers questions (`BlipForQuestionAnswering`, VQA): it is not imported yet";
    let declared = folder(&[("config.json", &config("blip", "BlipForQuestionAnswering"))]);
    assert_refused(declared.path(), &[vqa]);
    let names = [
        "text_decoder.bert.encoder.layer.0.attention.self.query.weight",
        "text_encoder.encoder.layer.0.attention.self.query.weight",
        "vision_model.embeddings.class_embedding",
    ];
    let told = folder(&[(
        "config.json",
        &config("blip", "BlipForConditionalGeneration"),
    )]);
    write_tensors(&told.path().join("model.safetensors"), &names);
    assert_refused(told.path(), &[vqa, "never see the picture"]);
    for names in [
        [
            "text_encoder.encoder.layer.0.crossattention.self0.query.weight",
            "text_encoder.encoder.layer.0.crossattention.self1.query.weight",
        ],
        [
            "text_encoder.encoder.layer.0.crossattention0.self.query.weight",
            "text_encoder.encoder.layer.0.crossattention1.self.query.weight",
        ],
    ] {
        let folder = folder(&[("config.json", &config("blip", "BlipForNLVR"))]);
        write_tensors(&folder.path().join("model.safetensors"), &names);
        assert_refused(
            folder.path(),
            &["is a BLIP that compares two pictures (NLVR2)"],
        );
    }
}

#[test]
fn a_pointer_of_git_lfs_is_named_whatever_it_stands_for() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 989820849\n";
    let said = &[
        "is a pointer of Git LFS, not the file of 989820849 bytes that it stands for: run `git lfs pull`",
    ];
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny");
    let copy = |pointers: &[&str]| {
        let folder = folder(&[]);
        for name in ["config.json", "vocab.txt", "model.safetensors"] {
            fs_err::copy(tiny.join(name), folder.path().join(name)).unwrap();
        }
        for name in pointers {
            fs_err::write(folder.path().join(name), pointer).unwrap();
        }
        folder
    };
    let filter = ImportOptions {
        task: Some(crate::Task::Filter),
        ..ImportOptions::default()
    };
    for name in [
        "model.safetensors",
        "config.json",
        "vocab.txt",
        "tokenizer.json",
        "preprocessor_config.json",
        "processor_config.json",
        "open_clip_config.json",
    ] {
        let mut pointers = vec![name];
        if name == "open_clip_config.json" {
            pointers.push("open_clip_model.safetensors");
        }
        let folder = copy(&pointers);
        let output = tempfile::tempdir().unwrap();
        let error = import(folder.path(), &output.path().join("package"), &filter);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(said[0]), "{name}: {error}");
    }
    // What is not needed may stay a pointer.
    let folder = copy(&["tf_model.h5", "pytorch_model.bin"]);
    let output = tempfile::tempdir().unwrap();
    import(folder.path(), &output.path().join("package"), &filter).unwrap();
    let file = self::folder(&[("model_base.pth", pointer)]);
    assert_refused(&file.path().join("model_base.pth"), said);
}

#[test]
fn what_stands_in_the_place_of_weights_is_named() {
    for (content, what) in [
        (
            &b"<!DOCTYPE html><html>"[..],
            "is a web page, not the file: the download went wrong",
        ),
        (b"\n<html><body>Sign in", "is a web page"),
        (
            b"<?xml version=\"1.0\"?><Error>",
            "is an XML answer of a server",
        ),
        (b"GGUF\x03\0\0\0", "is weights of llama.cpp (GGUF)"),
        (b"\x89HDF\r\n\x1a\n", "is weights of TensorFlow (HDF5)"),
    ] {
        let folder = folder(&[]);
        let file = folder.path().join("model.pth");
        fs_err::write(&file, content).unwrap();
        assert_refused(&file, &[what]);
    }
}

#[test]
fn weights_under_other_names_are_told() {
    let shard = folder(&[(
        "config.json",
        &config("blip", "BlipForConditionalGeneration"),
    )]);
    write_tensors(
        &shard.path().join("model-00001-of-00002.safetensors"),
        &["a"],
    );
    write_tensors(
        &shard.path().join("model-00002-of-00002.safetensors"),
        &["b"],
    );
    assert_refused(
        shard.path(),
        &[
            "expected `model.safetensors`",
            "it has `model-00001-of-00002.safetensors` and others",
            "shards need their index",
        ],
    );
    let index = json!({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}});
    fs_err::write(
        shard.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    fs_err::remove_file(shard.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert_refused(
        shard.path(),
        &[
            "of the 2 files that `model.safetensors.index.json` names it has not got `model-00002-of-00002.safetensors`",
        ],
    );
    let original = folder(&[("model_base.pth", "")]);
    assert_refused(
        original.path(),
        &["it has `model_base.pth`: an original `.pth` is passed as a file"],
    );
}

#[test]
fn a_folder_of_open_clip_stays_one_whatever_is_beside() {
    let folder = folder(&[
        ("open_clip_config.json", "{}"),
        ("config.json", &config("clip", "CLIPModel")),
    ]);
    write_tensors(
        &folder.path().join("open_clip_model.safetensors"),
        &["logit_scale"],
    );
    assert_eq!(open(folder.path()).unwrap().0, Importer::OpenClip);
}

/// Files that `fixtures/kinds.py` made.
fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/kinds")
        .join(name)
}

#[test]
fn files_of_pytorch_are_named_by_their_tensors() {
    for (name, what) in [
        ("vqa", "is a BLIP that answers questions"),
        (
            "vqa.pth",
            "is a BLIP that answers questions (`BlipForQuestionAnswering`, VQA): it is not imported yet",
        ),
        ("nlvr.pth", "is a BLIP that compares two pictures (NLVR2)"),
        ("albef.pth", "is an ALBEF model"),
        ("blip2.pth", "is a BLIP-2 model"),
        (
            "open_clip.pt",
            "is weights of open_clip without their folder: put them into a folder",
        ),
        ("lora.pth", "is a LoRA adapter"),
        (
            "script.pt",
            "is a program of TorchScript, not a state dictionary: in Python, `torch.jit.load` it",
        ),
    ] {
        assert_refused(&made(name), &[what]);
    }
}

#[test]
fn a_pretraining_file_with_both_text_transformers_is_a_blip() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny.pth");
    let (importer, checkpoint) = open(&path).unwrap();
    assert_eq!(importer, Importer::Blip);
    assert_eq!(checkpoint.remarks(), [""; 0]);
}
