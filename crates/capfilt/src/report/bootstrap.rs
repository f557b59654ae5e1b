//! The page of a bootstrap: arms side by side, curves, scores and pictures.

use std::collections::BTreeMap;

use capfilt_bootstrap::{ArmResult, Cell, Results, Summary, summarise};
use capfilt_data::Location;
use maud::{Markup, html};
use serde_json::Value;

use super::{ReportError, look, page, training};

/// Pictures of each arm on the page.
const PICTURES: usize = 12;

/// The page of the bootstrap at `output`; [`None`] if there is none.
pub(super) fn page(output: &Location) -> Result<Option<String>, ReportError> {
    let results = Results::read(output).map_err(ReportError::Bootstrap)?;
    let Some(results) = results else {
        return Ok(None);
    };
    let first = results.results.first().map_or(0, |result| result.seed);
    let of_first_seed: Vec<&ArmResult> = results
        .results
        .iter()
        .filter(|result| result.seed == first)
        .collect();
    let curves = curves(output, &of_first_seed)?;
    let mut problems = Vec::new();
    let cleaned = cleaned(output, &of_first_seed, &mut problems)?;
    let main = html! {
        @if !problems.is_empty() { (page::problems(&problems)) }
        section aria-labelledby="arms" {
            h2 id="arms" { "Arms side by side" }
            p.quiet { "Means over seeds, with the least and the most. Shares are in percent." }
            @for summary in summarise(&results) { (table(&summary)) }
        }
        (roc(&of_first_seed))
        section aria-labelledby="curves" {
            h2 id="curves" { "Losses over steps, seed " (first) }
            @for (name, curve) in &curves { (training::figure(name, curve)) }
        }
        @for part in cleaned { (part) }
    };
    let name = output.to_string();
    let about = "How CapFilt's loop went, and which way of going it pays.";
    Ok(Some(page::whole(&name, about, &main)))
}

fn table(summary: &Summary) -> Markup {
    html! {
        h3 { (page::visible(&summary.title)) }
        div.wide {
            table {
                thead { tr { @for column in &summary.columns { th scope="col" { (page::visible(column)) } } } }
                tbody {
                    @for (name, cells) in &summary.rows {
                        tr {
                            th scope="row" { (page::visible(name)) }
                            @for cell in cells { (number(cell.as_ref())) }
                        }
                    }
                }
            }
        }
    }
}

/// A mean, with the range of the seeds below it.
fn number(cell: Option<&Cell>) -> Markup {
    html! {
        td.number {
            @if let Some(cell) = cell {
                (cell.mean)
                @if let Some(range) = &cell.range { small { (range) } }
            }
        }
    }
}

/// Curves of the weighted sum of the losses of every training that an arm ended with.
fn curves(
    output: &Location,
    results: &[&ArmResult],
) -> Result<BTreeMap<String, training::Curve>, ReportError> {
    let mut curves = BTreeMap::new();
    for result in results {
        let found = training::curves(&output.join(&result.model))?.unwrap_or_default();
        let total = found.into_iter().find(|(name, _)| name == training::TOTAL);
        if let Some((_, curve)) = total {
            curves.insert(format!("{}: weighted sum of losses", result.arm), curve);
        }
    }
    Ok(curves)
}

/// What each run that cleaned web pairs did: scores and pictures.
fn cleaned(
    output: &Location,
    results: &[&ArmResult],
    problems: &mut Vec<String>,
) -> Result<Vec<Markup>, ReportError> {
    let mut parts = Vec::new();
    let mut seen = Vec::new();
    for result in results {
        let Some(data) = result.data.as_ref().filter(|data| !seen.contains(data)) else {
            continue;
        };
        seen.push(data);
        let (facts, mut survey, shown) = look(&output.join(data), PICTURES)?;
        problems.append(&mut survey.problems);
        parts.push(html! {
            section {
                h2 { "Cleaned by " code { (page::visible(&result.arm)) } }
                (page::scores(&facts, &survey))
                (page::pictures(&shown))
            }
        });
    }
    Ok(parts)
}

const SIDE: f64 = 220.0;
const MARGIN: f64 = 24.0;

/// The ROC curves of the filters.
fn roc(results: &[&ArmResult]) -> Markup {
    let curves: BTreeMap<&str, Vec<String>> = results
        .iter()
        .filter_map(|result| {
            let points = result.filter.as_ref()?["roc"].as_array()?;
            let points = points.iter().filter_map(point);
            Some((result.arm.as_str(), points.collect()))
        })
        .collect();
    html! {
        @if !curves.is_empty() {
            section aria-labelledby="roc" {
                h2 id="roc" { "Filters against the truth" }
                p.quiet { "Up: the share of right texts that are kept. Along: the share of wrong ones." }
                @for (arm, points) in &curves {
                    figure {
                        figcaption { "ROC of the filter of " code { (page::visible(arm)) } }
                        svg viewBox=(format!("0 0 {0} {0}", SIDE + MARGIN)) width=(SIDE + MARGIN) role="img" {
                            title { "ROC of " (page::visible(arm)) }
                            line class="axis" x1=(MARGIN) y1=(SIDE) x2=(SIDE + MARGIN) y2=(SIDE) {}
                            line class="axis" x1=(MARGIN) y1="0" x2=(MARGIN) y2=(SIDE) {}
                            polyline class="curve" points=(points.join(" ")) {}
                        }
                    }
                }
            }
        }
    }
}

fn point(point: &Value) -> Option<String> {
    let (wrong, right) = (point[0].as_f64()?, point[1].as_f64()?);
    Some(format!(
        "{:.1},{:.1}",
        MARGIN + SIDE * wrong,
        SIDE * (1.0 - right)
    ))
}
