//! Milliseconds to decode a picture and to make a tensor of it.
//!
//! ```text
//! cargo bench -p capfilt-image -- PICTURE..
//! ```
//!
//! Without pictures, the small ones of `tests/golden` are decoded. Each line
//! is the fastest of many runs, which other work on the machine disturbs
//! least. The same resizes in Pillow:
//! `python -m timeit -s "from PIL import Image; i = Image.new('RGB', (1024, 768))" "i.resize((384, 384), 3)"`.

use std::hint::black_box;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use capfilt_image::{DecodeOptions, Picture, Preprocess, decode, resize};

/// How long a line is measured.
const BUDGET: Duration = Duration::from_millis(500);

/// Width, height and side of the square.
const RESIZES: [(u32, u32, u32); 5] = [
    (1024, 768, 384),
    (640, 480, 384),
    (200, 200, 384),
    (4000, 3000, 384),
    (256, 256, 48),
];

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for path in pictures() {
        let bytes = fs_err::read(&path)?;
        let options = DecodeOptions::default();
        match decode(&bytes, &options) {
            Ok(picture) => {
                let time = fastest(|| decode(&bytes, &options));
                let size = (picture.width(), picture.height());
                writeln!(out, "decode {} {size:?}: {time:.3} ms", path.display())?;
            }
            Err(error) => writeln!(out, "decode {}: {error}", path.display())?,
        }
    }
    for (width, height, side) in RESIZES {
        let samples = (0..3 * u64::from(width) * u64::from(height)).map(|at| at.to_le_bytes()[0]);
        let picture =
            Picture::try_new(width, height, samples.collect()).map_err(io::Error::other)?;
        let preprocess = Preprocess {
            size: side,
            mean: [0.5; 3],
            std: [0.25; 3],
        };
        let resized = fastest(|| resize(&picture, side, side));
        let tensor = fastest(|| preprocess.tensor(&picture));
        writeln!(
            out,
            "{width} x {height} to {side}: {resized:.3} ms, as a tensor {tensor:.3} ms"
        )?;
    }
    Ok(())
}

/// The pictures named on the command line, or small ones of each format.
fn pictures() -> Vec<PathBuf> {
    let named: Vec<PathBuf> = std::env::args_os()
        .skip(1)
        .filter(|name| name != "--bench")
        .map(PathBuf::from)
        .collect();
    if !named.is_empty() {
        return named;
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images");
    [
        "rgb-420.jpg",
        "progressive.jpg",
        "rgba.png",
        "lossy.webp",
        "plain.gif",
    ]
    .map(|name| folder.join(name))
    .to_vec()
}

/// Milliseconds of the fastest run.
fn fastest<T>(mut run: impl FnMut() -> T) -> f64 {
    let begin = Instant::now();
    let mut best = Duration::MAX;
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        black_box(run());
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e3
}
