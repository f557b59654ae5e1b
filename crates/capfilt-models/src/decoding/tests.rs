use super::*;

fn read(json: &str) -> Result<Decoding, serde_json::Error> {
    serde_json::from_str(json)
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    assert_eq!(
        Decoding::default(),
        Decoding::Nucleus(Nucleus {
            p: 0.9,
            top_k: 50,
            temperature: 1.0,
            repetition_penalty: 1.1,
            min_length: 5,
            max_length: 20,
        })
    );
    assert_eq!(
        read(r#""beam""#).unwrap(),
        Decoding::Beam(Beam {
            beams: 3,
            repetition_penalty: 1.0,
            min_length: 5,
            max_length: 20,
            normalisation: Normalisation::Blip,
        })
    );
}

#[test]
fn a_table_of_one_key_and_a_bare_word_are_read() {
    let Decoding::Nucleus(nucleus) = read(r#"{"nucleus":{"p":0.5,"top-k":0}}"#).unwrap() else {
        panic!("expected nucleus");
    };
    assert_eq!((nucleus.p, nucleus.top_k, nucleus.max_length), (0.5, 0, 20));
    assert_eq!(
        read(r#""greedy""#).unwrap(),
        read(r#"{"greedy":{}}"#).unwrap()
    );
}

#[test]
fn what_was_written_is_read_again() {
    let beam = Decoding::Beam(Beam {
        beams: 5,
        normalisation: Normalisation::Transformers,
        ..Beam::default()
    });
    let json = serde_json::to_string(&beam).unwrap();
    assert_eq!(read(&json).unwrap(), beam);
}

#[test]
fn unknown_words_keys_and_two_kinds_are_refused() {
    for (json, part) in [
        (r#""beams""#, "unknown variant `beams`"),
        (r#"{"nucleus":{"top-p":0.9}}"#, "unknown field `top-p`"),
        (r#"{"beam":{},"greedy":{}}"#, "both given"),
        ("{}", "one of these keys"),
        ("3", "one of these keys"),
    ] {
        let message = read(json).unwrap_err().to_string();
        assert!(message.contains(part), "{json}: {message}");
    }
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let bad = |decoding: Decoding, part: &str| {
        let message = decoding.check().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    bad(
        Decoding::Nucleus(Nucleus {
            p: 0.0,
            ..Nucleus::default()
        }),
        "`p` is `0`",
    );
    bad(
        Decoding::Nucleus(Nucleus {
            p: f32::NAN,
            ..Nucleus::default()
        }),
        "`p` is `NaN`",
    );
    bad(
        Decoding::Nucleus(Nucleus {
            temperature: 0.0,
            ..Nucleus::default()
        }),
        "`temperature`",
    );
    bad(
        Decoding::Beam(Beam {
            beams: 0,
            ..Beam::default()
        }),
        "`beams` is `0`",
    );
    bad(
        Decoding::Greedy(Greedy {
            repetition_penalty: -1.0,
            ..Greedy::default()
        }),
        "`repetition-penalty` is `-1`",
    );
}

#[test]
fn lengths_are_checked_against_prompt_and_positions() {
    let greedy = |max_length| {
        Decoding::Greedy(Greedy {
            max_length,
            ..Greedy::default()
        })
    };
    assert_eq!(
        greedy(4).check_model(4, 512, 30_524),
        Err(DecodingError::NoRoom {
            max_length: 4,
            prompt: 4
        })
    );
    assert_eq!(greedy(5).check_model(4, 512, 30_524), Ok(()));
    assert_eq!(
        greedy(65).check_model(4, 64, 30_524),
        Err(DecodingError::TooLong {
            max_length: 65,
            positions: 64
        })
    );
    let beam = Decoding::Beam(Beam {
        beams: 5,
        ..Beam::default()
    });
    assert_eq!(
        beam.check_model(1, 512, 10),
        Err(DecodingError::TooManyBeams {
            beams: 5,
            vocabulary: 10
        })
    );
}
