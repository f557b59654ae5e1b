use chrono::TimeDelta;

use super::*;

/// A scheduler, a folder and a clock, which runs only when it is told to.
struct World {
    now: DateTime<Utc>,
    entries: BTreeMap<String, Entry>,
    timetable: Timetable,
    /// What happened, in words.
    told: Vec<String>,
}

impl World {
    fn at(now: &str, mode: Mode) -> Self {
        Self {
            now: time(now),
            entries: BTreeMap::new(),
            timetable: Timetable::new(mode, BTreeMap::new()),
            told: Vec::new(),
        }
    }

    /// Adds or edits a file.
    fn put(&mut self, file: &str, schedule: Option<(&str, &str)>, after: Option<&str>) {
        let schedule = schedule.map(|(line, zone)| Schedule::new(line, zone).unwrap());
        let after = after.map(|file| After {
            file: file.to_owned(),
            newest: None,
        });
        let entry = Entry { schedule, after };
        self.entries.insert(file.to_owned(), entry);
    }

    /// A run of `file`, whoever started it, leaves a manifest.
    fn output(&mut self, file: &str) {
        let name = self.now.format("%Y-%m-%dT%H-%M-%SZ").to_string();
        for after in self
            .entries
            .values_mut()
            .filter_map(|entry| entry.after.as_mut())
        {
            if after.file == file {
                after.newest = Some(name.clone());
            }
        }
    }

    fn tick(&mut self) {
        let events = self.timetable.tick(self.now, &self.entries);
        let at = self.now.format("%d %H:%M");
        self.told
            .extend(events.into_iter().map(|event| match event {
                Event::Start { file, because } => format!("{at} start {file}: {because}"),
                Event::Skip { file, .. } => format!("{at} skip {file}"),
            }));
    }

    /// Lets the clock run to `until`, a tick a minute.
    fn until(&mut self, until: &str) {
        let until = time(until);
        while self.now < until {
            self.now += TimeDelta::minutes(1);
            self.tick();
        }
    }

    fn end(&mut self, file: &str) {
        self.end_with(file, Outcome::ExitCode(0));
    }

    fn end_with(&mut self, file: &str, outcome: Outcome) {
        assert!(self.timetable.records()[file].is_running(), "{file}");
        self.timetable.ended(file, outcome, self.now);
    }

    /// Ends the scheduler, as a crash would, and starts another at `now`.
    fn restart(&mut self, now: &str, mode: Mode) {
        let json = serde_json::to_string(self.timetable.records()).unwrap();
        self.timetable = Timetable::new(mode, serde_json::from_str(&json).unwrap());
        self.now = time(now);
        self.tick();
    }

    /// What happened since this was last asked.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

const NIGHTLY: Option<(&str, &str)> = Some(("0 3 * * *", "UTC"));

#[test]
fn a_file_starts_at_its_times_and_not_when_it_is_first_seen() {
    let mut world = World::at("2026-11-24T22:00:00Z", Mode::Watch);
    world.put("a", NIGHTLY, None);
    world.put("by-hand", None, None);
    for _night in 0..2 {
        let until = (world.now + TimeDelta::days(1)).to_rfc3339();
        world.tick();
        world.until(&until);
        world.end("a");
    }
    assert_eq!(
        world.told(),
        [
            "25 03:00 start a: its time has come",
            "26 03:00 start a: its time has come"
        ]
    );
}

#[test]
fn a_time_that_comes_while_the_run_goes_on_is_skipped_and_counted() {
    let mut world = World::at("2026-11-24T22:00:30Z", Mode::Watch);
    world.put("long", Some(("*/10 * * * *", "UTC")), None);
    world.put("other", Some(("15 * * * *", "UTC")), None);
    world.tick();
    world.until("2026-11-24T22:35:30Z");
    assert_eq!(
        world.told(),
        [
            "24 22:10 start long: its time has come",
            "24 22:15 start other: its time has come",
            "24 22:20 skip long",
            "24 22:30 skip long",
        ],
        "another file runs beside it"
    );
    world.end("long");
    world.until("2026-11-24T22:39:30Z");
    assert_eq!(world.told(), [""; 0], "what was skipped is not made up for");
    world.until("2026-11-24T22:40:30Z");
    assert_eq!(world.told(), ["24 22:40 start long: its time has come"]);
    assert_eq!(world.timetable.records()["long"].skipped, 2);
}

#[test]
fn the_first_second_of_a_fire_time_counts() {
    let mut world = World::at("2026-11-25T02:59:59Z", Mode::Watch);
    world.put("a", NIGHTLY, None);
    world.tick();
    world.now = time("2026-11-25T02:59:59.999Z");
    world.tick();
    assert_eq!(world.told(), [""; 0]);
    world.now = time("2026-11-25T03:00:00Z");
    world.tick();
    assert_eq!(world.told().len(), 1);
    // A run of no time at all is not started a second time by the same time.
    world.end("a");
    world.tick();
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn what_was_missed_is_made_up_for_once() {
    let mut world = World::at("2026-11-24T22:00:00Z", Mode::Watch);
    world.put("a", NIGHTLY, None);
    world.tick();
    world.restart("2026-11-29T12:00:00Z", Mode::Watch);
    assert_eq!(world.told(), ["29 12:00 start a: its time has come"]);
    world.end("a");
    world.until("2026-11-30T02:59:00Z");
    assert_eq!(world.told(), [""; 0], "five nights are one run");
    world.until("2026-11-30T03:01:00Z");
    assert_eq!(world.told(), ["30 03:00 start a: its time has come"]);
    world.end("a");
    world.restart("2026-11-30T12:00:00Z", Mode::Watch);
    assert_eq!(world.told(), [""; 0], "nothing was missed");
}

#[test]
fn a_run_that_was_cut_off_goes_on_when_the_scheduler_is_back() {
    let mut world = World::at("2026-11-25T02:00:00Z", Mode::Watch);
    world.put("a", NIGHTLY, None);
    world.tick();
    world.until("2026-11-25T03:00:00Z");
    world.restart("2026-11-25T03:10:00Z", Mode::Watch);
    world.end_with("a", Outcome::ExitCode(1));
    world.until("2026-11-25T04:00:00Z");
    assert_eq!(
        world.told(),
        [
            "25 03:00 start a: its time has come",
            "25 03:10 start a: its last run was cut off"
        ],
        "one that failed by itself waits for its next time"
    );
}

#[test]
fn new_output_of_one_file_starts_the_next_and_so_on() {
    let mut world = World::at("2026-11-25T02:00:00Z", Mode::Watch);
    world.put("c", None, Some("b"));
    world.put("b", None, Some("a"));
    world.put("a", NIGHTLY, None);
    world.tick();
    world.until("2026-11-25T03:05:00Z");
    world.output("a");
    world.end("a");
    world.until("2026-11-25T03:10:00Z");
    world.output("b");
    world.end("b");
    world.until("2026-11-25T03:15:00Z");
    world.output("c");
    world.end("c");
    world.until("2026-11-26T02:00:00Z");
    assert_eq!(
        world.told(),
        [
            "25 03:00 start a: its time has come",
            "25 03:06 start b: `a` has new output",
            "25 03:11 start c: `b` has new output",
        ]
    );
    // A night without anything new ends the chain where it begins.
    world.until("2026-11-26T03:05:00Z");
    world.end("a");
    world.until("2026-11-26T04:00:00Z");
    assert_eq!(world.told(), ["26 03:00 start a: its time has come"]);
}

#[test]
fn output_of_a_run_by_hand_is_news_too_and_is_not_forgotten() {
    let mut world = World::at("2026-11-25T02:00:00Z", Mode::Watch);
    world.put("a", None, None);
    world.put("b", None, Some("a"));
    world.tick();
    world.until("2026-11-25T02:10:00Z");
    assert_eq!(world.told(), [""; 0]);
    world.output("a");
    world.tick();
    assert_eq!(world.told(), ["25 02:10 start b: `a` has new output"]);
    // More comes while the run goes on: it may have missed that, so that it starts again.
    world.until("2026-11-25T02:20:00Z");
    world.output("a");
    world.until("2026-11-25T02:30:00Z");
    assert_eq!(world.told(), [""; 0]);
    world.end_with("b", Outcome::ExitCode(1));
    world.until("2026-11-25T02:40:00Z");
    assert_eq!(world.told(), ["25 02:31 start b: `a` has new output"]);
    world.end_with("b", Outcome::ExitCode(1));
    // What was seen stays seen, by the next scheduler too, whether the run went well or not.
    world.restart("2026-11-26T02:00:00Z", Mode::Watch);
    world.until("2026-11-26T04:00:00Z");
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn a_file_with_both_keys_is_started_by_either() {
    let mut world = World::at("2026-11-25T02:00:00Z", Mode::Watch);
    world.put("a", None, None);
    world.put("b", NIGHTLY, Some("a"));
    world.tick();
    world.until("2026-11-25T02:30:00Z");
    world.output("a");
    world.until("2026-11-25T02:40:00Z");
    world.end("b");
    world.until("2026-11-25T02:59:00Z");
    world.output("a");
    world.now = time("2026-11-25T03:00:00Z");
    world.tick();
    world.end("b");
    world.until("2026-11-25T04:00:00Z");
    assert_eq!(
        world.told(),
        [
            "25 02:31 start b: `a` has new output",
            "25 03:00 start b: its time has come"
        ],
        "a start for one reason takes the other along"
    );
}

#[test]
fn clocks_put_forward_and_back_start_a_nightly_file_once_a_night() {
    let berlin = Some(("30 2 * * *", "Europe/Berlin"));
    let mut world = World::at("2027-03-27T12:00:00Z", Mode::Watch);
    world.put("a", berlin, None);
    world.tick();
    for _day in 0..2 {
        let until = (world.now + TimeDelta::days(1)).to_rfc3339();
        world.until(&until);
        world.end("a");
    }
    // There is no 02:30 on the 28th: 03:00 +02:00 is the first minute after the gap.
    assert_eq!(
        world.told(),
        [
            "28 01:00 start a: its time has come",
            "29 00:30 start a: its time has come"
        ]
    );
    let mut world = World::at("2027-10-30T12:00:00Z", Mode::Watch);
    world.put("a", berlin, None);
    world.tick();
    // The first 02:30 of the 31st is at 00:30 UTC, the second, which is none of its times, at 01:30.
    world.until("2027-10-31T00:40:00Z");
    world.end("a");
    world.until("2027-11-01T12:00:00Z");
    assert_eq!(
        world.told(),
        [
            "31 00:30 start a: its time has come",
            "01 01:30 start a: its time has come"
        ]
    );
    assert_eq!(world.timetable.records()["a"].skipped, 0);
}

#[test]
fn an_edited_schedule_counts_from_the_edit() {
    let mut world = World::at("2026-11-24T22:00:00Z", Mode::Watch);
    world.put("a", NIGHTLY, None);
    world.tick();
    world.until("2026-11-25T03:00:00Z");
    world.end("a");
    world.until("2026-11-25T12:00:00Z");
    world.told();
    // 10:00 has passed since the last start, but was no time of this file then.
    world.put("a", Some(("0 10 * * *", "UTC")), None);
    world.until("2026-11-26T12:00:00Z");
    assert_eq!(world.told(), ["26 10:00 start a: its time has come"]);
    world.end("a");
    // The same with an edit that no scheduler saw.
    world.put("a", Some(("0 11 * * *", "UTC")), None);
    world.restart("2026-11-26T12:30:00Z", Mode::Watch);
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn a_removed_file_is_not_started_and_its_run_goes_on() {
    let mut world = World::at("2026-11-25T02:00:00Z", Mode::Watch);
    world.put("a", NIGHTLY, None);
    world.tick();
    world.until("2026-11-25T03:00:00Z");
    world.entries.remove("a");
    world.until("2026-11-26T04:00:00Z");
    assert_eq!(world.told(), ["25 03:00 start a: its time has come"]);
    assert!(world.timetable.is_running());
    world.end("a");
    // Back again, it waits for its next time.
    world.until("2026-11-26T12:00:00Z");
    world.put("a", NIGHTLY, None);
    world.until("2026-11-27T02:59:00Z");
    assert_eq!(world.told(), [""; 0]);
    world.until("2026-11-27T03:00:00Z");
    assert_eq!(world.told(), ["27 03:00 start a: its time has come"]);
}

#[test]
fn another_file_to_come_after_has_output_that_was_never_seen() {
    let mut world = World::at("2026-11-25T02:00:00Z", Mode::Watch);
    world.put("b", None, Some("a"));
    world.output("a");
    world.tick();
    world.end("b");
    world.until("2026-11-25T02:10:00Z");
    world.told();
    world.put("b", None, Some("z"));
    world.until("2026-11-25T02:20:00Z");
    assert_eq!(world.told(), [""; 0], "z has none yet");
    world.output("z");
    world.tick();
    assert_eq!(world.told(), ["25 02:20 start b: `z` has new output"]);
}

#[test]
fn once_runs_what_is_due_each_file_once_and_in_order() {
    let mut world = World::at("2026-11-25T12:00:00Z", Mode::Once);
    // `a` sorts first and comes last; all have schedules and were never started.
    world.put("a", NIGHTLY, Some("b"));
    world.put("b", NIGHTLY, Some("c"));
    world.put("c", NIGHTLY, None);
    world.put("d", None, None);
    for file in ["c", "b", "a"] {
        world.tick();
        world.now += TimeDelta::minutes(1);
        world.tick();
        world.output(file);
        world.end(file);
    }
    world.tick();
    assert_eq!(
        world.told(),
        [
            "25 12:00 start c: it was never started",
            "25 12:01 start b: `c` has new output",
            "25 12:02 start a: `b` has new output",
        ]
    );
    assert!(!world.timetable.is_running());
    assert_eq!(world.timetable.outcomes().count(), 3);
    world.restart("2026-11-25T18:00:00Z", Mode::Once);
    assert_eq!(world.told(), [""; 0], "no time has passed since");
    world.restart("2026-11-26T18:00:00Z", Mode::Once);
    assert_eq!(world.told(), ["26 18:00 start c: its time has come"]);
}

#[test]
fn once_waits_for_a_file_further_up() {
    let mut world = World::at("2026-11-25T12:00:00Z", Mode::Once);
    world.put("a", NIGHTLY, Some("b"));
    world.put("b", None, Some("c"));
    world.put("c", NIGHTLY, None);
    world.tick();
    world.now += TimeDelta::minutes(5);
    world.tick();
    assert_eq!(world.told(), ["25 12:00 start c: it was never started"]);
    // Nothing new: `b` is not started, and `a` need not wait for it.
    world.end("c");
    world.tick();
    assert_eq!(world.told(), ["25 12:05 start a: it was never started"]);
}

#[test]
fn once_goes_on_after_a_file_that_failed() {
    let mut world = World::at("2026-11-25T12:00:00Z", Mode::Once);
    world.put("a", NIGHTLY, Some("b"));
    world.put("b", NIGHTLY, None);
    world.tick();
    world.end_with("b", Outcome::Signal(9));
    world.tick();
    world.end("a");
    world.tick();
    let outcomes: Vec<Outcome> = world.timetable.outcomes().collect();
    assert_eq!(outcomes, [Outcome::ExitCode(0), Outcome::Signal(9)]);
}
