//! Sizes and durations as people write them: `"20 MiB"`, `"10s"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A number of bytes, written like `"20 MiB"`, `"1.5 GB"` or `"4096"`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// A span of time above zero, written like `"10s"`, `"250ms"` or `"2m"`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timeout(pub Duration);

/// A text that is no size or no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{got}` is not {expected}")]
pub struct UnitError {
    got: String,
    expected: &'static str,
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Value times unit, rounded down; `None` where the text has another form or does not fit.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start();
    let factor = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?
        .1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut value = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if number.contains('.') {
        // Integer arithmetic: 0.1 MiB must not depend on floating point rounding.
        let digits = u32::try_from(fraction.len())
            .ok()
            .filter(|digits| (1..=9).contains(digits))?;
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
        value = value.checked_add(u64::try_from(part / 10u128.pow(digits)).ok()?)?;
    }
    Some(value)
}

/// The largest unit that divides `value` without a rest.
fn display(value: u64, units: &[(&'static str, u64)]) -> (u64, &'static str) {
    units
        .iter()
        .rev()
        .find(|(name, factor)| {
            !name.is_empty() && value.is_multiple_of(*factor) && value >= *factor
        })
        .map_or(
            (value, units[units.len().min(2) - 1].0),
            |(name, factor)| (value / factor, *name),
        )
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &SIZE_UNITS).map(Self).ok_or_else(|| UnitError {
            got: text.to_owned(),
            expected: "a size; write it like \"20 MiB\" or \"500 kB\"",
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0 B");
        }
        let (value, unit) = display(self.0, &SIZE_UNITS);
        write!(f, "{value} {unit}")
    }
}

impl FromStr for Timeout {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &TIME_UNITS)
            .filter(|ms| *ms > 0)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| UnitError {
                got: text.to_owned(),
                expected: "a duration above zero; write it like \"10s\", \"250ms\" or \"2m\"",
            })
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (value, unit) = if ms.is_multiple_of(1_000) {
            display(ms, &TIME_UNITS)
        } else {
            (ms, "ms")
        };
        write!(f, "{value}{unit}")
    }
}

macro_rules! written_as_text {
    ($unit:ty, $name:literal, $describe:literal, $pattern:literal) => {
        impl TryFrom<String> for $unit {
            type Error = UnitError;

            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }

        impl From<$unit> for String {
            fn from(value: $unit) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $unit {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $describe })
            }
        }
    };
}

written_as_text!(
    ByteSize,
    "ByteSize",
    "A number of bytes, like \"20 MiB\".",
    "^\\s*[0-9]+(\\.[0-9]{1,9})?\\s*([kK]i?|[mM]i?|[gG]i?|[tT]i)?[bB]?\\s*$"
);
written_as_text!(
    Timeout,
    "Timeout",
    "A span of time, like \"10s\" or \"250ms\".",
    "^\\s*[0-9]+(\\.[0-9]{1,9})?\\s*(ms|s|m|h)\\s*$"
);

#[cfg(test)]
mod tests;
