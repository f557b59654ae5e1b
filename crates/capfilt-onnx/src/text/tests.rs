use super::*;

#[test]
fn captions_are_cleaned_as_blip_does() {
    // (text, what BLIP's rule gives), worked out with Python's `re` and `str`.
    for (text, cleaned) in [
        ("A Dog.", "a dog"),
        ("  two   spaces\t\tand tabs  ", "two spaces and tabs"),
        ("one\ttab stays", "one\ttab stays"),
        (
            "keep, these? it's well-known a/b",
            "keep, these? it's well-known a/b",
        ),
        ("drop.!\"()*#:;~these", "drop these"),
        ("ends with newlines\n", "ends with newlines"),
        ("\nbegins with one", "\nbegins with one"),
        ("a\u{a0}\u{2003}b", "a b"),
        ("a\u{1c}\u{1d}b", "a b"),
        ("", ""),
        (" . ", ""),
        ("ÀÉÎ ΣΑΣ", "àéî σας"),
    ] {
        assert_eq!(clean_caption(text), cleaned, "{text:?}");
    }
}

#[test]
fn thirty_words_are_kept() {
    let words: Vec<String> = (0..40).map(|word| format!("w{word}")).collect();
    assert_eq!(clean_caption(&words.join(" ")), words[..30].join(" "));
    assert_eq!(clean_caption(&words[..30].join(" ")), words[..30].join(" "));
    assert_eq!(clean_caption(&words[..31].join(" ")), words[..30].join(" "));
}

#[test]
fn cleaning_twice_changes_nothing() {
    for text in ["A  b.\nc", "x~~y   z!", "\u{202e}right to left\u{0}nul"] {
        let once = clean_caption(text);
        assert_eq!(clean_caption(&once), once, "{text:?}");
    }
}

fn texts() -> Texts {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/blip/prompted/captioner/tokenizer.json");
    let json = fs_err::read(&folder).unwrap();
    let tokenizer = Tokenizer::from_bytes(json).unwrap();
    let id = |token| tokenizer.token_to_id(token);
    let tokens = SpecialTokens {
        pad: id("[PAD]").unwrap(),
        cls: id("[CLS]").unwrap(),
        sep: id("[SEP]").unwrap(),
        dec: id("[DEC]"),
        enc: id("[ENC]"),
    };
    Texts::open(&folder, &tokens).unwrap()
}

#[test]
fn judged_texts_are_framed_and_cut_to_35_tokens() {
    let texts = texts();
    let tokens = texts.judged(&"a ".repeat(29)).unwrap();
    assert_eq!(tokens.len(), 31);
    let tokens = texts.judged(&"a,".repeat(400)).unwrap();
    assert_eq!(tokens.len(), MOST_TOKENS);
    assert_eq!(
        (tokens[0], tokens[34]),
        (texts.tokens.cls, texts.tokens.sep)
    );
    assert_eq!(
        texts.judged("").unwrap(),
        [texts.tokens.cls, texts.tokens.sep]
    );
}

#[test]
fn special_tokens_typed_into_a_text_stay_text() {
    let texts = texts();
    let tokens = texts.judged("[SEP] [ENC]").unwrap();
    let inner = &tokens[1..tokens.len() - 1];
    assert!(!inner.contains(&texts.tokens.sep) && !inner.contains(&texts.tokens.enc.unwrap()));
}
