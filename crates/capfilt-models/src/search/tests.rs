use super::*;
use crate::decoding::Greedy;

const END: u32 = 1;

fn start(seed: u8) -> Start<'static> {
    Start {
        prompt: &[0],
        end: END,
        seed: [seed; 32],
    }
}

/// Feeds the same logits at every step.
fn run(decoding: &Decoding, logits: &[f32], seed: u8) -> Hypothesis {
    let mut search = Search::new(decoding, start(seed));
    let mut scratch = Scratch::default();
    while !search.advance(logits, &mut scratch).unwrap() {}
    search.finish()
}

#[test]
fn greedy_takes_the_highest_until_the_end_or_the_longest_length() {
    let greedy = Decoding::Greedy(Greedy {
        repetition_penalty: 1.0,
        min_length: 0,
        max_length: 4,
    });
    assert_eq!(run(&greedy, &[0.0, 1.0, 2.0], 0).tokens, [0, 2, 2, 2]);
    assert_eq!(run(&greedy, &[0.0, 3.0, 2.0], 0).tokens, [0, END]);
}

#[test]
fn the_end_waits_for_the_least_length_which_counts_the_prompt() {
    let greedy = Decoding::Greedy(Greedy {
        repetition_penalty: 1.0,
        min_length: 3,
        max_length: 9,
    });
    assert_eq!(run(&greedy, &[0.0, 3.0, 2.0], 0).tokens, [0, 2, 2, END]);
}

#[test]
fn the_repetition_penalty_counts_start_token_and_prompt() {
    let greedy = Decoding::Greedy(Greedy {
        repetition_penalty: 2.0,
        min_length: 0,
        max_length: 2,
    });
    // 3.0 of the start token becomes 1.5.
    assert_eq!(run(&greedy, &[3.0, 0.0, 2.0], 0).tokens, [0, 2]);
}

#[test]
fn log_prob_sums_the_models_own_log_probabilities() {
    let nucleus = Decoding::Nucleus(Nucleus {
        temperature: 0.3,
        p: 0.5,
        min_length: 0,
        max_length: 6,
        ..Nucleus::default()
    });
    let logits = [0.5, -0.5, 1.0, 0.2];
    let found = run(&nucleus, &logits, 4);
    let log_sum = scores::log_sum_exp(&logits);
    let own: f32 = found.tokens[1..]
        .iter()
        .map(|&token| logits[token as usize] - log_sum)
        .sum();
    assert!((found.log_prob - own).abs() < 1e-5, "{found:?}");
}

#[test]
fn draws_depend_on_the_seed_alone() {
    let nucleus = Decoding::Nucleus(Nucleus {
        repetition_penalty: 1.0,
        min_length: 0,
        max_length: 30,
        ..Nucleus::default()
    });
    let logits: Vec<f32> = (0_u8..40)
        .map(|token| f32::from(token % 7) / 10.0)
        .collect();
    assert_eq!(run(&nucleus, &logits, 1), run(&nucleus, &logits, 1));
    assert_ne!(run(&nucleus, &logits, 1), run(&nucleus, &logits, 2));
}

#[test]
fn broken_logits_are_an_error() {
    let mut search = Search::new(&Decoding::default(), start(0));
    let broken = [0.0, f32::NAN, 1.0];
    assert_eq!(
        search.advance(&broken, &mut Scratch::default()),
        Err(NotFinite)
    );
}
