//! From a checkpoint to a package.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use capfilt_image::Preprocess;
use serde_json::json;

use crate::blip::config::Config;
use crate::blip::graphs::{self, Parameters};
use crate::blip::{DECODER, ENCODER};
use crate::checkpoint::{Checkpoint, Layout};
use crate::digest::Digest;
use crate::error::ImportError;
use crate::graph::Graph;
use crate::manifest::{
    CheckpointFormat, CheckpointSource, FORMAT, Family, Manifest, Task, TextSizes, VisionSizes,
};
use crate::package::{MANIFEST, Package, TOKENIZER, WEIGHTS, graph_file};
use crate::precision::Precision;
use crate::preprocessor;
use crate::tokenizer::Tokenizer;
use crate::weights::WeightsFile;

/// Prompt that original BLIP captioners were finetuned with.
const ORIGINAL_PROMPT: &str = "a picture of ";

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

/// Writes the package `output` from a Hugging Face folder or an original `.pth` file, and opens
/// it. An older package of that name is replaced; nothing is left behind on an error.
pub fn import(
    checkpoint: &Path,
    output: &Path,
    options: &ImportOptions,
) -> Result<Package, ImportError> {
    refuse_other_folder(output)?;
    let source = checkpoint;
    let checkpoint = Checkpoint::open(source)?;
    let task = task(&checkpoint, options.task)?;
    let config = Config::read(source, &checkpoint, options.image_size)?;
    let image = image(source, &checkpoint, &config)?;
    let tokenizer = Tokenizer::find(
        options.tokenizer.as_deref(),
        source,
        checkpoint.layout(),
        &config.text,
    )?;
    if task == Task::Captioner && tokenizer.tokens.dec.is_none() {
        return Err(ImportError::Tokenizer {
            reason: "no token starts captions, expected `[DEC]` in the tokenizer or `text_config.bos_token_id` in the configuration".to_owned(),
        });
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

    let features = write_graphs(folder.path(), &checkpoint, &config, task, options.precision)?;
    let path = folder.path().join(TOKENIZER);
    fs_err::write(&path, &tokenizer.json).map_err(write(&path))?;
    let (prompt, decoding) = defaults(checkpoint.layout());
    let manifest = Manifest {
        format: FORMAT,
        family: Family::Blip,
        tasks: vec![task],
        precision: options.precision,
        image,
        vision: VisionSizes {
            layers: config.vision.layers,
            width: config.vision.width,
            heads: config.vision.heads,
            patch: config.vision.patch,
            tokens: config.vision.tokens(),
            features,
        },
        text: TextSizes {
            layers: config.text.layers,
            width: config.text.width,
            heads: config.text.heads,
            vocabulary: config.text.vocabulary,
            positions: config.text.positions,
        },
        tokens: tokenizer.tokens,
        prompt: options.prompt.clone().unwrap_or_else(|| prompt.to_owned()),
        decoding,
        files: digests(folder.path())?,
        checkpoint: CheckpointSource {
            format: match checkpoint.layout() {
                Layout::Folder => CheckpointFormat::HuggingFace,
                Layout::Original => CheckpointFormat::BlipPth,
            },
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

/// What the checkpoint can do, or what was asked for if it can do that.
fn task(checkpoint: &Checkpoint, asked: Option<Task>) -> Result<Task, ImportError> {
    let has = |task: Task| match task {
        Task::Captioner => checkpoint.contains(&format!(
            "{DECODER}.encoder.layer.0.attention.self.query.weight"
        )),
        Task::Filter => {
            checkpoint.contains(&format!(
                "{ENCODER}.encoder.layer.0.attention.self.query.weight"
            )) && checkpoint.contains("itm_head.weight")
        }
    };
    let refuse = |reason: String| Err(ImportError::Task { reason });
    match (asked, has(Task::Captioner), has(Task::Filter)) {
        (Some(task), _, _) if has(task) => Ok(task),
        (None, true, false) => Ok(Task::Captioner),
        (None, false, true) => Ok(Task::Filter),
        (None, true, true) => refuse(
            "the checkpoint can caption and filter: pass `--task captioner` or `--task filter`"
                .to_owned(),
        ),
        (_, false, false) => refuse(format!(
            "the checkpoint can neither caption (no tensors below `{DECODER}`) nor filter (no `{ENCODER}` with `itm_head`): it is no BLIP captioner or retrieval model"
        )),
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

/// Prompt and decoding that a package has unless others are asked for.
fn defaults(layout: Layout) -> (&'static str, serde_json::Value) {
    match layout {
        Layout::Folder => ("", json!("greedy")),
        // What the original's caption evaluation uses.
        Layout::Original => (
            ORIGINAL_PROMPT,
            json!({"beam": {"beams": 3, "min-length": 5, "max-length": 20}}),
        ),
    }
}

/// How pictures are prepared for this checkpoint.
fn image(
    source: &Path,
    checkpoint: &Checkpoint,
    config: &Config,
) -> Result<Preprocess, ImportError> {
    let size = u32::try_from(config.vision.size).unwrap_or(u32::MAX);
    match checkpoint.layout() {
        Layout::Folder => preprocessor::read(source, size),
        Layout::Original => Ok(preprocessor::default(size)),
    }
}

/// Writes the graphs of the task with their weights; the width of image and text features.
fn write_graphs(
    folder: &Path,
    checkpoint: &Checkpoint,
    config: &Config,
    task: Task,
    precision: Precision,
) -> Result<Option<usize>, ImportError> {
    let file = WeightsFile::create(&folder.join(WEIGHTS))?;
    let mut parameters = Parameters {
        checkpoint,
        file,
        precision,
    };
    let (body, filter) = match task {
        Task::Captioner => (DECODER, false),
        Task::Filter => (ENCODER, true),
    };
    for &name in task.graphs() {
        let parameters = &mut parameters;
        let graph: Graph = match name {
            "vision" => graphs::vision(config, parameters, filter)?,
            "cross" => graphs::cross(config, parameters, body)?,
            "select" => graphs::select(config),
            "decoder" => graphs::decoder(config, parameters)?,
            "matcher" => graphs::matcher(config, parameters)?,
            _ => graphs::text(config, parameters)?,
        };
        let path = folder.join(graph_file(name));
        fs_err::write(&path, graph.encode())
            .map_err(|source| ImportError::Write { path, source })?;
    }
    parameters.file.finish()?;
    Ok(if filter {
        Some(graphs::feature_width(checkpoint)?)
    } else {
        None
    })
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
