use super::*;

fn half_way() -> Progress {
    Progress {
        pieces_done: 3,
        pieces_total: 8,
        rows_done: 4_000,
        rows_total: 10_000,
        captions_kept: 30,
        captions_removed: 10,
        reasons: [
            ("a", 1),
            ("timed-out", 3),
            ("not-found", 12),
            ("b", 1),
            ("c", 1),
        ]
        .map(|(reason, count)| (reason.to_owned(), count))
        .into(),
    }
}

#[test]
fn rows_of_an_earlier_run_do_not_count_as_speed() {
    let at_start = Progress {
        rows_done: 3_000,
        ..half_way()
    };
    let pace = Pace::new(&at_start, &half_way(), Duration::from_secs(10));
    assert_eq!(
        pace,
        Pace {
            rows_per_second: 100.0,
            left: Some(Duration::from_mins(1))
        }
    );
    assert_eq!(
        Pace::new(&half_way(), &half_way(), Duration::from_secs(10)).left,
        None
    );
}

#[test]
fn the_line_says_all_that_matters() {
    let pace = Pace {
        rows_per_second: 100.0,
        left: Some(Duration::from_secs(61)),
    };
    assert_eq!(
        line(&half_way(), &pace),
        "piece 3 of 8: 4000 rows, 100.0 rows/s, 75 % kept, 1 min 01 s left; \
         removed: not-found 12, timed-out 3, a 1, b 1"
    );
    let nothing = Pace {
        rows_per_second: 0.0,
        left: None,
    };
    assert_eq!(
        line(&Progress::default(), &nothing),
        "piece 0 of 0: 0 rows, 0.0 rows/s"
    );
}

#[test]
fn time_is_said_in_the_units_that_matter() {
    let said = |seconds| clock(Duration::from_secs(seconds));
    assert_eq!(
        [said(5), said(65), said(3_725)],
        ["5 s", "1 min 05 s", "1 h 02 min"]
    );
}
