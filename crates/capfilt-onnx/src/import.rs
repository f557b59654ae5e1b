//! From a checkpoint to a package.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use capfilt_image::Preprocess;

use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::emit::Parameters;
use crate::error::ImportError;
use crate::kind::{self, Importer};
use crate::manifest::{
    CheckpointFormat, CheckpointSource, FORMAT, Family, Manifest, Task, TextSizes, VisionSizes,
};
use crate::package::{MANIFEST, Package, TOKENIZER, WEIGHTS, graph_file};
use crate::precision::Precision;
use crate::tokenizer::Tokenizer;
use crate::weights::WeightsFile;
use crate::{blip, open_clip};

/// What to make of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// What the package shall do; needed only where the checkpoint can do both.
    pub task: Option<Task>,
    /// A `tokenizer.json` or `vocab.txt`; by default the folder's, or uncased BERT's for `.pth`.
    pub tokenizer: Option<PathBuf>,
    /// Text that captions start with; by default none, or `a picture of ` for `.pth`.
    pub prompt: Option<String>,
    /// Pixels on the side of a picture; by default what the model was trained with.
    pub image_size: Option<u32>,
    /// Precision of the weights.
    pub precision: Precision,
}

/// What a package tells of its model.
pub(crate) struct About {
    pub(crate) family: Family,
    pub(crate) task: Task,
    pub(crate) format: CheckpointFormat,
    pub(crate) image: Preprocess,
    pub(crate) vision: VisionSizes,
    pub(crate) text: TextSizes,
    pub(crate) tokenizer: Tokenizer,
    /// Prompt and decoding that the package has unless others are asked for.
    pub(crate) prompt: &'static str,
    pub(crate) decoding: serde_json::Value,
    /// What a person should know of how it was read.
    pub(crate) remarks: Vec<String>,
}

/// What the graphs are made from.
enum Model {
    Blip(blip::config::Config),
    OpenClip(Box<open_clip::config::Config>),
}

/// Tokens of the longest caption, unless another length is asked for.
const MOST_TOKENS: usize = 20;

/// `decoding` with captions that a model with fewer positions than usual has room for.
fn within(decoding: serde_json::Value, positions: usize) -> serde_json::Value {
    match decoding.as_str() {
        Some(kind) if positions < MOST_TOKENS => {
            serde_json::json!({ kind: { "max-length": positions } })
        }
        _ => decoding,
    }
}

/// Writes the package `output` from a folder of Hugging Face or `open_clip`, or an original `.pth`
/// file, and opens it. An older package of that name is replaced; nothing is left behind on an error.
pub fn import(
    checkpoint: &Path,
    output: &Path,
    options: &ImportOptions,
) -> Result<Package, ImportError> {
    refuse_other_folder(output)?;
    let source = checkpoint;
    let (checkpoint, model, about) = describe(source, options)?;
    for remark in checkpoint.remarks().iter().chain(&about.remarks) {
        tracing::warn!("{remark}");
    }
    let name = |path: &Path| {
        path.file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    };
    let absolute = std::path::absolute(output).map_err(|source| ImportError::Write {
        path: output.to_owned(),
        source,
    })?;
    let parent = absolute.parent().unwrap_or(&absolute).to_owned();
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| ImportError::Write { path, source }
    };
    fs_err::create_dir_all(&parent).map_err(write(&parent))?;
    let folder = tempfile::Builder::new()
        .prefix(&format!(".{}.", name(&absolute)))
        .tempdir_in(&parent)
        .map_err(write(&parent))?;

    write_graphs(
        folder.path(),
        &checkpoint,
        &model,
        &about,
        options.precision,
    )?;
    let path = folder.path().join(TOKENIZER);
    fs_err::write(&path, &about.tokenizer.json).map_err(write(&path))?;
    let prompt = options.prompt.clone();
    let decoding = within(about.decoding, about.text.positions);
    let manifest = Manifest {
        format: FORMAT,
        family: about.family,
        tasks: vec![about.task],
        precision: options.precision,
        image: about.image,
        vision: about.vision,
        text: about.text,
        tokens: about.tokenizer.tokens,
        prompt: prompt.unwrap_or_else(|| about.prompt.to_owned()),
        decoding,
        files: digests(folder.path())?,
        checkpoint: CheckpointSource {
            format: about.format,
            name: name(source),
            digest: checkpoint_digest(checkpoint.files())?,
        },
    };
    drop(checkpoint);
    let path = folder.path().join(MANIFEST);
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| ImportError::Write {
        path: path.clone(),
        source: error.into(),
    })?;
    text.push(b'\n');
    fs_err::write(&path, &text).map_err(write(&path))?;
    publish(folder, &absolute)?;
    Ok(Package::open(output)?)
}

/// Opens the checkpoint at `source`, and says what it is.
fn describe(
    source: &Path,
    options: &ImportOptions,
) -> Result<(Checkpoint, Model, About), ImportError> {
    let (importer, checkpoint) = kind::open(source)?;
    let (model, about) = match importer {
        Importer::OpenClip => {
            let (config, about) = open_clip::describe(source, &checkpoint, options)?;
            (Model::OpenClip(Box::new(config)), about)
        }
        Importer::Blip => {
            let (config, about) = blip::describe(source, &checkpoint, options)?;
            (Model::Blip(config), about)
        }
    };
    Ok((checkpoint, model, about))
}

/// The folder must be absent, empty or a package.
fn refuse_other_folder(output: &Path) -> Result<(), ImportError> {
    let refused = || ImportError::OutputExists {
        path: output.to_owned(),
    };
    match fs_err::symlink_metadata(output) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            let mut entries = fs_err::read_dir(output).map_err(|source| ImportError::Read {
                path: output.to_owned(),
                source,
            })?;
            let package = output.join(MANIFEST).is_file() && output.join(WEIGHTS).is_file();
            if package || entries.next().is_none() {
                Ok(())
            } else {
                Err(refused())
            }
        }
        Ok(_) => Err(refused()),
    }
}

/// Renames the finished folder to `output`, in the place of an older package.
fn publish(folder: tempfile::TempDir, output: &Path) -> Result<(), ImportError> {
    let write = |source| ImportError::Write {
        path: output.to_owned(),
        source,
    };
    // The older package goes into a folder of its own that is removed at the end of this function.
    let older = tempfile::Builder::new()
        .prefix(".older.")
        .tempdir_in(output.parent().unwrap_or(output))
        .map_err(write)?;
    if output.is_dir() {
        fs_err::rename(output, older.path().join("package")).map_err(write)?;
    }
    readable_folder(folder.path()).map_err(write)?;
    fs_err::rename(folder.path(), output).map_err(write)?;
    // Nothing is left under the temporary name that could be removed.
    tracing::debug!(from = %folder.keep().display(), to = %output.display(), "package published");
    Ok(())
}

/// Temporary folders are private; a package has the permissions of an ordinary folder.
#[cfg(unix)]
fn readable_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn readable_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// What a checkpoint can do, or what was asked for if it can do that. `neither` says what is missing
/// where it can do nothing.
pub(crate) fn chosen(
    asked: Option<Task>,
    captions: bool,
    filters: bool,
    neither: &str,
) -> Result<Task, ImportError> {
    let refuse = |reason: String| Err(ImportError::Task { reason });
    let has = |task| match task {
        Task::Captioner => captions,
        Task::Filter => filters,
    };
    match (asked, captions, filters) {
        (Some(task), _, _) if has(task) => Ok(task),
        (None, true, false) => Ok(Task::Captioner),
        (None, false, true) => Ok(Task::Filter),
        (None, true, true) => refuse(
            "the checkpoint can caption and filter: pass `--task captioner` or `--task filter`"
                .to_owned(),
        ),
        (_, false, false) => refuse(neither.to_owned()),
        (Some(task), _, _) => {
            let other = if task == Task::Captioner {
                Task::Filter
            } else {
                Task::Captioner
            };
            refuse(format!("the checkpoint is no {task}, it is a {other}"))
        }
    }
}

/// Writes the graphs of the task with their weights.
fn write_graphs(
    folder: &Path,
    checkpoint: &Checkpoint,
    model: &Model,
    about: &About,
    precision: Precision,
) -> Result<(), ImportError> {
    let file = WeightsFile::create(&folder.join(WEIGHTS))?;
    let mut parameters = Parameters {
        checkpoint,
        file,
        precision,
    };
    for &name in about.family.graphs(about.task) {
        let parameters = &mut parameters;
        let graph = match model {
            Model::Blip(config) => blip::graphs::graph(name, config, about.task, parameters)?,
            Model::OpenClip(config) => {
                open_clip::graphs::graph(name, config, about.task, parameters)?
            }
        };
        let path = folder.join(graph_file(name));
        fs_err::write(&path, graph.encode())
            .map_err(|source| ImportError::Write { path, source })?;
    }
    parameters.file.finish()
}

/// Digest of every file in the folder, by name.
fn digests(folder: &Path) -> Result<BTreeMap<String, Digest>, ImportError> {
    let read = |source| ImportError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = BTreeMap::new();
    for entry in fs_err::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let digest = Digest::of_file(&entry.path()).map_err(read)?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), digest);
    }
    Ok(files)
}

/// Digest of one file, or of the lines that `sha256sum` prints for several.
fn checkpoint_digest(files: &[PathBuf]) -> Result<Digest, ImportError> {
    let digest = |path: &PathBuf| {
        Digest::of_file(path).map_err(|source| ImportError::Read {
            path: path.clone(),
            source,
        })
    };
    if let [file] = files {
        return digest(file);
    }
    let mut lines = Vec::with_capacity(files.len());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{}  {name}\n", digest(file)?));
    }
    Ok(Digest::of_bytes(lines.concat().as_bytes()))
}
