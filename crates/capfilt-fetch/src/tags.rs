//! The `X-Robots-Tag` header of an answer.
//!
//! ```text
//! X-Robots-Tag: noai, noimageai                     for everybody
//! X-Robots-Tag: googlebot: noindex, capfilt: noai   each name governs what follows it
//! ```

use reqwest::header::HeaderMap;

/// The name that robots.txt groups and scoped tags address us by.
pub(crate) const PRODUCT: &str = "capfilt";

/// Directives that forbid what a data set of pictures does. `none` is `noindex, nofollow`.
const REFUSING: [&str; 6] = [
    "noai",
    "noimageai",
    "noml",
    "noindex",
    "noimageindex",
    "none",
];

/// Directives that have a value after a colon, which must not be taken for the name of a robot.
const VALUED: [&str; 4] = [
    "unavailable_after",
    "max-snippet",
    "max-image-preview",
    "max-video-preview",
];

/// The directive by which one of the header's values refuses us, if any does.
pub(crate) fn refused_by(headers: &HeaderMap) -> Option<&'static str> {
    headers
        .get_all("x-robots-tag")
        .iter()
        .find_map(|value| refusal(&String::from_utf8_lossy(value.as_bytes())))
}

/// The directive by which one `X-Robots-Tag` value refuses us: one without a robot's name, or one
/// that follows our name or `*`. Case and spaces do not matter; what is not known is ignored.
pub fn refusal(value: &str) -> Option<&'static str> {
    let mut ours = true;
    for part in value.split(',') {
        let directive = match part.split_once(':') {
            Some((name, _)) if is_one_of(name, &VALUED).is_some() => continue,
            Some((name, directive)) => {
                ours = name.trim() == "*" || name.trim().eq_ignore_ascii_case(PRODUCT);
                directive
            }
            None => part,
        };
        if let (true, Some(refusing)) = (ours, is_one_of(directive, &REFUSING)) {
            return Some(refusing);
        }
    }
    None
}

fn is_one_of(text: &str, known: &[&'static str]) -> Option<&'static str> {
    let text = text.trim();
    known
        .iter()
        .find(|one| one.eq_ignore_ascii_case(text))
        .copied()
}

#[cfg(test)]
mod tests;
