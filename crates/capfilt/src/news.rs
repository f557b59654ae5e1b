//! Telling that there is new output, for files that `capfilt schedule` starts after others. A run keeps a whole manifest for that;
//! trainings and bootstraps have their own records, and keep a note.

use std::io;

use capfilt_data::Location;
use capfilt_pipeline::free_manifest;
use serde_json::json;

use crate::failure::Failure;

/// Notes in `output` that what `began` that many seconds after 1970 is finished, and made something new.
pub(crate) fn tell(output: &Location, began: u64) -> Result<(), Failure> {
    let refuse = |source| Failure::News {
        output: output.clone(),
        source,
    };
    let path = free_manifest(output, began).map_err(refuse)?;
    let note = json!({ "format": 1, "state": "finished", "started": began });
    path.replace(note.to_string().as_bytes())
        .map_err(|error| refuse(io::Error::other(error)))
}
