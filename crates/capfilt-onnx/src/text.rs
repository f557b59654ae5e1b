//! Text to tokens and back: BLIP's caption cleaning, the tokenizer, and the tokens that frame a text.

use std::path::Path;

use tokenizers::{ModelWrapper, Tokenizer};

use crate::manifest::{Family, SpecialTokens};
use crate::package::Package;

/// Words of a caption that [`clean_caption`] keeps.
const MOST_WORDS: usize = 30;

/// Tokens of a text that BLIP judges, the first token and `[SEP]` counted.
pub const MOST_TOKENS: usize = 35;

/// BLIP's cleaned form of a caption: the form in which the filter judges a text.
///
/// Lower case; each of `. ! " ( ) * # : ; ~` becomes a space; runs of two or more white-space
/// characters become one space; newlines at the end and then spaces at both ends go; the first 30
/// words, split at single spaces, stay. Comma, `?`, `'`, `-` and `/` stay.
pub fn clean_caption(text: &str) -> String {
    let spaced: String = text
        .to_lowercase()
        .chars()
        .map(|c| match c {
            '.' | '!' | '"' | '(' | ')' | '*' | '#' | ':' | ';' | '~' => ' ',
            other => other,
        })
        .collect();
    let mut collapsed = String::with_capacity(spaced.len());
    let mut rest = spaced.chars().peekable();
    while let Some(c) = rest.next() {
        if is_space(c) && rest.next_if(|&next| is_space(next)).is_some() {
            while rest.next_if(|&next| is_space(next)).is_some() {}
            collapsed.push(' ');
        } else {
            collapsed.push(c);
        }
    }
    let stripped = collapsed.trim_end_matches('\n').trim_matches(' ');
    match stripped.match_indices(' ').nth(MOST_WORDS - 1) {
        Some((end, _)) => stripped[..end].to_owned(),
        None => stripped.to_owned(),
    }
}

/// White space as Python's regular expressions see it: Unicode's, and the four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Why a tokenizer could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenizerError(String);

/// A package's tokenizer.
pub struct Texts {
    tokenizer: Tokenizer,
    tokens: SpecialTokens,
    /// The most tokens of a text that is judged, and whether it is judged in its cleaned form.
    most: usize,
    cleaned: bool,
    /// What ends the pieces that end a word, where the tokenizer leaves it in its output.
    word_end: Option<String>,
}

impl Texts {
    /// The tokenizer of a package. BLIP judges a text in its cleaned form, the other families as it
    /// is; both up to [`Manifest::judged_tokens`](crate::Manifest::judged_tokens).
    pub fn of(package: &Package) -> Result<Self, TokenizerError> {
        let manifest = &package.manifest;
        Ok(Self {
            most: manifest.judged_tokens(),
            cleaned: manifest.family == Family::Blip,
            ..Self::open(&package.tokenizer(), &manifest.tokens)?
        })
    }

    /// Reads `tokenizer.json`, for a BLIP.
    pub fn open(path: &Path, tokens: &SpecialTokens) -> Result<Self, TokenizerError> {
        let bytes = fs_err::read(path).map_err(|error| TokenizerError(error.to_string()))?;
        Self::from_json(&bytes, tokens)
            .map_err(|error| TokenizerError(format!("`{}` is {error}", path.display())))
    }

    /// Takes the content of a `tokenizer.json`.
    pub(crate) fn from_json(json: &[u8], tokens: &SpecialTokens) -> Result<Self, TokenizerError> {
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| TokenizerError(format!("not a tokenizer: {error}")))?;
        // Lengths and padding are ours, whatever the file asks for.
        tokenizer.with_padding(None);
        if let Err(error) = tokenizer.with_truncation(None) {
            return Err(TokenizerError(error.to_string()));
        }
        let word_end = match tokenizer.get_model() {
            ModelWrapper::BPE(pairs) => pairs.end_of_word_suffix.clone(),
            _ => None,
        };
        Ok(Self {
            tokenizer,
            tokens: tokens.clone(),
            most: MOST_TOKENS,
            cleaned: true,
            word_end: word_end.filter(|end| !end.is_empty()),
        })
    }

    /// Ids of the special tokens.
    pub fn tokens(&self) -> &SpecialTokens {
        &self.tokens
    }

    /// The ids of `text` as the tokenizer itself frames it.
    pub(crate) fn framed_by_itself(&self, text: &str) -> Option<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, true).ok()?;
        Some(encoding.get_ids().to_vec())
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The token with this id, as the tokenizer writes it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    fn pieces(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.tokenizer
            .encode_fast(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| TokenizerError(format!("a text could not be tokenized: {error}")))
    }

    /// `[DEC]` and the prompt's tokens.
    pub fn prompt(&self, prompt: &str) -> Result<Vec<u32>, TokenizerError> {
        let dec = self.tokens.dec.ok_or_else(|| {
            TokenizerError("the tokenizer has no [DEC], with which captions start".to_owned())
        })?;
        let mut tokens = vec![dec];
        tokens.extend(self.pieces(prompt)?);
        Ok(tokens)
    }

    /// `[CLS]`, the text's tokens, `[SEP]`; at most as many as are judged.
    pub fn judged(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        if self.cleaned {
            self.framed(&clean_caption(text), self.most)
        } else {
            self.framed(text, self.most)
        }
    }

    /// The first token, the text's, the last; at most `most` in all.
    pub fn framed(&self, text: &str, most: usize) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = vec![self.tokens.cls];
        let pieces = self.pieces(text)?;
        tokens.extend(pieces.into_iter().take(most.saturating_sub(2)));
        tokens.push(self.tokens.sep);
        Ok(tokens)
    }

    /// The text of a caption without its first `prompt` tokens and without special tokens.
    pub fn caption(&self, tokens: &[u32], prompt: usize) -> Result<String, TokenizerError> {
        let whole = self.decode(tokens)?;
        // A first piece that continues the prompt's last word decodes rightly only beside it.
        let start = self.decode(&tokens[..prompt.min(tokens.len())])?;
        let new = match whole.strip_prefix(start.as_str()) {
            Some(new) => new.to_owned(),
            None => self.decode(&tokens[prompt.min(tokens.len())..])?,
        };
        Ok(new.trim().to_owned())
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        let special = &self.tokens;
        // By id: a vocabulary without [DEC] and [ENC] would decode them as unknown words.
        let is_special = |id: u32| {
            [special.pad, special.cls, special.sep].contains(&id)
                || special.dec == Some(id)
                || special.enc == Some(id)
        };
        let words: Vec<u32> = tokens
            .iter()
            .copied()
            .filter(|&id| !is_special(id))
            .collect();
        let text = self
            .tokenizer
            .decode(&words, true)
            .map_err(|error| TokenizerError(format!("tokens could not be decoded: {error}")))?;
        Ok(match &self.word_end {
            Some(end) => text.replace(end, " "),
            None => text,
        })
    }
}

#[cfg(test)]
mod tests;
