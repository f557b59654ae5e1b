//! What can be wrong with a pipeline, and with a run.

use std::io;
use std::path::PathBuf;

use capfilt_data::{
    ColumnError, FooterError, LeaseError, Location, LocationError, ShardNameError, WriteError,
};
use capfilt_fetch::FetchError;
use capfilt_models::{ModelError, PackageError};
use datafusion::error::DataFusionError;

use crate::duplicates::HashFileError;
use crate::expression::ExpressionError;
use crate::removal::ListError;

/// A pipeline that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the pipeline `{}`", path.display())]
pub struct PipelineError {
    /// The pipeline file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: PipelineErrorKind,
}

/// What is wrong with a pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineErrorKind {
    /// The file cannot be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// The text is not a pipeline.
    #[error("line {line}, column {column}: {message}\n{snippet}")]
    Syntax {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What is wrong, and the nearest known key.
        message: String,
        /// The line with a mark below.
        snippet: String,
    },
    /// `--set` does not fit.
    #[error("`--set {set}`: {message}")]
    Set {
        /// As it was written.
        set: String,
        /// What is wrong.
        message: String,
    },
    /// Values that do not go together.
    #[error("`{key}`: {message}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong and what would do.
        message: String,
    },
    /// An SQL expression that cannot be used.
    #[error("stage `{stage}`")]
    Expression {
        /// Name of the stage, or `keep`.
        stage: String,
        /// What is wrong.
        #[source]
        source: ExpressionError,
    },
    /// A model package that cannot be used.
    #[error("stage `{stage}`")]
    Package {
        /// Name of the stage.
        stage: String,
        /// What is wrong.
        #[source]
        source: PackageError,
    },
    /// A list of opt-outs that cannot be used.
    #[error("stage `{stage}`")]
    OptOuts {
        /// Name of the stage.
        stage: String,
        /// What is wrong.
        #[source]
        source: FetchError,
    },
    /// A URL that cannot be used.
    #[error("`{key}`")]
    Location {
        /// The key.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: LocationError,
    },
    /// Shards that cannot be looked for.
    #[error("`source.shards`: cannot look for `{glob}`")]
    List {
        /// The glob.
        glob: String,
        /// What the store says.
        #[source]
        source: io::Error,
    },
    /// A glob that finds nothing.
    #[error("`source.shards`: `{glob}` finds no file")]
    NoShards {
        /// The glob.
        glob: String,
    },
    /// A path that gives no shard name.
    #[error("`source.shards`")]
    ShardName(#[from] ShardNameError),
    /// Two inputs would be written to the same file.
    #[error(
        "`{first}` and `{second}` would both be written to `{file}`; rename one, or choose a glob whose literal \
         part ends before the folders that tell them apart"
    )]
    SameName {
        /// One input.
        first: Location,
        /// Another.
        second: Location,
        /// The output file.
        file: String,
    },
    /// No shard could be read, so nothing is known of the columns.
    #[error("none of the {count} shards can be read")]
    NoReadableShard {
        /// How many there are.
        count: usize,
        /// What is wrong with the first.
        #[source]
        source: FooterError,
    },
    /// Columns of one name.
    #[error(
        "`source.columns.{key}`: `{shard}` has {count} columns `{column}`, and which is meant is not known; \
         give each a name of its own, or map another one"
    )]
    SameColumn {
        /// What the column is for.
        key: &'static str,
        /// The name.
        column: String,
        /// The shard.
        shard: Location,
        /// How many there are.
        count: usize,
    },
    /// A column that is not there.
    #[error(
        "`source.columns.{key}`: there is no column `{column}` in `{shard}`; there are {}",
        exist.join(", ")
    )]
    MissingColumn {
        /// What the column is for.
        key: &'static str,
        /// The column.
        column: String,
        /// The shard.
        shard: Location,
        /// The columns that exist.
        exist: Vec<String>,
    },
    /// A column of a type that is not read.
    #[error("`source.columns.{key}`: the column `{column}` of `{shard}`")]
    ColumnType {
        /// What the column is for.
        key: &'static str,
        /// The column.
        column: String,
        /// The shard.
        shard: Location,
        /// What is wrong.
        #[source]
        source: ColumnError,
    },
    /// No column of the shards is of any use.
    #[error(
        "`source.columns`: `{shard}` has none of the columns `url`, `text`, `image`; there are {}; name \
         them like `columns = {{ url = \"..\", text = \"..\" }}`", exist.join(", ")
    )]
    NoColumns {
        /// The shard.
        shard: Location,
        /// The columns that exist.
        exist: Vec<String>,
    },
}

/// Row trouble is a reason; this is trouble of a whole stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A fetcher could not be made.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A model could not be opened, or failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<StageError> for DataFusionError {
    fn from(error: StageError) -> Self {
        Self::External(Box::new(error))
    }
}

/// A run that could not be started, or did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pipeline cannot be used.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The output folder belongs to another pipeline.
    #[error(
        "`{output}` is the output of the pipeline `{found}`, not of `{expected}`; choose another \
         `[sink] output` or `--output`"
    )]
    OtherPipeline {
        /// The folder.
        output: Location,
        /// Whose it is.
        found: String,
        /// Who came.
        expected: String,
    },
    /// The output folder was made with other columns of the input.
    #[error(
        "`{output}` was made with other `[source] columns`; choose another `[sink] output` or \
         `--output`"
    )]
    OtherColumns {
        /// The folder.
        output: Location,
    },
    /// `run.json` cannot be understood.
    #[error(
        "`{path}` cannot be read as the record of a run; remove it and run the pipeline again, finished \
         pieces stay"
    )]
    Record {
        /// The file.
        path: Location,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// `run.json` has a form that this version does not know.
    #[error("`{path}` was written by a newer capfilt; use that one, or choose another `--output`")]
    NewerRecord {
        /// The file.
        path: Location,
    },
    /// A list of requests to take rows out cannot be used.
    #[error(transparent)]
    Requests(#[from] ListError),
    /// `removed.json` cannot be understood.
    #[error(
        "`{path}` cannot be read as the record of what was taken out; put a copy of it in its place: \
         without it those rows would come back"
    )]
    RemovalRecord {
        /// The file.
        path: Location,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Another run writes to the same folder.
    #[error("another run is writing to `{output}`; wait for it, or choose another `--output`")]
    Busy {
        /// The folder.
        output: Location,
    },
    /// An evaluation set cannot be read to its end.
    #[error(
        "the evaluation set `{}` cannot be read: {reason}; without all of its pictures nothing can be \
         kept apart from it", path.display()
    )]
    Evaluation {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file without hashes of pictures.
    #[error(transparent)]
    Hashes(#[from] HashFileError),
    /// The output in a store cannot be locked.
    #[error("cannot lock the output")]
    Lock(#[from] LeaseError),
    /// There is nothing to decide about.
    #[error("`{output}` has no finished pieces; run the pipeline first")]
    NothingScored {
        /// The folder.
        output: Location,
    },
    /// A file or folder could not be used.
    #[error("cannot use the output")]
    Io(#[from] io::Error),
    /// A finished piece cannot be read.
    #[error("a finished piece cannot be read; `capfilt run` makes it again")]
    Piece(#[from] FooterError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A fetcher could not be made.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A model could not be opened, or failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The plan failed for a reason that no shard is to blame for.
    #[error("the run failed in piece `{piece}`")]
    Plan {
        /// The piece.
        piece: String,
        /// What happened.
        #[source]
        source: DataFusionError,
    },
}

impl RunError {
    /// Whether the configuration or the input's form is to blame, rather than the run.
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Pipeline(_)
                | Self::OtherPipeline { .. }
                | Self::OtherColumns { .. }
                | Self::Requests(_)
        )
    }

    /// What a failed piece means: trouble of its shard, which goes into the list, or of the run.
    pub(crate) fn of_piece(piece: &str, error: DataFusionError) -> PieceFailure {
        match find_stage_error(error) {
            Ok(StageError::Fetch(error)) => PieceFailure::Run(Self::Fetch(error)),
            Ok(StageError::Model(ModelError::Cancelled)) => PieceFailure::Stopped,
            Ok(StageError::Model(error)) => PieceFailure::Run(Self::Model(error)),
            Ok(StageError::Write(error)) => PieceFailure::Run(Self::Write(error)),
            Err(error) if is_of_the_shard(&error) => PieceFailure::Shard(chain(&error)),
            Err(source) => PieceFailure::Run(Self::Plan {
                piece: piece.to_owned(),
                source,
            }),
        }
    }
}

/// What came of a piece that did not get finished.
#[derive(Debug)]
pub(crate) enum PieceFailure {
    /// The shard cannot be read to its end: the others can.
    Shard(String),
    /// The run was asked to stop.
    Stopped,
    /// What an earlier run finished is damaged.
    Damaged(FooterError),
    /// Nothing else will go better.
    Run(RunError),
}

/// The stage's own error below what DataFusion wraps around it.
fn find_stage_error(error: DataFusionError) -> Result<StageError, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<StageError>() {
            Ok(error) => Ok(*error),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => find_stage_error(*error),
                Err(inner) => Err(DataFusionError::External(inner)),
            },
        },
        DataFusionError::Context(context, inner) => find_stage_error(*inner)
            .map_err(|inner| DataFusionError::Context(context, Box::new(inner))),
        other => Err(other),
    }
}

/// Whether reading the shard failed: no other operator touches files or Parquet.
fn is_of_the_shard(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::ParquetError(_)
        | DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_)
        | DataFusionError::ArrowError(..) => true,
        DataFusionError::External(inner) => inner.is::<ColumnError>(),
        DataFusionError::Context(_, inner) => is_of_the_shard(inner),
        DataFusionError::Shared(inner) => is_of_the_shard(inner),
        _ => false,
    }
}

/// The error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}
