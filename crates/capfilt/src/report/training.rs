//! The page of a training: curves of what `progress.jsonl` says.

use std::collections::BTreeMap;
use std::io;

use capfilt_data::Location;
use maud::{Markup, html};
use serde_json::Value;

use super::{ReportError, page};
use crate::curve::thinned;

/// What `capfilt train` writes.
const PROGRESS: &str = "progress.jsonl";

/// Points of a curve on the page; of more, those of equal distance are drawn.
const POINTS: usize = 1_000;

/// Steps and values, in order.
pub(super) type Curve = Vec<(f64, f64)>;

/// Name of the curve of all losses together.
pub(super) const TOTAL: &str = "loss: weighted sum";

/// The page of the training at `output`; [`None`] if there is no training.
pub(super) fn page(output: &Location) -> Result<Option<String>, ReportError> {
    let Some(curves) = curves(output)? else {
        return Ok(None);
    };
    let name = output.to_string();
    let main = html! {
        section {
            h2 { "Curves over steps" }
            @for (name, curve) in &curves { (figure(name, curve)) }
        }
    };
    Ok(Some(page::whole(&name, "How a training went.", &main)))
}

/// The curves of the training at `output` by name; [`None`] if there is no training.
pub(super) fn curves(output: &Location) -> Result<Option<BTreeMap<String, Curve>>, ReportError> {
    let path = output.join(PROGRESS);
    let bytes = match path.read() {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ReportError::Read(error)),
    };
    let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
    for line in bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line: Value = serde_json::from_slice(line).map_err(|source| ReportError::Facts {
            path: path.clone(),
            source,
        })?;
        let Some(step) = line["step"].as_f64() else {
            continue;
        };
        for (name, value) in values(&line) {
            curves.entry(name).or_default().push((step, value));
        }
    }
    Ok(Some(curves))
}

/// Names and numbers of a line that make curves.
fn values(line: &Value) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let mut add = |name: &str, value: &Value| {
        if let Some(value) = value.as_f64().filter(|value| value.is_finite()) {
            found.push((name.to_owned(), value));
        }
    };
    for (name, loss) in line["losses"].as_object().into_iter().flatten() {
        add(&format!("loss: {name}"), loss);
    }
    for (key, name) in [
        ("total", TOTAL),
        ("gradient-norm", "length of the gradient"),
        ("learning-rate", "learning rate"),
        ("samples-per-second", "pairs per second"),
    ] {
        add(name, &line[key]);
    }
    let held_out = &line["held-out"];
    add("held out: texts found, R@1", &held_out["text-recall"][0]);
    add(
        "held out: pictures found, R@1",
        &held_out["image-recall"][0],
    );
    add("held out: CIDEr-D", &held_out["cider-d"]);
    found
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 130.0;
/// Room for the numbers left and below.
const LEFT: f64 = 70.0;
const BELOW: f64 = 20.0;
const TOP: f64 = 8.0;

pub(super) fn figure(name: &str, curve: &Curve) -> Markup {
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (first, last) = ends(&mut curve.iter().map(|point| point.0));
    let (low, high) = ends(&mut curve.iter().map(|point| point.1));
    let along = |step: f64| LEFT + (step - first) / (last - first).max(1.0) * (WIDTH - LEFT - 4.0);
    let up = |value: f64| {
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        };
        TOP + (1.0 - share) * (HEIGHT - TOP - BELOW)
    };
    let points: Vec<String> = thinned(curve, POINTS)
        .map(|&(step, value)| format!("{:.1},{:.1}", along(step), up(value)))
        .collect();
    let floor = HEIGHT - BELOW;
    let now = curve.last().map_or(0.0, |point| point.1);
    html! {
        figure {
            figcaption { (page::visible(name)) ", at last " (number(now)) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) role="img" {
                title { (page::visible(name)) }
                line class="axis" x1=(LEFT) y1=(floor) x2=(WIDTH) y2=(floor) {}
                text x="0" y=(TOP + 8.0) { (number(high)) }
                text x="0" y=(floor) { (number(low)) }
                text x=(LEFT) y=(HEIGHT - 4.0) { (first) }
                text x=(WIDTH - 4.0) y=(HEIGHT - 4.0) text-anchor="end" { (last) }
                @if curve.len() == 1 {
                    circle class="curve" cx=(along(first)) cy=(up(low)) r="3" {}
                } @else {
                    polyline class="curve" points=(points.join(" ")) {}
                }
            }
        }
    }
}

/// Four digits that tell.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-2..1e5).contains(&size) {
        format!("{value:.2e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_lines_gets_a_curve() {
        let folder = tempfile::TempDir::new().unwrap();
        let lines = r#"{"step":10,"losses":{"itc":3.5},"total":3.5,"gradient-norm":1.0,"learning-rate":1e-3,"samples-per-second":200.0}
{"step":10,"held-out":{"pictures":4,"text-recall":[0.25,0.5,1.0],"image-recall":[0.5,0.5,1.0]}}
{"step":20,"losses":{"itc":2.5},"total":2.5,"gradient-norm":0.5,"learning-rate":5e-4,"samples-per-second":210.0}
"#;
        fs_err::write(folder.path().join(PROGRESS), lines).unwrap();
        let output = Location::File(folder.path().to_owned());
        let page = page(&output).unwrap().unwrap();
        assert_eq!(page.matches("<figure>").count(), 7);
        assert!(page.contains("loss: itc, at last 2.500"), "{page}");
        assert!(page.contains("learning rate, at last 5.00e-4"), "{page}");
        // From the highest on the left to the lowest on the right.
        assert!(page.contains(r#"points="70.0,8.0 516.0,110.0""#), "{page}");
    }

    #[test]
    fn a_folder_without_a_training_has_no_such_page() {
        let folder = tempfile::TempDir::new().unwrap();
        assert!(
            page(&Location::File(folder.path().to_owned()))
                .unwrap()
                .is_none()
        );
    }
}
