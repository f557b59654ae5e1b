//! Texts to tokens, as pycocoevalcap has a Java program do it.
//!
//! That program is the tokenizer of Stanford `CoreNLP` 3.4.1 with `-preserveLines -lowerCase`: words
//! as in the Penn Treebank, contractions split (`do n't`), then lower case; pycocoevalcap drops
//! punctuation. It is a scanner of the classical kind, so this is one too: an automaton finds the
//! longest match of the [rules], of several as long the first, and goes on behind it.

mod rules;

use std::sync::LazyLock;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::{Anchored, Input, MatchKind};

use rules::{Action, PARTS, RULES};

/// Tokens of texts, in order.
///
/// The texts are read as one stream, a line each, as the original reads them. That shows in one
/// place: a single letter with a dot at the end of a text loses its dot when the next text begins
/// with a word such as `The`.
pub fn tokenize<T: AsRef<str>>(texts: &[T]) -> Vec<Vec<String>> {
    let mut stream = String::new();
    for text in texts {
        let line = text.as_ref().chars();
        stream.extend(line.map(|c| if is_line_end(c) { ' ' } else { c }));
        stream.push('\n');
    }
    let mut cache = SCANNER.create_cache();
    let mut at = 0;
    texts
        .iter()
        .map(|_| {
            let mut tokens = Vec::new();
            while !stream[at..].starts_with('\n') && at < stream.len() {
                at += token(&mut cache, &stream, at, &mut tokens);
            }
            at += 1;
            tokens
        })
        .collect()
}

/// What ends a line for the original, which would then mistake one text for two.
fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Takes what begins at `at` and gives its length in bytes.
fn token(cache: &mut Cache, stream: &str, at: usize, tokens: &mut Vec<String>) -> usize {
    let input = Input::new(stream).range(at..).anchored(Anchored::Yes);
    // No search fails: the automaton has no byte at which it stops and no limit of effort.
    let Some(found) = SCANNER.try_search_fwd(cache, &input).ok().flatten() else {
        return stream[at..].chars().next().map_or(1, char::len_utf8);
    };
    let matched = &stream[at..found.offset()];
    match RULES[found.pattern().as_usize()].action {
        Action::Drop => matched.len(),
        Action::DropFirst => 1,
        Action::Quotes => {
            let quotes = quotes(matched);
            if !["'", "''", "`", "``"].contains(&quotes.as_str()) {
                tokens.push(quotes);
            }
            matched.len()
        }
        Action::Token => {
            tokens.push(written(matched));
            matched.len()
        }
        Action::Verbatim => {
            tokens.push(matched.to_lowercase().replace([' ', '\t'], "\u{A0}"));
            matched.len()
        }
        Action::Is(token) => {
            tokens.push(token.to_owned());
            matched.len()
        }
        Action::Two(first) => {
            let (first, second) = matched.split_at(first);
            tokens.extend([written(first), written(second)]);
            matched.len()
        }
        Action::UpTo(end) => {
            let end = end(matched);
            tokens.push(written(&matched[..end]));
            end
        }
    }
}

/// Contractions, whose apostrophe is written plainly whatever it was.
const CONTRACTIONS: [&str; 8] = ["'s", "'d", "'m", "'ll", "'re", "'ve", "n't", "n`t"];

/// A token as the original writes it.
fn written(token: &str) -> String {
    let mut written = String::with_capacity(token.len());
    for c in token.to_lowercase().chars() {
        match c {
            '(' => written.push_str("-lrb-"),
            ')' => written.push_str("-rrb-"),
            ' ' | '\t' => written.push('\u{A0}'),
            '\u{AD}' => {}
            other => written.push(other),
        }
    }
    let plain = quotes(&written.replace("&apos;", "'"));
    if CONTRACTIONS.contains(&plain.as_str()) {
        return plain;
    }
    written.replace("&amp;", "&")
}

/// Quotation marks as the original writes them.
fn quotes(marks: &str) -> String {
    let mut written = String::new();
    for mark in marks.chars() {
        match mark {
            '‘' | '‛' | '‹' | '\u{91}' => written.push('`'),
            '’' | '›' | '\u{92}' => written.push('\''),
            '“' | '«' | '\u{93}' => written.push_str("``"),
            '”' | '»' | '\u{94}' => written.push_str("''"),
            other => written.push(other),
        }
    }
    written
}

/// The automaton of all rules.
static SCANNER: LazyLock<DFA> = LazyLock::new(|| {
    let patterns: Vec<String> = RULES.iter().map(|rule| expand(rule.pattern)).collect();
    #[expect(
        clippy::expect_used,
        reason = "the rules are constant and a test builds them"
    )]
    DFA::builder()
        .configure(
            DFA::config()
                .match_kind(MatchKind::All)
                .cache_capacity(1 << 24),
        )
        .build_many(&patterns)
        .expect("the rules are regular expressions")
});

/// A pattern with the parts that it names.
fn expand(pattern: &str) -> String {
    PARTS
        .iter()
        .rev()
        .fold(pattern.to_owned(), |pattern, (name, part)| {
            pattern.replace(&format!("{{{name}}}"), &format!("(?:{part})"))
        })
}

#[cfg(test)]
mod tests;
