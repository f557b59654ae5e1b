//! BLIP for `transformers`.

use std::path::Path;

use capfilt_image::Preprocess;
use capfilt_onnx::{Task, Vocabulary};
use serde_json::{Value, json};

use super::tokenizer::write_tokenizer;
use super::{ExportError, write_json, write_weights};
use crate::model::blip::{Blip, Role, TEXT_EPSILON, VISION_EPSILON};
use crate::parameters::{Parameters, Stored};

/// A `BlipForConditionalGeneration` or a `BlipForImageTextRetrieval`.
pub(super) fn write_blip(
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
    write_tokenizer(folder, vocabulary, blip.tokens)?;
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
            "attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0, "label_smoothing": blip.smoothing.get(),
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
