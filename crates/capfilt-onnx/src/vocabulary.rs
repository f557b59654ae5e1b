//! The tokens of a model that is yet to be trained.

use std::path::Path;

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
}
