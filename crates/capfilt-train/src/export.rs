//! The finished model as other programs read it, and as packages that the pipeline runs.
//!
//! ```text
//! huggingface/captioner, huggingface/filter    BLIP, for `transformers`
//! open-clip                                    CLIP, CoCa, FILIP, for `open_clip`
//! captioner, filter                            packages
//! ```

use std::path::{Path, PathBuf};

use capfilt_image::Preprocess;
use capfilt_onnx::{ImportError, ImportOptions, Task, Vocabulary, import, save_tensors};
use serde_json::{Value, json};

use crate::family::Family;
use crate::model::blip::{Blip, Mode, Role, TEXT_EPSILON, VISION_EPSILON};
use crate::model::clip::ClipLoss;
use crate::model::coca::{Coca, Variant};
use crate::model::sizes::{Text, Vision};
use crate::parameters::{Parameters, Stored};

#[cfg(test)]
mod tests;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Folders for other programs.
    pub folders: Vec<PathBuf>,
    /// Packages for `caption` and `score`.
    pub packages: Vec<PathBuf>,
}

/// A model that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file cannot be written.
    #[error("cannot write the finished model to `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A package cannot be made.
    #[error(transparent)]
    Package(#[from] ImportError),
}

/// Writes folders and packages below `output`.
pub(crate) fn export(
    output: &Path,
    family: &Family,
    weights: &Parameters,
    vocabulary: &Vocabulary,
    preprocess: &Preprocess,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let mut packages: Vec<(PathBuf, Task, Option<String>)> = Vec::new();
    match family {
        Family::Blip(blip) => {
            let huggingface = output.join("huggingface");
            for (task, there) in [
                (Task::Captioner, blip.has_decoder()),
                (Task::Filter, blip.has_encoder()),
            ] {
                if there {
                    let folder = huggingface.join(task.as_str());
                    write_blip(&folder, blip, task, weights, vocabulary, preprocess)?;
                    let prompt =
                        (blip.mode == Mode::FinetuneCaptioner).then(|| blip.prompt.clone());
                    packages.push((folder, task, prompt.filter(|prompt| !prompt.is_empty())));
                }
            }
        }
        Family::Clip(_) | Family::Coca(_) | Family::Filip(_) => {
            let folder = output.join("open-clip");
            write_open_clip(&folder, family, weights, vocabulary, preprocess)?;
            exported.folders.push(folder.clone());
            // The paper's CoCa is not one that `open_clip` or a package knows.
            let is_known = !matches!(family, Family::Coca(coca) if coca.variant == Variant::Paper);
            if is_known && family.writes() {
                packages.push((folder.clone(), Task::Captioner, None));
            }
            if is_known && family.compares() {
                packages.push((folder, Task::Filter, None));
            }
        }
    }
    for (folder, task, prompt) in packages {
        let options = ImportOptions {
            task: Some(task),
            prompt,
            ..ImportOptions::default()
        };
        let package = output.join(task.as_str());
        import(&folder, &package, &options)?;
        exported.packages.push(package);
        if !exported.folders.contains(&folder) {
            exported.folders.push(folder);
        }
    }
    Ok(exported)
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), ExportError> {
    let path = folder.join(name);
    fs_err::create_dir_all(folder)
        .and_then(|()| fs_err::write(&path, content))
        .map_err(|source| ExportError::Write { path, source })
}

fn write_json(folder: &Path, name: &str, value: &Value) -> Result<(), ExportError> {
    write(folder, name, format!("{value:#}\n").as_bytes())
}

fn write_weights(
    folder: &Path,
    name: &str,
    tensors: Vec<(String, Stored)>,
) -> Result<(), ExportError> {
    fs_err::create_dir_all(folder).map_err(|source| ExportError::Write {
        path: folder.to_owned(),
        source,
    })?;
    let tensors = tensors
        .into_iter()
        .map(|(name, stored)| (name, stored.shape, stored.values));
    Ok(save_tensors(&folder.join(name), tensors)?)
}

/// A `BlipForConditionalGeneration` or a `BlipForImageTextRetrieval`.
fn write_blip(
    folder: &Path,
    blip: &Blip,
    task: Task,
    weights: &Parameters,
    vocabulary: &Vocabulary,
    preprocess: &Preprocess,
) -> Result<(), ExportError> {
    let (role, architecture, heads): (_, _, &[&str]) = match task {
        Task::Captioner => (
            Role::Decoder,
            "BlipForConditionalGeneration",
            &["text_decoder.cls."],
        ),
        Task::Filter => (
            Role::Encoder,
            "BlipForImageTextRetrieval",
            &["vision_proj.", "text_proj.", "itm_head."],
        ),
    };
    let mut tensors: Vec<(String, Stored)> = Vec::new();
    let alone = |name: &str| {
        name.starts_with("vision_model.") || heads.iter().any(|head| name.starts_with(head))
    };
    for (name, stored) in weights.stored() {
        if alone(name) {
            tensors.push((name.to_owned(), stored));
        } else if let Some(rest) = blip.plays(role, name) {
            tensors.push((format!("{}.{rest}", role.prefix()), stored));
        }
    }
    write_weights(folder, "model.safetensors", tensors)?;
    write_json(
        folder,
        "config.json",
        &blip_config(blip, architecture, vocabulary),
    )?;
    let side = preprocess.size;
    let processor = json!({
        "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
        "image_mean": preprocess.mean, "image_std": preprocess.std,
        "image_processor_type": "BlipImageProcessor", "processor_class": "BlipProcessor",
        "resample": 3, "rescale_factor": 1.0 / 255.0, "size": {"height": side, "width": side},
    });
    write_json(folder, "preprocessor_config.json", &processor)?;
    write(folder, "tokenizer.json", &vocabulary.json)?;
    let tokenizer = json!({
        "bos_token": "[DEC]", "cls_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[PAD]",
        "sep_token": "[SEP]", "unk_token": "[UNK]", "tokenizer_class": "PreTrainedTokenizerFast",
    });
    write_json(folder, "tokenizer_config.json", &tokenizer)?;
    if task == Task::Captioner {
        let tokens = vocabulary.tokens();
        let generation = json!({
            "bos_token_id": tokens.dec, "eos_token_id": tokens.sep, "pad_token_id": tokens.pad,
            "max_new_tokens": blip.tokens,
        });
        write_json(folder, "generation_config.json", &generation)?;
    }
    Ok(())
}

fn blip_config(blip: &Blip, architecture: &str, vocabulary: &Vocabulary) -> Value {
    let Blip { vision, text, .. } = blip;
    let tokens = vocabulary.tokens();
    json!({
        "architectures": [architecture], "model_type": "blip", "dtype": "float32",
        "image_text_hidden_size": blip.projection, "projection_dim": blip.projection,
        "tie_word_embeddings": true,
        "text_config": {
            "model_type": "blip_text_model", "hidden_act": "gelu", "initializer_range": 0.02,
            "vocab_size": vocabulary.size, "hidden_size": text.width, "encoder_hidden_size": vision.width,
            "intermediate_size": text.hidden(), "num_attention_heads": text.heads,
            "num_hidden_layers": text.layers, "max_position_embeddings": text.positions,
            "layer_norm_eps": TEXT_EPSILON, "projection_dim": blip.projection,
            "attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0, "label_smoothing": blip.smoothing,
            "is_decoder": true, "use_cache": true, "tie_word_embeddings": true,
            "bos_token_id": tokens.dec, "eos_token_id": tokens.sep, "pad_token_id": tokens.pad,
            "sep_token_id": tokens.sep,
        },
        "vision_config": {
            "model_type": "blip_vision_model", "hidden_act": "gelu", "initializer_range": 0.02,
            "hidden_size": vision.width, "image_size": vision.image_size, "patch_size": vision.patch,
            "intermediate_size": vision.hidden(), "num_attention_heads": vision.heads,
            "num_hidden_layers": vision.layers, "layer_norm_eps": VISION_EPSILON,
            "attention_dropout": 0.0, "projection_dim": blip.projection,
        },
    })
}

fn write_open_clip(
    folder: &Path,
    family: &Family,
    weights: &Parameters,
    vocabulary: &Vocabulary,
    preprocess: &Preprocess,
) -> Result<(), ExportError> {
    let tensors = weights
        .stored()
        .map(|(name, stored)| (name.to_owned(), stored))
        .collect();
    write_weights(folder, "open_clip_model.safetensors", tensors)?;
    let model = match family {
        Family::Blip(_) => return Ok(()),
        Family::Clip(clip) => {
            let mut model = dual(
                &clip.vision,
                &clip.text,
                clip.embed,
                clip.quick_gelu,
                vocabulary,
            );
            if clip.loss == ClipLoss::Sigmoid {
                model["init_logit_bias"] = json!(-10);
            }
            model
        }
        Family::Filip(filip) => {
            let mut model = dual(
                &filip.vision,
                &filip.text,
                filip.embed,
                filip.quick_gelu,
                vocabulary,
            );
            model["capfilt_family"] = json!("filip");
            model
        }
        Family::Coca(coca) => coca_config(coca, vocabulary),
    };
    let config = json!({
        "model_cfg": model,
        "preprocess_cfg": {
            "mean": preprocess.mean, "std": preprocess.std, "interpolation": "bicubic",
            "resize_mode": "squash", "size": preprocess.size,
        },
    });
    write_json(folder, "open_clip_config.json", &config)?;
    write(folder, "tokenizer.json", &vocabulary.json)
}

/// `model_cfg` of two encoders.
fn dual(
    vision: &Vision,
    text: &Text,
    embed: usize,
    quick_gelu: bool,
    vocabulary: &Vocabulary,
) -> Value {
    let tokens = vocabulary.tokens();
    // `open_clip` takes the text's feature from the largest id, which in CLIP's vocabulary ends texts.
    let is_largest = tokens.sep as usize + 1 == vocabulary.size;
    json!({
        "embed_dim": embed, "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": vision.image_size, "patch_size": vision.patch, "width": vision.width,
            "layers": vision.layers, "head_width": vision.width / vision.heads,
            "mlp_ratio": ratio(vision.hidden(), vision.width),
        },
        "text_cfg": {
            "context_length": text.positions, "vocab_size": vocabulary.size, "width": text.width,
            "heads": text.heads, "layers": text.layers, "mlp_ratio": ratio(text.hidden(), text.width),
            "pad_id": tokens.pad, "eos_id": tokens.sep,
            "pool_type": if is_largest { "argmax" } else { "eos" },
        },
    })
}

fn coca_config(coca: &Coca, vocabulary: &Vocabulary) -> Value {
    let mut model = dual(
        &coca.vision,
        &coca.text,
        coca.embed,
        coca.quick_gelu,
        vocabulary,
    );
    model["custom_text"] = json!(true);
    let vision = &mut model["vision_cfg"];
    vision["attentional_pool"] = match coca.variant {
        Variant::OpenClip => json!(true),
        Variant::Paper => json!("cascade"),
    };
    vision["attn_pooler_queries"] = json!(coca.queries);
    vision["attn_pooler_heads"] = json!(coca.pooler_heads);
    vision["output_tokens"] = json!(true);
    let text = &mut model["text_cfg"];
    text["embed_cls"] = json!(true);
    text["output_tokens"] = json!(true);
    text["correct_cls_mask"] = json!(coca.correct_cls_mask || coca.variant == Variant::Paper);
    model["multimodal_cfg"] = json!({
        "context_length": coca.text.positions, "vocab_size": vocabulary.size, "width": coca.text.width,
        "heads": coca.text.heads, "layers": coca.upper_layers,
    });
    model
}

#[expect(clippy::cast_precision_loss, reason = "numbers of features")]
fn ratio(hidden: usize, width: usize) -> f64 {
    hidden as f64 / width as f64
}
