use super::*;

fn config() -> Text {
    Text {
        width: 768,
        layers: 12,
        heads: 12,
        inner: 3072,
        vocabulary: 30524,
        positions: 512,
        image_width: 768,
        eps: 1e-12,
        bos: None,
        sep: None,
        pad: None,
    }
}

fn find(config: &Text) -> Result<Tokenizer, ImportError> {
    Tokenizer::find(None, Path::new("model.pth"), Layout::Original, config)
}

#[test]
fn the_vocabulary_of_original_checkpoints_has_their_ids() {
    let tokenizer = find(&config()).unwrap();
    let expected = SpecialTokens {
        pad: 0,
        cls: 101,
        sep: 102,
        dec: Some(30522),
        enc: Some(30523),
    };
    assert_eq!(tokenizer.tokens, expected);
    let json: Value = serde_json::from_slice(&tokenizer.json).unwrap();
    for (word, id) in [("a", 1037), ("picture", 3861), ("of", 1997)] {
        assert_eq!(json["model"]["vocab"][word], id);
    }
}

#[test]
fn a_tokenizer_with_ids_beyond_the_model_is_refused() {
    let error = find(&Text {
        vocabulary: 30522,
        ..config()
    })
    .err()
    .unwrap()
    .to_string();
    assert!(
        error.contains("`[ENC]` has id 30523, expected ids below"),
        "{error}"
    );
}

#[test]
fn a_tokenizer_that_ends_texts_with_another_id_is_refused() {
    let error = find(&Text {
        sep: Some(3),
        ..config()
    })
    .err()
    .unwrap()
    .to_string();
    assert!(error.contains("`[SEP]` has id 102, expected 3"), "{error}");
}

#[test]
fn tokens_that_a_tokenizer_leaves_out_are_taken_from_the_configuration() {
    let ids = [("[PAD]", 0), ("[CLS]", 101), ("[SEP]", 102)];
    let ids = ids
        .into_iter()
        .map(|(word, id)| (word.to_owned(), id))
        .collect();
    let tokens = special_tokens(
        &ids,
        &Text {
            bos: Some(30522),
            ..config()
        },
    )
    .unwrap();
    assert_eq!((tokens.dec, tokens.enc), (Some(30522), Some(30523)));
    // A default that is not in the vocabulary says nothing.
    let tokens = special_tokens(
        &ids,
        &Text {
            bos: Some(40000),
            ..config()
        },
    )
    .unwrap();
    assert_eq!((tokens.dec, tokens.enc), (None, None));
}

#[test]
fn vocabularies_with_missing_or_repeated_tokens_are_refused() {
    let error = from_vocabulary("[PAD]\n[UNK]\n[CLS]\na")
        .unwrap_err()
        .to_string();
    assert!(error.contains("no `[SEP]`"), "{error}");
    let error = from_vocabulary("a\nb\na").unwrap_err().to_string();
    assert!(error.contains("`a` twice (line 3)"), "{error}");
}
