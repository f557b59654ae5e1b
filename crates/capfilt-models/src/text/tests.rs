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
