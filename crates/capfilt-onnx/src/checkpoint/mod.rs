//! Tensors of a checkpoint by name, whatever file format holds them.

mod pickle;
mod safetensors;
mod save;
#[cfg(test)]
mod tests;
mod view;
mod wrapper;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};

pub use save::save_tensors;

use crate::error::ImportError;
use crate::kind;

pub(crate) use view::{part, transposed};

/// Element types that a checkpoint may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    /// Anything that no weight may have; the name is for the message.
    Other(&'static str),
}

/// A tensor that was found, with its bytes not yet read.
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    source: Source,
}

enum Source {
    Safetensors(safetensors::Bytes),
    Pickle(pytorch_reader::Tensor),
}

/// File format of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A Hugging Face folder.
    Folder,
    /// One original BLIP file.
    Original,
    /// A folder as `open_clip` has it on the hub.
    OpenClip,
}

/// An opened checkpoint: names and shapes are known, values are read one tensor at a time.
pub struct Checkpoint {
    layout: Layout,
    /// Files with weights, in order.
    files: Vec<PathBuf>,
    tensors: BTreeMap<String, Entry>,
    remarks: Vec<String>,
}

/// Most elements that a weight may have. The largest of any BLIP, the word embeddings, has 23
/// million; a compressed file must not grow beyond all bounds.
const LARGEST: usize = 1 << 30;

/// Names of weight files in a Hugging Face folder, best first as in `transformers`.
const SAFETENSORS: &str = "model.safetensors";
const SAFETENSORS_INDEX: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";
const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";
const WEIGHTS: [&str; 4] = [SAFETENSORS, SAFETENSORS_INDEX, PICKLE, PICKLE_INDEX];

/// How files start that a trainer leaves beside weights.
const OF_TRAINING: [&str; 6] = [
    "optimizer",
    "random_states",
    "rng_state",
    "scaler",
    "scheduler",
    "training_args",
];

/// Description that a folder of `open_clip` has.
pub(crate) const OPEN_CLIP: &str = "open_clip_config.json";
/// Names of weight files beside it, best first.
const OPEN_CLIP_WEIGHTS: [&str; 2] = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"];

impl Checkpoint {
    /// Opens a folder of Hugging Face or of `open_clip`, or an original `.pth` file. Names are without what
    /// wrappers of modules put in front of them.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let metadata = fs_err::metadata(path).map_err(|source| ImportError::Read {
            path: path.to_owned(),
            source,
        })?;
        kind::refuse_by_files(path)?;
        if metadata.is_dir() {
            Self::open_folder(path)
        } else {
            Self::open_original(path)
        }
    }

    fn open_folder(folder: &Path) -> Result<Self, ImportError> {
        let mut tensors = BTreeMap::new();
        let mut remarks = Vec::new();
        let found = |name: &str| folder.join(name).is_file();
        let open_clip = found(OPEN_CLIP);
        let names: &[&str] = if open_clip {
            &OPEN_CLIP_WEIGHTS
        } else {
            &WEIGHTS
        };
        let mut there = names.iter().copied().filter(|name| found(name));
        let weights = there
            .next()
            .ok_or_else(|| no_weights(folder, names, open_clip))?;
        if let Some(other) = there.next() {
            remarks.push(format!(
                "`{weights}` counts, and `{other}` beside it does not, as in other programs"
            ));
        }
        let files = match weights {
            SAFETENSORS_INDEX | PICKLE_INDEX => shards(folder, weights)?,
            _ => vec![folder.join(weights)],
        };
        for file in &files {
            kind::content::check(file)?;
            if has_ending(file, "safetensors") {
                tensors.extend(safetensors::open(file)?);
            } else {
                tensors.extend(pickle::open(file)?);
            }
        }
        let (tensors, wrappers) = wrapper::take_off(tensors);
        remarks.extend(wrappers.iter().map(ToString::to_string));
        Ok(Self {
            layout: if open_clip {
                Layout::OpenClip
            } else {
                Layout::Folder
            },
            files,
            tensors,
            remarks,
        })
    }

    fn open_original(file: &Path) -> Result<Self, ImportError> {
        kind::content::check(file)?;
        if has_ending(file, "safetensors") {
            return Err(ImportError::NotACheckpoint {
                path: file.to_owned(),
                reason: "a safetensors file needs the `config.json` beside it: pass the folder"
                    .to_owned(),
            });
        }
        let (tensors, remarks) = pickle::open_original(file)?;
        Ok(Self {
            layout: Layout::Original,
            files: vec![file.to_owned()],
            tensors,
            remarks,
        })
    }

    /// What a person should know of how it was read.
    pub(crate) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// File format.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Files with weights.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Names of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape of a tensor that must be there with `axes` axes.
    pub(crate) fn require(&self, name: &str, axes: usize) -> Result<&[usize], ImportError> {
        let shape = self
            .shape(name)
            .ok_or_else(|| self.missing(name, &vec![0; axes]))?;
        if shape.len() == axes {
            Ok(shape)
        } else {
            Err(ImportError::WrongShape {
                name: name.to_owned(),
                got: shape.to_vec(),
                expected: vec![0; axes],
            })
        }
    }

    /// Values of a tensor of shape `expected`, converted to f32, row-major.
    fn whole(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, ImportError> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| self.missing(name, expected))?;
        if entry.shape != expected {
            return Err(ImportError::WrongShape {
                name: name.to_owned(),
                got: entry.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        if let Dtype::Other(got) = entry.dtype {
            return Err(ImportError::WrongType {
                name: name.to_owned(),
                got: got.to_owned(),
            });
        }
        let count = expected
            .iter()
            .try_fold(1_usize, |count, size| count.checked_mul(*size));
        let Some(count) = count.filter(|count| *count <= LARGEST) else {
            return Err(ImportError::TooLarge {
                name: name.to_owned(),
                got: expected.to_vec(),
                limit: LARGEST,
            });
        };
        let bytes = match &entry.source {
            Source::Safetensors(bytes) => bytes.read(),
            Source::Pickle(tensor) => tensor.read(),
        };
        let bytes = bytes.map_err(|error| ImportError::Values {
            name: name.to_owned(),
            source: error,
        })?;
        let values = floats(entry.dtype, &bytes);
        if values.len() != count {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            return Err(ImportError::Values {
                name: name.to_owned(),
                source,
            });
        }
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(ImportError::NotFinite {
                name: name.to_owned(),
            })
        }
    }

    fn missing(&self, name: &str, expected: &[usize]) -> ImportError {
        // The parent's other members tell a misnamed tensor from an absent layer.
        let parent = name.rsplit_once('.').map_or("", |(parent, _)| parent);
        let siblings: Vec<_> = self
            .names()
            .filter(|other| other.starts_with(parent))
            .take(3)
            .collect();
        let nearest = if parent.is_empty() || siblings.is_empty() {
            format!("none of them below `{parent}`")
        } else {
            format!("below `{parent}`: `{}`", siblings.join("`, `"))
        };
        ImportError::MissingTensor {
            name: name.to_owned(),
            expected: expected.to_vec(),
            count: self.tensors.len(),
            nearest,
        }
    }
}

/// Little-endian elements as f32; f64 is rounded to nearest.
fn floats(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|&chunk| convert(chunk)).collect()
    }
    match dtype {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "weights are rounded to f32"
        )]
        Dtype::F64 => each(bytes, |chunk| f64::from_le_bytes(chunk) as f32),
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F16 => each(bytes, |chunk| f16::from_le_bytes(chunk).to_f32()),
        Dtype::Bf16 => each(bytes, |chunk| bf16::from_le_bytes(chunk).to_f32()),
        Dtype::Other(_) => Vec::new(),
    }
}

/// Whether a file of this name in a folder, or this file alone, can hold weights that are read.
pub(crate) fn is_weights(name: &str) -> bool {
    let endings = [".pth", ".pt", ".ckpt", ".bin", ".safetensors"];
    let is_index = name == SAFETENSORS_INDEX || name == PICKLE_INDEX;
    let of_training = OF_TRAINING.iter().any(|start| name.starts_with(start));
    is_index || !of_training && endings.iter().any(|ending| name.ends_with(ending))
}

fn has_ending(file: &Path, expected: &str) -> bool {
    file.extension()
        .is_some_and(|extension| extension == expected)
}

/// A folder without weights under the `names` that they may have: which files could be meant.
fn no_weights(folder: &Path, names: &[&str], open_clip: bool) -> ImportError {
    let files = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let mut others: Vec<_> = files
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| is_weights(name))
        .collect();
    others.sort();
    let others = match &others[..] {
        [] => String::new(),
        [first, rest @ ..] => format!(
            ", and it has `{first}`{}: an original `.pth` is passed as a file, and shards need their index",
            if rest.is_empty() { "" } else { " and others" }
        ),
    };
    let place = if open_clip {
        format!("beside `{OPEN_CLIP}`")
    } else {
        format!("or `{OPEN_CLIP}` in the folder")
    };
    let reason = format!("expected `{}` {place}{others}", names.join("`, `"));
    ImportError::NotACheckpoint {
        path: folder.to_owned(),
        reason,
    }
}

/// Files that the index of a sharded checkpoint names, each once.
fn shards(folder: &Path, index: &str) -> Result<Vec<PathBuf>, ImportError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(index);
    let malformed = |reason: String| ImportError::Malformed {
        path: path.clone(),
        kind: "the index of a sharded checkpoint",
        reason,
    };
    let text = kind::content::read(&path)?;
    let parsed: Index =
        serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    let mut names: Vec<_> = parsed.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    if let Some(name) = names.iter().find(|name| !is_plain_name(name)) {
        return Err(malformed(format!(
            "file name `{name}`, expected a name without folders"
        )));
    }
    let count = names.len();
    let is_missing = |name: &&String| !folder.join(name).is_file();
    let missing: Vec<_> = names.iter().filter(is_missing).cloned().collect();
    if !missing.is_empty() {
        return Err(ImportError::NotACheckpoint {
            path: folder.to_owned(),
            reason: format!(
                "of the {count} files that `{index}` names it has not got `{}`: get them, too",
                missing.join("`, `")
            ),
        });
    }
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// Whether `name` is one path component that stays in its folder.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(only)), None) if only == name
    ) && !name.contains(['\\', ':'])
}
