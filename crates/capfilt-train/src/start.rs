//! Where parameters start: checkpoints of this and other programs.

use std::path::{Path, PathBuf};

use capfilt_onnx::{Checkpoint, ImportError, resize_positions, resize_positions_smoothly};

use crate::family::Family;
use crate::file::Start;
use crate::parameters::{Declaration, ParameterError, Parameters, Stored};

#[cfg(test)]
mod tests;

/// What came of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The checkpoint.
    pub path: PathBuf,
    /// Parameters taken from it.
    pub taken: usize,
    /// Parameters that it should have and has not, which were drawn.
    pub drawn: Vec<String>,
}

/// A checkpoint that a model cannot start from.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] ImportError),
    /// It belongs to another family.
    #[error(
        "`{}` has no parameter of a {family}: it has {} tensors such as `{example}`",
        path.display(), tensors
    )]
    OtherFamily {
        /// The checkpoint.
        path: PathBuf,
        /// The family that was asked for.
        family: &'static str,
        /// Number of its tensors.
        tensors: usize,
        /// One of them.
        example: String,
    },
    /// A tensor has another shape than the model.
    #[error("`{}` does not fit the model: {source}; change the sizes in `[model]` to those of the checkpoint", path.display())]
    Shape {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        source: ParameterError,
    },
    /// The words of the checkpoint are not the tokenizer's.
    #[error(
        "`{}` was trained with {got} words, and the tokenizer has {expected}: give the checkpoint's own `tokenizer`",
        path.display()
    )]
    Vocabulary {
        /// The checkpoint.
        path: PathBuf,
        /// Its words.
        got: usize,
        /// The tokenizer's.
        expected: usize,
    },
}

/// Fills parameters from the checkpoints of `start`.
pub(crate) fn begin(
    start: &Start,
    family: &Family,
    weights: &mut Parameters,
) -> Result<Vec<Started>, StartError> {
    let mut all = Vec::new();
    for (path, names) in [
        (&start.vision, vision_names as fn(&str) -> Vec<String>),
        (&start.text, text_names),
        (&start.model, model_names),
    ] {
        if let Some(path) = path {
            all.push(fill(path, family, weights, names)?);
        }
    }
    Ok(all)
}

fn fill(
    path: &Path,
    family: &Family,
    weights: &mut Parameters,
    names: fn(&str) -> Vec<String>,
) -> Result<Started, StartError> {
    let checkpoint = Checkpoint::open(path)?;
    let declarations: Vec<Declaration> = weights.declarations().cloned().collect();
    let mut taken = 0;
    let mut drawn = Vec::new();
    for declaration in declarations {
        let names = names(&declaration.name);
        if names.is_empty() {
            continue;
        }
        let Some((name, shape)) = names
            .iter()
            .find_map(|name| Some((name, checkpoint.shape(name)?.to_vec())))
        else {
            drawn.push(declaration.name);
            continue;
        };
        let values = checkpoint.read(name, &shape)?;
        let mut stored = fitted(Stored { shape, values }, &declaration, family);
        if is_words(&declaration.name) {
            let own = weights.stored_like(&declaration.name, weights.get(&declaration.name));
            add_words(&mut stored, &own);
        }
        if let (Some(got), Some(expected)) = (
            words(&declaration.name, &stored.shape),
            words(&declaration.name, &declaration.shape),
        ) && got != expected
        {
            return Err(StartError::Vocabulary {
                path: path.to_owned(),
                got,
                expected,
            });
        }
        weights
            .set(&declaration.name, &stored)
            .map_err(|source| StartError::Shape {
                path: path.to_owned(),
                source,
            })?;
        taken += 1;
    }
    if taken == 0 {
        let names: Vec<&str> = checkpoint.names().collect();
        return Err(StartError::OtherFamily {
            path: path.to_owned(),
            family: family.name(),
            tensors: names.len(),
            example: names.first().copied().unwrap_or_default().to_owned(),
        });
    }
    Ok(Started {
        path: path.to_owned(),
        taken,
        drawn,
    })
}

/// A tensor in the model's shape where only the number of places differs, or axes of one.
fn fitted(mut stored: Stored, declaration: &Declaration, family: &Family) -> Stored {
    let expected = &declaration.shape;
    let without_ones = |shape: &[usize]| {
        shape
            .iter()
            .copied()
            .filter(|&axis| axis != 1)
            .collect::<Vec<_>>()
    };
    let is_places = declaration.name.ends_with("embeddings.position_embedding")
        || declaration.name == "visual.positional_embedding";
    if is_places
        && let (Some(&width), Some(&places)) = (expected.last(), expected.iter().rev().nth(1))
        && stored.shape.last() == Some(&width)
    {
        let got = stored.values.len() / width;
        let side = |places: usize| (places - 1).isqrt();
        let is_grid = |places: usize| places > 1 && side(places).pow(2) == places - 1;
        if got != places && is_grid(got) && is_grid(places) {
            // `open_clip` smooths when it makes tables smaller, and takes another kernel.
            let resize = match family {
                Family::Blip(_) => resize_positions,
                _ => resize_positions_smoothly,
            };
            stored.values = resize(&stored.values, width, side(got), side(places));
            stored.shape.clone_from(expected);
        }
    }
    if without_ones(&stored.shape) == without_ones(expected) {
        stored.shape.clone_from(expected);
    }
    stored
}

/// \[DEC\] and \[ENC\] as they are drawn, where a checkpoint of BERT has not got them.
fn add_words(stored: &mut Stored, own: &Stored) {
    let words = |stored: &Stored| stored.shape.first().copied().unwrap_or(0);
    if stored.shape.last() == own.shape.last()
        && (1..=2).contains(&words(own).saturating_sub(words(stored)))
    {
        stored
            .values
            .extend_from_slice(&own.values[stored.values.len()..]);
        stored.shape.clone_from(&own.shape);
    }
}

/// Words of the vocabulary that a parameter was made for, if it was made for one.
fn words(name: &str, shape: &[usize]) -> Option<usize> {
    if is_words(name) || name == "text_decoder.cls.predictions.bias" {
        shape.first().copied()
    } else if name == "text_decoder.text_projection" {
        shape.last().copied()
    } else {
        None
    }
}

fn is_words(name: &str) -> bool {
    name.ends_with("word_embeddings.weight") || name.ends_with("token_embedding.weight")
}

/// Names that parameter `name` may have in a checkpoint of its own family, best first.
fn model_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    if let Some(rest) = name.strip_prefix("text_encoder.") {
        names.push(format!("text_decoder.bert.{rest}"));
    } else if let Some(rest) = name.strip_prefix("text_decoder.bert.") {
        names.push(format!("text_encoder.{rest}"));
    } else if name == "text_decoder.cls.predictions.bias" {
        names.push("text_decoder.cls.predictions.decoder.bias".to_owned());
    } else if name.starts_with("vision_model.") {
        names.extend(timm(name).map(|rest| format!("visual_encoder.{rest}")));
    }
    if is_words(name) && name.contains("embeddings.") {
        names.push("text_decoder.cls.predictions.decoder.weight".to_owned());
    }
    names
}

/// Names of an image encoder's parameter in a checkpoint of timm.
fn vision_names(name: &str) -> Vec<String> {
    timm(name).into_iter().collect()
}

/// Names of a text parameter in a BERT of Hugging Face: with and without the head's prefix.
fn text_names(name: &str) -> Vec<String> {
    let rest = name
        .strip_prefix("text_encoder.")
        .or_else(|| name.strip_prefix("text_decoder.bert."));
    match rest {
        // BERT has none: it is drawn.
        Some(rest) if rest.contains("crossattention") => Vec::new(),
        Some(rest) => vec![rest.to_owned(), format!("bert.{rest}")],
        None => Vec::new(),
    }
}

/// timm's name of a parameter of BLIP's image encoder (`models.md`, section 2.1).
fn timm(name: &str) -> Option<String> {
    let rest = name.strip_prefix("vision_model.")?;
    let renamed = match rest {
        "embeddings.class_embedding" => "cls_token".to_owned(),
        "embeddings.position_embedding" => "pos_embed".to_owned(),
        _ => rest
            .replace("embeddings.patch_embedding.", "patch_embed.proj.")
            .replace("encoder.layers.", "blocks.")
            .replace("layer_norm1.", "norm1.")
            .replace("layer_norm2.", "norm2.")
            .replace("self_attn.qkv.", "attn.qkv.")
            .replace("self_attn.projection.", "attn.proj.")
            .replace("post_layernorm.", "norm."),
    };
    Some(renamed)
}
