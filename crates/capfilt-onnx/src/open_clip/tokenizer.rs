//! The tokenizer of an `open_clip` folder: any `tokenizer.json`, and which of its tokens frame a text.

use std::path::Path;

use super::config::Config;
use crate::error::ImportError;
use crate::kind::content;
use crate::manifest::{Family, SpecialTokens};
use crate::package::TOKENIZER;
use crate::tokenizer::{Tokenizer, frame};

/// The file that was asked for, else the folder's.
pub(super) fn find(
    asked: Option<&Path>,
    folder: &Path,
    config: &Config,
) -> Result<Tokenizer, ImportError> {
    let path = match asked {
        Some(path) => path.to_owned(),
        None => folder.join(TOKENIZER),
    };
    if asked.is_none() && !path.is_file() {
        return Err(refuse(format!(
            "there is no `{TOKENIZER}` in the folder: pass one with `--tokenizer`"
        )));
    }
    let json = content::read(&path)?;
    let tokens = tokens(&json, config)?;
    Ok(Tokenizer { json, tokens })
}

fn tokens(json: &[u8], config: &Config) -> Result<SpecialTokens, ImportError> {
    let tokenizer = tokenizers::Tokenizer::from_bytes(json)
        .map_err(|error| refuse(format!("not a tokenizer file: {error}")))?;
    let text = &config.text;
    let vocabulary = tokenizer.get_vocab(true);
    let last = vocabulary.values().copied().max().unwrap_or(0);
    for id in [last, text.pad] {
        if id as usize >= text.vocabulary {
            return Err(refuse(format!(
                "a token has id {id}, expected ids below the model's vocabulary of {}: this tokenizer belongs to another model",
                text.vocabulary
            )));
        }
    }
    let (start, end) = frame(|name| vocabulary.get(name).copied())?;
    check_pool(config, end, last)?;
    Ok(SpecialTokens {
        pad: text.pad,
        cls: start,
        sep: end,
        dec: (config.family == Family::Coca).then_some(start),
        enc: None,
    })
}

/// A text of CLIP is what its end token says.
fn check_pool(config: &Config, end: u32, last: u32) -> Result<(), ImportError> {
    match (config.family, config.text.pool.as_str()) {
        (Family::Clip, "argmax") if end != last => Err(super::config::refuse(
            "text_cfg.pool_type",
            format!(
                "`argmax` takes the token with the highest id, which is {last} in this tokenizer, expected the end token {end}: write `eos` if the model was trained with that"
            ),
        )),
        (Family::Clip, other) if !["argmax", "eos"].contains(&other) => Err(super::config::refuse(
            "text_cfg.pool_type",
            format!("`{other}`, expected `argmax` or `eos`"),
        )),
        _ => Ok(()),
    }
}

fn refuse(reason: String) -> ImportError {
    ImportError::Tokenizer { reason }
}
