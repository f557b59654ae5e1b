use capfilt_schedule::Schedule;

use super::super::timetable::After;
use super::*;

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

#[test]
fn a_row_says_how_a_file_stands() {
    let now = time("2026-11-24T12:00:00Z");
    let nightly = Schedule::new("0 3 * * *", "Europe/Berlin").unwrap();
    let scheduled = Entry {
        schedule: Some(nightly.clone()),
        after: None,
    };
    let after = Entry {
        schedule: None,
        after: Some(After {
            file: "a.toml".to_owned(),
            newest: Some("2026-11-24T11-00-00Z".to_owned()),
        }),
    };
    let run = Record {
        schedule: Some(nightly),
        next: Some(time("2026-11-25T02:00:00Z")),
        last_start: Some(time("2026-11-24T02:00:00Z")),
        ..Record::default()
    };
    let ended = |outcome| Record {
        last_result: Some(outcome),
        ..run.clone()
    };
    let seen = Record {
        after: Some("a.toml".to_owned()),
        seen: Some("2026-11-24T11-00-00Z".to_owned()),
        skipped: 3,
        ..Record::default()
    };
    let row = |file, entry, record, is_scheduled| row(file, entry, record, is_scheduled, now);
    let never = Record::default();
    let rows = [
        row("never", &scheduled, &never, true),
        row("running", &scheduled, &run, true),
        row("left", &scheduled, &run, false),
        row("done", &scheduled, &ended(Outcome::ExitCode(0)), true),
        row("killed", &scheduled, &ended(Outcome::Signal(9)), true),
        row("odd", &scheduled, &ended(Outcome::ExitCode(77)), true),
        row("news", &after, &never, true),
        row("no news", &after, &seen, true),
        row("by hand", &Entry::default(), &never, true),
    ];
    let berlin = "0 3 * * * Europe/Berlin";
    let (last, next) = ("2026-11-24 03:00:00 +01:00", "2026-11-25 03:00:00 +01:00");
    let expected = [
        ["never", berlin, "-", "-", next, "0", "waiting"],
        ["running", berlin, last, "-", next, "0", "running"],
        ["left", berlin, last, "cut off", "now", "0", "waiting"],
        ["done", berlin, last, "0 done", next, "0", "waiting"],
        [
            "killed",
            berlin,
            last,
            "ended by signal 9",
            next,
            "0",
            "waiting",
        ],
        ["odd", berlin, last, "exit code 77", next, "0", "waiting"],
        ["news", "after a.toml", "-", "-", "now", "0", "waiting"],
        ["no news", "after a.toml", "-", "-", "-", "3", "waiting"],
        ["by hand", "by hand", "-", "-", "-", "0", "-"],
    ];
    assert_eq!(rows, expected.map(|row| row.map(str::to_owned)));
}

#[test]
fn columns_stand_below_each_other() {
    let rows = [["file", "state"], ["a.toml", ""], ["ä.toml", "waiting"]];
    assert_eq!(
        aligned(&rows.map(|row| row.map(str::to_owned))),
        ["file    state", "a.toml", "ä.toml  waiting"]
    );
}
