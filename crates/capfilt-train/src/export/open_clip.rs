//! CLIP, CoCa and FILIP for `open_clip`.

use std::path::Path;

use capfilt_image::Preprocess;
use capfilt_onnx::Vocabulary;
use serde_json::{Value, json};

use super::tokenizer::{TOKENIZER, write_tokenizer};
use super::{ExportError, write_json, write_weights};
use crate::family::Family;
use crate::model::clip::ClipLoss;
use crate::model::coca::{Coca, Variant};
use crate::model::sizes::{Text, Vision};
use crate::parameters::Parameters;

/// A folder that `open_clip` opens as `local-dir:` folder: model, tokenizer and preprocessing.
pub(super) fn write_open_clip(
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
            // Every token's feature is what is compared: `encode_image` and `encode_text` give them all.
            model["vision_cfg"]["pool_type"] = json!("none");
            model["text_cfg"]["pool_type"] = json!("none");
            model
        }
        Family::Coca(coca) => coca_config(coca, vocabulary),
    };
    let config = json!({
        // Here `open_clip`, whose classes refuse what they do not know, does not see it.
        "capfilt_family": family.name(),
        "model_cfg": model,
        "preprocess_cfg": {
            "mean": preprocess.mean, "std": preprocess.std, "interpolation": "bicubic",
            "resize_mode": "squash", "size": preprocess.size,
        },
    });
    write_json(folder, "open_clip_config.json", &config)?;
    write_tokenizer(folder, vocabulary, family.most_tokens())
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
            // Whatever it says, `open_clip` looks into a local folder.
            "hf_tokenizer_name": TOKENIZER,
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
    if coca.correct_cls_mask || coca.variant == Variant::Paper {
        // `open_clip` cannot be told of this mask. It refuses the key, rather than to compute something else.
        text["correct_cls_mask"] = json!(true);
    }
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
