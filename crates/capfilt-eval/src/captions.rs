//! Captions and what people wrote for the same pictures, as tokens.

use std::collections::{BTreeMap, HashMap};

use crate::tokenize::tokenize;

/// A picture without a single reference: nothing can be said about its caption.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a caption was given no references: expected one or more")]
pub struct NoReferences;

/// One caption per picture and its references, which the caption metrics compare.
///
/// Texts come as tokens, for pycocoevalcap's numbers as [`tokenize`](crate::tokenize) makes them.
#[derive(Clone, Debug, Default)]
pub struct Captions {
    numbers: HashMap<String, u32>,
    pub(crate) pictures: Vec<Picture>,
}

#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) caption: Text,
    pub(crate) references: Vec<Text>,
}

/// A text as numbers that stand for tokens.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// As they came.
    pub(crate) tokens: Vec<u32>,
    /// Split further at white space, as pycocoevalcap does for n-grams only: the tokens that have
    /// some inside are fractions (`22 3/4`) and tags.
    pub(crate) words: Vec<u32>,
}

/// How often each n-gram of one length occurs.
pub(crate) type Counts<'a> = BTreeMap<&'a [u32], u32>;

impl Text {
    /// Counts of all `n`-grams.
    pub(crate) fn ngrams(&self, n: usize) -> Counts<'_> {
        let mut counts = Counts::new();
        for ngram in self.words.windows(n) {
            *counts.entry(ngram).or_default() += 1;
        }
        counts
    }
}

impl Captions {
    /// Captions of pictures, and the references of each, as pycocoevalcap takes them: the captions
    /// are tokenized in one stream, and all references in another.
    pub fn tokenized<C: AsRef<str>, R: AsRef<str>>(
        captions: &[C],
        references: &[Vec<R>],
    ) -> Result<Self, NoReferences> {
        let all: Vec<&R> = references.iter().flatten().collect();
        let mut tokens = tokenize(&all).into_iter();
        let mut compared = Self::default();
        for (caption, references) in tokenize(captions).iter().zip(references) {
            let references: Vec<_> = tokens.by_ref().take(references.len()).collect();
            compared.push(caption, &references)?;
        }
        Ok(compared)
    }

    /// Adds a picture's caption and its references.
    pub fn push<T: AsRef<str>>(
        &mut self,
        caption: &[T],
        references: &[Vec<T>],
    ) -> Result<(), NoReferences> {
        if references.is_empty() {
            return Err(NoReferences);
        }
        let caption = self.text(caption);
        let references = references.iter().map(|text| self.text(text)).collect();
        self.pictures.push(Picture {
            caption,
            references,
        });
        Ok(())
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }

    fn text<T: AsRef<str>>(&mut self, tokens: &[T]) -> Text {
        let words = tokens
            .iter()
            .flat_map(|token| token.as_ref().split_whitespace())
            .map(|word| self.number(word))
            .collect();
        let tokens = tokens
            .iter()
            .map(|token| self.number(token.as_ref()))
            .collect();
        Text { tokens, words }
    }

    fn number(&mut self, token: &str) -> u32 {
        if let Some(&number) = self.numbers.get(token) {
            return number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.numbers.insert(token.to_owned(), number);
        number
    }
}

/// Mean of the pictures' scores; `None` without pictures.
pub fn mean(scores: &[f64]) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer pictures than 2^53")]
    let count = scores.len() as f64;
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / count)
}

#[cfg(test)]
mod tests;
