//! Lists of requests as people write them.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::request::{Request, RequestError};

/// A list of requests: one a line; empty lines and those that begin with `#` are skipped.
#[derive(Clone, Debug, Default)]
pub struct RequestList {
    /// The requests in the order of the list.
    pub lines: Vec<RequestLine>,
}

/// One request of a list.
#[derive(Clone, Debug)]
pub struct RequestLine {
    /// The line, from 1.
    pub number: usize,
    /// As it was written.
    pub text: String,
    /// What it asks for.
    pub request: Request,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the list of requests `{}`", path.display())]
pub struct ListError {
    /// The list.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: ListErrorKind,
}

/// What is wrong with a list.
#[derive(Debug, thiserror::Error)]
pub enum ListErrorKind {
    /// It cannot be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// A line that is no request.
    #[error("line {line}: {source}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: RequestError,
    },
}

impl RequestList {
    /// Reads the list at `path`.
    pub fn read(path: &Path) -> Result<Self, ListError> {
        fs_err::File::open(path)
            .map_err(ListErrorKind::Read)
            .and_then(|file| Self::parse(BufReader::new(file)))
            .map_err(|kind| ListError {
                path: path.to_owned(),
                kind,
            })
    }

    fn parse(text: impl BufRead) -> Result<Self, ListErrorKind> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.map_err(ListErrorKind::Read)?;
            // Some editors begin a file with a mark.
            let (number, text) = (index + 1, line.trim_start_matches('\u{feff}').trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            lines.push(RequestLine {
                number,
                text: text.to_owned(),
                request: text.parse().map_err(|source| ListErrorKind::Line {
                    line: number,
                    source,
                })?,
            });
        }
        Ok(Self { lines })
    }

    /// The requests.
    pub(super) fn requests(&self) -> impl Iterator<Item = Request> {
        self.lines.iter().map(|line| line.request)
    }
}

#[cfg(test)]
mod tests;
