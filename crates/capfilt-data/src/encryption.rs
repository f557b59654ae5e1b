//! Whether a Parquet file is encrypted.
//!
//! A file whose footer is encrypted says so in its last four bytes. One whose columns alone are says so
//! in its footer (Thrift, compact protocol), which a reader without keys skips, so that rows would come
//! out as noise.

use std::fmt;

/// What of a file is encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encryption {
    /// The footer, and with it what its columns are.
    Footer,
    /// Columns.
    Columns,
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Footer => {
                "nothing of it can be read without a key, not even the names of its columns"
            }
            Self::Columns => "its footer can be read, but not the rows of some or all columns",
        })
    }
}

/// `FileMetaData.encryption_algorithm`.
const ALGORITHM: i64 = 8;
/// How deep a footer's values lie in each other at most.
const DEPTH: u32 = 32;

impl Encryption {
    /// What the file's footer, which is not encrypted itself, says of its columns. One that is no Thrift
    /// says nothing.
    pub(crate) fn of(footer: &[u8]) -> Option<Self> {
        let mut compact = Compact(footer);
        let mut field = 0;
        loop {
            let (next, kind) = compact.field(field)?;
            if next == ALGORITHM {
                return Some(Self::Columns);
            }
            // Fields come in order.
            if next > ALGORITHM {
                return None;
            }
            compact.skip(kind, DEPTH)?;
            field = next;
        }
    }
}

/// What is left of values in Thrift's compact protocol.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, count: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    /// Number and kind of the next field after the field `before`; none at the end of a struct.
    fn field(&mut self, before: i64) -> Option<(i64, u8)> {
        let header = self.byte()?;
        let kind = header & 0xf;
        if kind == 0 {
            return None;
        }
        let number = match header >> 4 {
            0 => {
                let zigzag = self.varint()?;
                (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed()
            }
            step => before + i64::from(step),
        };
        Some((number, kind))
    }

    /// Goes past one value.
    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // True and false are said by the field's kind.
            1 | 2 => Some(()),
            3 => self.bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.bytes(8),
            8 => {
                let length = self.varint()?;
                self.bytes(length)
            }
            9 | 10 => {
                let header = self.byte()?;
                let count = match header >> 4 {
                    0xf => self.varint()?,
                    count => u64::from(count),
                };
                for _ in 0..count {
                    self.element(header & 0xf, depth)?;
                }
                Some(())
            }
            11 => {
                let count = self.varint()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                for _ in 0..count {
                    self.element(kinds >> 4, depth)?;
                    self.element(kinds & 0xf, depth)?;
                }
                Some(())
            }
            12 => {
                let mut before = 0;
                loop {
                    // A struct ends with a byte 0; a footer that ends before is none.
                    if *self.0.first()? == 0 {
                        return self.bytes(1);
                    }
                    let (number, kind) = self.field(before)?;
                    self.skip(kind, depth)?;
                    before = number;
                }
            }
            _ => None,
        }
    }

    /// Goes past one value of a list, where true and false take a byte.
    fn element(&mut self, kind: u8, depth: u32) -> Option<()> {
        match kind {
            1 | 2 => self.bytes(1),
            other => self.skip(other, depth),
        }
    }
}

#[cfg(test)]
mod tests;
