//! The TDM Reservation Protocol: rights to text and data mining that somebody keeps.
//!
//! An origin says so in `/.well-known/tdmrep.json`, an answer in its `tdm-reservation` header; the
//! header has the last word (W3C `TDMRep`, final report of 2024-05-10).

use reqwest::header::HeaderMap;
use robotxt::Robots;
use serde::Deserialize;

use crate::tags::PRODUCT;

/// What the `tdm-reservation` header of an answer says: 1 is reserved, 0 is not, anything else is a
/// mistake and counts as not said.
pub(crate) fn header(headers: &HeaderMap) -> Option<bool> {
    let mut said = None;
    for value in headers.get_all("tdm-reservation") {
        match value.as_bytes().trim_ascii() {
            b"1" => return Some(true),
            b"0" => said = Some(false),
            _ => {}
        }
    }
    said
}

/// The rules of a `tdmrep.json`.
#[derive(Clone, Debug)]
pub struct Reservations {
    rules: Robots,
}

#[derive(Deserialize)]
struct Rule {
    location: String,
    #[serde(rename = "tdm-reservation")]
    reservation: serde_json::Value,
}

impl Reservations {
    /// Reads the content of a `tdmrep.json`. A rule that cannot be read is skipped: the protocol has
    /// what is not well said count as not said.
    pub fn parse(json: &[u8]) -> Self {
        let rules: Vec<serde_json::Value> = serde_json::from_slice(json).unwrap_or_default();
        // Locations are path patterns of robots.txt, so its parser and matcher judge them: the
        // longest pattern that matches decides.
        let mut text = format!("user-agent: {PRODUCT}\n");
        for rule in rules {
            let Ok(rule) = serde_json::from_value::<Rule>(rule) else {
                continue;
            };
            let verb = match &rule.reservation {
                value if is(value, 1) => "disallow",
                value if is(value, 0) => "allow",
                _ => continue,
            };
            let plain = |c: char| !c.is_control() && c != '#' && !c.is_whitespace();
            if rule.location.starts_with(['/', '*']) && rule.location.chars().all(plain) {
                text.extend([verb, ": ", &rule.location, "\n"]);
            }
        }
        Self {
            rules: Robots::parse(text.as_bytes(), PRODUCT),
        }
    }

    /// An origin that keeps nothing.
    pub(crate) fn none() -> Self {
        Self {
            rules: Robots::allow_all(),
        }
    }

    /// Whether the rights to `path_and_query` are reserved.
    pub fn reserve(&self, path_and_query: &str) -> bool {
        self.rules
            .matching_rule(path_and_query)
            .is_some_and(|rule| !rule.is_allow())
    }

    /// Bytes that the rules take in memory, roughly.
    pub(crate) fn size(&self) -> usize {
        crate::robots::size(&self.rules)
    }
}

/// Whether a JSON value is the number, or the text of it, which files in the wild have.
fn is(value: &serde_json::Value, number: u64) -> bool {
    value.as_u64() == Some(number) || value.as_str() == Some(&*number.to_string())
}

#[cfg(test)]
mod tests;
