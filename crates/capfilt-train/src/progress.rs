//! What a training says of itself: `progress.jsonl`, a line for some steps and for every
//! measurement of held-out data.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use capfilt_data::Location;
use serde::{Deserialize, Serialize};

use crate::held_out::HeldOutNumbers;

/// A line about a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepLine {
    /// Steps that are done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Times that the data was gone through.
    pub epoch: f64,
    /// Pairs learnt from.
    pub samples: u64,
    /// Losses of the step by name.
    pub losses: BTreeMap<String, f32>,
    /// Their weighted sum.
    pub total: f32,
    /// Length of the gradient before clipping.
    pub gradient_norm: f32,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Pairs per second since the last line.
    pub samples_per_second: f64,
    /// Rows that could not be used so far.
    pub unusable: usize,
    /// Seconds that are left at this pace.
    pub seconds_left: f64,
}

/// A line about held-out data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldOutLine {
    /// Steps that are done.
    pub step: u64,
    /// What was measured.
    pub held_out: HeldOutNumbers,
}

/// The file, to which lines are added.
pub(crate) struct ProgressFile {
    path: PathBuf,
}

#[derive(Deserialize)]
struct AnyLine {
    step: u64,
}

impl ProgressFile {
    /// Lines after step `step` are of a run that was cut off after its last checkpoint: they go.
    pub(crate) fn open(path: &Path, step: u64) -> std::io::Result<Self> {
        let old = match fs_err::read_to_string(path) {
            Ok(old) => old,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let stays =
            |line: &&str| serde_json::from_str::<AnyLine>(line).is_ok_and(|line| line.step <= step);
        let kept: String = old
            .lines()
            .filter(stays)
            .flat_map(|line| [line, "\n"])
            .collect();
        if kept != old || !path.exists() {
            let file = Location::File(path.to_owned());
            file.replace(kept.as_bytes())
                .map_err(std::io::Error::other)?;
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    pub(crate) fn add(&self, line: &impl Serialize) -> std::io::Result<()> {
        let mut json = serde_json::to_string(line)?;
        json.push('\n');
        let mut file = fs_err::OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(json.as_bytes())
    }
}
