//! Files that `tests/golden/differential` draws, as this crate and as Pillow see them.
//!
//! A few of each format by default; `CAPFILT_DIFFERENTIAL="1 jpeg=20000 png=5000"` names a seed and
//! how many. What differs is kept in the folder `CAPFILT_DIFFERENTIAL_KEEP`, if that is set.

use std::collections::BTreeMap;
use std::io::{BufReader, ErrorKind, Read, Write as _};
use std::panic::catch_unwind;
use std::process::{Command, Stdio};

use super::*;

const SAMPLE: &str = "16 jpeg=300 png=50 webp=50 gif=50 bmp=50";

/// The Python that `CAPFILT_PYTHON` names, else the system's.
fn python() -> String {
    std::env::var("CAPFILT_PYTHON").unwrap_or_else(|_unset| "python3".to_owned())
}

/// A drawn file, and what Pillow says of it.
struct Drawn {
    format: String,
    kind: String,
    file: Vec<u8>,
    /// As BLIP sees it, and upright on white; or Pillow's reason.
    seen: Result<[Picture; 2], String>,
}

fn number(from: &mut impl Read) -> u32 {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

fn field(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = vec![0; number(from) as usize];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

fn text(from: &mut impl Read) -> String {
    String::from_utf8(field(from)).unwrap()
}

fn picture(from: &mut impl Read) -> Picture {
    let (width, height) = (number(from), number(from));
    Picture::try_new(width, height, field(from)).unwrap()
}

/// The next file, or `None` behind the last one.
fn next(from: &mut impl Read) -> Option<Drawn> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
        result => result.unwrap(),
    }
    let mut format = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut format).unwrap();
    let (kind, file) = (text(from), field(from));
    let mut is_seen = [0];
    from.read_exact(&mut is_seen).unwrap();
    let seen = match is_seen {
        [0] => Err(text(from)),
        _ => Ok([picture(from), picture(from)]),
    };
    Some(Drawn {
        format: String::from_utf8(format).unwrap(),
        kind,
        file,
        seen,
    })
}

/// What came of the files of one format.
#[derive(Default)]
struct Tally {
    tried: u32,
    equal: u32,
    /// Neither takes them.
    refused_by_both: u32,
    /// Pillow takes them.
    refused: BTreeMap<String, (u32, String)>,
    /// Pillow does not take them.
    taken: BTreeMap<String, (u32, String)>,
    different: Vec<String>,
    /// Damaged files of formats without checksums, which both take for other pictures.
    damaged: Vec<String>,
}

/// Counts a reason, and keeps what it was first said of.
fn count(reasons: &mut BTreeMap<String, (u32, String)>, reason: &str, kind: &str) {
    reasons
        .entry(kind_of(reason))
        .or_insert_with(|| (0, kind.to_owned()))
        .0 += 1;
}

/// How far apart two pictures are: what is wrong, or nothing.
pub(super) fn difference(ours: &Picture, theirs: &Picture, is_lossless: bool) -> Option<String> {
    let sizes = [ours, theirs].map(|one| (one.width(), one.height()));
    if sizes[0] != sizes[1] {
        return Some(format!("{:?} for {:?} pixels", sizes[0], sizes[1]));
    }
    let apart = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b));
    let pairs = || ours.pixels().iter().zip(theirs.pixels());
    let sum: u32 = pairs().map(apart).sum();
    let mean = f64::from(sum) / f64::from(3 * ours.width() * ours.height());
    let block = worst_block(ours, theirs);
    let is_far = if is_lossless {
        sum > 0
    } else {
        mean > 1.0 || block > 4.0
    };
    is_far.then(|| {
        let largest = pairs().map(apart).max().unwrap();
        format!("mean error {mean:.2}, worst block {block:.2}, largest {largest}")
    })
}

/// The largest difference between means of blocks of 8 x 8 pixels. The last ones reach back, since
/// in one or two rows at an edge all that shows is how a decoder interpolates colours there.
fn worst_block(ours: &Picture, theirs: &Picture) -> f64 {
    let mut worst = 0.0_f64;
    for top in (0..ours.height()).step_by(8) {
        for left in (0..ours.width()).step_by(8) {
            let left = left.min(ours.width().saturating_sub(8));
            let top = top.min(ours.height().saturating_sub(8));
            let means = [ours, theirs].map(|one| block_mean(one, left, top, 8));
            for (a, b) in means[0].iter().zip(means[1]) {
                worst = worst.max((a - b).abs());
            }
        }
    }
    worst
}

fn block_mean(picture: &Picture, left: u32, top: u32, side: u32) -> [f64; 3] {
    let (mut sums, mut count) = ([0.0; 3], 0.0);
    for y in top..(top + side).min(picture.height()) {
        for x in left..(left + side).min(picture.width()) {
            let at = 3 * (y * picture.width() + x) as usize;
            for (sum, &sample) in sums.iter_mut().zip(&picture.pixels()[at..at + 3]) {
                *sum += f64::from(sample);
            }
            count += 1.0;
        }
    }
    sums.map(|sum| sum / count)
}

/// How far the picture decoded at one half is from this one, in the means of its whole blocks.
/// Filters differ, most at edges; misplaced samples would show all over.
fn scaled_difference(file: &[u8], whole: &Picture) -> Option<String> {
    let (width, height) = (whole.width().div_ceil(2), whole.height().div_ceil(2));
    let half = decode_scaled(file, &AS_BLIP, width, height).unwrap();
    if (half.width(), half.height()) != (width, height) || width.min(height) < 12 {
        return None;
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for top in (0..whole.height() / 8).map(|row| 8 * row) {
        for left in (0..whole.width() / 8).map(|column| 8 * column) {
            let ours = block_mean(&half, left / 2, top / 2, 4);
            for (a, b) in ours.iter().zip(block_mean(whole, left, top, 8)) {
                sum += (a - b).abs();
                count += 1.0;
            }
        }
    }
    let mean = sum / count;
    (mean > 4.0).then(|| format!("at one half blocks are off by {mean:.2}"))
}

/// A reason without the numbers in it.
fn kind_of(reason: &str) -> String {
    let plain: String = reason
        .chars()
        .map(|one| if one.is_ascii_digit() { '#' } else { one })
        .collect();
    plain.replace("##", "#").replace("##", "#")
}

impl Tally {
    fn add(&mut self, drawn: &Drawn) -> bool {
        self.tried += 1;
        let decoded = |options| catch_unwind(|| decode(&drawn.file, &options));
        let (Ok(blip), Ok(upright)) = (decoded(AS_BLIP), decoded(DecodeOptions::default())) else {
            self.different.push(format!("{}: a panic", drawn.kind));
            return false;
        };
        let ours = [blip, upright];
        match (&ours, &drawn.seen) {
            ([Ok(blip), Ok(upright)], Ok(theirs)) => {
                let is_lossless = drawn.format != "jpeg" && !drawn.kind.contains("lossless False");
                let found = difference(blip, &theirs[0], is_lossless)
                    .or_else(|| difference(upright, &theirs[1], is_lossless))
                    .or_else(|| scaled_difference(&drawn.file, &theirs[0]))
                    .or_else(|| match check(&drawn.file, &DecodeOptions::default()) {
                        Err(error) if drawn.format == "jpeg" => Some(format!("checked: {error}")),
                        _ => None,
                    });
                match found {
                    Some(found) => {
                        let is_damaged = drawn.kind.contains("a bit changed");
                        let list = if is_damaged {
                            &mut self.damaged
                        } else {
                            &mut self.different
                        };
                        list.push(format!("{}: {found}", drawn.kind));
                        return false;
                    }
                    None => self.equal += 1,
                }
            }
            ([Ok(_), _], Err(reason)) => count(&mut self.taken, reason, &drawn.kind),
            ([Err(_), _], Err(_)) => self.refused_by_both += 1,
            ([Err(error), _] | [_, Err(error)], Ok(_)) => {
                count(&mut self.refused, &error.to_string(), &drawn.kind);
            }
        }
        true
    }
}

#[test]
fn drawn_files_are_what_pillow_sees() {
    let asked = Command::new(python())
        .args([
            "-c",
            "import PIL, numpy; assert PIL.__version__ == '12.3.0'",
        ])
        .stderr(Stdio::null())
        .status();
    if !asked.is_ok_and(|status| status.success()) {
        // Past the test harness, which hides what `eprintln!` prints in tests that pass.
        let line = format!("skipped: `{}` has no Pillow 12.3.0\n", python());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let wanted = std::env::var("CAPFILT_DIFFERENTIAL").unwrap_or_else(|_unset| SAMPLE.to_owned());
    let keep = std::env::var_os("CAPFILT_DIFFERENTIAL_KEEP").map(PathBuf::from);
    let mut child = Command::new(python())
        .arg(golden_folder().join("differential"))
        .args(wanted.split_whitespace())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut records = BufReader::new(child.stdout.take().unwrap());
    let mut tallies = BTreeMap::<String, Tally>::new();
    while let Some(drawn) = next(&mut records) {
        let tally = tallies.entry(drawn.format.clone()).or_default();
        if !tally.add(&drawn)
            && let Some(folder) = &keep
        {
            let number = tally.different.len() + tally.damaged.len();
            let name = format!("{number}-{}", drawn.format);
            fs_err::write(folder.join(name), &drawn.file).unwrap();
        }
    }
    assert!(child.wait().unwrap().success());
    let mut different = Vec::new();
    for (format, tally) in &tallies {
        let Tally {
            tried,
            equal,
            refused_by_both,
            refused,
            taken,
            ..
        } = tally;
        let of = tally.different.len();
        eprintln!(
            "{format}: {tried} tried, {equal} equal, {} refused here alone, {} by Pillow alone, {refused_by_both} by both, {of} different",
            refused.values().map(|(count, _)| count).sum::<u32>(),
            taken.values().map(|(count, _)| count).sum::<u32>(),
        );
        for one in &tally.damaged {
            eprintln!("  damaged, and different: {one}");
        }
        for (who, reasons) in [("here", refused), ("by Pillow", taken)] {
            for (reason, (count, kind)) in reasons {
                eprintln!("  {count} refused {who}: {reason} ({kind})");
            }
        }
        different.extend(tally.different.iter().map(|one| format!("{format} {one}")));
    }
    assert!(
        different.is_empty(),
        "{} different\n{}",
        different.len(),
        different[..different.len().min(200)].join("\n")
    );
}
