//! Training files.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use capfilt_data::shards_below;
use capfilt_image::Preprocess;
use capfilt_onnx::default_preprocess;
use capfilt_schedule::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{DataError, DataSource, Loading};
use crate::family::Family;
use crate::learning_rate::LearningRate;
use crate::model::sizes::{SizeError, check_size};
use crate::number::{Number, Positive, Share};
use crate::optimizer::OptimizerConfig;

#[cfg(test)]
mod tests;

/// A training file: what is trained, on what, how, and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrainFile {
    /// Folder of checkpoints, progress and the finished model. Relative to this file, as all paths.
    #[serde(default)]
    pub output: Option<PathBuf>,
    /// When `capfilt schedule` starts it: five cron fields in UTC, or a table with a time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Another file, relative to this one: `capfilt schedule` starts this one when that one has new output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PathBuf>,
    /// Seed of everything that is drawn.
    #[serde(default)]
    pub seed: u64,
    /// `tokenizer.json` or `vocab.txt`, or a folder with one. Without it the tokenizer of `start`,
    /// else uncased BERT's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// The model.
    pub model: Family,
    /// Where its parameters start.
    #[serde(default)]
    pub start: Start,
    /// What it learns from.
    pub data: Vec<DataSource>,
    /// How samples are made.
    #[serde(default)]
    pub loading: Loading,
    /// How long it learns, and from how much at a time.
    pub training: Training,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate.
    pub learning_rate: LearningRate,
    /// What is kept on the way.
    #[serde(default)]
    pub checkpoints: Checkpoints,
    /// Data that it does not learn from and is measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
}

/// Where parameters start; those that no checkpoint has are drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Start {
    /// A checkpoint of the same family: a Hugging Face or `open_clip` folder, an original BLIP
    /// `.pth`, or a checkpoint of an earlier training.
    pub model: Option<PathBuf>,
    /// A vision transformer for the image encoder of a BLIP, under timm's names (`DeiT` and `ViT` on
    /// `ImageNet`).
    pub vision: Option<PathBuf>,
    /// A BERT for the text layers of a BLIP, under Hugging Face's names.
    pub text: Option<PathBuf>,
}

/// How long a model learns, and from how much at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Training {
    /// Pairs that are contrasted with each other.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch: NonZeroUsize,
    /// Batches whose gradients are averaged for a step.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub accumulate: NonZeroUsize,
    /// Steps. One of `steps` and `epochs` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<NonZeroU64>,
    /// Times that all data is gone through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<Positive>,
    /// Length that the gradient of all parameters is shortened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<Positive>,
    /// How much of itself a moving average of the parameters keeps in a step. With it, the average is
    /// what is measured and exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<Share>,
    /// Compute activations again in the backward pass instead of keeping them: less memory, more
    /// time.
    #[serde(default)]
    pub recompute: bool,
    /// Steps between two lines of progress.
    #[serde(default = "ten")]
    pub log_every: NonZeroU64,
    /// What computes.
    #[serde(default)]
    pub device: DeviceName,
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceName {
    /// All cores of the processor.
    #[default]
    Cpu,
}

/// What is kept on the way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Checkpoints {
    /// Steps between two checkpoints.
    pub every: NonZeroU64,
    /// How many of the last are kept. The best by `[held-out]` is kept beside them.
    pub keep: NonZeroUsize,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self {
            every: thousand(),
            keep: NonZeroUsize::MIN.saturating_add(1),
        }
    }
}

/// Data that a model is measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HeldOut {
    /// Where it is.
    pub data: DataSource,
    /// Steps between two measurements; at the end there is one in any case.
    #[serde(default = "thousand")]
    pub every: NonZeroU64,
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

const fn ten() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(9)
}

const fn thousand() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(999)
}

/// A training file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the training file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, or has keys or values that are not known.
    #[error("`{}` is no training file: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A size does not fit the others.
    #[error("`{}`: {source}", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: SizeError,
    },
    /// A value makes no sense.
    #[error("`{}`: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl TrainFile {
    /// Reads and checks the training file at `path`. Its paths are relative to its own folder;
    /// `output`, which counts instead of the file's, to the current one.
    pub fn load(path: &Path, output: Option<&Path>) -> Result<Self, FileError> {
        let text = fs_err::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut file: Self = toml::from_str(&text).map_err(|error| FileError::Syntax {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        file.anchor(path.parent().unwrap_or(Path::new("")));
        if let Some(output) = output {
            file.output = Some(output.to_owned());
        }
        file.check(path)?;
        Ok(file)
    }

    /// Makes the paths of the file independent of the current folder.
    fn anchor(&mut self, folder: &Path) {
        let Start {
            model,
            vision,
            text,
        } = &mut self.start;
        let own = [&mut self.output, &mut self.after, &mut self.tokenizer];
        let paths = own.into_iter().chain([model, vision, text]);
        for path in paths.flatten() {
            *path = folder.join(&*path);
        }
        let held_out = self.held_out.iter_mut().map(|held_out| &mut held_out.data);
        for source in self.data.iter_mut().chain(held_out) {
            source.shards = shards_below(folder, &source.shards);
        }
    }

    fn check(&self, path: &Path) -> Result<(), FileError> {
        let size = |source| FileError::Size {
            path: path.to_owned(),
            source,
        };
        let value = |reason: &str| FileError::Value {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let training = &self.training;
        self.model.check(training.batch.get()).map_err(size)?;
        check_size("training.batch", training.batch.get()).map_err(size)?;
        check_size("training.accumulate", training.accumulate.get()).map_err(size)?;
        match (training.steps, training.epochs) {
            (Some(_), None) | (None, Some(_)) => {}
            (Some(_), Some(_)) => {
                return Err(value(
                    "`training.steps` and `training.epochs` are both given: give one",
                ));
            }
            (None, None) => {
                return Err(value(
                    "neither `training.steps` nor `training.epochs` is given: give one",
                ));
            }
        }
        let is_blip = matches!(self.model, Family::Blip(_));
        if !is_blip && (self.start.vision.is_some() || self.start.text.is_some()) {
            return Err(value(
                "`start.vision` and `start.text` are for BLIP only: use `start.model`",
            ));
        }
        if self.output.is_none() {
            return Err(value(
                "there is no `output`: name a folder here or with `--output`",
            ));
        }
        Ok(())
    }

    /// How the model wants its pictures.
    pub fn preprocess(&self) -> Preprocess {
        let size = self.model.vision().image_size;
        default_preprocess(u32::try_from(size).unwrap_or(u32::MAX))
    }

    /// Steps in all, when an epoch has `samples`.
    pub(crate) fn steps(&self, samples: u64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "far below 2^52"
        )]
        let of_epochs =
            |epochs: f64| (epochs * samples as f64 / self.samples_per_step() as f64).ceil() as u64;
        match self.training.steps {
            Some(steps) => steps.get(),
            None => of_epochs(self.training.epochs.map_or(1.0, Number::get)).max(1),
        }
    }

    /// Steps of an epoch of `samples`, at least 1.
    pub(crate) fn steps_per_epoch(&self, samples: u64) -> u64 {
        (samples / self.samples_per_step()).max(1)
    }

    /// Samples of a step.
    pub fn samples_per_step(&self) -> u64 {
        self.training.batch.get() as u64 * self.training.accumulate.get() as u64
    }
}
