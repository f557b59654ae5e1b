//! What `run.json` says about the run.

use std::io;

use capfilt_data::Location;
use serde_json::Value;

use super::ReportError;

/// Facts beyond this are left out: the page is for people.
const MOST_FACTS: usize = 300;
const MOST_CHARS: usize = 200;

/// The run, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The pipeline's name.
    pub(crate) name: Option<String>,
    /// `[keep] threshold`, where the pipeline has one.
    pub(crate) threshold: Option<f32>,
    /// Whether the dataset is left for later: until then every caption stays.
    pub(crate) has_no_dataset: bool,
    /// What people ask for first.
    pub(crate) main: Vec<(&'static str, String)>,
    /// Every fact with its path in the file, like `runtime.version`.
    pub(crate) all: Vec<(String, String)>,
}

/// Reads `run.json`; a folder without it (a run that was interrupted) has no facts.
pub(crate) fn read(output: &Location) -> Result<Facts, ReportError> {
    let path = output.join("run.json");
    let text = match path.read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Facts::default()),
        text => text.map_err(ReportError::Read)?,
    };
    let value: Value =
        serde_json::from_slice(&text).map_err(|source| ReportError::Facts { path, source })?;
    let mut all = Vec::new();
    flatten("", &value, &mut all);
    let at = |pointer| value.pointer(pointer);
    Ok(Facts {
        name: at("/name").and_then(Value::as_str).map(str::to_owned),
        threshold: at("/pipeline/keep/threshold")
            .and_then(Value::as_f64)
            .map(narrow),
        has_no_dataset: at("/pipeline/store/dataset").is_some_and(|when| when == "later"),
        main: main(&value),
        all,
    })
}

fn main(value: &Value) -> Vec<(&'static str, String)> {
    let at = |pointer| value.pointer(pointer).filter(|value| !value.is_null());
    let facts = [
        ("state", at("/state").map(plain)),
        (
            "started",
            at("/timings/started").and_then(Value::as_u64).map(utc),
        ),
        (
            "took",
            at("/timings/seconds")
                .and_then(Value::as_f64)
                .map(|s| format!("{s:.1} s")),
        ),
        ("devices", at("/devices").map(inline)),
        ("precision", at("/precision").map(inline)),
        ("seeds", at("/seeds").map(inline)),
        ("capfilt", at("/versions/capfilt").map(plain)),
        ("ONNX Runtime", at("/versions/runtime").map(plain)),
        ("pipeline digest", at("/digests/pipeline").map(plain)),
    ];
    let present = |(name, fact): (_, Option<String>)| Some((name, cut(&fact?)));
    facts
        .into_iter()
        .filter_map(present)
        .filter(|(_, fact)| !fact.is_empty())
        .collect()
}

/// A list or table in one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(object) => {
            let pairs = object
                .iter()
                .map(|(key, value)| format!("{key}: {}", plain(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => plain(other),
    }
}

/// Seconds since 1970 as a date and time in UTC. Days become dates by the arithmetic of eras: 400
/// years of 146,097 days, each year beginning in March.
fn utc(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (time / 3_600, time / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scores are f32 and so is what bounds them"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

fn flatten(path: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    if facts.len() >= MOST_FACTS {
        return;
    }
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                flatten(&below(key), value, facts);
            }
        }
        Value::Array(values)
            if values
                .iter()
                .any(|value| value.is_object() || value.is_array()) =>
        {
            for (index, value) in values.iter().enumerate() {
                flatten(&below(&(index + 1).to_string()), value, facts);
            }
        }
        Value::Array(values) => {
            let texts: Vec<_> = values.iter().map(plain).collect();
            facts.push((path.to_owned(), cut(&texts.join(", "))));
        }
        Value::Null => {}
        other => facts.push((path.to_owned(), cut(&plain(other)))),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
