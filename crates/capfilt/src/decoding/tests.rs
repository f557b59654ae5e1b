use super::*;

#[test]
fn the_three_forms_are_read() {
    assert_eq!("greedy".parse(), Ok(DecodingName::Greedy));
    assert_eq!("beam:3".parse(), Ok(DecodingName::Beam(3)));
    assert_eq!("nucleus:0.9".parse(), Ok(DecodingName::Nucleus(0.9)));
    assert_eq!("nucleus:1".parse(), Ok(DecodingName::Nucleus(1.0)));
}

#[test]
fn a_wrong_form_says_what_is_expected() {
    let refused = |typed: &str| typed.parse::<DecodingName>().unwrap_err().to_string();
    assert_eq!(
        refused("sample"),
        "unknown decoding `sample`; expected `greedy`, `beam:K` or `nucleus:P`"
    );
    assert_eq!(
        refused("beam"),
        "`beam` needs a number; for example `beam:3`"
    );
    for typed in ["beam:0", "beam:-1", "beam:65", "beam:x", "beam:"] {
        assert!(refused(typed).contains("from 1 to 64"), "{typed}");
    }
    for typed in [
        "nucleus:0",
        "nucleus:1.5",
        "nucleus:nan",
        "nucleus:inf",
        "nucleus:",
    ] {
        assert!(refused(typed).contains("above 0 and at most 1"), "{typed}");
    }
    assert_eq!(refused("greedy:1"), "`greedy` takes no number, got `1`");
}

#[test]
fn what_was_typed_wins_over_the_default() {
    let typed = DecodingArgs {
        decoding: Some(DecodingName::Beam(5)),
        max_length: Some(30),
        length_normalisation: Some(LengthNormalisation::Transformers),
        ..DecodingArgs::default()
    };
    let default = Decoding::Beam(Beam {
        min_length: 7,
        ..Beam::default()
    });
    let expected = Beam {
        beams: 5,
        min_length: 7,
        max_length: 30,
        normalisation: Normalisation::Transformers,
        ..Beam::default()
    };
    assert_eq!(typed.over(default.clone()), Ok(Decoding::Beam(expected)));
    assert_eq!(DecodingArgs::default().over(default.clone()), Ok(default));
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let greedy = Decoding::Greedy(Greedy::default());
    let typed = DecodingArgs {
        length_normalisation: Some(LengthNormalisation::Blip),
        ..DecodingArgs::default()
    };
    assert_eq!(typed.over(greedy.clone()), Err(DecodingUsageError::NotBeam));
    let typed = DecodingArgs {
        min_length: Some(9),
        max_length: Some(4),
        ..DecodingArgs::default()
    };
    let refused = typed.over(greedy.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`--min-length 9` is above the longest caption, 4 tokens"
    );
    let short = DecodingArgs {
        max_length: Some(3),
        ..DecodingArgs::default()
    };
    assert_eq!(short.over(greedy).unwrap().lengths(), (3, 3));
}
