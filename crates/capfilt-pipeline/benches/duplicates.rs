//! Time to find the duplicates among many pictures.
//!
//! ```text
//! cargo bench -p capfilt -p capfilt-pipeline --bench duplicates -- [PICTURES [MEBIBYTES]]
//! ```
//!
//! Makes files of 10,000 rows with hashes of [`PICTURES`] pictures, a hundredth of them in an
//! evaluation set and a fifth in an earlier run, and finds duplicates within [`MEBIBYTES`]. For the
//! peak of memory, run the program that cargo names under `/usr/bin/time -v`.
//!
//! Bits of hashes are not even: each is 1 with a probability of [`BIAS`], so that two hashes share a
//! band 20 times as often as even ones would. (Of clip art it is 17 to 57 times, of photographs about
//! three times.) Of a hundred pictures,
//!
//! - 10 are copies of others that were encoded again: two bits or none differ;
//! - 5 are copies byte for byte;
//! - 3 are such copies of ten popular pictures;
//! - 6 have all bits of one of three bands in common;
//! - 3 have one hash in common.
//!
//! A million pictures took 19 s and 334 MB at the peak, with 64 MiB instead of 1 GiB for sorts and
//! joins 22 s and 239 MB (2 cores shared with four builds, 2026-11-24; 11 s of processor time).

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, UInt64Array};
use capfilt_data::columns::{PERCEPTUAL_HASH, SHA256};
use capfilt_data::{Footer, PieceWriter};
use capfilt_pipeline::duplicates::{
    Distance, HashFile, LARGEST_BUCKET, Likeness, Search, Set, Sets, find,
};
use tempfile::TempDir;

const PICTURES: u64 = 1_000_000;
const MEBIBYTES: usize = 1024;
const FILE_ROWS: u64 = 10_000;
/// Of 256: p² + (1 - p)² is the sixteenth root of 20 / 65536.
const BIAS: u8 = 186;

type Trouble = Box<dyn std::error::Error>;

fn main() -> Result<(), Trouble> {
    let mut arguments = std::env::args().skip(1).filter(|one| one != "--bench");
    let mut number = || arguments.next().map(|one| one.parse::<u64>()).transpose();
    let pictures = number()?.unwrap_or(PICTURES);
    let mebibytes = number()?.map_or(Ok(MEBIBYTES), usize::try_from)?;

    let folder = TempDir::new()?;
    let mut draw = Draw {
        state: 1,
        pictures: Vec::new(),
    };
    let mut sets = Sets::default();
    for first in (0..pictures).step_by(usize::try_from(FILE_ROWS)?) {
        let list = match 100 * first / pictures {
            0 => &mut sets.evaluation,
            1..=20 => &mut sets.earlier,
            _ => &mut sets.run,
        };
        let rows = FILE_ROWS.min(pictures - first);
        list.push(write(folder.path(), first, rows, &mut draw)?);
    }
    let search = Search {
        distance: Distance::LARGEST,
        largest_bucket: LARGEST_BUCKET,
        memory: mebibytes << 20,
        spill: folder.path().to_owned(),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let begin = Instant::now();
    let found = runtime.block_on(find(&sets, &search))?;
    let seconds = begin.elapsed().as_secs_f64();

    let mut out = io::stdout().lock();
    let duplicates = found.duplicates();
    writeln!(
        out,
        "{pictures} pictures, {mebibytes} MiB: {seconds:.1} s, {} duplicates",
        duplicates.len()
    )?;
    for set in [Set::Evaluation, Set::Earlier, Set::Run] {
        let of = |likeness| {
            let counted = duplicates
                .iter()
                .filter(|one| one.of.set == set && one.likeness == likeness);
            counted.count()
        };
        let near = [0, 1, 2, 3].map(|bits| of(Likeness::Perceptual(bits)));
        writeln!(
            out,
            "  of {set:?}: {} exact, {near:?} at a distance of 0 to 3",
            of(Likeness::Exact)
        )?;
    }
    for bucket in &found.oversized {
        writeln!(out, "  left out: {bucket:?}")?;
    }
    Ok(())
}

fn write(folder: &Path, first: u64, rows: u64, draw: &mut Draw) -> Result<HashFile, Trouble> {
    let (digests, hashes): (Vec<_>, Vec<_>) = (first..first + rows).map(|_| draw.picture()).unzip();
    let digests: ArrayRef = Arc::new(BinaryArray::from_iter_values(digests));
    let hashes: ArrayRef = Arc::new(UInt64Array::from(hashes));
    let batch = RecordBatch::try_from_iter([(SHA256, digests), (PERCEPTUAL_HASH, hashes)])?;
    let path = folder.join(format!("{first}.parquet"));
    let mut writer = PieceWriter::create(&path, batch.schema())?;
    writer.write(&batch)?;
    writer.publish(Vec::new())?;
    Ok(HashFile::new(&Footer::read(&path)?)?)
}

/// Draws pictures.
struct Draw {
    state: u64,
    /// Digest and hash of some of the pictures so far.
    pictures: Vec<(u64, u64)>,
}

impl Draw {
    fn picture(&mut self) -> ([u8; 32], u64) {
        let (digest, hash) = (self.next(), self.hash());
        let (digest, hash) = match self.next() % 100 {
            0..10 => (
                digest,
                self.earlier().map_or(hash, |(_, hash)| self.again(hash)),
            ),
            10..15 => self.earlier().unwrap_or((digest, hash)),
            15..18 => {
                let popular = (self.next() % 10).wrapping_mul(0x0123_4567_89ab_cdef);
                (digest, self.again(popular))
            }
            18..24 => {
                let band = 16 * (self.next() % 3);
                (digest, hash & !(0xffff << band) | 0x1234 << band)
            }
            24..27 => (digest, 0x5555_aaaa_5555_aaaa),
            _ => (digest, hash),
        };
        self.pictures.push((digest, hash));
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&digest.to_be_bytes());
        (bytes, hash)
    }

    /// A hash of uneven bits.
    fn hash(&mut self) -> u64 {
        (0..8).fold(0, |hash, _| {
            let bits = self.next().to_be_bytes().map(|byte| u64::from(byte < BIAS));
            bits.into_iter().fold(hash, |hash, bit| hash << 1 | bit)
        })
    }

    /// The hash of a copy that was encoded again.
    fn again(&mut self, hash: u64) -> u64 {
        match self.next() % 4 {
            0 => hash ^ (1 << (self.next() % 64)) ^ (1 << (self.next() % 64)),
            _ => hash,
        }
    }

    fn earlier(&mut self) -> Option<(u64, u64)> {
        let count = u64::try_from(self.pictures.len())
            .ok()
            .filter(|count| *count > 0)?;
        let at = usize::try_from(self.next() % count).ok()?;
        Some(self.pictures[at])
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
