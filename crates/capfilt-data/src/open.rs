//! Reading a file or an object a range at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::footer::Footer;
use crate::location::Location;
use crate::object::Object;

/// Bytes that are read ahead at first, and at most: each time that reading goes on where it was,
/// twice as many.
const LEAST_AHEAD: u64 = 64 << 10;
const MOST_AHEAD: u64 = 2 << 20;
/// Places of an object that are read ahead at the same time: columns that are read side by side.
const WINDOWS: usize = 8;

/// A file or an object, of which ranges are read.
#[derive(Clone)]
pub(crate) struct Open {
    /// Its bytes.
    pub(crate) size: u64,
    /// Tells one content from another: when a file was changed, an object's entity tag.
    pub(crate) version: String,
    /// An object's entity tag, on which reading on is conditional.
    pub(crate) e_tag: Option<String>,
    content: Content,
}

#[derive(Clone)]
enum Content {
    File(Arc<File>),
    Object(Arc<Ahead>),
}

impl Open {
    /// Opens what lies at `location`.
    pub(crate) fn at(location: &Location) -> io::Result<Self> {
        match location {
            Location::File(path) => Self::file(fs_err::File::open(path)?.into_parts().0),
            Location::Object(object) => Self::object(object),
        }
    }

    pub(crate) fn file(file: File) -> io::Result<Self> {
        let about = file.metadata()?;
        let modified = about
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos());
        Ok(Self {
            size: about.len(),
            version: modified.to_string(),
            e_tag: None,
            content: Content::File(Arc::new(file)),
        })
    }

    fn object(object: &Object) -> io::Result<Self> {
        let (stat, end) = object.end(LEAST_AHEAD)?;
        let window = Window {
            start: stat.size.saturating_sub(end.len() as u64),
            bytes: end,
        };
        Ok(Self {
            size: stat.size,
            version: stat.version,
            e_tag: stat.e_tag.clone(),
            content: Content::Object(Arc::new(Ahead {
                object: object.clone(),
                size: stat.size,
                e_tag: stat.e_tag,
                windows: Mutex::new(VecDeque::from([window])),
            })),
        })
    }

    /// Opens the file of `footer` again; an object without asking for it, and only that content of it.
    pub(crate) fn again(footer: &Footer) -> io::Result<Self> {
        let Location::Object(object) = &footer.path else {
            return Self::at(&footer.path);
        };
        Ok(Self {
            size: footer.size,
            version: footer.version.clone(),
            e_tag: footer.e_tag.clone(),
            content: Content::Object(Arc::new(Ahead {
                object: object.clone(),
                size: footer.size,
                e_tag: footer.e_tag.clone(),
                windows: Mutex::default(),
            })),
        })
    }
}

impl Length for Open {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Open {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        match &self.content {
            Content::File(file) => Ok(Box::new(file.get_read(start)?)),
            Content::Object(ahead) => Ok(Box::new(Reader {
                ahead: Arc::clone(ahead),
                at: start,
            })),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match &self.content {
            Content::File(file) => file.get_bytes(start, length),
            Content::Object(ahead) => {
                let bytes = ahead.from(start, length as u64)?;
                if bytes.len() < length {
                    return Err(ParquetError::EOF(format!(
                        "expected {length} bytes at {start}, got {}",
                        bytes.len()
                    )));
                }
                Ok(bytes.slice(..length))
            }
        }
    }
}

/// An object with what was read of it last.
struct Ahead {
    object: Object,
    size: u64,
    /// What is read is all of one content.
    e_tag: Option<String>,
    /// The one that was read last is last.
    windows: Mutex<VecDeque<Window>>,
}

#[derive(Clone)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Ahead {
    /// At least `length` bytes from `start`, as far as the object goes.
    fn from(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let needed = start.saturating_add(length).min(self.size);
        if start >= needed {
            return Ok(Bytes::new());
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |window: &Window| window.start <= start && needed <= window.end();
        if let Some(window) = windows.iter().find(|window| has(window)) {
            let skipped = usize::try_from(start - window.start).map_err(io::Error::other)?;
            return Ok(window.bytes.slice(skipped..));
        }
        let goes_on = |window: &Window| (window.start..=window.end()).contains(&start);
        let before = windows.iter().position(goes_on);
        let before = before.and_then(|index| windows.remove(index));
        let ahead = before.map_or(LEAST_AHEAD, |window| 2 * window.bytes.len() as u64);
        let ahead = ahead.clamp(LEAST_AHEAD, MOST_AHEAD);
        let end = start.saturating_add(ahead).min(self.size).max(needed);
        let bytes = self.object.read_range(start..end, self.e_tag.as_deref())?;
        if windows.len() == WINDOWS {
            windows.pop_front();
        }
        // What is larger than any window is read once and not kept.
        let kept = if end - start <= MOST_AHEAD {
            bytes.clone()
        } else {
            bytes.slice(bytes.len()..)
        };
        windows.push_back(Window {
            start: end - kept.len() as u64,
            bytes: kept,
        });
        Ok(bytes)
    }
}

/// Reads an object on from a place.
struct Reader {
    ahead: Arc<Ahead>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = (buffer.len() as u64).min(LEAST_AHEAD);
        let mut bytes = self.ahead.from(self.at, wanted)?;
        let length = bytes.len().min(buffer.len());
        bytes.copy_to_slice(&mut buffer[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
