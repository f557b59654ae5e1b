//! Checkpoints: all that a training needs to go on as if it had not been interrupted.
//!
//! ```text
//! checkpoints/00001000/model.safetensors         parameters, as other programs name them
//!                      state/model.safetensors   what follows them: moments, momentum model, queues
//!                      state.json                step, position in the data, fingerprint of the training file
//! ```
//!
//! A checkpoint is written beside its place, synced, and then renamed: one that is there is whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use capfilt_onnx::{Checkpoint, ImportError, save_tensors};
use serde::{Deserialize, Serialize};

use crate::data::Position;
use crate::fingerprint::Fingerprint;
use crate::learner::Learner;
use crate::optimizer::OptimizerState;
use crate::parameters::{Parameters, Stored, floats};

const STATE: &str = "state.json";

/// What names of folders start with that are not whole yet.
pub(crate) const HALF: &str = ".half-";

/// What `state.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct State {
    /// Steps that are done.
    pub(crate) step: u64,
    /// How far the data is.
    pub(crate) position: Position,
    /// The best that held-out data said so far, and at which step.
    pub(crate) best: Option<(f64, u64)>,
    /// Steps of the optimizer by parameter.
    optimizer: BTreeMap<String, u64>,
    /// Pictures of BLIP's queue, and where the next batch goes.
    queue: Option<(Vec<Option<u64>>, usize)>,
    /// The training file that it belongs to.
    #[serde(flatten)]
    fingerprint: Fingerprint,
}

/// A checkpoint that cannot be written or taken up.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be written.
    #[error("cannot save the checkpoint `{}`; free some space or choose another output, then run again to go on from the last one", path.display())]
    Write {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its tensors cannot be written or read.
    #[error(transparent)]
    Tensors(#[from] ImportError),
    /// It cannot be read.
    #[error("cannot read the checkpoint `{}`: {reason}; remove it to go on from an older one", path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was made by another training file.
    #[error(
        "`{}` was made with another {}: change it back to go on, or choose another output",
        path.display(), keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
    )]
    OtherFile {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        keys: Vec<String>,
    },
}

fn name(step: u64) -> String {
    format!("{step:08}")
}

/// The checkpoints below `folder`, oldest first.
pub(crate) fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let read = |error: std::io::Error| CheckpointError::Read {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(read)?.path();
        let step = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Saves a checkpoint below `folder`.
pub(crate) fn save(
    folder: &Path,
    fingerprint: &Fingerprint,
    learner: &Learner,
    (step, position, best): (u64, &Position, Option<(f64, u64)>),
) -> Result<PathBuf, CheckpointError> {
    let path = folder.join(name(step));
    let failed = |source| CheckpointError::Write {
        path: path.clone(),
        source,
    };
    fs_err::create_dir_all(folder).map_err(failed)?;
    let half = tempfile::Builder::new()
        .prefix(HALF)
        .tempdir_in(folder)
        .map_err(failed)?;
    let tensors = |name: &Path, tensors: Vec<(String, Stored)>| {
        save_tensors(
            name,
            tensors
                .into_iter()
                .map(|(name, stored)| (name, stored.shape, stored.values)),
        )
    };
    let model = half.path().join("model.safetensors");
    let parameters = learner
        .weights
        .stored()
        .map(|(name, stored)| (name.to_owned(), stored));
    tensors(&model, parameters.collect())?;
    let optimizer = learner.optimizer.state();
    let state = half.path().join("state");
    fs_err::create_dir(&state).map_err(failed)?;
    tensors(
        &state.join("model.safetensors"),
        followers(learner, optimizer.tensors),
    )?;
    let queue = learner.momentum.as_ref().map(|momentum| {
        let queue = &momentum.queue;
        (queue.pictures.clone(), queue.next)
    });
    let state = State {
        step,
        position: position.clone(),
        best,
        optimizer: optimizer.steps,
        queue,
        fingerprint: fingerprint.clone(),
    };
    let json = serde_json::to_vec_pretty(&state).map_err(|error| failed(error.into()))?;
    let state = half.path().join(STATE);
    fs_err::write(&state, json).map_err(failed)?;
    fs_err::File::open(&state)
        .and_then(|file| file.sync_all())
        .map_err(failed)?;
    if path.exists() {
        fs_err::remove_dir_all(&path).map_err(failed)?;
    }
    fs_err::rename(half.path(), &path).map_err(failed)?;
    // The folder is gone from where its guard would look for it.
    let _gone = half.keep();
    fs_err::File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(failed)?;
    Ok(path)
}

/// Everything that follows the parameters.
fn followers(learner: &Learner, moments: Vec<(String, TensorData)>) -> Vec<(String, Stored)> {
    let mut all = Vec::new();
    for (name, data) in moments {
        let shape = data.shape().to_vec();
        let values = data.iter::<f32>().collect();
        all.push((format!("optimizer/{name}"), Stored { shape, values }));
    }
    let mut copy = |kind: &str, parameters: &Parameters| {
        all.extend(
            parameters
                .stored()
                .map(|(name, stored)| (format!("{kind}/{name}"), stored)),
        );
    };
    if let Some((average, _)) = &learner.average {
        copy("average", average);
    }
    if let Some(momentum) = &learner.momentum {
        copy("momentum", &momentum.weights);
        for (name, rows) in [
            ("images", &momentum.queue.images),
            ("texts", &momentum.queue.texts),
        ] {
            let stored = Stored {
                shape: rows.dims().to_vec(),
                values: floats(rows.clone()),
            };
            all.push((format!("queue/{name}"), stored));
        }
    }
    all
}

/// What `state.json` of a checkpoint says, if it belongs to the training file that `now` is of.
pub(crate) fn state(path: &Path, now: &Fingerprint) -> Result<State, CheckpointError> {
    let failed = |reason: String| CheckpointError::Read {
        path: path.to_owned(),
        reason,
    };
    let json = fs_err::read(path.join(STATE)).map_err(|error| failed(error.to_string()))?;
    let mut state: State =
        serde_json::from_slice(&json).map_err(|error| failed(error.to_string()))?;
    if !state.fingerprint.is_known() {
        let reason = "it was made by a newer version of this program".to_owned();
        return Err(failed(reason));
    }
    let keys = state.fingerprint.differences(now);
    if !keys.is_empty() {
        let path = path.to_owned();
        return Err(CheckpointError::OtherFile { path, keys });
    }
    if !state.fingerprint.measured_as(now) {
        // Nothing can be better than what was measured on other data.
        state.best = None;
    }
    Ok(state)
}

/// Takes up the checkpoint at `path`.
pub(crate) fn restore(
    path: &Path,
    state: &State,
    learner: &mut Learner,
) -> Result<(), CheckpointError> {
    let failed = |reason: String| CheckpointError::Read {
        path: path.to_owned(),
        reason,
    };
    let open = |path: &Path| -> Result<BTreeMap<String, Stored>, ImportError> {
        let checkpoint = Checkpoint::open(path)?;
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        names
            .into_iter()
            .map(|name| {
                let shape = checkpoint.shape(&name).unwrap_or_default().to_vec();
                let values = checkpoint.read(&name, &shape)?;
                Ok((name, Stored { shape, values }))
            })
            .collect()
    };
    let mut parameters = open(path)?;
    learner
        .weights
        .load(|name| parameters.remove(name))
        .map_err(|error| failed(error.to_string()))?;
    let mut followers = open(&path.join("state"))?;
    let mut take = |kind: &str, into: &mut Parameters| {
        into.load(|name| followers.remove(&format!("{kind}/{name}")))
            .map_err(|error| failed(error.to_string()))
    };
    if let Some((average, _)) = &mut learner.average {
        take("average", average)?;
    }
    if let Some(momentum) = &mut learner.momentum {
        take("momentum", &mut momentum.weights)?;
        let device = learner.device.clone().inner();
        let queue = &mut momentum.queue;
        for (name, rows) in [("images", &mut queue.images), ("texts", &mut queue.texts)] {
            let stored = followers.remove(&format!("queue/{name}"));
            let stored = stored.filter(|stored| stored.shape == rows.dims());
            let stored = stored
                .ok_or_else(|| failed(format!("`queue/{name}` is missing or of another size")))?;
            *rows = Tensor::from_data(TensorData::new(stored.values, rows.dims()), &device);
        }
        let (pictures, next) = state
            .queue
            .clone()
            .ok_or_else(|| failed("it has no queue".to_owned()))?;
        queue.pictures = pictures;
        queue.next = next;
    }
    let tensors = followers
        .into_iter()
        .filter_map(|(name, stored)| {
            let name = name.strip_prefix("optimizer/")?.to_owned();
            Some((name, TensorData::new(stored.values, stored.shape)))
        })
        .collect();
    let memory = OptimizerState {
        tensors,
        steps: state.optimizer.clone(),
    };
    let declarations = learner.weights.declarations();
    let device = learner.device.clone().inner();
    learner
        .optimizer
        .restore(memory, declarations, &device)
        .ok_or_else(|| failed("the memory of its optimizer is not whole".to_owned()))
}

/// Removes what a killed training left half in `folder`.
pub(crate) fn remove_halves(folder: &Path) -> std::io::Result<()> {
    for entry in fs_err::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(HALF) {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Removes all but the last `keep` checkpoints, and the best.
pub(crate) fn prune(folder: &Path, keep: usize, best: Option<u64>) -> Result<(), CheckpointError> {
    let all = list(folder)?;
    let old = all.len().saturating_sub(keep);
    for (step, path) in all.into_iter().take(old) {
        if Some(step) != best {
            fs_err::remove_dir_all(&path)
                .map_err(|source| CheckpointError::Write { path, source })?;
        }
    }
    Ok(())
}
