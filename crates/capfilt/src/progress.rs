//! How a run is getting on: a bar on a terminal, a plain line every few seconds elsewhere.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use capfilt_pipeline::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::logging::LogFormat;
use crate::session::Session;

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How many reasons are named.
const REASONS_SHOWN: usize = 4;

/// Does `work` and shows how it is getting on.
pub(crate) async fn shown<T>(
    work: impl Future<Output = T>,
    progress: watch::Receiver<Progress>,
    session: &Session,
) -> T {
    let bar = session.draws_progress().then(|| Bar::new(session));
    let done = tokio::select! {
        done = work => done,
        never = follow(progress, session, bar.as_ref()) => match never {},
    };
    if let Some(bar) = bar {
        bar.bar.finish_and_clear();
    }
    done
}

/// Shows every change, for ever.
async fn follow(
    mut progress: watch::Receiver<Progress>,
    session: &Session,
    bar: Option<&Bar>,
) -> Infallible {
    let started = Instant::now();
    let mut every = tokio::time::interval(if bar.is_some() {
        Duration::from_millis(200)
    } else {
        LINE_EVERY
    });
    let at_start = progress.borrow_and_update().clone();
    // The first tick comes at once, when there is nothing to tell.
    every.tick().await;
    loop {
        every.tick().await;
        let state = progress.borrow_and_update().clone();
        let pace = Pace::new(&at_start, &state, started.elapsed());
        match (bar, session.log_format()) {
            (Some(bar), _) => bar.show(&state, &pace),
            (None, LogFormat::Text) => session.say(format_args!("{}", line(&state, &pace))),
            (None, LogFormat::Json) => log(&state, &pace),
        }
    }
}

/// How fast a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    rows_per_second: f64,
    /// `None` until there is something to judge by.
    left: Option<Duration>,
}

impl Pace {
    /// The pace from the state at the start to the state after `elapsed`.
    fn new(at_start: &Progress, now: &Progress, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        let rows = as_f64(now.rows_done.saturating_sub(at_start.rows_done));
        let rows_per_second = if seconds > 0.0 { rows / seconds } else { 0.0 };
        let rows_left = as_f64(now.rows_total.saturating_sub(now.rows_done));
        let left = (rows_per_second > 0.0)
            .then(|| Duration::try_from_secs_f64(rows_left / rows_per_second).ok())
            .flatten();
        Self {
            rows_per_second,
            left,
        }
    }
}

/// A count as a number to calculate with; exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "shown to people with three digits"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// The share of the judged captions that were kept, in per cent.
fn kept_percent(progress: &Progress) -> Option<f64> {
    let judged = progress.captions_kept + progress.captions_removed;
    (judged > 0).then(|| 100.0 * as_f64(progress.captions_kept) / as_f64(judged))
}

/// The commonest reasons, commonest first.
fn top_reasons(progress: &Progress) -> Vec<(&str, u64)> {
    let mut reasons: Vec<(&str, u64)> = progress
        .reasons
        .iter()
        .map(|(reason, count)| (reason.as_str(), *count))
        .collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    reasons.truncate(REASONS_SHOWN);
    reasons
}

/// Rows, speed, kept share and time left.
fn details(progress: &Progress, pace: &Pace) -> String {
    let mut text = format!(
        "{} rows, {:.1} rows/s",
        progress.rows_done, pace.rows_per_second
    );
    if let Some(kept) = kept_percent(progress) {
        // Writing to a String does not fail.
        let _infallible = write!(text, ", {kept:.0} % kept");
    }
    if let Some(left) = pace.left {
        let _infallible = write!(text, ", {} left", clock(left));
    }
    text
}

/// `not-found 12, timed-out 3`.
fn reasons(progress: &Progress) -> String {
    let named: Vec<String> = top_reasons(progress)
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    named.join(", ")
}

/// The plain line.
fn line(progress: &Progress, pace: &Pace) -> String {
    let mut text = format!(
        "piece {} of {}: {}",
        progress.pieces_done,
        progress.pieces_total,
        details(progress, pace)
    );
    let reasons = reasons(progress);
    if !reasons.is_empty() {
        let _infallible = write!(text, "; removed: {reasons}");
    }
    text
}

/// The same as fields of a log line.
fn log(progress: &Progress, pace: &Pace) {
    tracing::info!(
        pieces_done = progress.pieces_done,
        pieces_total = progress.pieces_total,
        rows_done = progress.rows_done,
        rows_total = progress.rows_total,
        rows_per_second = pace.rows_per_second,
        captions_kept = progress.captions_kept,
        captions_removed = progress.captions_removed,
        seconds_left = pace.left.map(|left| left.as_secs()),
        reasons = reasons(progress),
        "progress"
    );
}

/// Hours, minutes and seconds, as many as needed.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// The bar on a terminal, with a second line for the reasons.
struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new(session: &Session) -> Self {
        let bar = session.terminal().add(ProgressBar::new(0));
        let style =
            ProgressStyle::with_template("{bar:24} {pos}/{len} pieces  {prefix}\n{wide_msg}")
                .unwrap_or_else(|_never| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━━─"));
        Self { bar }
    }

    fn show(&self, progress: &Progress, pace: &Pace) {
        self.bar.set_length(progress.pieces_total);
        self.bar.set_position(progress.pieces_done);
        self.bar.set_prefix(details(progress, pace));
        self.bar.set_message(reasons(progress));
        self.bar.tick();
    }
}

#[cfg(test)]
mod tests;
