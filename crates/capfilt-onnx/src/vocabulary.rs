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
    /// if there is none. \[DEC\] and \[ENC\] are added where they are missing.
    pub fn open(path: Option<&Path>) -> Result<Self, ImportError> {
        let (json, mut tokens, mut size) = tokenizer::for_training(path)?;
        for added in [&mut tokens.dec, &mut tokens.enc] {
            if added.is_none() {
                *added = u32::try_from(size).ok();
                size += 1;
            }
        }
        let texts = Texts::from_json(&json, &tokens).map_err(|error| ImportError::Tokenizer {
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
