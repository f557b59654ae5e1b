//! The requests that an output folder keeps to: `removed.json`.

use std::collections::{BTreeSet, HashSet};

use capfilt_data::Location;
use serde::{Deserialize, Serialize};

use super::request::{Form, Request};
use crate::error::RunError;
use crate::record::now;

/// Name of the record in an output folder.
const NAME: &str = "removed.json";
/// Form of the record that this version writes.
const FORMAT: u32 = 1;

/// Every request that was ever made of an output folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removals {
    entries: Vec<Entry>,
    requests: HashSet<Request>,
    /// The forms that requests have.
    forms: BTreeSet<Form>,
    /// Whether all finished pieces are without what was asked for.
    pub(super) applied: bool,
}

/// The content of `removed.json`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Form of this file.
    format: u32,
    /// Whether all finished pieces are without what was asked for.
    applied: bool,
    /// In the order in which they came.
    requests: Vec<Entry>,
}

/// One request in `removed.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    request: Request,
    /// When it came, in seconds since 1970.
    time: u64,
}

impl Removals {
    /// Those of `output`; none where nobody ever asked.
    pub(crate) fn read(output: &Location) -> Result<Self, RunError> {
        let path = output.join(NAME);
        let text = match path.read() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    applied: true,
                    ..Self::default()
                });
            }
            text => text?,
        };
        let record: Record =
            serde_json::from_slice(&text).map_err(|source| RunError::RemovalRecord {
                path: path.clone(),
                source,
            })?;
        if record.format > FORMAT {
            return Err(RunError::NewerRecord { path });
        }
        Ok(Self {
            requests: record.requests.iter().map(|entry| entry.request).collect(),
            forms: record
                .requests
                .iter()
                .map(|entry| entry.request.form())
                .collect(),
            entries: record.requests,
            applied: record.applied,
        })
    }

    /// Writes them down, whole or not at all.
    pub(super) fn write(&self, output: &Location) -> Result<(), RunError> {
        let path = output.join(NAME);
        let record = Record {
            format: FORMAT,
            applied: self.applied,
            requests: self.entries.clone(),
        };
        let unwritable = |source| RunError::RemovalRecord {
            path: path.clone(),
            source,
        };
        let mut json = serde_json::to_vec_pretty(&record).map_err(unwritable)?;
        json.push(b'\n');
        Ok(path.replace(&json)?)
    }

    /// Adds the requests that are not there yet, as coming now, and says how many those are.
    pub(super) fn add(&mut self, requests: impl IntoIterator<Item = Request>) -> usize {
        let (time, before) = (now(), self.entries.len());
        for request in requests {
            if self.requests.insert(request) {
                self.forms.insert(request.form());
                self.entries.push(Entry { request, time });
            }
        }
        self.entries.len() - before
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether any is of this form.
    pub(super) fn has(&self, form: Form) -> bool {
        self.forms.contains(&form)
    }

    /// Whether this request was made.
    pub(super) fn contains(&self, request: Request) -> bool {
        self.requests.contains(&request)
    }
}
