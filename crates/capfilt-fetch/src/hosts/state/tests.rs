use super::*;
use crate::units::Timeout;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A host under a clock of its own.
struct Lab {
    state: State,
    limits: Limits,
    start: Instant,
    now: Instant,
}

impl Lab {
    fn new(wait: Duration) -> Self {
        let now = Instant::now();
        Self {
            state: State::default(),
            limits: Limits::new(&FetchOptions {
                host_wait: Timeout(wait),
                ..FetchOptions::default()
            }),
            start: now,
            now,
        }
    }

    fn seconds(&self) -> f64 {
        (self.now - self.start).as_secs_f64()
    }

    fn try_start(&mut self) -> Start {
        self.state.start(self.now, None, &self.limits).unwrap()
    }

    fn end(&mut self, outcome: Outcome, is_probe: bool) -> Learnt {
        let ended = Ended {
            outcome,
            pause: None,
            began: self.now,
            is_retry: false,
            is_probe,
        };
        self.state.end(self.now, ended, &self.limits)
    }

    fn request(&mut self, outcome: Outcome) -> Learnt {
        let Start::Now { is_probe } = self.try_start() else {
            panic!("not now");
        };
        self.end(outcome, is_probe)
    }

    fn fail(&mut self, times: u32) {
        for _ in 0..times {
            self.request(Outcome::Connect);
        }
    }

    fn is_suspended(&self) -> bool {
        self.state.suspension.is_some()
    }

    /// Lets the time of a suspension pass: whether rows wait for it.
    fn pass(&mut self) -> bool {
        let suspension = self.state.suspension.as_ref().unwrap();
        let waits = suspension.is_waited_for;
        self.now = suspension.until;
        waits
    }
}

#[test]
fn a_host_that_is_down_is_probed_at_ever_longer_intervals_within_the_bound() {
    for (wait, first, probes) in [
        (120, 1.0, 7),
        (60, 0.9375, 7),
        (2, 0.03125, 7),
        (3600, 1.0, 15),
    ] {
        let mut lab = Lab::new(wait * SECOND);
        lab.fail(10);
        let mut at = Vec::new();
        while lab.pass() {
            at.push(lab.seconds());
            lab.fail(1);
        }
        assert!((at[0] - first).abs() < 1e-6, "{at:?}");
        assert_eq!(at.len(), probes, "{wait}: {at:?}");
        assert!(
            (at[probes - 1] - f64::from(wait)).abs() < 1e-6,
            "{wait}: {at:?}"
        );
        // From then on one row in a while probes, and nobody waits.
        assert!(lab.is_suspended());
        let refused = lab.state.wait(lab.start, &mut Waiter::new(Wait::ForHost));
        assert_eq!(refused.unwrap_err().outcome, Outcome::HostSuspended);
        lab.request(Outcome::Ok);
        assert!(!lab.is_suspended());
    }
}

#[test]
fn what_answers_is_not_suspended() {
    let mut lab = Lab::new(120 * SECOND);
    for number in 0..1_000 {
        lab.request(match number % 4 {
            0 => Outcome::NotFound,
            1 => Outcome::Forbidden,
            _ => Outcome::ServerError,
        });
    }
    for _ in 0..1_000 {
        lab.request(Outcome::Gone);
    }
    assert!(!lab.is_suspended());
}

#[test]
fn only_one_probes() {
    let mut lab = Lab::new(120 * SECOND);
    lab.fail(10);
    assert_eq!(lab.try_start(), Start::Suspended);
    lab.pass();
    assert_eq!(lab.try_start(), Start::Now { is_probe: true });
    assert_eq!(lab.try_start(), Start::Suspended);
    // What was under way before the suspension says nothing of what is now.
    assert_eq!(lab.end(Outcome::Ok, false), Learnt::default());
    assert_eq!(lab.try_start(), Start::Suspended);
    lab.state.was_not_probed();
    assert_eq!(lab.try_start(), Start::Now { is_probe: true });
    let learnt = lab.end(Outcome::Ok, true);
    assert!(learnt.changed && !learnt.busy);
    assert_eq!(lab.try_start(), Start::Now { is_probe: false });
}

#[test]
fn rows_that_have_an_answer_wait_for_one_probe_or_none() {
    let mut lab = Lab::new(120 * SECOND);
    lab.fail(10);
    let [mut none, mut one, mut all] = [Wait::No, Wait::ForProbe, Wait::ForHost].map(Waiter::new);
    let wait = |lab: &mut Lab, waiter: &mut Waiter| lab.state.wait(lab.now, waiter);
    assert!(wait(&mut lab, &mut none).is_err());
    assert!(wait(&mut lab, &mut one).unwrap().is_some());
    lab.pass();
    assert_eq!(wait(&mut lab, &mut one), Ok(None), "it may probe itself");
    lab.state.was_not_probed();
    lab.fail(1);
    assert!(wait(&mut lab, &mut one).is_err());
    assert!(wait(&mut lab, &mut all).unwrap().is_some());
}

#[test]
fn any_of_those_that_wait_probes_and_only_that_one() {
    let mut early = 0;
    for _ in 0..200 {
        let mut lab = Lab::new(120 * SECOND);
        lab.fail(10);
        let mut waiting: Vec<Waiter> = (0..100).map(|_| Waiter::new(Wait::ForHost)).collect();
        let mut looks = Vec::new();
        for waiter in &mut waiting {
            looks.push(lab.state.wait(lab.now, waiter).unwrap().unwrap());
        }
        lab.pass();
        assert!(looks.iter().filter(|look| **look == lab.now).count() < 40);
        assert_eq!(
            lab.try_start(),
            Start::Suspended,
            "who comes now did not draw"
        );
        let may = |waiter: &&Waiter| {
            let suspension = lab.state.suspension.as_ref().unwrap();
            suspension.may_probe(lab.now, Some(waiter))
        };
        let probes: Vec<usize> = (0..100).filter(|row| may(&&waiting[*row])).collect();
        assert_eq!(probes.len(), 1);
        early += usize::from(probes[0] < 10);
        assert_eq!(looks[probes[0]], lab.now, "it looks in time");
        // Where it does not come, another one may after a moment.
        lab.now += TURN;
        assert_eq!(lab.try_start(), Start::Now { is_probe: true });
    }
    assert!(
        (5..45).contains(&early),
        "{early} of 200 were of the first tenth"
    );
}

#[test]
fn bad_pictures_that_stand_together_cost_less_each_time() {
    let mut lab = Lab::new(120 * SECOND);
    let (mut bad, mut needed) = (0, Vec::new());
    while needed.len() < 7 {
        lab.fail(1);
        bad += 1;
        if lab.is_suspended() {
            needed.push(std::mem::take(&mut bad));
            lab.pass();
            lab.request(Outcome::Ok);
        }
    }
    assert_eq!(needed, [10, 20, 40, 80, 160, 160, 160]);
    // Where the first probe fails, it is not the pictures.
    lab.fail(160);
    lab.pass();
    lab.fail(1);
    lab.pass();
    lab.request(Outcome::Ok);
    lab.fail(10);
    assert!(lab.is_suspended());
}

#[test]
fn a_host_that_answers_5xx_is_probed_with_many_pictures() {
    let mut lab = Lab::new(60 * SECOND);
    for _ in 0..10 {
        lab.request(Outcome::ServerError);
    }
    let mut probes = 0;
    while lab.pass() {
        lab.request(Outcome::ServerError);
        probes += 1;
    }
    assert_eq!(probes, 15);
    assert!((lab.seconds() - 60.0).abs() < 20.0, "{}", lab.seconds());
}

#[test]
fn a_host_that_gave_much_may_have_many_bad_pictures() {
    for (good, outcome, needed) in [
        (0, Outcome::ServerError, 10),
        (40, Outcome::ServerError, 10),
        (300, Outcome::ServerError, 75),
        (300, Outcome::TimedOut, 10),
        (10_000, Outcome::ServerError, 160),
    ] {
        let mut lab = Lab::new(60 * SECOND);
        for _ in 0..good {
            lab.request(Outcome::Ok);
        }
        for failures in 1..=needed {
            lab.request(outcome);
            assert_eq!(lab.is_suspended(), failures == needed, "{good} {failures}");
        }
    }
}

#[test]
fn a_picture_that_is_bad_again_says_nothing_of_its_host() {
    for (outcome, counts) in [(Outcome::ServerError, false), (Outcome::Connect, true)] {
        let mut lab = Lab::new(60 * SECOND);
        for _ in 0..100 {
            let ended = Ended {
                outcome,
                pause: None,
                began: lab.now,
                is_retry: true,
                is_probe: false,
            };
            lab.state.end(lab.now, ended, &lab.limits);
        }
        assert_eq!(lab.is_suspended(), counts);
    }
}

#[test]
fn what_was_waited_is_counted_and_made_up_for() {
    let mut lab = Lab::new(100 * SECOND);
    lab.fail(10);
    while lab.seconds() < 60.0 {
        lab.pass();
        lab.fail(1);
    }
    lab.pass();
    lab.request(Outcome::Ok);
    assert_eq!(lab.state.waited, 100 * SECOND);
    for _ in 0..8 {
        lab.request(Outcome::Ok);
    }
    assert_eq!(lab.state.waited, 60 * SECOND);
    // Of the second suspension, only what is left is waited for.
    let before = lab.seconds();
    lab.fail(10);
    while lab.pass() {
        lab.fail(1);
    }
    let waited = lab.state.suspension.as_ref().unwrap().probes;
    assert_eq!(waited, 6, "1, 3, 7, 15, 31 and 40 s after {before} s");
    lab.request(Outcome::Ok);
    for _ in 0..1_000 {
        lab.request(Outcome::Ok);
    }
    assert_eq!(lab.state.waited, Duration::ZERO);
}

/// What came of asking a host for `rows` pictures, four at a time, each answered after 5 ms.
#[derive(Debug, Default)]
struct Asked {
    good: u32,
    refused: u32,
    seconds: f64,
}

/// A host that takes `most` requests in each `window` and refuses what is more.
fn limited(rows: u32, most: usize, window: Duration) -> Asked {
    let mut lab = Lab::new(60 * SECOND);
    let mut asked = Asked::default();
    let mut taken = std::collections::VecDeque::new();
    let mut under_way: std::collections::VecDeque<(Instant, bool, Instant, bool)> =
        std::collections::VecDeque::new();
    while asked.good < rows && lab.seconds() < 3_600.0 {
        while let Some((due, is_good, began, is_probe)) = under_way.front().copied()
            && due <= lab.now
        {
            under_way.pop_front();
            let outcome = if is_good {
                Outcome::Ok
            } else {
                Outcome::TooManyRequests
            };
            asked.good += u32::from(is_good);
            asked.refused += u32::from(!is_good);
            let ended = Ended {
                outcome,
                pause: None,
                began,
                is_retry: false,
                is_probe,
            };
            lab.state.end(lab.now, ended, &lab.limits);
        }
        while under_way.len() < 4
            && let Start::Now { is_probe } = lab.try_start()
        {
            while taken
                .front()
                .is_some_and(|first| *first + window <= lab.now)
            {
                taken.pop_front();
            }
            let is_good = taken.len() < most;
            if is_good {
                taken.push_back(lab.now);
            }
            under_way.push_back((lab.now + 5 * MS, is_good, lab.now, is_probe));
        }
        let waits = lab.state.suspension.as_ref();
        assert!(waits.is_none_or(|one| one.is_waited_for), "{asked:?}");
        lab.now += MS;
    }
    asked.seconds = lab.seconds();
    asked
}

#[test]
fn a_host_that_limits_requests_is_asked_about_as_fast_as_it_likes() {
    for (rows, most, window, seconds, refused) in [
        (300, 20, SECOND, 25.0, 20),
        (3_000, 20, SECOND, 220.0, 150),
        (300, 1, SECOND, 600.0, 150),
        (1_000, 200, SECOND, 12.0, 20),
        (600, 100, 60 * SECOND, 480.0, 90),
        (200, 30, 60 * SECOND, 480.0, 90),
        (100, 1, 2 * SECOND, 600.0, 100),
    ] {
        let asked = limited(rows, most, window);
        assert_eq!(asked.good, rows, "{asked:?}");
        assert!(asked.seconds < seconds, "{asked:?}");
        assert!(asked.refused < refused, "{asked:?}");
    }
}

#[test]
fn a_host_is_asked_faster_again_when_it_limits_no_more() {
    let mut lab = Lab::new(120 * SECOND);
    for _ in 0..40 {
        lab.request(Outcome::Ok);
    }
    assert!(lab.request(Outcome::TooManyRequests).busy);
    lab.pass();
    lab.request(Outcome::Ok);
    let rate = |lab: &Lab| lab.state.pace.unwrap().rate(lab.now);
    assert!((rate(&lab) - 22.0).abs() < 0.1, "{}", rate(&lab));
    assert_eq!(
        lab.try_start(),
        Start::After(Duration::from_secs_f64(1.0 / rate(&lab)))
    );
    lab.now += 60 * SECOND;
    assert!((rate(&lab) - 142.0).abs() < 0.1, "{}", rate(&lab));
}
