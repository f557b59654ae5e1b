//! The tokenizer of a package: a `tokenizer.json`, or one made from a vocabulary of word pieces.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::blip::config::Text;
use crate::checkpoint::Layout;
use crate::error::ImportError;
use crate::kind::content;
use crate::manifest::SpecialTokens;
use crate::package::TOKENIZER;

/// Vocabulary of uncased BERT, which every original BLIP uses. See `data/README.md`.
const BERT_VOCABULARY: &str = include_str!("../data/bert-base-uncased-vocab.txt");
const VOCABULARY: &str = "vocab.txt";

/// A tokenizer with the ids that the model needs.
pub(crate) struct Tokenizer {
    /// Content of `tokenizer.json`.
    pub(crate) json: Vec<u8>,
    /// Ids of the special tokens.
    pub(crate) tokens: SpecialTokens,
}

impl Tokenizer {
    /// The file that was asked for, else what the checkpoint brings along, else uncased BERT's.
    pub(crate) fn find(
        asked: Option<&Path>,
        checkpoint: &Path,
        layout: Layout,
        config: &Text,
    ) -> Result<Self, ImportError> {
        let in_folder = |name: &str| Some(checkpoint.join(name)).filter(|path| path.is_file());
        let file = match (asked, layout) {
            (Some(path), _) => Some(path.to_owned()),
            (None, Layout::Original) => None,
            (None, Layout::Folder | Layout::OpenClip) => {
                let found = in_folder(TOKENIZER).or_else(|| in_folder(VOCABULARY));
                if found.is_none() {
                    return Err(refuse(format!(
                        "neither `{TOKENIZER}` nor `{VOCABULARY}` is in the folder: pass one with `--tokenizer`"
                    )));
                }
                found
            }
        };
        let bytes = match &file {
            Some(path) => content::read(path)?,
            None => BERT_VOCABULARY.as_bytes().to_vec(),
        };
        let (json, parsed) = parsed(bytes)?;
        let ids = ids(&parsed)?;
        check_size(&ids, config)?;
        let tokens = special_tokens(&ids, config)?;
        Ok(Self { json, tokens })
    }
}

/// Names of the tokens that start and end a text: CLIP's, and BERT's.
const FRAMES: [(&str, &str); 2] = [("<|startoftext|>", "<|endoftext|>"), ("[CLS]", "[SEP]")];

/// The tokens that start and end a text, of a tokenizer that knows them by `id`.
pub(crate) fn frame(id: impl Fn(&str) -> Option<u32>) -> Result<(u32, u32), ImportError> {
    let framed = FRAMES
        .iter()
        .find_map(|(start, end)| id(start).zip(id(end)));
    framed.ok_or_else(|| {
        let names = FRAMES.map(|(start, end)| format!("`{start}` and `{end}`"));
        refuse(format!(
            "no tokens start and end a text, expected {}",
            names.join(" or ")
        ))
    })
}

/// Content of the tokenizer at `path` (a file, or a folder that has one), or of uncased BERT's; its
/// special tokens; and how many ids there are.
pub(crate) fn for_training(
    path: Option<&Path>,
) -> Result<(Vec<u8>, SpecialTokens, usize), ImportError> {
    let path = path.map(|path| {
        let in_folder = [TOKENIZER, VOCABULARY].map(|name| path.join(name));
        let found = in_folder.into_iter().find(|file| file.is_file());
        found.unwrap_or_else(|| path.to_owned())
    });
    let bytes = match path {
        Some(path) => content::read(&path)?,
        None => BERT_VOCABULARY.as_bytes().to_vec(),
    };
    let (bytes, json) = parsed(bytes)?;
    let ids = ids(&json)?;
    let size = ids.values().max().map_or(0, |id| *id as usize + 1);
    let token = |names: &[&str]| names.iter().find_map(|name| ids.get(*name).copied());
    let (cls, sep) = frame(|name| ids.get(name).copied())?;
    let tokens = SpecialTokens {
        // CLIP fills up with id 0, which is also a word.
        pad: token(&["[PAD]", "<pad>"]).unwrap_or(0),
        cls,
        sep,
        dec: token(&["[DEC]"]),
        enc: token(&["[ENC]"]),
    };
    Ok((bytes, tokens, size))
}

/// A `tokenizer.json` as it is, or the one that a `vocab.txt` makes.
fn parsed(bytes: Vec<u8>) -> Result<(Vec<u8>, Value), ImportError> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        let json = serde_json::from_slice(&bytes)
            .map_err(|error| refuse(format!("not a tokenizer file: {error}")))?;
        return Ok((bytes, json));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| refuse(format!("not a vocabulary: {error}")))?;
    let json = from_vocabulary(text)?;
    let bytes = serde_json::to_vec(&json).map_err(|error| refuse(error.to_string()))?;
    Ok((bytes, json))
}

fn refuse(reason: String) -> ImportError {
    ImportError::Tokenizer { reason }
}

/// Uncased BERT's tokenizer over `vocabulary`, one token per line, with [DEC] and [ENC] added.
pub(crate) fn from_vocabulary(vocabulary: &str) -> Result<Value, ImportError> {
    let mut words = serde_json::Map::new();
    for (id, word) in vocabulary.lines().enumerate() {
        if words.insert(word.to_owned(), json!(id)).is_some() {
            return Err(refuse(format!(
                "the vocabulary has `{word}` twice (line {}), expected every token once",
                id + 1
            )));
        }
    }
    let size = words.len();
    let mut added = Vec::new();
    for special in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
        let Some(id) = words.get(special) else {
            return Err(refuse(format!(
                "the vocabulary of {size} tokens has no `{special}`, expected BERT's special tokens"
            )));
        };
        added.push((id.clone(), special));
    }
    let mut next = size;
    for special in ["[DEC]", "[ENC]"] {
        if let Some(id) = words.get(special) {
            added.push((id.clone(), special));
        } else {
            added.push((json!(next), special));
            next += 1;
        }
    }
    let added: Vec<_> = added
        .into_iter()
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();
    let (cls, sep) = (words["[CLS]"].clone(), words["[SEP]"].clone());
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing", "sep": ["[SEP]", sep], "cls": ["[CLS]", cls],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": words,
        },
    }))
}

/// Ids of all tokens of a `tokenizer.json`.
fn ids(json: &Value) -> Result<HashMap<String, u32>, ImportError> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let words = json["model"]["vocab"].as_object().ok_or_else(|| {
        refuse(
            "`model.vocab` is not a map from tokens to ids, expected a WordPiece model".to_owned(),
        )
    })?;
    let added = json["added_tokens"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let added = added
        .iter()
        .filter_map(|token| Some((token["content"].as_str()?, &token["id"])));
    words
        .iter()
        .map(|(word, value)| (word.as_str(), value))
        .chain(added)
        .map(|(word, value)| {
            let id = id(value).ok_or_else(|| {
                refuse(format!(
                    "token `{word}` has the id {value}, expected a small whole number"
                ))
            })?;
            Ok((word.to_owned(), id))
        })
        .collect()
}

fn check_size(ids: &HashMap<String, u32>, config: &Text) -> Result<(), ImportError> {
    let beyond = ids
        .iter()
        .filter(|(_, id)| **id as usize >= config.vocabulary)
        .max_by_key(|(_, id)| **id);
    match beyond {
        None => Ok(()),
        Some((word, id)) => Err(refuse(format!(
            "token `{word}` has id {id}, expected ids below the model's vocabulary of {}: this tokenizer belongs to another model",
            config.vocabulary
        ))),
    }
}

/// The special tokens by name; where the tokenizer does not name one, the configuration's.
fn special_tokens(ids: &HashMap<String, u32>, config: &Text) -> Result<SpecialTokens, ImportError> {
    let required = |name: &str, configured: Option<u32>| {
        ids.get(name).copied().or(configured).ok_or_else(|| {
            refuse(format!(
                "there is no token `{name}`, expected BERT's special tokens"
            ))
        })
    };
    let known = |id: &u32| (*id as usize) < config.vocabulary;
    let taken: std::collections::HashSet<_> = ids.values().copied().collect();
    let dec = ids.get("[DEC]").copied().or(config.bos.filter(known));
    // BLIP adds [DEC] and then [ENC]; published tokenizers leave both out and configurations
    // name the first alone.
    let enc = ids.get("[ENC]").copied().or_else(|| {
        dec.map(|dec| dec + 1)
            .filter(|id| known(id) && !taken.contains(id))
    });
    if let (Some(named), Some(configured)) = (ids.get("[SEP]"), config.sep)
        && *named != configured
        && known(&configured)
    {
        return Err(refuse(format!(
            "`[SEP]` has id {named}, expected {configured} as the configuration says (`text_config.sep_token_id`): this tokenizer belongs to another model"
        )));
    }
    Ok(SpecialTokens {
        pad: required("[PAD]", config.pad)?,
        cls: required("[CLS]", None)?,
        sep: required("[SEP]", config.sep)?,
        dec,
        enc,
    })
}
