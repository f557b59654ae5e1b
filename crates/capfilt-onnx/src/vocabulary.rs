//! The tokens of a model that is yet to be trained.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::ImportError;
use crate::manifest::SpecialTokens;
use crate::package::TOKENIZER;
use crate::text::Texts;
use crate::tokenizer;

/// A tokenizer, and the ids that the model needs.
pub struct Vocabulary {
    /// Content of `tokenizer.json`.
    pub json: Vec<u8>,
    /// Number of ids: rows of the table of words.
    pub size: usize,
    texts: Texts,
}

impl Vocabulary {
    /// The `tokenizer.json` or `vocab.txt` at `path` (a file, or a folder with one); uncased BERT's
    /// if there is none.
    pub fn open(path: Option<&Path>) -> Result<Self, ImportError> {
        let (json, tokens, size) = tokenizer::for_training(path)?;
        Self::new(json, &tokens, size)
    }

    /// The same for a BLIP: \[DEC\] and \[ENC\] are added where they are missing.
    pub fn of_blip(path: Option<&Path>) -> Result<Self, ImportError> {
        let (json, mut tokens, mut size) = tokenizer::for_training(path)?;
        for added in [&mut tokens.dec, &mut tokens.enc] {
            if added.is_none() {
                *added = u32::try_from(size).ok();
                size += 1;
            }
        }
        Self::new(json, &tokens, size)
    }

    fn new(json: Vec<u8>, tokens: &SpecialTokens, size: usize) -> Result<Self, ImportError> {
        let texts = Texts::from_json(&json, tokens).map_err(|error| ImportError::Tokenizer {
            reason: format!("`{TOKENIZER}`: {error}"),
        })?;
        Ok(Self { json, size, texts })
    }

    /// Content of a `tokenizer.json` for programs that leave it to the file what frames a text: as it is if it frames texts
    /// as [`Texts::framed`] does, and leaves them as long as they are; else made so.
    pub fn framing(&self) -> Result<Vec<u8>, ImportError> {
        let refuse = |reason: String| ImportError::Tokenizer { reason };
        let mut json: Value =
            serde_json::from_slice(&self.json).map_err(|error| refuse(error.to_string()))?;
        let frames = |text: &str| {
            let ours = self.texts.framed(text, usize::MAX).ok();
            ours.is_some() && self.texts.framed_by_itself(text) == ours
        };
        let lengths = [&json["truncation"], &json["padding"]];
        if frames("") && frames("a") && lengths.iter().all(|length| length.is_null()) {
            return Ok(self.json.clone());
        }
        let SpecialTokens { cls, sep, .. } = *self.tokens();
        let token = |id: u32| {
            let token = self.texts.token(id);
            token.ok_or_else(|| refuse(format!("no token has the id {id}")))
        };
        let (first, last) = (token(cls)?, token(sep)?);
        let special = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
        let about = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
        json["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [special(&first), text("A", 0), special(&last)],
            "pair": [special(&first), text("A", 0), special(&last), text("B", 1), special(&last)],
            "special_tokens": {&first: about(&first, cls), &last: about(&last, sep)},
        });
        json["truncation"] = Value::Null;
        json["padding"] = Value::Null;
        serde_json::to_vec(&json).map_err(|error| refuse(error.to_string()))
    }

    /// Ids of the special tokens.
    pub fn tokens(&self) -> &SpecialTokens {
        self.texts.tokens()
    }

    /// The tokenizer.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_blip_has_the_tokens_of_its_roles() {
        let folder = tempfile::TempDir::new().unwrap();
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndog\n";
        let path = folder.path().join("tokenizer.json");
        let mut json = tokenizer::from_vocabulary(words).unwrap();
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| !["[DEC]", "[ENC]"].contains(&token["content"].as_str().unwrap()));
        fs_err::write(&path, json.to_string()).unwrap();
        // A published CLIP has as many words as its tokenizer.
        let plain = Vocabulary::open(Some(&path)).unwrap();
        assert_eq!((plain.size, plain.tokens().dec), (6, None));
        let blip = Vocabulary::of_blip(Some(folder.path())).unwrap();
        assert_eq!(
            (blip.size, blip.tokens().dec, blip.tokens().enc),
            (8, Some(6), Some(7))
        );
    }

    /// A tokenizer of BERT's, edited.
    fn edited(edit: impl FnOnce(&mut Value)) -> Vocabulary {
        let folder = tempfile::TempDir::new().unwrap();
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndog\ncat\n";
        let path = folder.path().join("tokenizer.json");
        let mut json = tokenizer::from_vocabulary(words).unwrap();
        edit(&mut json);
        fs_err::write(&path, json.to_string()).unwrap();
        Vocabulary::open(Some(&path)).unwrap()
    }

    #[test]
    fn a_tokenizer_that_frames_texts_stays_as_it_is() {
        let vocabulary = edited(|_| {});
        assert_eq!(vocabulary.framing().unwrap(), vocabulary.json);
    }

    #[test]
    fn a_tokenizer_that_leaves_texts_bare_or_cuts_them_is_made_to_frame_them() {
        let bare = |json: &mut Value| json["post_processor"] = Value::Null;
        let cutting = |json: &mut Value| {
            json["truncation"] = json!({
                "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0,
            });
        };
        for vocabulary in [edited(bare), edited(cutting)] {
            let framing = vocabulary.framing().unwrap();
            assert_ne!(framing, vocabulary.json);
            let others = tokenizers::Tokenizer::from_bytes(framing).unwrap();
            for text in ["", "dog", "dog cat bird dog"] {
                let ours = vocabulary.texts().framed(text, 100).unwrap();
                assert_eq!(others.encode(text, true).unwrap().get_ids(), ours, "{text}");
            }
        }
    }
}
