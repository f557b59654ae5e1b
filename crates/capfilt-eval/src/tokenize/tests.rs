use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::golden::captions;

/// The texts whose tokens are not the expected ones.
fn wrong(texts: &[String], expected: &[String]) -> String {
    assert_eq!(texts.len(), expected.len());
    let mut wrong = String::new();
    for ((text, expected), got) in texts.iter().zip(expected).zip(tokenize(texts)) {
        let got = got.join(" ");
        if got != *expected {
            writeln!(wrong, "{text}\n  expected {expected}\n  got      {got}").unwrap();
        }
    }
    wrong
}

#[test]
fn captions_have_the_tokens_of_the_java_program() {
    let golden = captions();
    let texts = golden.captions.texts.concat();
    assert!(texts.len() >= 1000, "{}", texts.len());
    assert_eq!(wrong(&texts, &golden.captions.tokens), "");
}

#[test]
fn texts_that_are_hard_have_the_tokens_of_the_java_program() {
    let golden = captions();
    assert_eq!(wrong(&golden.written.texts, &golden.written.tokens), "");
}

#[test]
fn line_ends_inside_a_text_are_space() {
    let texts = ["a\nred\r\nbus\u{2028}stops", "", "\n", "two"];
    let expected: [&[&str]; 4] = [&["a", "red", "bus", "stops"], &[], &[], &["two"]];
    assert_eq!(tokenize(&texts), expected);
    assert_eq!(tokenize::<&str>(&[]), Vec::<Vec<String>>::new());
}

proptest! {
    // Whatever a text holds, the texts around it keep their tokens and nothing panics.
    #[test]
    fn any_text_is_tokens(text in any::<String>(), quoted in "[-'\"’‘.a-zA-Z0-9<>&;#@:/ (),]{0,24}") {
        let texts = [text.as_str(), "a red bus", quoted.as_str(), "it isn't"];
        let tokens = tokenize(&texts);
        prop_assert_eq!(&tokens[1], &["a", "red", "bus"]);
        prop_assert_eq!(&tokens[3], &["it", "is", "n't"]);
        for token in tokens.concat() {
            prop_assert!(!token.is_empty() && !token.contains([' ', '\n']), "{:?}", token);
        }
    }
}
