//! When a file starts by itself: a cron line in a time zone.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, FixedOffset, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Times at which a file starts by itself, written `"0 3 * * *"` (UTC) or
/// `{ cron = "0 3 * * *", time-zone = "Europe/Berlin" }`.
///
/// Where clocks are put forward and back, it does what Vixie cron does. A line without `*` in its
/// minute and hour means times of the day: one that the clock leaves out comes at the first minute
/// after the gap, one that the clock shows twice comes the first time only. A line with a `*` there
/// means whatever the clock shows: nothing in a gap, and twice what is shown twice.
#[derive(Clone, Debug)]
pub struct Schedule {
    line: String,
    zone: Tz,
    /// The line itself; or where it means times of the day, one for each of them: `croner` keeps the
    /// rule above for single times only.
    times: Vec<Cron>,
}

/// A schedule that is none.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The cron line has not the five fields.
    #[error("`schedule`: `{line}` has {found} fields; {EXPECTED}")]
    Fields {
        /// The line.
        line: String,
        /// How many fields it has.
        found: usize,
    },
    /// A field of the cron line cannot be used.
    #[error("`schedule`: `{line}` cannot be used ({reason}); {EXPECTED}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        reason: CronError,
    },
    /// The cron line names times that never come.
    #[error("`schedule`: `{line}` never comes; {EXPECTED}")]
    Never {
        /// The line.
        line: String,
    },
    /// There is no such time zone.
    #[error(
        "`schedule.time-zone`: there is no time zone `{zone}`; expected a name of the IANA data base \
         like `{nearest}`"
    )]
    Zone {
        /// What was given.
        zone: String,
        /// A name that is near it.
        nearest: &'static str,
    },
}

const EXPECTED: &str = "expected five cron fields: minute 0-59, hour 0-23, day of the month 1-31, \
                        month 1-12, day of the week 0-7 from Sunday; like `0 3 * * *`, every night at 3";

impl Schedule {
    /// The times of a cron line in the time zone of an IANA name.
    pub fn new(line: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = zone.parse().map_err(|_unknown| ScheduleError::Zone {
            zone: zone.to_owned(),
            nearest: nearest(zone),
        })?;
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(ScheduleError::Fields {
                line: line.to_owned(),
                found: fields.len(),
            });
        };
        let refuse = |reason| ScheduleError::Line {
            line: line.to_owned(),
            reason,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let parsed = parser.parse(line).map_err(refuse)?;
        if parsed
            .find_next_occurrence(&DateTime::UNIX_EPOCH, false)
            .is_err()
        {
            return Err(ScheduleError::Never {
                line: line.to_owned(),
            });
        }
        let times = if minute.contains('*') || hour.contains('*') {
            vec![parsed]
        } else {
            let mut times = Vec::new();
            for hour in parsed.pattern.hours.values() {
                for minute in parsed.pattern.minutes.values() {
                    let time = format!("{minute} {hour} {day} {month} {weekday}");
                    times.push(parser.parse(&time).map_err(refuse)?);
                }
            }
            times
        };
        Ok(Self {
            line: line.to_owned(),
            zone,
            times,
        })
    }

    /// The first time after `time`; `None` near the end of the calendar only.
    pub fn next(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = time.with_timezone(&self.zone);
        let next = |cron: &Cron| cron.find_next_occurrence(&local, false).ok();
        Some(self.times.iter().filter_map(next).min()?.to_utc())
    }

    /// `time` as clocks in the time zone show it.
    pub fn local(&self, time: DateTime<Utc>) -> DateTime<FixedOffset> {
        time.with_timezone(&self.zone).fixed_offset()
    }
}

/// The name of a time zone that is nearest to `zone`, which may be a city alone.
fn nearest(zone: &str) -> &'static str {
    let zone = zone.to_lowercase();
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let city = name.rsplit('/').next().unwrap_or(&name);
        let of = |name| strsim::damerau_levenshtein(&zone, name);
        of(&name).min(of(city))
    };
    let names = TZ_VARIANTS.iter().map(|zone| zone.name());
    names.min_by_key(|name| distance(name)).unwrap_or("UTC")
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.line, self.zone)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.line, self.zone) == (&other.line, other.zone)
    }
}

/// The long form.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table<'a> {
    /// Minute, hour, day of the month, month, day of the week.
    cron: Cow<'a, str>,
    /// IANA name of the time zone whose clocks count; UTC by default.
    #[serde(default = "utc")]
    time_zone: Cow<'a, str>,
}

const fn utc() -> Cow<'static, str> {
    Cow::Borrowed("UTC")
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScheduleVisitor)
    }
}

struct ScheduleVisitor;

impl<'de> Visitor<'de> for ScheduleVisitor {
    type Value = Schedule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cron line like \"0 3 * * *\", or a table of `cron` and `time-zone`")
    }

    fn visit_str<E: de::Error>(self, line: &str) -> Result<Schedule, E> {
        Schedule::new(line, &utc()).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Schedule::new(&table.cron, &table.time_zone).map_err(de::Error::custom)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.zone == Tz::UTC {
            return serializer.serialize_str(&self.line);
        }
        let table = Table {
            cron: Cow::Borrowed(&self.line),
            time_zone: Cow::Borrowed(self.zone.name()),
        };
        table.serialize(serializer)
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = Table::json_schema(generator);
        json_schema!({
            "description": "Times at which a file starts by itself: a line of five cron fields, in UTC or in a named time zone.",
            "anyOf": [{ "type": "string" }, table]
        })
    }
}

#[cfg(test)]
mod tests;
