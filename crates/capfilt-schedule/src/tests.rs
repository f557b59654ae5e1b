use std::time::{Duration, Instant};

use chrono::{Datelike as _, NaiveDate, Offset as _, TimeZone as _, Timelike as _};

use super::*;

/// The next times after `from` (as local clocks show it, with an offset), as local clocks show them.
fn times(line: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::new(line, zone).unwrap();
    let mut time = DateTime::parse_from_rfc3339(from).unwrap().to_utc();
    let mut next = || {
        time = schedule.next(time).unwrap();
        schedule.local(time).format("%d %H:%M %:z").to_string()
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_time_that_the_clock_leaves_out_comes_right_after_the_gap() {
    // 28 March 2027 in Berlin: after 01:59 +01:00 comes 03:00 +02:00.
    let night = "2027-03-27T12:00:00+01:00";
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", night, 3),
        ["28 03:00 +02:00", "29 02:30 +02:00", "30 02:30 +02:00"]
    );
    // Several times of a day are such times too, and two in the gap are one.
    assert_eq!(
        times("0,30 2,14 * * *", "Europe/Berlin", night, 5),
        [
            "27 14:00 +01:00",
            "27 14:30 +01:00",
            "28 03:00 +02:00",
            "28 14:00 +02:00",
            "28 14:30 +02:00"
        ]
    );
    // The hours around the gap are as ever.
    assert_eq!(
        times("30 1,3 * * *", "Europe/Berlin", night, 3),
        ["28 01:30 +01:00", "28 03:30 +02:00", "29 01:30 +02:00"]
    );
}

#[test]
fn a_time_that_the_clock_shows_twice_comes_the_first_time() {
    // 31 October 2027 in Berlin: after 02:59 +02:00 comes 02:00 +01:00.
    let night = "2027-10-30T12:00:00+02:00";
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", night, 3),
        ["31 02:30 +02:00", "01 02:30 +01:00", "02 02:30 +01:00"]
    );
    assert_eq!(
        times(
            "0 2,14 * * *",
            "Europe/Berlin",
            "2027-10-30T15:00:00+02:00",
            3
        ),
        ["31 02:00 +02:00", "31 14:00 +01:00", "01 02:00 +01:00"]
    );
    // Who asks between the two is not told of the second.
    let between = "2027-10-31T02:15:00+01:00";
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", between, 1),
        ["01 02:30 +01:00"]
    );
}

#[test]
fn a_star_means_whatever_the_clock_shows() {
    assert_eq!(
        times(
            "30 * * * *",
            "Europe/Berlin",
            "2027-03-28T01:00:00+01:00",
            3
        ),
        ["28 01:30 +01:00", "28 03:30 +02:00", "28 04:30 +02:00"]
    );
    assert_eq!(
        times(
            "*/30 2 * * *",
            "Europe/Berlin",
            "2027-03-27T12:00:00+01:00",
            1
        ),
        ["29 02:00 +02:00"],
        "nothing in the gap"
    );
    assert_eq!(
        times(
            "30 * * * *",
            "Europe/Berlin",
            "2027-10-31T01:45:00+02:00",
            3
        ),
        ["31 02:30 +02:00", "31 02:30 +01:00", "31 03:30 +01:00"],
        "both that the clock shows"
    );
}

fn east(time: DateTime<Tz>) -> i32 {
    time.offset().fix().local_minus_utc()
}

#[test]
fn times_of_a_day_come_once_on_every_day_of_two_years() {
    // Zones that change by an hour, by half an hour, at midnight, and never.
    for zone in [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Africa/Cairo",
        "Asia/Kolkata",
    ] {
        let zone: Tz = zone.parse().unwrap();
        for (hour, minute) in [(0, 0), (0, 30), (1, 15), (2, 0), (2, 30), (3, 0), (23, 59)] {
            let schedule = Schedule::new(&format!("{minute} {hour} * * *"), zone.name()).unwrap();
            let mut time = zone
                .with_ymd_and_hms(2026, 6, 1, 23, 59, 30)
                .unwrap()
                .to_utc();
            for day in (1..=730)
                .map(|days| NaiveDate::from_ymd_opt(2026, 6, 1).unwrap() + chrono::Days::new(days))
            {
                let next = schedule.next(time).unwrap();
                let local = next.with_timezone(&zone);
                let case = format!("{hour}:{minute} {zone} on {day}: {local}");
                assert!(next > time, "{case}");
                assert_eq!((local.date_naive(), local.second()), (day, 0), "{case}");
                if (local.hour(), local.minute()) != (hour, minute) {
                    // Then the clock was put forward over it just before.
                    let before = (next - Duration::from_secs(1)).with_timezone(&zone);
                    assert!(east(before) < east(local), "{case}");
                    let asked = day.and_hms_opt(hour, minute, 0).unwrap();
                    assert!(
                        zone.from_local_datetime(&asked).earliest().is_none(),
                        "{case}"
                    );
                }
                time = next;
            }
        }
    }
}

#[test]
fn days_of_the_week_and_of_the_month_are_those_of_cron() {
    let weekdays = |line| {
        let schedule = Schedule::new(line, "UTC").unwrap();
        let mut time = Utc.with_ymd_and_hms(2026, 11, 1, 0, 0, 0).unwrap();
        let mut next = || {
            time = schedule.next(time).unwrap();
            format!("{} {}", time.day(), time.weekday())
        };
        [next(), next(), next()]
    };
    assert_eq!(weekdays("0 3 * * 0"), ["1 Sun", "8 Sun", "15 Sun"]);
    assert_eq!(weekdays("0 3 * * 7"), ["1 Sun", "8 Sun", "15 Sun"]);
    assert_eq!(weekdays("0 3 * * mon-tue"), ["2 Mon", "3 Tue", "9 Mon"]);
    // Both days given: either will do.
    assert_eq!(weekdays("0 3 4 * 1"), ["2 Mon", "4 Wed", "9 Mon"]);
}

#[test]
fn what_is_no_schedule_is_refused_with_what_would_do() {
    let refused = |line: &str, zone: &str| Schedule::new(line, zone).unwrap_err().to_string();
    let like = "like `0 3 * * *`, every night at 3";
    for (line, got) in [
        ("", "`` has 0 fields"),
        ("0 3 * *", "`0 3 * *` has 4 fields"),
        ("0 0 3 * * *", "`0 0 3 * * *` has 6 fields"),
        ("@daily", "`@daily` has 1 fields"),
        ("0 25 * * *", "`0 25 * * *` cannot be used"),
        ("0 3 * * fun", "`0 3 * * fun` cannot be used"),
        ("0 3 31 2 *", "`0 3 31 2 *` never comes"),
    ] {
        let message = refused(line, "UTC");
        assert!(
            message.starts_with(&format!("`schedule`: {got}")),
            "{message}"
        );
        assert!(message.ends_with(like), "{message}");
    }
    for zone in ["Europe/Berln", "berlin", "Eurpoe/Berlin"] {
        let message = refused("0 3 * * *", zone);
        assert!(
            message.contains(&format!("no time zone `{zone}`")),
            "{message}"
        );
        assert!(message.ends_with("like `Europe/Berlin`"), "{message}");
    }
}

#[test]
fn a_time_that_never_comes_is_found_out_soon() {
    let started = Instant::now();
    assert!(Schedule::new("0-59 0-23 31 2 *", "Europe/Berlin").is_err());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn it_is_written_as_it_is_read() {
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct File {
        schedule: Schedule,
    }
    for text in [
        "schedule = \"0 3 * * *\"\n",
        "[schedule]\ncron = \"0 3 * * 1-5\"\ntime-zone = \"Europe/Berlin\"\n",
    ] {
        let file: File = toml::from_str(text).unwrap();
        assert_eq!(toml::to_string(&file).unwrap(), text);
        let json = serde_json::to_string(&file).unwrap();
        assert_eq!(serde_json::from_str::<File>(&json).unwrap(), file);
    }
    let short: File = toml::from_str("schedule = { cron = \"0 3 * * *\" }").unwrap();
    assert_eq!(short.schedule, Schedule::new("0 3 * * *", "UTC").unwrap());
}
