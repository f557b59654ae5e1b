use super::*;

#[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
/// Scores without ties, different for every seed.
fn row(size: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32 * 12.0 - 6.0
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
#[test]
fn exp_stays_within_a_millionth() {
    for step in 0..=8700 {
        let x = -(step as f32) / 100.0;
        let exact = f64::from(x).exp();
        assert!((f64::from(exp(x)) - exact).abs() <= 1e-6 * exact, "x = {x}");
    }
    assert!(exp(f32::NEG_INFINITY) < 1e-37);
}

#[test]
fn log_sum_exp_agrees_with_double_precision_at_any_length() {
    for size in [1, 7, 8, 63, 64, 65, 3772, 30_524] {
        let scores = row(size, size as u64);
        let exact = scores.iter().map(|&s| f64::from(s).exp()).sum::<f64>().ln();
        assert!(
            (f64::from(log_sum_exp(&scores)) - exact).abs() < 2e-6,
            "size {size}"
        );
    }
}

#[test]
fn log_sum_exp_shows_broken_scores() {
    for broken in [f32::NAN, f32::INFINITY] {
        for place in [0, 9, 19] {
            let mut scores = row(20, 1);
            scores[place] = broken;
            assert!(!log_sum_exp(&scores).is_finite(), "{broken} at {place}");
        }
    }
    assert!(!log_sum_exp(&[f32::NEG_INFINITY; 20]).is_finite());
}

#[test]
fn the_repetition_penalty_acts_once_per_distinct_id_and_by_sign() {
    let mut scores = vec![2.0, -2.0, 3.0, 0.0];
    penalise(&mut scores, &[0, 1, 0, 1, 3], 2.0);
    assert_eq!(scores, [1.0, -4.0, 3.0, 0.0]);
    penalise(&mut scores, &[99], 2.0);
    assert_eq!(scores, [1.0, -4.0, 3.0, 0.0]);
}

#[test]
fn highest_k_equals_a_sort() {
    for k in [1, 3, 50, 400] {
        let scores = row(300, 7);
        let mut sorted: Vec<Candidate> = (0..)
            .zip(&scores)
            .map(|(token, &score)| Candidate { token, score })
            .collect();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.token.cmp(&b.token)));
        sorted.truncate(k);
        let mut held = Vec::new();
        highest_k(&scores, k, &mut held);
        assert_eq!(held, sorted, "k = {k}");
    }
}

#[test]
fn equal_scores_are_ordered_by_id() {
    let mut held = Vec::new();
    highest_k(&[1.0, 2.0, 2.0, 1.0, 2.0], 4, &mut held);
    assert_eq!(
        held.iter().map(|c| c.token).collect::<Vec<_>>(),
        [1, 2, 4, 0]
    );
    assert_eq!(highest(&[1.0, 2.0, 2.0]).token, 1);
}

#[test]
fn top_k_keeps_scores_equal_to_the_last_and_drops_banned_tokens() {
    let mut kept = Vec::new();
    top_k(&[1.0, 3.0, 2.0, 2.0, 0.0], 2, &mut kept);
    assert_eq!(kept.iter().map(|c| c.token).collect::<Vec<_>>(), [1, 2, 3]);
    top_k(&[1.0, f32::NEG_INFINITY, 2.0], 0, &mut kept);
    assert_eq!(kept.iter().map(|c| c.token).collect::<Vec<_>>(), [2, 0]);
    top_k(&[1.0, f32::NEG_INFINITY, 2.0], 3, &mut kept);
    assert_eq!(kept.len(), 2);
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_p() {
    // Probabilities 0.5, 0.3, 0.15, 0.05.
    let scores: Vec<f32> = [0.5_f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
    for (p, count) in [
        (0.01, 1),
        (0.49, 1),
        (0.6, 2),
        (0.79, 2),
        (0.85, 3),
        (0.96, 4),
        (1.0, 4),
    ] {
        let mut kept = Vec::new();
        top_k(&scores, 0, &mut kept);
        top_p(&mut kept, p);
        assert_eq!(kept.len(), count, "p = {p}");
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let scores: Vec<f32> = [0.6_f32, 0.3, 0.1].iter().map(|p| p.ln()).collect();
    let mut kept = Vec::new();
    top_k(&scores, 0, &mut kept);
    let mut draw = Draw::new([3; 32]);
    let mut counts = [0_u32; 3];
    for _ in 0..100_000 {
        counts[draw.choose(&kept).unwrap().token as usize] += 1;
    }
    for (count, expected) in counts.iter().zip([60_000.0, 30_000.0, 10_000.0]) {
        // Five standard deviations.
        assert!((f64::from(*count) - expected).abs() < 800.0, "{counts:?}");
    }
}

#[test]
fn a_draw_uses_one_word_of_the_stream_whatever_is_left_to_choose() {
    let scores = row(40, 5);
    let mut all = Vec::new();
    top_k(&scores, 0, &mut all);
    let mut a = Draw::new([9; 32]);
    let mut b = Draw::new([9; 32]);
    a.choose(&all[..1]);
    b.choose(&all);
    assert_eq!(a.choose(&all), b.choose(&all));
    assert_eq!(Draw::new([9; 32]).choose(&[]), None);
}

#[test]
fn probabilities_add_up_to_one() {
    let scores = row(1000, 11);
    let mut kept = Vec::new();
    top_k(&scores, 50, &mut kept);
    let sum: f64 = probabilities(&kept).iter().sum();
    assert!((sum - 1.0).abs() < 1e-12);
}
