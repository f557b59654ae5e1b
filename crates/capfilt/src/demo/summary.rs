//! What came of the demo, in lines for a terminal.

use std::collections::{BTreeMap, BTreeSet};

use capfilt_data::Source;

use crate::report::{Judged, Row, Survey, Why, visible};
use crate::session::Session;

/// Examples of each kind.
const EXAMPLES: usize = 4;
/// A longer text is cut.
const MOST_CHARS: usize = 36;
/// Rows to take the examples from.
const LOOKED_AT: usize = 60;

/// Writes the counts, the reasons and a few examples to stderr.
pub(crate) fn tell(survey: &Survey, session: &Session) {
    for line in lines(survey) {
        session.say(format_args!("{line}"));
    }
}

fn lines(survey: &Survey) -> Vec<String> {
    let fates = survey.fates;
    let counts = [
        ("rows read", survey.rows),
        ("pictures that could be used", fates.all()),
        ("pictures in the dataset", fates.kept()),
        ("  with web text and synthetic caption", fates.both),
        ("  with the web text only", fates.web),
        ("  with the web text replaced", fates.replaced),
        ("  without a web text before", fates.captioned),
    ];
    let mut lines = vec![String::new()];
    lines.extend(counts.map(|(label, number)| format!("{number:>6}  {label}")));

    let mut reasons: BTreeMap<(Option<&str>, &str), (u64, bool)> = BTreeMap::new();
    for (removal, number) in &survey.removals {
        let reason = reasons
            .entry((removal.source.as_deref(), &removal.reason))
            .or_default();
        reason.0 += number;
        reason.1 |= removal.transient;
    }
    lines.push(String::new());
    lines.push("removed".to_owned());
    for ((source, reason), (number, transient)) in reasons {
        let what = source.map_or_else(|| "row".to_owned(), |source| format!("{source} caption"));
        let note = if transient { "may pass by itself" } else { "" };
        lines.push(
            format!("{number:>6}  {what:<20}{reason:<24}{note}")
                .trim_end()
                .to_owned(),
        );
    }

    let mut best = survey.chosen.best(LOOKED_AT);
    // The best caption first: an example is to show what the thing can do.
    let score = |row: &Row| {
        let kept = row
            .judged
            .iter()
            .filter(|one| one.kept)
            .filter_map(|one| one.score);
        kept.max_by(f32::total_cmp).unwrap_or(0.0)
    };
    best.sort_by(|(_, one), (_, other)| score(other).total_cmp(&score(one)));
    for (why, title) in [
        (Why::Best, "kept, with the score"),
        (Why::Replaced, "replaced"),
        (Why::Emptied, "removed"),
    ] {
        let mut seen = BTreeSet::new();
        let examples: Vec<_> = best
            .iter()
            .filter(|(shown, _)| *shown == why)
            .filter(|(_, row)| seen.insert(row.judged.first().map(|judged| judged.text.clone())))
            .take(EXAMPLES)
            .map(|(_, row)| example(row))
            .collect();
        if !examples.is_empty() {
            lines.push(String::new());
            lines.push(title.to_owned());
            lines.extend(examples);
        }
    }
    lines.push(String::new());
    lines
}

/// The texts of a row with their scores, the web text first.
fn example(row: &Row) -> String {
    let text = |judged: &Judged| {
        let score = judged
            .score
            .map_or_else(|| " -- ".to_owned(), |score| format!("{score:.2}"));
        let sign = if judged.kept { '+' } else { '-' };
        let text: String = visible(&judged.text).chars().take(MOST_CHARS).collect();
        format!("{sign} {score} {text}")
    };
    let of = |synthetic: bool| {
        let mut judged = row
            .judged
            .iter()
            .filter(|one| (one.source == Source::Synthetic) == synthetic);
        judged.next().map_or_else(String::new, text)
    };
    format!("  {:<43}  {}", of(false), of(true))
        .trim_end()
        .to_owned()
}
