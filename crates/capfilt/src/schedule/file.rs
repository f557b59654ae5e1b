//! The files that can be started: pipelines, trainings and bootstraps.

use std::path::{Path, PathBuf};

use capfilt_bootstrap::BootstrapFile;
use capfilt_data::Location;
use capfilt_pipeline::{Overrides, PipelineError};
use capfilt_schedule::Schedule;
use capfilt_train::TrainFile;

/// What of a file counts for when it is started, and how.
#[derive(Debug)]
pub(crate) struct Scheduled {
    /// The command of this program that takes the file.
    pub(crate) command: &'static str,
    /// When it starts by itself.
    pub(crate) schedule: Option<Schedule>,
    /// The file that it comes after.
    pub(crate) after: Option<PathBuf>,
    /// Where its output goes.
    pub(crate) output: Location,
}

/// A file that no command takes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableError {
    /// As a pipeline.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// As a training.
    #[error(transparent)]
    Train(#[from] capfilt_train::FileError),
    /// As a bootstrap.
    #[error(transparent)]
    Bootstrap(#[from] capfilt_bootstrap::FileError),
}

impl Scheduled {
    /// Reads the file at `path`, whose text is `text`. Only bootstraps have arms, and only trainings a
    /// learning rate; anything else is taken for a pipeline.
    pub(crate) fn read(path: &Path, text: &str) -> Result<Self, UnusableError> {
        let keys = text.parse::<toml::Table>().unwrap_or_default();
        if keys.contains_key("arm") {
            let file = BootstrapFile::read(path, None)?;
            return Ok(Self {
                command: "bootstrap",
                schedule: file.schedule,
                after: file.after,
                output: Location::File(file.output.unwrap_or_default()),
            });
        }
        if keys.contains_key("learning-rate") {
            let file = TrainFile::load(path, None)?;
            return Ok(Self {
                command: "train",
                schedule: file.schedule,
                after: file.after,
                output: Location::File(file.output.unwrap_or_default()),
            });
        }
        let pipeline = capfilt_pipeline::load(path, &Overrides::default())?;
        Ok(Self {
            command: "run",
            schedule: pipeline.file.schedule,
            after: pipeline.file.after,
            output: pipeline.output,
        })
    }
}
