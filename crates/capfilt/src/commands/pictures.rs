//! Reads the pictures of `capfilt caption` and `capfilt score`.

use std::path::{Path, PathBuf};

use capfilt_image::{DecodeError, DecodeOptions, Preprocess};

use crate::failure::Failure;

/// A picture that was named on the command line and cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no usable picture.
    #[error("cannot use `{}`", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: DecodeError,
    },
}

/// A picture as the model reads it: `[3, size, size]`. The outer error is of the program, the inner
/// one of this picture.
pub(crate) async fn pixels(
    path: &Path,
    preprocess: &Preprocess,
) -> Result<Result<Vec<f32>, PictureError>, Failure> {
    let (path, preprocess) = (path.to_owned(), preprocess.clone());
    let decoding = tokio::task::spawn_blocking(move || {
        let bytes = fs_err::read(&path).map_err(|source| PictureError::Read {
            path: path.clone(),
            source,
        })?;
        let picture = capfilt_image::decode(&bytes, &DecodeOptions::default())
            .map_err(|source| PictureError::Decode { path, source })?;
        Ok(preprocess.tensor(&picture))
    });
    decoding.await.map_err(Failure::Worker)
}

/// How many pictures are under way at once: enough to fill a batch while the next is being decoded.
pub(crate) fn under_way(batch: Option<usize>) -> usize {
    2 * batch.unwrap_or(16)
}
