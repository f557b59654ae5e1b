//! The finished model as other programs read it, and as packages that the pipeline runs.
//!
//! ```text
//! huggingface/captioner, huggingface/filter    BLIP, for `transformers`
//! open-clip                                    CLIP, CoCa, FILIP, for `open_clip`
//! captioner, filter                            packages
//! ```

mod blip;
mod open_clip;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::path::{Path, PathBuf};

use capfilt_image::Preprocess;
use capfilt_onnx::{ImportError, ImportOptions, Task, Vocabulary, import, save_tensors};
use serde_json::Value;

use blip::write_blip;
use open_clip::write_open_clip;

use crate::checkpoint::HALF;
use crate::family::Family;
use crate::model::blip::Mode;
use crate::model::coca::Variant;
use crate::parameters::{Parameters, Stored};

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Folders for other programs.
    pub folders: Vec<PathBuf>,
    /// Packages for `caption` and `score`.
    pub packages: Vec<PathBuf>,
}

/// A model that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file cannot be written.
    #[error("cannot write the finished model to `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A package cannot be made.
    #[error(transparent)]
    Package(#[from] ImportError),
}

/// Writes folders and packages below `output`. What is there under its name is whole.
pub(crate) fn export(
    output: &Path,
    family: &Family,
    weights: &Parameters,
    vocabulary: &Vocabulary,
    preprocess: &Preprocess,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let mut packages: Vec<(PathBuf, Task, Option<String>)> = Vec::new();
    match family {
        Family::Blip(blip) => {
            for (task, there) in [
                (Task::Captioner, blip.has_decoder()),
                (Task::Filter, blip.has_encoder()),
            ] {
                if there {
                    let name = Path::new("huggingface").join(task.as_str());
                    let folder = whole(output, &name, |folder| {
                        write_blip(folder, blip, task, weights, vocabulary, preprocess)
                    })?;
                    exported.folders.push(folder.clone());
                    let prompt =
                        (blip.mode == Mode::FinetuneCaptioner).then(|| blip.prompt.clone());
                    packages.push((folder, task, prompt.filter(|prompt| !prompt.is_empty())));
                }
            }
        }
        Family::Clip(_) | Family::Coca(_) | Family::Filip(_) => {
            let folder = whole(output, Path::new("open-clip"), |folder| {
                write_open_clip(folder, family, weights, vocabulary, preprocess)
            })?;
            exported.folders.push(folder.clone());
            // The paper's CoCa is not one that `open_clip` or a package knows.
            let is_known = !matches!(family, Family::Coca(coca) if coca.variant == Variant::Paper);
            if is_known && family.writes() {
                packages.push((folder.clone(), Task::Captioner, None));
            }
            if is_known && family.compares() {
                packages.push((folder, Task::Filter, None));
            }
        }
    }
    for (folder, task, prompt) in packages {
        let options = ImportOptions {
            task: Some(task),
            prompt,
            ..ImportOptions::default()
        };
        let package = output.join(task.as_str());
        import(&folder, &package, &options)?;
        exported.packages.push(package);
    }
    Ok(exported)
}

/// The folder `name` below `output`, filled by `fill` and then put in the place of an older one.
fn whole(
    output: &Path,
    name: &Path,
    fill: impl FnOnce(&Path) -> Result<(), ExportError>,
) -> Result<PathBuf, ExportError> {
    let folder = output.join(name);
    let failed = |source| ExportError::Write {
        path: folder.clone(),
        source,
    };
    let half = tempfile::Builder::new()
        .prefix(HALF)
        .tempdir_in(output)
        .map_err(failed)?;
    let (new, old) = (half.path().join("new"), half.path().join("old"));
    fill(&new)?;
    if let Some(parent) = folder.parent() {
        fs_err::create_dir_all(parent).map_err(failed)?;
    }
    if folder.exists() {
        fs_err::rename(&folder, old).map_err(failed)?;
    }
    fs_err::rename(new, &folder).map_err(failed)?;
    Ok(folder)
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), ExportError> {
    let path = folder.join(name);
    fs_err::create_dir_all(folder)
        .and_then(|()| fs_err::write(&path, content))
        .map_err(|source| ExportError::Write { path, source })
}

fn write_json(folder: &Path, name: &str, value: &Value) -> Result<(), ExportError> {
    write(folder, name, format!("{value:#}\n").as_bytes())
}

fn write_weights(
    folder: &Path,
    name: &str,
    tensors: Vec<(String, Stored)>,
) -> Result<(), ExportError> {
    fs_err::create_dir_all(folder).map_err(|source| ExportError::Write {
        path: folder.to_owned(),
        source,
    })?;
    let tensors = tensors
        .into_iter()
        .map(|(name, stored)| (name, stored.shape, stored.values));
    Ok(save_tensors(&folder.join(name), tensors)?)
}
