//! Files of one folder.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use crate::FetchError;
use crate::http::too_large;
use crate::outcome::Outcome;
use crate::policy::Refusal;

/// A folder whose files may be read.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// Absolute and free of symbolic links.
    root: PathBuf,
    max_size: u64,
}

impl Folder {
    pub(crate) fn new(folder: &Path, max_size: u64) -> Result<Self, FetchError> {
        let unusable = |source| FetchError::Folder {
            path: folder.to_owned(),
            source,
        };
        let root = fs_err::canonicalize(folder).map_err(unusable)?;
        if !root.is_dir() {
            return Err(unusable(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(Self { root, max_size })
    }

    /// The whole of a file below the folder, after all symbolic links are followed.
    pub(crate) async fn read(&self, path: &Path) -> Result<Bytes, Refusal> {
        let path = tokio::fs::canonicalize(path)
            .await
            .map_err(|error| refusal(&error))?;
        if !path.starts_with(&self.root) {
            return Err(Refusal::new(
                Outcome::OutsideFolder,
                format!("the file is not below the folder `{}`", self.root.display()),
            ));
        }
        // Before it is opened: opening a named pipe would wait for a writer.
        let size = match tokio::fs::symlink_metadata(&path).await {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Err(Refusal::new(Outcome::Forbidden, "not a regular file")),
            Err(error) => return Err(refusal(&error)),
        };
        if size > self.max_size {
            return Err(too_large(self.max_size, &format!("a file of {size} bytes")));
        }
        let file = tokio::fs::File::open(&path)
            .await
            .map_err(|error| refusal(&error))?;
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // It may have grown since.
        let mut limited = file.take(self.max_size.saturating_add(1));
        limited
            .read_to_end(&mut body)
            .await
            .map_err(|error| refusal(&error))?;
        if body.len() as u64 > self.max_size {
            return Err(too_large(
                self.max_size,
                &format!("a file of over {size} bytes"),
            ));
        }
        Ok(body.into())
    }
}

fn refusal(error: &io::Error) -> Refusal {
    let outcome = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Outcome::NotFound,
        io::ErrorKind::PermissionDenied => Outcome::Forbidden,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Outcome::BadUrl,
        _ => Outcome::Broken,
    };
    Refusal::new(outcome, error.to_string())
}
