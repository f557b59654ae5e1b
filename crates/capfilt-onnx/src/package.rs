//! A model package: a folder whose files are what its manifest says.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::checkpoint::is_plain_name;
use crate::digest::Digest;
use crate::error::PackageError;
use crate::manifest::{FORMAT, Manifest};

/// File with the manifest.
pub(crate) const MANIFEST: &str = "model.json";
/// File with all weights.
pub(crate) const WEIGHTS: &str = "weights.bin";
/// File with the tokenizer.
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// An opened package. Its files had the digests of the manifest when it was opened.
#[derive(Clone, Debug)]
pub struct Package {
    /// The folder.
    pub folder: PathBuf,
    /// The content of `model.json`.
    pub manifest: Manifest,
    digest: Digest,
}

impl Package {
    /// Reads `model.json` and verifies the digest of every file that it names.
    pub fn open(folder: &Path) -> Result<Self, PackageError> {
        let path = folder.join(MANIFEST);
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(PackageError::NotAPackage {
                    path: folder.to_owned(),
                });
            }
            Err(source) => return Err(PackageError::Read { path, source }),
        };
        let manifest = parse(&path, &bytes)?;
        check_names(&path, &manifest)?;
        for (name, expected) in &manifest.files {
            let file = folder.join(name);
            let got = Digest::of_file(&file).map_err(|source| PackageError::Read {
                path: file.clone(),
                source,
            })?;
            if got != *expected {
                return Err(PackageError::Digest {
                    path: file,
                    got: got.to_string(),
                    expected: expected.to_string(),
                });
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            manifest,
            digest: Digest::of_bytes(&bytes),
        })
    }

    /// SHA-256 of `model.json`, which names the digests of everything else.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// File of the graph `name`, such as `vision`.
    pub fn graph(&self, name: &str) -> PathBuf {
        self.folder.join(graph_file(name))
    }

    /// File of the tokenizer.
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join(TOKENIZER)
    }
}

/// File name of the graph `name`.
pub(crate) fn graph_file(name: &str) -> String {
    format!("{name}.onnx")
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest, PackageError> {
    let manifest = |error: serde_json::Error| PackageError::Manifest {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    // The format is looked at first: another format's fields would only confuse.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(manifest)?;
    if let Some(got) = value.get("format").and_then(serde_json::Value::as_u64)
        && got != u64::from(FORMAT)
    {
        return Err(PackageError::Version {
            path: path.to_owned(),
            got,
            expected: FORMAT,
        });
    }
    serde_json::from_value(value).map_err(manifest)
}

fn check_names(path: &Path, manifest: &Manifest) -> Result<(), PackageError> {
    if let Some(name) = manifest.files.keys().find(|name| !is_plain_name(name)) {
        return Err(PackageError::FileName {
            path: path.to_owned(),
            name: name.clone(),
        });
    }
    for task in &manifest.tasks {
        let graphs = manifest
            .family
            .graphs(*task)
            .iter()
            .map(|name| graph_file(name));
        for name in graphs.chain([TOKENIZER, WEIGHTS].map(str::to_owned)) {
            if !manifest.files.contains_key(&name) {
                let (path, task) = (path.to_owned(), task.as_str());
                return Err(PackageError::MissingFile { path, name, task });
            }
        }
    }
    Ok(())
}
