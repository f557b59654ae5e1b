use std::time::UNIX_EPOCH;

use super::*;

#[test]
fn pauses_are_drawn_between_nothing_and_a_bound_that_doubles() {
    for (attempts, longest) in [(1, 500), (2, 1_000), (3, 2_000), (7, 30_000), (60, 30_000)] {
        let longest = Duration::from_millis(longest);
        let draws: Vec<Duration> = (0..200).map(|_| backoff(attempts)).collect();
        assert!(draws.iter().all(|draw| *draw <= longest), "{attempts}");
        // Full jitter: both ends of the range are drawn from.
        assert!(draws.iter().any(|draw| *draw < longest / 4), "{attempts}");
        assert!(
            draws.iter().any(|draw| *draw > longest * 3 / 4),
            "{attempts}"
        );
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    // 1994-11-06 08:49:37, the example of RFC 9110.
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (value, seconds) in [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0)),
        ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
        ("99999999999999999999999", Some(u64::MAX)),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ] {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(retry_after(value, now), expected, "{value}");
    }
}

#[test]
fn a_failing_network_is_asked_a_fifth_more_often_and_not_thrice() {
    let budget = RetryBudget::new();
    let mut retries = 0;
    for _ in 0..10_000 {
        budget.save();
        retries += usize::from(budget.spend()) + usize::from(budget.spend());
    }
    assert!((2_000..2_200).contains(&retries), "{retries}");
}
