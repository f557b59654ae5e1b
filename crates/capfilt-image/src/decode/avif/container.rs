//! The boxes of an AVIF file (ISO/IEC 14496-12 and 23008-12), as far as a still picture needs them.
//!
//! Published parsers do not fit: `avif-parse` gives neither turns nor colours, `mp4parse` colours
//! behind raw pointers only, and `zenavif-parse` loses the colours behind a colour profile, which
//! is where libavif writes them. Nothing is allocated here but the data of items in several pieces.

use std::borrow::Cow;

use super::super::Turn;
use super::{Coding, corrupt, unsupported};
use crate::error::DecodeError;

/// The picture that a file shows.
pub(super) struct Still<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) turn: Turn,
    /// Said by the container, which counts more than what the AV1 data say.
    pub(super) coding: Option<Coding>,
    /// AV1 data of the colours.
    pub(super) data: Cow<'a, [u8]>,
    /// AV1 data of the opacity.
    pub(super) alpha: Option<Cow<'a, [u8]>>,
    /// Whether the opacity was multiplied into the colours.
    pub(super) is_multiplied: bool,
}

/// Bytes from which numbers are taken in order. `None` where they end.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

/// A box, without its header.
#[derive(Clone, Copy)]
struct Content<'a> {
    kind: [u8; 4],
    bytes: Bytes<'a>,
}

/// The parts of the box `meta`.
struct Meta<'a> {
    locations: Bytes<'a>,
    infos: Bytes<'a>,
    references: Option<Bytes<'a>>,
    properties: Bytes<'a>,
    /// Item data that stand in `meta` itself.
    inner: Option<Bytes<'a>>,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of up to eight bytes.
    fn number(&mut self, count: usize) -> Option<u64> {
        let join = |number, byte: &u8| number << 8 | u64::from(*byte);
        Some(self.take(count)?.iter().fold(0, join))
    }

    /// A number of four bytes in a box of a later version, of two otherwise.
    fn identity(&mut self, is_wide: bool) -> Option<u64> {
        self.number(if is_wide { 4 } else { 2 })
    }

    /// The version of a full box; its flags.
    fn version(&mut self) -> Option<(u8, u64)> {
        let version = u8::try_from(self.number(1)?).ok()?;
        Some((version, self.number(3)?))
    }

    /// The next box; `None` at the end, and where it is cut off.
    fn next_box(&mut self) -> Option<Content<'a>> {
        let whole = *self;
        let size = self.number(4)?;
        let kind = self.take(4)?.try_into().ok()?;
        let (size, header) = match size {
            0 => (whole.0.len() as u64, 8),
            1 => (self.number(8)?, 16),
            size => (size, 8),
        };
        let content = usize::try_from(size.checked_sub(header)?).ok()?;
        Some(Content {
            kind,
            bytes: Bytes(self.take(content)?),
        })
    }

    fn boxes(mut self) -> impl Iterator<Item = Content<'a>> {
        std::iter::from_fn(move || self.next_box())
    }

    fn find(self, kind: [u8; 4]) -> Option<Self> {
        let found = self.boxes().find(|content| content.kind == kind)?;
        Some(found.bytes)
    }
}

/// Finds the still picture. Whatever is missing at the end of the file is told from what is wrong.
pub(super) fn still(bytes: &[u8]) -> Result<Still<'_>, DecodeError> {
    let mut file = Bytes(bytes);
    let mut has_track = false;
    let meta = loop {
        match file.next_box() {
            Some(Content {
                kind: [b'm', b'e', b't', b'a'],
                bytes,
            }) => break bytes,
            Some(content) => has_track |= &content.kind == b"moov",
            None if has_track => return Err(unsupported("a sequence but no still picture")),
            None => return Err(DecodeError::Truncated),
        }
    };
    let lost = || corrupt("a box of the picture's description is missing or too short");
    let (meta, primary) = Meta::read(meta).ok_or_else(lost)?;
    meta.refuse_other_kinds(primary)?;
    let mut still = Still {
        width: 0,
        height: 0,
        turn: Turn::NoTransforms,
        coding: None,
        data: meta.data(bytes, primary)?,
        alpha: None,
        is_multiplied: false,
    };
    still.describe(&meta, primary)?;
    // Each is looked up in lists, so of too many some are left out.
    for alpha in meta
        .references(*b"auxl", None, primary)
        .into_iter()
        .take(16)
    {
        if meta.is_alpha(alpha) && still.alpha.is_none() {
            meta.refuse_other_kinds(alpha)?;
            still.alpha = Some(meta.data(bytes, alpha)?);
            let multiplied = meta.references(*b"prem", Some(primary), alpha);
            still.is_multiplied = !multiplied.is_empty();
        }
    }
    Ok(still)
}

impl Still<'_> {
    /// Takes up what the container says of the picture.
    fn describe(&mut self, meta: &Meta<'_>, primary: u64) -> Result<(), DecodeError> {
        let (mut angle, mut axis) = (0, None);
        for (is_essential, Content { kind, mut bytes }) in meta.properties(primary) {
            let short = || corrupt("a property of the picture is too short");
            let mut number = |count| bytes.number(count).ok_or_else(short);
            match &kind {
                b"ispe" => {
                    number(4)?;
                    self.width = u32::try_from(number(4)?).unwrap_or(u32::MAX);
                    self.height = u32::try_from(number(4)?).unwrap_or(u32::MAX);
                }
                b"colr" if number(4)? == u64::from(u32::from_be_bytes(*b"nclx")) => {
                    let primaries = number(2)?;
                    number(2)?;
                    let matrix = number(2)?;
                    let is_full = number(1)? >> 7 == 1;
                    self.coding.get_or_insert(Coding {
                        primaries,
                        matrix,
                        is_full,
                    });
                }
                b"irot" => angle = number(1)? & 3,
                b"imir" => axis = Some(number(1)? & 1),
                b"clap" => return Err(unsupported("a part cut out (clap)")),
                b"av1C" | b"colr" | b"pixi" | b"pasp" => {}
                other if is_essential => {
                    return Err(unsupported(format!(
                        "the property {}",
                        String::from_utf8_lossy(other)
                    )));
                }
                _ => {}
            }
        }
        self.turn = turn(angle, axis);
        if self.width == 0 || self.height == 0 {
            return Err(corrupt("the size of the picture is missing"));
        }
        Ok(())
    }
}

/// Quarter turns to the left, then the axis of a reflection: 0 swaps top and bottom.
fn turn(angle: u64, axis: Option<u64>) -> Turn {
    match (angle, axis) {
        (1, None) => Turn::Rotate270,
        (2, None) => Turn::Rotate180,
        (3, None) => Turn::Rotate90,
        (_, None) => Turn::NoTransforms,
        (0, Some(0)) | (2, Some(1)) => Turn::FlipVertical,
        (0 | 2, Some(_)) => Turn::FlipHorizontal,
        (1, Some(0)) | (3, Some(1)) => Turn::Rotate90FlipH,
        (_, Some(_)) => Turn::Rotate270FlipH,
    }
}

impl<'a> Meta<'a> {
    /// The parts of the box, and the item that is the picture.
    fn read(mut meta: Bytes<'a>) -> Option<(Self, u64)> {
        meta.version()?;
        let mut primary = meta.find(*b"pitm")?;
        let (version, _) = primary.version()?;
        let primary = primary.identity(version > 0)?;
        let meta = Self {
            locations: meta.find(*b"iloc")?,
            infos: meta.find(*b"iinf")?,
            references: meta.find(*b"iref"),
            properties: meta.find(*b"iprp")?,
            inner: meta.find(*b"idat"),
        };
        Some((meta, primary))
    }

    /// Refuses items that are no AV1 data.
    fn refuse_other_kinds(&self, item: u64) -> Result<(), DecodeError> {
        match self.kind(item).as_ref() {
            Some(b"av01") => Ok(()),
            Some(b"grid") => Err(unsupported("a grid of pictures")),
            Some(kind) => Err(unsupported(format!(
                "a picture of the kind {}",
                String::from_utf8_lossy(kind)
            ))),
            None => Err(corrupt("the kind of the picture is missing")),
        }
    }

    fn kind(&self, item: u64) -> Option<[u8; 4]> {
        let mut infos = self.infos;
        let (version, _) = infos.version()?;
        infos.identity(version > 0)?;
        infos.boxes().find_map(|Content { kind, mut bytes }| {
            let (version, _) = bytes.version()?;
            let is_item = &kind == b"infe" && bytes.identity(version > 2)? == item;
            // A number of its protection stands before the kind.
            is_item.then(|| bytes.take(6)?.last_chunk().copied())?
        })
    }

    /// The items, or that one, from which references of a kind lead to an item.
    fn references(&self, kind: [u8; 4], from: Option<u64>, to: u64) -> Vec<u64> {
        let found = || {
            let mut references = self.references?;
            let (version, _) = references.version()?;
            let leads = |Content {
                             kind: its,
                             mut bytes,
                         }: Content<'_>| {
                let source = bytes.identity(version > 0)?;
                let count = bytes.number(2)?;
                let mut targets = (0..count).map_while(|_| bytes.identity(version > 0));
                let is_it = its == kind
                    && from.is_none_or(|from| from == source)
                    && targets.any(|target| target == to);
                is_it.then_some(source)
            };
            Some(references.boxes().filter_map(leads).collect())
        };
        found().unwrap_or_default()
    }

    /// What is said of an item, and whether a reader must understand it.
    fn properties(&self, item: u64) -> Vec<(bool, Content<'a>)> {
        let found = || {
            let known: Vec<_> = self.properties.find(*b"ipco")?.boxes().collect();
            let mut uses = self.properties.find(*b"ipma")?;
            let (version, flags) = uses.version()?;
            let width = if flags & 1 == 1 { 2 } else { 1 };
            let essential = 1 << (8 * width - 1);
            let mut found = Vec::new();
            for _ in 0..uses.number(4)? {
                let is_item = uses.identity(version > 0)? == item;
                for _ in 0..uses.number(1)? {
                    let number = uses.number(width)?;
                    let index = usize::try_from(number & (essential - 1)).ok()?;
                    // Counted from 1; 0 stands for none.
                    if let Some(property) = index.checked_sub(1).filter(|_| is_item) {
                        found.push((number & essential != 0, *known.get(property)?));
                    }
                }
            }
            Some(found)
        };
        found().unwrap_or_default()
    }

    fn is_alpha(&self, item: u64) -> bool {
        self.properties(item).into_iter().any(|(_, content)| {
            let name = content.bytes.0.get(4..).unwrap_or_default();
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            &content.kind == b"auxC"
                && (name == b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
                    || name == b"urn:mpeg:hevc:2015:auxid:1")
        })
    }

    /// The data of an item.
    fn data(&self, file: &'a [u8], item: u64) -> Result<Cow<'a, [u8]>, DecodeError> {
        let (is_inner, extents) = self
            .extents(item)
            .ok_or_else(|| corrupt("the place of the picture's data is missing"))?;
        let source = match (is_inner, self.inner) {
            (false, _) => file,
            (true, Some(inner)) => inner.0,
            (true, None) => return Err(corrupt("the picture's data are missing")),
        };
        let piece = |&(offset, length): &(usize, usize)| match length {
            0 => source.get(offset..),
            _ => source.get(offset..offset.checked_add(length)?),
        };
        let pieces: Option<Vec<_>> = extents.iter().map(piece).collect();
        match pieces.as_deref() {
            None | Some([]) => Err(DecodeError::Truncated),
            Some([piece]) => Ok(Cow::Borrowed(piece)),
            Some(pieces) if pieces.iter().map(|piece| piece.len()).sum::<usize>() > file.len() => {
                Err(corrupt("the pieces of the picture are more than the file"))
            }
            Some(pieces) => Ok(Cow::Owned(pieces.concat())),
        }
    }

    /// Offsets and lengths of an item's data, and whether they are within `meta`.
    fn extents(&self, item: u64) -> Option<(bool, Vec<(usize, usize)>)> {
        let mut bytes = self.locations;
        let (version, _) = bytes.version()?;
        let widths = bytes.number(2)?;
        let width = |shift: u32| usize::try_from(widths >> shift & 15).ok();
        let (offset, length, base) = (width(12)?, width(8)?, width(4)?);
        let index = if version > 0 { width(0)? } else { 0 };
        if [offset, length, base, index].iter().any(|&width| width > 8) {
            return None;
        }
        for _ in 0..bytes.identity(version > 1)? {
            let is_item = bytes.identity(version > 1)? == item;
            let method = if version > 0 {
                bytes.number(2)? & 15
            } else {
                0
            };
            bytes.number(2)?;
            let start = bytes.number(base)?;
            let count = usize::try_from(bytes.number(2)?).ok()?;
            if !is_item {
                bytes.take(count * (index + offset + length))?;
                continue;
            }
            let mut extent = || {
                bytes.number(index)?;
                let at = bytes.number(offset)?.checked_add(start)?;
                let length = bytes.number(length)?;
                Some((usize::try_from(at).ok()?, usize::try_from(length).ok()?))
            };
            let extents: Option<_> = (0..count).map(|_| extent()).collect();
            return (method < 2).then_some((method == 1, extents?));
        }
        None
    }
}
