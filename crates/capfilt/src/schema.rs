//! The JSON Schemas that lie in `schemas/`, made from the types and columns that the program uses.

use std::path::{Path, PathBuf};

use capfilt_bootstrap::BootstrapFile;
use capfilt_onnx::Manifest;
use capfilt_pipeline::{PipelineFile, RunFile};
use capfilt_train::TrainFile;
use clap::ValueEnum;
use schemars::schema_for;
use serde_json::Value;

mod columns;

/// Where the committed schemas lie.
const FOLDER: &str = "schemas";

/// Which schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Name {
    /// A pipeline file.
    Pipeline,
    /// A training file.
    Train,
    /// A bootstrap file.
    Bootstrap,
    /// `model.json` of a model package.
    Model,
    /// `run.json` of an output folder.
    Run,
    /// The Parquet columns that are read.
    Input,
    /// The Parquet columns that are written, and the closed sets of their words.
    Output,
}

/// A file of `schemas/` that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// The schema has no JSON form.
    #[error("cannot write the schema `{}` as JSON", name.as_str())]
    Json {
        /// Which schema.
        name: Name,
        /// Why.
        source: serde_json::Error,
    },
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Which schema it should hold.
        name: Name,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something else than the program.
    #[error("`{}` is stale: line {line} differs from what the program accepts", path.display())]
    Stale {
        /// The file.
        path: PathBuf,
        /// Which schema it should hold.
        name: Name,
        /// The first line that differs, from 1.
        line: usize,
    },
}

impl SchemaError {
    /// The command that mends it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Json { .. } => None,
            Self::Read { name, path, .. } | Self::Stale { name, path, .. } => Some(format!(
                "capfilt schema {} > {}",
                name.as_str(),
                path.display()
            )),
        }
    }
}

impl Name {
    /// Every schema there is.
    pub(crate) const ALL: [Self; 7] = [
        Self::Pipeline,
        Self::Train,
        Self::Bootstrap,
        Self::Model,
        Self::Run,
        Self::Input,
        Self::Output,
    ];

    /// The name as typed, and of the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Train => "train",
            Self::Bootstrap => "bootstrap",
            Self::Model => "model",
            Self::Run => "run",
            Self::Input => "input",
            Self::Output => "output",
        }
    }

    /// The schema as text that ends with a line break.
    pub(crate) fn text(self) -> Result<String, SchemaError> {
        let schema: Value = match self {
            Self::Pipeline => schema_for!(PipelineFile).into(),
            Self::Train => schema_for!(TrainFile).into(),
            Self::Bootstrap => schema_for!(BootstrapFile).into(),
            Self::Model => schema_for!(Manifest).into(),
            Self::Run => schema_for!(RunFile).into(),
            Self::Input => columns::input(),
            Self::Output => columns::output(),
        };
        let mut text = serde_json::to_string_pretty(&schema)
            .map_err(|source| SchemaError::Json { name: self, source })?;
        text.push('\n');
        Ok(text)
    }

    /// Compares the schema with its file in `schemas/`.
    pub(crate) fn check(self) -> Result<(), SchemaError> {
        let path = Path::new(FOLDER).join(format!("{}.json", self.as_str()));
        let committed = fs_err::read_to_string(&path).map_err(|source| SchemaError::Read {
            path: path.clone(),
            name: self,
            source,
        })?;
        let text = self.text()?;
        if committed == text {
            return Ok(());
        }
        let same = committed
            .lines()
            .zip(text.lines())
            .take_while(|(one, other)| one == other);
        Err(SchemaError::Stale {
            path,
            name: self,
            line: same.count() + 1,
        })
    }
}
