use super::*;

/// A language of `width` tokens in which only the last token counts: `table[last]` holds the logits
/// of the next.
fn run(options: &Beam, table: &[&[f32]], prompt: &[u32], end: u32) -> Hypothesis {
    let mut search = BeamSearch::new(options, prompt, end);
    let mut scratch = Scratch::default();
    let mut last = vec![*prompt.last().unwrap()];
    loop {
        let logits: Vec<f32> = last
            .iter()
            .flat_map(|&token| table[token as usize].iter().copied())
            .collect();
        if search.advance(&logits, &mut scratch).unwrap() {
            return search.finish();
        }
        last = search.next().iter().map(|next| next.token).collect();
        for next in search.next() {
            assert!(next.parent < logits.len() / table[0].len());
        }
    }
}

fn probabilities<const N: usize>(row: [f32; N]) -> Vec<f32> {
    row.iter().map(|p| p.ln()).collect()
}

/// Token 0 starts, 1 ends; 2 leads to a short caption, 3 and 4 to a longer one.
fn language() -> Vec<Vec<f32>> {
    vec![
        probabilities([0.001, 0.001, 0.500, 0.490, 0.008]),
        probabilities([0.2; 5]),
        probabilities([0.001, 0.600, 0.199, 0.100, 0.100]),
        probabilities([0.001, 0.001, 0.004, 0.004, 0.990]),
        probabilities([0.001, 0.580, 0.219, 0.100, 0.100]),
    ]
}

fn options(normalisation: Normalisation, max_length: u32) -> Beam {
    Beam {
        beams: 2,
        repetition_penalty: 1.0,
        min_length: 0,
        max_length,
        normalisation,
    }
}

fn found(options: &Beam, prompt: &[u32]) -> Hypothesis {
    let language = language();
    let rows: Vec<&[f32]> = language.iter().map(Vec::as_slice).collect();
    run(options, &rows, prompt, 1)
}

/// ln of the product of probabilities.
fn ln(parts: &[f64]) -> f64 {
    parts.iter().map(|part| part.ln()).sum()
}

#[test]
fn the_two_normalisations_choose_by_their_own_length() {
    // `2 [SEP]` has ln(0.5 * 0.6) = -1.204, `3 4 [SEP]` has ln(0.49 * 0.99 * 0.58) = -1.268.
    let short = ln(&[0.5, 0.6]);
    let long = ln(&[0.49, 0.99, 0.58]);
    // A long prompt makes the two lengths alike for BLIP's rule, so the sum decides; over the new
    // tokens alone the longer caption is better.
    let prompt = [0; 6];
    assert!(
        short / 7.0 < long / 8.0,
        "by BLIP's rule the longer one wins here"
    );
    assert_eq!(
        found(&options(Normalisation::Blip, 12), &prompt).tokens[6..],
        [3, 4, 1]
    );
    assert!(short / 2.0 < long / 3.0);
    let caption = found(&options(Normalisation::Transformers, 12), &prompt);
    assert_eq!(caption.tokens[6..], [3, 4, 1]);
    assert!(
        (f64::from(caption.log_prob) - long).abs() < 1e-4,
        "{}",
        caption.log_prob
    );
}

#[test]
fn at_the_longest_length_live_beams_count_and_have_no_end() {
    // Two tokens fit after the prompt: `2 [SEP]` over 2 for BLIP's rule, `3 4` over 3.
    let blip = found(&options(Normalisation::Blip, 3), &[0]);
    assert_eq!(blip.tokens, [0, 3, 4]);
    // Over two new tokens each, ln(0.49 * 0.99) is better than ln(0.5 * 0.6).
    let transformers = found(&options(Normalisation::Transformers, 3), &[0]);
    assert_eq!(transformers.tokens, [0, 3, 4]);
    assert!((f64::from(transformers.log_prob) - ln(&[0.49, 0.99])).abs() < 1e-4);
}

#[test]
fn the_end_is_banned_below_the_least_length() {
    for normalisation in [Normalisation::Blip, Normalisation::Transformers] {
        let caption = found(
            &Beam {
                min_length: 5,
                ..options(normalisation, 9)
            },
            &[0],
        );
        let end = caption.tokens.iter().position(|&token| token == 1).unwrap();
        assert!(end >= 5, "{caption:?}");
    }
}

#[test]
fn the_reported_log_probability_is_the_models_own_whatever_the_penalty() {
    let penalised = Beam {
        repetition_penalty: 1.5,
        ..options(Normalisation::Transformers, 8)
    };
    let caption = found(&penalised, &[0]);
    let language = language();
    let own: f64 = caption
        .tokens
        .windows(2)
        .map(|pair| f64::from(language[pair[0] as usize][pair[1] as usize]))
        .sum();
    assert!(
        (f64::from(caption.log_prob) - own).abs() < 1e-4,
        "{caption:?} {own}"
    );
}

#[test]
fn broken_logits_are_an_error() {
    let mut search = BeamSearch::new(&options(Normalisation::Blip, 5), &[0], 1);
    let broken = [f32::NAN; 5];
    assert_eq!(
        search.advance(&broken, &mut Scratch::default()),
        Err(NotFinite)
    );
}
