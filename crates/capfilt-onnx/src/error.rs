//! What can go wrong while importing a checkpoint or opening a package.

use std::path::PathBuf;

/// Why a checkpoint could not be turned into a package.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file of the checkpoint could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the package could not be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path is neither a Hugging Face folder nor a `.pth` file.
    #[error("`{}` is no checkpoint: {reason}", path.display())]
    NotACheckpoint {
        /// The path that was given.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// The path holds something that is known, and is not imported.
    #[error("`{}` is {what}: {advice}", path.display())]
    OtherKind {
        /// The file or folder.
        path: PathBuf,
        /// What it is, with its article.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// A file with weights is damaged or of another kind than its name says.
    #[error("`{}` is not readable as {kind}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that the model needs is absent.
    #[error(
        "tensor `{name}` is missing: expected shape {expected:?}; the checkpoint has {count} tensors, {nearest}"
    )]
    MissingTensor {
        /// Its name in the checkpoint.
        name: String,
        /// The shape that it should have.
        expected: Vec<usize>,
        /// Number of tensors in the checkpoint.
        count: usize,
        /// Names close to it, in words.
        nearest: String,
    },
    /// A tensor has another shape than the configuration implies.
    #[error(
        "tensor `{name}` has shape {got:?}, expected {expected:?}: the weights do not fit the configuration"
    )]
    WrongShape {
        /// Its name in the checkpoint.
        name: String,
        /// The shape in the file.
        got: Vec<usize>,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
    },
    /// A tensor is larger than any model needs.
    #[error("tensor `{name}` has shape {got:?}, expected at most {limit} elements")]
    TooLarge {
        /// Its name in the checkpoint.
        name: String,
        /// The shape in the file.
        got: Vec<usize>,
        /// The most elements that are read.
        limit: usize,
    },
    /// A tensor has an element type that no weight may have.
    #[error("tensor `{name}` has element type `{got}`, expected f32, f16, bf16 or f64")]
    WrongType {
        /// Its name in the checkpoint.
        name: String,
        /// The type in the file.
        got: String,
    },
    /// The values of a tensor could not be read.
    #[error("cannot read the values of tensor `{name}`: {source}")]
    Values {
        /// Its name in the checkpoint.
        name: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A tensor holds a value that is not finite.
    #[error(
        "tensor `{name}` holds a value that is not finite (NaN, infinite or beyond the range of f32): the checkpoint is broken"
    )]
    NotFinite {
        /// Its name in the checkpoint.
        name: String,
    },
    /// `config.json` or another description is absent, contradictory or not supported.
    #[error("`{field}` of the model configuration is not usable: {reason}")]
    Config {
        /// The field, dotted.
        field: String,
        /// What was found, what is expected, and what to do.
        reason: String,
    },
    /// The task cannot be told from the checkpoint, or is not in it.
    #[error("task: {reason}")]
    Task {
        /// What was found and what to pass.
        reason: String,
    },
    /// The tokenizer is absent or does not fit the model.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// What was found, what is expected, and what to do.
        reason: String,
    },
    /// The output folder exists and is not a model package.
    #[error("`{}` exists and is not a model package: choose another output folder or remove it", path.display())]
    OutputExists {
        /// The output folder.
        path: PathBuf,
    },
    /// The package that was written cannot be opened.
    #[error("the finished package cannot be opened: {0}")]
    Package(#[from] PackageError),
}

/// Why a model package was refused.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file of the package could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder has no `model.json`.
    #[error("`{}` is no model package: it has no `model.json`; make one with `capfilt model import`", path.display())]
    NotAPackage {
        /// The folder.
        path: PathBuf,
    },
    /// `model.json` is not a manifest.
    #[error("`{}` is no manifest of a model package: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The package was written in a format that this program does not know.
    #[error("`{}` has package format {got}, expected {expected}: import the checkpoint again", path.display())]
    Version {
        /// The manifest.
        path: PathBuf,
        /// The format in the manifest.
        got: u64,
        /// The format that is known.
        expected: u32,
    },
    /// The manifest names a file outside of the package.
    #[error("`{}` names the file `{name}`, expected plain file names in the package folder", path.display())]
    FileName {
        /// The manifest.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A file that the package needs is not named in the manifest.
    #[error("`{}` does not name the file `{name}`, which a {task} package needs", path.display())]
    MissingFile {
        /// The manifest.
        path: PathBuf,
        /// The file.
        name: String,
        /// The task of the package.
        task: &'static str,
    },
    /// A file was changed after the package was written.
    #[error("`{}` has SHA-256 {got}, expected {expected}: the file was changed or damaged; import the checkpoint again", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest of what is there.
        got: String,
        /// The digest in the manifest.
        expected: String,
    },
}
