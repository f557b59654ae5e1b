//! The HTML.

use capfilt_data::Source;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chosen::{Judged, Why};
use super::facts::Facts;
use super::histogram;
use super::pictures::Shown;
use super::survey::{Removal, Survey, Tally};

const STYLE: &str = include_str!("style.css");

/// No script, nothing from elsewhere: all that the page needs is in it.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'";

/// The whole page of a run.
pub(crate) fn render(facts: &Facts, survey: &Survey, shown: &[Shown]) -> String {
    let name = facts.name.as_deref().unwrap_or("a run");
    let main = html! {
        @if !survey.problems.is_empty() { (problems(&survey.problems)) }
        (numbers(survey))
        (fates(survey))
        (removals(survey))
        (scores(facts, survey))
        (pictures(shown))
        (run(facts))
    };
    whole(name, "What CapFilt kept, replaced and removed.", &main)
}

/// A page called `name` that has `main` in it.
pub(crate) fn whole(name: &str, about: &str, main: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { "capfilt report: " (visible(name)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (visible(name)) }
                    p { (about) }
                }
                main { (main) }
                footer { "Written by capfilt " (env!("CARGO_PKG_VERSION")) "." }
            }
        }
    };
    page.into_string()
}

/// A text as it can be shown: characters that would change how others look are replaced.
pub(crate) fn visible(text: &str) -> String {
    let disturbs = |c: char| {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    text.chars()
        .map(|c| {
            if c.is_whitespace() {
                ' '
            } else if disturbs(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// With a comma after every third digit.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows; only their share is shown"
)]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

pub(super) fn problems(problems: &[String]) -> Markup {
    html! {
        section.problems aria-labelledby="problems" {
            h2 id="problems" { "Not everything could be read" }
            ul { @for problem in problems { li { (visible(problem)) } } }
        }
    }
}

fn numbers(survey: &Survey) -> Markup {
    let tally = |source| survey.captions.get(&source).copied().unwrap_or_default();
    let kept: u64 = survey.captions.values().map(|tally| tally.kept).sum();
    let fates = survey.fates;
    let number = |value: u64, label: &str, of: Option<(u64, &str)>| {
        html! {
            div {
                dt {
                    (label)
                    @if let Some((whole, what)) = of {
                        span { (format!("{:.1} %", percent(value, whole))) " of " (what) }
                    }
                }
                dd { (count(value)) }
            }
        }
    };
    let judged = |source| {
        let Tally { kept, removed } = tally(source);
        kept + removed
    };
    html! {
        section aria-labelledby="numbers" {
            h2 id="numbers" { "In numbers" }
            dl.numbers {
                (number(survey.rows, "rows read", None))
                (number(fates.all(), "pictures that could be used", Some((survey.rows, "the rows"))))
                (number(fates.kept(), "pictures in the dataset", Some((fates.all(), "the usable ones"))))
                (number(kept, "captions kept", None))
                (number(tally(Source::Web).kept, "web texts kept", Some((judged(Source::Web), "them"))))
                @if tally(Source::Human) != Tally::default() {
                    (number(tally(Source::Human).kept, "human captions kept", Some((judged(Source::Human), "them"))))
                }
                (number(tally(Source::Synthetic).kept, "synthetic captions kept", Some((judged(Source::Synthetic), "them"))))
            }
        }
    }
}

fn fates(survey: &Survey) -> Markup {
    let fates = survey.fates;
    let parts = [
        ("both", "web text and synthetic caption kept", fates.both),
        ("web", "only the web text kept", fates.web),
        (
            "replaced",
            "web text replaced by a synthetic caption",
            fates.replaced,
        ),
        ("captioned", "had no web text, captioned", fates.captioned),
        ("none", "no caption left", fates.none),
    ];
    let ends = parts.iter().scan(0, |end, (.., number)| {
        *end += number;
        Some(*end)
    });
    html! {
        section aria-labelledby="fates" {
            h2 id="fates" { "What became of the pictures" }
            svg.fates viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
                @for ((class, _, number), end) in parts.into_iter().zip(ends) {
                    rect class=(class) x=(percent(end - number, fates.all())) y="0"
                        width=(percent(number, fates.all())) height="6" {}
                }
            }
            ul.legend {
                @for (class, label, number) in parts.into_iter().filter(|(.., number)| *number > 0) {
                    li {
                        span class=(format!("key {class}")) aria-hidden="true" {}
                        (label) ": "
                        strong { (count(number)) }
                        (format!(" ({:.1} %)", percent(number, fates.all())))
                    }
                }
            }
        }
    }
}

fn removals(survey: &Survey) -> Markup {
    let (mut rows, mut captions): (Vec<_>, Vec<_>) = survey
        .removals
        .iter()
        .partition(|(removal, _)| removal.source.is_none());
    for list in [&mut rows, &mut captions] {
        list.sort_by_key(|(removal, number)| (std::cmp::Reverse(**number), (*removal).clone()));
    }
    html! {
        section aria-labelledby="removals" {
            h2 id="removals" { "What was removed, and why" }
            div.columns {
                (reasons("Whole rows", &rows, false))
                (reasons("Captions", &captions, true))
            }
        }
    }
}

fn reasons(caption: &str, removals: &[(&Removal, &u64)], sources: bool) -> Markup {
    let most = removals
        .iter()
        .map(|(_, number)| **number)
        .max()
        .unwrap_or(1);
    html! {
        div {
            h3 { (caption) }
            @if removals.is_empty() {
                p.quiet { "None." }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { "reason" }
                            @if sources { th scope="col" { "source" } }
                            th scope="col" { "stage" }
                            th.number scope="col" { "count" }
                            td aria-hidden="true" {}
                        }
                    }
                    tbody {
                        @for (removal, number) in removals {
                            tr {
                                th scope="row" {
                                    code { (visible(&removal.reason)) }
                                    @if removal.transient {
                                        " " small title="trying again may help" { "may pass" }
                                    }
                                }
                                @if sources { td { (visible(removal.source.as_deref().unwrap_or(""))) } }
                                td { (visible(removal.stage.as_deref().unwrap_or(""))) }
                                td.number { (count(**number)) }
                                td.bar aria-hidden="true" {
                                    svg viewBox="0 0 100 8" preserveAspectRatio="none" {
                                        rect width=(percent(**number, most)) height="8" {}
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn scores(facts: &Facts, survey: &Survey) -> Markup {
    // The threshold is about the one scorer there is, and its first kind of score.
    let judged_by = survey.scores.keys().next();
    html! {
        section aria-labelledby="scores" {
            h2 id="scores" { "Scores" }
            @if survey.scores.is_empty() { p.quiet { "No stage gave scores." } }
            div.columns {
                @for (key, histograms) in &survey.scores {
                    @let threshold = facts.threshold.filter(|_| judged_by == Some(key));
                    figure {
                        figcaption { (key.1.as_str()) ", by " code { (visible(&key.0)) } }
                        (histogram::draw(key.1, histograms, threshold))
                        p.quiet {
                            @for (index, (source, histogram)) in histograms.iter().enumerate() {
                                @if index > 0 { "; " }
                                (source.as_str()) ": " (count(histogram.count))
                                (format!(", mean {:.2}", histogram.mean().unwrap_or(0.0)))
                            }
                            ". The height of a bar is its share of that source."
                        }
                    }
                }
            }
        }
    }
}

const fn heading(why: Why) -> (&'static str, &'static str) {
    match why {
        Why::Borderline => (
            "Borderline",
            "A score lies near the threshold; the nearest first.",
        ),
        Why::Replaced => (
            "Replaced",
            "The web text went and a synthetic caption stayed; the lowest score first.",
        ),
        Why::Emptied => (
            "Nothing left",
            "No caption stayed; the lowest scores first.",
        ),
        Why::Best => (
            "Best web texts",
            "The web text stayed; the highest score first.",
        ),
    }
}

pub(super) fn pictures(shown: &[Shown]) -> Markup {
    html! {
        section aria-labelledby="pictures" {
            h2 id="pictures" { "Pictures" }
            @if shown.is_empty() { p.quiet { "No picture got this far." } }
            @for group in shown.chunk_by(|one, next| one.why == next.why) {
                @let (title, about) = heading(group[0].why);
                h3 { (title) }
                p.quiet { (about) }
                ul.cards { @for one in group { li { (card(one)) } } }
            }
        }
    }
}

fn card(shown: &Shown) -> Markup {
    let row = &shown.row;
    let link = row.url.as_deref().filter(|url| {
        let scheme = url
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        matches!(scheme.as_deref(), Some("http" | "https")) && url.len() < 2_000
    });
    let id = visible(&Judged::cut(&row.id));
    html! {
        article {
            div.picture {
                @match &shown.picture {
                    // The texts beside it say what it shows, as far as anybody knows.
                    Ok(url) => img src=(url) alt=(format!("picture of row {id}")) loading="lazy" decoding="async";
                    Err(reason) => span { (reason) }
                }
            }
            dl {
                @for judged in &row.judged {
                    dt {
                        span class=(format!("source {}", judged.source.as_str())) { (judged.source.as_str()) }
                        span class=(if judged.kept { "kept" } else { "removed" }) {
                            @if judged.kept { "✓ kept" } @else { "✕ removed" }
                        }
                        @match (judged.score, &row.text_dropped_by) {
                            (Some(score), _) => span.score { (format!("{score:.3}")) },
                            (None, Some(stage)) if judged.source == Source::Web => {
                                span.score { "by " (visible(stage)) }
                            }
                            (None, _) => {}
                        }
                    }
                    dd class=[(!judged.kept).then_some("removed")] { bdi { (visible(&judged.text)) } }
                }
                @if row.judged.is_empty() { dd { "no text" } }
            }
            p.id {
                @match link {
                    Some(url) => a href=(url) rel="noreferrer noopener nofollow" { (id) },
                    None => (id),
                }
                @if let Some((width, height)) = row.size { " · " (width) " × " (height) }
            }
        }
    }
}

fn run(facts: &Facts) -> Markup {
    html! {
        section aria-labelledby="run" {
            h2 id="run" { "The run" }
            @if facts.all.is_empty() {
                p.quiet { "There is no " code { "run.json" } " yet: the run did not finish." }
            } @else {
                table.facts {
                    tbody {
                        @for (name, value) in &facts.main {
                            tr { th scope="row" { (name) } td { (visible(value)) } }
                        }
                    }
                }
                details {
                    summary { (facts.all.len()) " facts from " code { "run.json" } }
                    table.facts {
                        tbody {
                            @for (name, value) in &facts.all {
                                tr { th scope="row" { (visible(name)) } td { (visible(value)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
