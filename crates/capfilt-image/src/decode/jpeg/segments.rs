//! A JPEG file cut into its segments, and the checks that need no decoding.

use super::{Colours, GUARD, MAX_SCANS, corrupt};
use crate::error::DecodeError;

/// The frame header.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Which of the fifteen processes of T.81.
    process: u8,
    /// Bits of a sample.
    precision: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    /// Three bytes each: name, sampling factors, quantisation table.
    components: &'a [[u8; 3]],
}

/// A JPEG file up to its first scan header.
pub(super) struct Segments<'a> {
    pub(super) frame: Frame<'a>,
    /// Tables with their markers, in order.
    tables: Vec<&'a [u8]>,
    /// The content of the first scan header.
    first_scan: &'a [u8],
    /// Everything behind it.
    rest: &'a [u8],
    has_jfif: bool,
    /// The colour transform of an Adobe segment.
    adobe: Option<u8>,
    /// The EXIF segments.
    pub(super) exif: Vec<&'a [u8]>,
    /// The last XMP segment.
    pub(super) xmp: Option<&'a [u8]>,
}

/// One scan.
pub(super) struct Scan<'a> {
    /// Tables between the scan before and this one, with their markers.
    tables: Vec<&'a [u8]>,
    /// Positions of its components in the frame header.
    pub(super) components: Vec<usize>,
    /// The Huffman tables of each component.
    huffman: Vec<u8>,
    /// First and last coefficient.
    band: [u8; 2],
    /// The bit that was sent before, and the one that is sent now.
    bits: [u8; 2],
    data: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Reads up to and including the first scan header.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut frame = None;
        let (mut tables, mut exif) = (Vec::new(), Vec::new());
        let (mut has_jfif, mut adobe, mut xmp) = (false, None, None);
        // Behind the start-of-image marker.
        let mut at = 2;
        loop {
            let (marker, start) = next_marker(bytes, at).ok_or(DecodeError::Truncated)?;
            at = start;
            match marker {
                // Markers without content: repeated starts, restarts, TEM.
                0xd8 | 0xd0..=0xd7 | 0x01 => continue,
                0xd9 => return Err(corrupt("it ends before any scan")),
                _ => {}
            }
            let (content, end) = content(bytes, marker, at)?;
            match marker {
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    if frame.is_some() {
                        return Err(corrupt("two frame headers"));
                    }
                    frame = Some(Frame::read(marker, content)?);
                }
                0xda => {
                    return Ok(Self {
                        frame: frame.ok_or_else(|| corrupt("a scan before the frame header"))?,
                        tables,
                        first_scan: content,
                        rest: &bytes[end..],
                        has_jfif,
                        adobe,
                        exif,
                        xmp,
                    });
                }
                0xe0 => has_jfif |= content.starts_with(b"JFIF\0") && content.len() >= 14,
                0xe1 if content.starts_with(b"Exif\0\0") => exif.push(content),
                0xe1 => {
                    xmp = content
                        .strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")
                        .or(xmp);
                }
                // "Adobe", version, two words of flags, transform.
                0xee if content.starts_with(b"Adobe") => {
                    adobe = content.get(11).copied().or(adobe);
                }
                _ if is_table(marker) => tables.push(&bytes[at - 2..end]),
                _ => {}
            }
            at = end;
        }
    }

    /// What libjpeg takes the samples for.
    pub(super) fn colours(&self) -> Result<Colours, DecodeError> {
        let Frame {
            process,
            precision,
            components,
            ..
        } = self.frame;
        match process {
            0xc0..=0xc2 => {}
            0xc3 | 0xc7 | 0xcb | 0xcf => return Err(DecodeError::unsupported("lossless JPEG")),
            0xc9 | 0xca | 0xcd | 0xce => {
                return Err(DecodeError::unsupported("JPEG with arithmetic coding"));
            }
            _ => return Err(DecodeError::unsupported("hierarchical JPEG")),
        }
        if precision != 8 {
            return Err(DecodeError::unsupported(format!(
                "JPEG of {precision} bits"
            )));
        }
        match components {
            [_] => Ok(Colours::Grey),
            [_, _, _] if self.has_jfif => Ok(Colours::Ycc),
            [red, green, blue] => Ok(match self.adobe {
                Some(0) => Colours::Rgb,
                None if [red[0], green[0], blue[0]] == *b"RGB" => Colours::Rgb,
                _ => Colours::Ycc,
            }),
            [_, _, _, _] => Ok(match self.adobe {
                None | Some(0) => Colours::Cmyk,
                Some(_) => Colours::Ycck,
            }),
            other => Err(DecodeError::unsupported(format!(
                "JPEG of {} components",
                other.len()
            ))),
        }
    }

    /// Whether the number of rows comes only behind the first scan.
    pub(super) fn has_late_height(&self) -> bool {
        let behind = end_of_scan(self.rest).0;
        next_marker(self.rest, behind).is_some_and(|(marker, _)| marker == 0xdc)
    }

    /// Whether the first scan has everything in it.
    pub(super) fn is_one_scan(&self) -> bool {
        let count = self.first_scan.first().copied().unwrap_or(0);
        !self.frame.is_progressive() && usize::from(count) == self.frame.components.len()
    }

    /// All scans, which together have all there is to know of each component.
    pub(super) fn scans(&self) -> Result<Vec<Scan<'a>>, DecodeError> {
        let rest = self.rest;
        let (mut scans, mut found) = (Vec::new(), Vec::new());
        let (mut header, mut tables, mut at) = (self.first_scan, Vec::new(), 0);
        let mut restarts = self.tables.iter().fold(None, restart_interval);
        loop {
            restarts = tables.iter().fold(restarts, restart_interval);
            let (length, markers) = end_of_scan(&rest[at..]);
            let mut data = &rest[at..at + length];
            while let [before @ .., 0xff] = data {
                data = before;
            }
            let scan = Scan::read(&self.frame, std::mem::take(&mut tables), header, data)?;
            found.push((restarts, markers));
            scans.push(scan);
            at += length;
            // A lone scan with everything in it cannot be followed by another, so
            // there the first marker ends the data.
            if self.is_one_scan() {
                end_of_image(&rest[at..]).ok_or(DecodeError::Truncated)?;
                break;
            }
            if scans.len() > MAX_SCANS {
                return Err(corrupt(format!("more than {MAX_SCANS} scans")));
            }
            match next_scan(rest, at, &mut tables)? {
                Some((content, end)) => (header, at) = (content, end),
                None => break,
            }
        }
        for (scan, (interval, markers)) in scans.iter().zip(found) {
            self.frame.check_restarts(scan, interval, markers)?;
        }
        self.frame.check_complete(&scans)?;
        name_tables(&mut scans);
        let bytes: usize = scans.iter().map(|scan| scan.data.len()).sum();
        if u64::try_from(bytes).unwrap_or(u64::MAX) * 8 < self.frame.least_bits() {
            return Err(corrupt("too few bytes for the declared size"));
        }
        Ok(scans)
    }

    /// The tidy copy of the module's description, with guards behind all scans that `is_guarded`
    /// says by their number.
    pub(super) fn tidy(
        &self,
        scans: &[Scan<'_>],
        colours: Colours,
        is_guarded: impl Fn(usize) -> bool,
    ) -> Vec<u8> {
        let tables: usize = self.tables.iter().map(|table| table.len()).sum();
        let data: usize = scans.iter().map(|scan| scan.data.len() + 256).sum();
        let mut tidy = Vec::with_capacity(tables + data);
        tidy.extend_from_slice(&[0xff, 0xd8]);
        if colours == Colours::Ycck {
            tidy.extend_from_slice(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x02");
        }
        let add = |tidy: &mut Vec<u8>, tables: &[&[u8]]| {
            for table in tables {
                tidy.extend_from_slice(table);
            }
        };
        add(&mut tidy, &self.tables);
        let names = if colours == Colours::Rgb {
            *b"RGB\0"
        } else {
            [1, 2, 3, 4]
        };
        self.frame.write(&mut tidy, names);
        for (number, scan) in scans.iter().enumerate() {
            add(&mut tidy, &scan.tables);
            scan.write(&mut tidy, names);
            tidy.extend_from_slice(scan.data);
            if is_guarded(number) {
                tidy.extend_from_slice(&GUARD);
            }
        }
        tidy.extend_from_slice(&[0xff, 0xd9]);
        tidy
    }
}

impl<'a> Frame<'a> {
    /// A frame header from the content of its segment.
    fn read(process: u8, content: &'a [u8]) -> Result<Self, DecodeError> {
        let &[
            precision,
            height_high,
            height_low,
            width_high,
            width_low,
            count,
            ref rest @ ..,
        ] = content
        else {
            return Err(corrupt("short frame header"));
        };
        let (components, spare) = rest.as_chunks::<3>();
        if components.len() != usize::from(count) || !spare.is_empty() {
            return Err(corrupt("frame header of a wrong length"));
        }
        if let Some([name, factors, _]) = components.iter().find(|[_, factors, _]| {
            !(1..=4).contains(&(factors >> 4)) || !(1..=4).contains(&(factors & 15))
        }) {
            return Err(corrupt(format!(
                "sampling factors {} x {} of component {name}; expected 1 to 4",
                factors >> 4,
                factors & 15
            )));
        }
        Ok(Self {
            process,
            precision,
            width: u16::from_be_bytes([width_high, width_low]),
            height: u16::from_be_bytes([height_high, height_low]),
            components,
        })
    }

    pub(super) fn is_progressive(&self) -> bool {
        self.process == 0xc2
    }

    /// Sampling factors of each component, across and down. A lone component has as many samples
    /// as the picture has pixels, whatever its factors are.
    pub(super) fn sampling(&self) -> Vec<[u8; 2]> {
        match self.components {
            [_] => vec![[1, 1]],
            several => several
                .iter()
                .map(|&[_, factors, _]| [factors >> 4, factors & 15])
                .collect(),
        }
    }

    /// The largest sampling factors, across and down.
    pub(super) fn largest(&self) -> [u8; 2] {
        let sampling = self.sampling();
        let largest = |axis: usize| {
            sampling
                .iter()
                .map(|factors| factors[axis])
                .max()
                .unwrap_or(1)
        };
        [largest(0), largest(1)]
    }

    /// Groups of blocks that are coded together, across and down, when all components are.
    pub(super) fn groups(&self) -> [usize; 2] {
        let [across, down] = self.largest();
        [
            usize::from(self.width).div_ceil(8 * usize::from(across)),
            usize::from(self.height).div_ceil(8 * usize::from(down)),
        ]
    }

    /// Blocks of a component, across and down, in a scan of its own.
    pub(super) fn blocks(&self, component: usize) -> [usize; 2] {
        let (factors, largest) = (self.sampling()[component], self.largest());
        let blocks = |size: u16, factor: u8, largest: u8| {
            (usize::from(size) * usize::from(factor)).div_ceil(8 * usize::from(largest))
        };
        [
            blocks(self.width, factors[0], largest[0]),
            blocks(self.height, factors[1], largest[1]),
        ]
    }

    /// Refuses a scan in which restart markers are missing or too many. Some encoders
    /// write one behind the last part, too.
    fn check_restarts(
        &self,
        scan: &Scan<'_>,
        interval: Option<u16>,
        found: usize,
    ) -> Result<(), DecodeError> {
        let [across, down] = match scan.components[..] {
            [component] => self.blocks(component),
            _ => self.groups(),
        };
        let expected = match interval.unwrap_or(0) {
            0 => 0,
            interval => (across * down).saturating_sub(1) / usize::from(interval),
        };
        let most = if expected == 0 { 0 } else { expected + 1 };
        if (expected..=most).contains(&found) || self.height == 0 {
            return Ok(());
        }
        Err(corrupt(format!(
            "{found} restart markers in a scan, expected {expected}"
        )))
    }

    /// Refuses scans that leave something out or send it twice.
    fn check_complete(&self, scans: &[Scan<'_>]) -> Result<(), DecodeError> {
        // The bit of each coefficient that was sent last.
        let mut sent = vec![[None; 64]; self.components.len()];
        for scan in scans {
            let [first, last] = scan.band.map(usize::from);
            let [before, now] = scan.bits;
            let is_first = before == 0;
            if !is_first && before != now + 1 || now > 13 || first > last || last > 63 {
                return Err(corrupt("a scan header that contradicts itself"));
            }
            for &component in &scan.components {
                let coefficients = &mut sent[component];
                let is_early = first > 0 && coefficients[0].is_none();
                for bit in &mut coefficients[first..=last] {
                    if is_early || *bit != (!is_first).then_some(before) {
                        return Err(corrupt("scans out of order"));
                    }
                    *bit = Some(now);
                }
            }
        }
        match sent
            .iter()
            .position(|bits| bits.iter().any(|bit| *bit != Some(0)))
        {
            None => Ok(()),
            Some(component) => Err(corrupt(format!(
                "scans are missing: component {} of {} is not complete",
                component + 1,
                sent.len()
            ))),
        }
    }

    /// A lower bound for the bits of scan data: the blocks of 8 x 8 of a
    /// component in full resolution, one bit each.
    fn least_bits(&self) -> u64 {
        if !self.sampling().contains(&self.largest()) {
            return 0;
        }
        u64::from(self.width.div_ceil(8)) * u64::from(self.height.div_ceil(8))
    }

    /// Writes the frame header with its marker, under other names of components.
    fn write(&self, to: &mut Vec<u8>, names: [u8; 4]) {
        let count = u8::try_from(self.components.len()).unwrap_or(u8::MAX);
        // Baseline is the extended process with fewer tables.
        let process = if self.is_progressive() { 0xc2 } else { 0xc1 };
        to.extend_from_slice(&[0xff, process, 0, 8 + 3 * count, self.precision]);
        to.extend_from_slice(&self.height.to_be_bytes());
        to.extend_from_slice(&self.width.to_be_bytes());
        to.push(count);
        for ((name, [across, down]), [_, _, table]) in
            names.into_iter().zip(self.sampling()).zip(self.components)
        {
            to.extend_from_slice(&[name, across << 4 | down, *table]);
        }
    }
}

impl<'a> Scan<'a> {
    fn read(
        frame: &Frame<'_>,
        tables: Vec<&'a [u8]>,
        header: &[u8],
        data: &'a [u8],
    ) -> Result<Self, DecodeError> {
        let wrong = || corrupt("scan header of a wrong length");
        let (&count, rest) = header.split_first().ok_or_else(wrong)?;
        let (named, rest) = rest
            .split_at_checked(2 * usize::from(count))
            .ok_or_else(wrong)?;
        let &[first, last, bits] = rest else {
            return Err(wrong());
        };
        let mut components = Vec::new();
        let (named, _) = named.as_chunks::<2>();
        for [name, _] in named {
            let position = frame
                .components
                .iter()
                .enumerate()
                .position(|(at, [other, ..])| other == name && !components.contains(&at));
            components.push(position.ok_or_else(|| corrupt(format!("no component {name}")))?);
        }
        if components.is_empty() {
            return Err(corrupt("a scan of no component"));
        }
        let (band, bits) = if frame.is_progressive() {
            ([first, last], [bits >> 4, bits & 15])
        } else {
            // What else is written there means nothing.
            ([0, 63], [0, 0])
        };
        Ok(Self {
            tables,
            components,
            huffman: named.iter().map(|[_, huffman]| *huffman).collect(),
            band,
            bits,
            data,
        })
    }

    /// Whether a quantisation table stands before it.
    pub(super) fn has_quantisation(&self) -> bool {
        self.tables.iter().any(|table| table[1] == 0xdb)
    }

    /// Writes the scan header with its marker.
    fn write(&self, to: &mut Vec<u8>, names: [u8; 4]) {
        let count = u8::try_from(self.components.len()).unwrap_or(u8::MAX);
        to.extend_from_slice(&[0xff, 0xda, 0, 6 + 2 * count, count]);
        for (&component, &huffman) in self.components.iter().zip(&self.huffman) {
            to.extend_from_slice(&[names[component], huffman]);
        }
        to.extend_from_slice(&self.band);
        to.push(self.bits[0] << 4 | self.bits[1]);
    }
}

/// Names the Huffman table of an earlier scan in those that only add bits to DC coefficients. They
/// need none, and may name one that is never defined, but the decoders ask for it.
fn name_tables(scans: &mut [Scan<'_>]) {
    let mut known = [0; 256];
    for scan in scans.iter_mut().filter(|scan| scan.band[0] == 0) {
        for (&component, table) in scan.components.iter().zip(&mut scan.huffman) {
            match scan.bits[0] {
                0 => known[component] = *table,
                _ => *table = known[component],
            }
        }
    }
}

/// Follows the markers behind a scan to the next one, and keeps tables. `None` at the end of the
/// picture; else the content of the scan header, and the position behind it.
fn next_scan<'a>(
    bytes: &'a [u8],
    mut at: usize,
    tables: &mut Vec<&'a [u8]>,
) -> Result<Option<(&'a [u8], usize)>, DecodeError> {
    loop {
        let (marker, start) = next_marker(bytes, at).ok_or(DecodeError::Truncated)?;
        at = start;
        match marker {
            0xd9 => return Ok(None),
            0xd0..=0xd7 | 0x01 => continue,
            0xd8 | 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(corrupt("another picture begins between its scans"));
            }
            _ => {}
        }
        let (content, end) = content(bytes, marker, at)?;
        if marker == 0xda {
            return Ok(Some((content, end)));
        }
        if is_table(marker) {
            tables.push(&bytes[at - 2..end]);
        }
        at = end;
    }
}

/// The content of a segment whose length stands at `at`, and the position behind it.
fn content(bytes: &[u8], marker: u8, at: usize) -> Result<(&[u8], usize), DecodeError> {
    let length = bytes
        .get(at..at + 2)
        .and_then(|length| length.try_into().ok())
        .map(u16::from_be_bytes)
        .ok_or(DecodeError::Truncated)?;
    if length < 2 {
        return Err(corrupt(format!("segment {marker:#04x} of length {length}")));
    }
    let end = at + usize::from(length);
    let content = bytes.get(at + 2..end).ok_or(DecodeError::Truncated)?;
    Ok((content, end))
}

/// Huffman tables, quantisation tables, restart interval.
fn is_table(marker: u8) -> bool {
    matches!(marker, 0xc4 | 0xdb | 0xdd)
}

/// The restart interval behind a table, which may set it.
fn restart_interval(before: Option<u16>, table: &&[u8]) -> Option<u16> {
    match **table {
        [_, 0xdd, _, _, high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => before,
    }
}

/// The next marker at or behind `at`, and the position behind it. Junk before
/// it is skipped, as libjpeg does.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut at = at;
    loop {
        at += first_ff(bytes.get(at..)?)?;
        at += bytes[at..].iter().position(|&byte| byte != 0xff)?;
        let marker = bytes[at];
        at += 1;
        if marker != 0 {
            return Some((marker, at));
        }
    }
}

/// Where the first 0xff is.
fn first_ff(bytes: &[u8]) -> Option<usize> {
    // Few blocks have one, and `contains` looks at many bytes at once.
    const BLOCK: usize = 64;
    let blocks = bytes
        .chunks(BLOCK)
        .take_while(|block| !block.contains(&0xff));
    let start = blocks.count() * BLOCK;
    let at = bytes.get(start..)?.iter().position(|&byte| byte == 0xff)?;
    Some(start + at)
}

/// Length of scan data up to the first marker other than a restart, and how many of those there are.
fn end_of_scan(data: &[u8]) -> (usize, usize) {
    let (mut at, mut restarts) = (0, 0);
    while let Some((marker, behind)) = next_marker(data, at) {
        if !(0xd0..=0xd7).contains(&marker) {
            return (behind - 2, restarts);
        }
        restarts += 1;
        at = behind;
    }
    (data.len(), restarts)
}

/// Length of everything up to the end-of-image marker.
fn end_of_image(data: &[u8]) -> Option<usize> {
    data.windows(2).position(|pair| pair == [0xff, 0xd9])
}
