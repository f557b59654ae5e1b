//! What stands in the place of a file: pointers, pages and weights of other programs, by their first bytes.

use std::io::Read as _;
use std::path::Path;

use crate::error::ImportError;

/// Longest description or tokenizer that is read; the largest that are published have 40 MB.
const LONGEST: u64 = 256 << 20;
/// Bytes that are looked at. Every pointer of Git LFS is shorter.
const LOOKED_AT: u64 = 1024;

const POINTER: &str = "version https://git-lfs.github.com/spec/";

/// First bytes, what starts with them, and what to do.
const STARTS: &[(&[u8], &str, &str)] = &[
    (b"GGUF", "weights of llama.cpp (GGUF)", PYTORCH),
    (b"\x89HDF\r\n", "weights of TensorFlow (HDF5)", PYTORCH),
    (b"<!DOCTYPE", "a web page, not the file", AGAIN),
    (b"<!doctype", "a web page, not the file", AGAIN),
    (b"<html", "a web page, not the file", AGAIN),
    (b"<?xml", "an XML answer of a server, not the file", AGAIN),
];

const PYTORCH: &str = "expected weights of PyTorch";
const AGAIN: &str =
    "the download went wrong; get the file again from where it can be had without logging in";

/// The content of a description or tokenizer.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let failed = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).map_err(failed)?;
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ImportError::Malformed {
            path: path.to_owned(),
            kind: "a description of a model",
            reason: format!("longer than {LONGEST} bytes"),
        });
    }
    refuse(path, &bytes)?;
    Ok(bytes)
}

/// Refuses a file of weights that is something else.
pub(crate) fn check(path: &Path) -> Result<(), ImportError> {
    let failed = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let mut start = Vec::new();
    let file = fs_err::File::open(path).map_err(failed)?;
    file.take(LOOKED_AT)
        .read_to_end(&mut start)
        .map_err(failed)?;
    refuse(path, &start)
}

fn refuse(path: &Path, content: &[u8]) -> Result<(), ImportError> {
    let other = |what: String, advice: &str| ImportError::OtherKind {
        path: path.to_owned(),
        what,
        advice: advice.to_owned(),
    };
    if content.starts_with(POINTER.as_bytes()) {
        let text = String::from_utf8_lossy(content);
        let size = text.lines().find_map(|line| line.strip_prefix("size "));
        let size = size.map_or_else(String::new, |size| format!(" of {size} bytes"));
        return Err(other(
            format!("a pointer of Git LFS, not the file{size} that it stands for"),
            "run `git lfs pull` in its folder, or download the file",
        ));
    }
    let content = content.trim_ascii_start();
    match STARTS.iter().find(|(start, ..)| content.starts_with(start)) {
        Some((_, what, advice)) => Err(other((*what).to_owned(), advice)),
        None => Ok(()),
    }
}
