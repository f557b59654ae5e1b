//! PyTorch files: the pickle is interpreted as data by `pytorch-reader`, which executes nothing.
//!
//! That crate reads every container of `torch.save`, one tensor at a time, with bounds on what a
//! damaged or hostile file can make it allocate; it belongs to the project whose tensor library
//! the trainer uses, and depends on neither. `candle-core` would bring a tensor library along.

use std::collections::BTreeMap;
use std::path::Path;

use pytorch_reader::{DType, PytorchError, PytorchReader};

use super::{Dtype, Entry, Source, wrapper};
use crate::error::ImportError;

/// Key of the weights in an original BLIP file, beside `optimizer`, `config` and `epoch`.
const WEIGHTS_KEY: &str = "model.";
/// Keys beside the weights in a file, for training alone.
const TRAINING: [&str; 7] = [
    "optimizer",
    "optimizers",
    "optimizer_states",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler",
    "scaler",
];

/// Tensors of a file that holds a state dictionary (`pytorch_model.bin`).
pub(super) fn open(path: &Path) -> Result<Vec<(String, Entry)>, ImportError> {
    let reader = PytorchReader::new(path).map_err(|error| malformed(path, error))?;
    Ok(entries(reader).collect())
}

/// Inference tensors of an original BLIP file, under the names that Hugging Face gives them, and what
/// is to be said of them.
pub(super) fn open_original(
    path: &Path,
) -> Result<(BTreeMap<String, Entry>, Vec<String>), ImportError> {
    let inference = open(path)?.into_iter().filter(|(name, _)| {
        let top = name.split('.').next().unwrap_or(name);
        !TRAINING.contains(&top)
    });
    let (tensors, wrappers) = wrapper::take_off(inference.collect());
    let tensors: BTreeMap<_, _> = tensors
        .into_iter()
        .filter_map(|(name, entry)| Some((hugging_face_name(&name)?, entry)))
        .collect();
    if tensors.is_empty() {
        return Err(ImportError::NotACheckpoint {
            path: path.to_owned(),
            reason: "no BLIP weights below `model` or at the top, expected names such as `visual_encoder.cls_token`".to_owned(),
        });
    }
    // Every original file has its weights below this key.
    let remarkable = wrappers
        .iter()
        .filter(|wrapper| !(wrapper.taken_off && wrapper.name == WEIGHTS_KEY));
    let remarks = remarkable.map(ToString::to_string).collect();
    Ok((tensors, remarks))
}

fn malformed(path: &Path, error: PytorchError) -> ImportError {
    match error {
        PytorchError::Io(source) if source.kind() == std::io::ErrorKind::NotFound => {
            ImportError::Read {
                path: path.to_owned(),
                source,
            }
        }
        error => {
            let reason = error.to_string();
            // Classes of a compiled program live below this module.
            if reason.contains("'__torch__.") {
                return ImportError::OtherKind {
                    path: path.to_owned(),
                    what: "a program of TorchScript, not a state dictionary".to_owned(),
                    advice: "in Python, `torch.jit.load` it and save its `state_dict()` with `torch.save`; for OpenAI's CLIP take a folder of open_clip".to_owned(),
                };
            }
            ImportError::Malformed {
                path: path.to_owned(),
                kind: "a PyTorch checkpoint",
                reason,
            }
        }
    }
}

fn entries(reader: PytorchReader) -> impl Iterator<Item = (String, Entry)> {
    reader.into_tensors().into_iter().map(|(name, tensor)| {
        let entry = Entry {
            dtype: dtype(tensor.dtype()),
            shape: tensor.shape().to_vec(),
            source: Source::Pickle(tensor),
        };
        (name, entry)
    })
}

fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::Bf16,
        DType::I64 => Dtype::Other("i64"),
        DType::I32 => Dtype::Other("i32"),
        DType::I16 => Dtype::Other("i16"),
        DType::I8 => Dtype::Other("i8"),
        DType::U64 => Dtype::Other("u64"),
        DType::U32 => Dtype::Other("u32"),
        DType::U16 => Dtype::Other("u16"),
        DType::U8 => Dtype::Other("u8"),
        DType::Bool => Dtype::Other("bool"),
    }
}

/// The Hugging Face name of an original tensor; none for what only training needs.
pub(super) fn hugging_face_name(name: &str) -> Option<String> {
    let top = name.split('.').next().unwrap_or(name);
    let training = top.ends_with("_m")
        || top.ends_with("_queue")
        || matches!(top, "temp" | "queue_ptr" | "ptr_queue")
        || name.ends_with("position_ids");
    if training {
        return None;
    }
    let Some(rest) = name.strip_prefix("visual_encoder.") else {
        return Some(name.to_owned());
    };
    let renamed = match rest {
        "cls_token" => "embeddings.class_embedding".to_owned(),
        "pos_embed" => "embeddings.position_embedding".to_owned(),
        _ => {
            if let Some(rest) = rest.strip_prefix("patch_embed.proj.") {
                format!("embeddings.patch_embedding.{rest}")
            } else if let Some(rest) = rest.strip_prefix("norm.") {
                format!("post_layernorm.{rest}")
            } else if let Some(rest) = rest.strip_prefix("blocks.") {
                let rest = rest
                    .replace(".norm1.", ".layer_norm1.")
                    .replace(".norm2.", ".layer_norm2.")
                    .replace(".attn.qkv.", ".self_attn.qkv.")
                    .replace(".attn.proj.", ".self_attn.projection.");
                format!("encoder.layers.{rest}")
            } else {
                rest.to_owned()
            }
        }
    };
    Some(format!("vision_model.{renamed}"))
}
