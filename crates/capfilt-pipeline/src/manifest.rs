//! Run manifests: the copy of `run.json` that each run which did something leaves in `runs/`.
//!
//! They are named after the run's start in UTC, `2026-11-24T22-31-05Z.json`, so that the names sort as
//! the runs came.

use std::io;

use capfilt_data::Location;
use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;

use crate::error::RunError;
use crate::record::{RunFile, RunState};

/// Where they lie in an output folder.
const FOLDER: &str = "runs";

/// The form of their names.
const FORM: &str = "%Y-%m-%dT%H-%M-%SZ";

/// Keeps `record` as the manifest of the run that `began` that many seconds after 1970, whole or not
/// at all. For whoever holds the folder's lock: a name that is free stays free.
pub(crate) fn keep(record: &RunFile, output: &Location, began: u64) -> Result<(), RunError> {
    record.write_to(&free_manifest(output, began)?)
}

/// A name for the manifest of something that `began` that many seconds after 1970 and made what is in
/// `output`: a JSON object whose `state` is `finished` tells [`NewOutput`] so.
pub fn free_manifest(output: &Location, began: u64) -> io::Result<Location> {
    let began = i64::try_from(began)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .unwrap_or_default();
    let name = began.format(FORM);
    let folder = output.join(FOLDER);
    let mut path = folder.join(format!("{name}.json"));
    let mut nth = 2;
    while path.is_file()? {
        // In two digits at least, so that names still sort.
        path = folder.join(format!("{name}-{nth:02}.json"));
        nth += 1;
    }
    Ok(path)
}

/// Whether `name` is that of a manifest, without its ending.
fn is_manifest(name: &str) -> bool {
    let start = name.split_inclusive('Z').next().unwrap_or_default();
    NaiveDateTime::parse_from_str(start, FORM).is_ok()
}

/// Follows the manifests of an output folder, to tell when there is new output.
#[derive(Clone, Debug, Default)]
pub struct NewOutput {
    /// The newest manifest that was looked at; none is read twice.
    looked: Option<String>,
    /// The newest of a run that brought its output to an end.
    newest: Option<String>,
}

impl NewOutput {
    /// The name of the newest manifest in `output` of a run that ended as finished or partial.
    pub fn newest(&mut self, output: &Location) -> io::Result<Option<&str>> {
        let folder = output.join(FOLDER);
        let mut names: Vec<String> = folder
            .files()?
            .iter()
            .filter_map(|file| file.to_str()?.strip_suffix(".json"))
            .filter(|name| is_manifest(name) && Some(*name) > self.looked.as_deref())
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        for name in names.iter().rev() {
            if has_output(&folder.join(format!("{name}.json")).read()?) {
                self.newest = Some(name.clone());
                break;
            }
        }
        if let Some(last) = names.pop() {
            self.looked = Some(last);
        }
        Ok(self.newest.as_deref())
    }
}

/// Whether a manifest is that of a run that ended as finished or partial. What is no manifest, or
/// one of a version to come, is none.
fn has_output(manifest: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Ended {
        state: RunState,
    }
    serde_json::from_slice::<Ended>(manifest)
        .is_ok_and(|run| matches!(run.state, RunState::Finished | RunState::Partial))
}

#[cfg(test)]
mod tests;
