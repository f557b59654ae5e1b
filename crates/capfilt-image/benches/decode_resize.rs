//! Milliseconds to decode a picture, to store it smaller and to make a tensor of it.
//!
//! ```text
//! cargo bench -p capfilt-image -- PICTURE..
//! ```
//!
//! Without pictures, the small ones of `tests/golden` are taken. Each number is the fastest of many
//! runs, which other work on the machine disturbs least. The same resizes in Pillow:
//! `python -m timeit -s "from PIL import Image; i = Image.new('RGB', (1024, 768))" "i.resize((384, 384), 3)"`.
//!
//! The lines `scaled` are about pictures that are decoded with twice the pixels needed each way
//! where that is possible; their smaller picture is compared with that of the full path.

use std::hint::black_box;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use capfilt_image::{
    DecodeOptions, Picture, Preprocess, Quality, decode, decode_scaled, encode_jpeg, resize,
};

/// How long a number is measured.
const BUDGET: Duration = Duration::from_millis(200);

/// Shorter side in pixels of a picture that is stored smaller.
const SHORTER: u32 = 256;

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
    let (mut full, mut scaled) = (Sum::default(), Sum::default());
    for path in pictures() {
        let bytes = fs_err::read(&path)?;
        let name = path.display();
        let options = DecodeOptions::default();
        match decode(&bytes, &options) {
            Ok(picture) => {
                let size = smaller_size(picture.width(), picture.height());
                let decode = || decode(&bytes, &options).ok();
                let (steps, small) = smaller(decode, size);
                writeln!(out, "{name} {picture:?} to {size:?}: {}", full.add(steps))?;
                let decode = || decode_scaled(&bytes, &options, 2 * size.0, 2 * size.1).ok();
                let (steps, other) = smaller(decode, size);
                if let (Some(small), Some(other)) = (small, other) {
                    let quality = difference(&small, &other);
                    writeln!(out, "  scaled: {}, {quality}", scaled.add(steps))?;
                }
            }
            Err(error) => writeln!(out, "{name}: {error}")?,
        }
    }
    writeln!(out, "together: {full}\ntogether scaled: {scaled}")?;
    for (width, height, side) in RESIZES {
        let samples = (0..3 * u64::from(width) * u64::from(height)).map(|at| at.to_le_bytes()[0]);
        let picture =
            Picture::try_new(width, height, samples.collect()).map_err(io::Error::other)?;
        let preprocess = Preprocess {
            fit: capfilt_image::Fit::Stretch,
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

/// Milliseconds to decode, resize and encode.
#[derive(Clone, Copy, Default)]
struct Steps([f64; 3]);

/// Steps of a number of pictures.
#[derive(Default)]
struct Sum {
    steps: Steps,
    pictures: f64,
}

impl Sum {
    /// Adds a picture, and gives it back.
    fn add(&mut self, steps: Steps) -> Steps {
        for (sum, step) in self.steps.0.iter_mut().zip(steps.0) {
            *sum += step;
        }
        self.pictures += 1.0;
        steps
    }
}

impl std::fmt::Display for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [decode, resize, encode] = self.0;
        write!(
            f,
            "decode {decode:.3} ms, resize {resize:.3} ms, encode {encode:.3} ms"
        )
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total: f64 = self.steps.0.iter().sum();
        let each = Steps(self.steps.0.map(|sum| sum / self.pictures));
        let rate = 1e3 * self.pictures / total;
        write!(
            f,
            "{} pictures, each {each}: {rate:.1} pictures/s",
            self.pictures
        )
    }
}

/// Times the steps from bytes to a smaller JPEG, and gives the smaller picture.
fn smaller(
    decode: impl Fn() -> Option<Picture>,
    (width, height): (u32, u32),
) -> (Steps, Option<Picture>) {
    let Some(picture) = decode() else {
        return (Steps::default(), None);
    };
    let small = resize(&picture, width, height);
    let steps = Steps([
        fastest(decode),
        fastest(|| resize(&picture, width, height)),
        fastest(|| encode_jpeg(&small, Quality::default())),
    ]);
    (steps, Some(small))
}

/// Width and height in pixels with the shorter side at [`SHORTER`].
fn smaller_size(width: u32, height: u32) -> (u32, u32) {
    let shorter = width.min(height);
    let scaled = |side: u32| (side * SHORTER + shorter / 2) / shorter;
    (scaled(width), scaled(height))
}

/// How far two pictures of one size are apart.
fn difference(a: &Picture, b: &Picture) -> String {
    let differences = || {
        a.pixels()
            .iter()
            .zip(b.pixels())
            .map(|(a, b)| a.abs_diff(*b))
    };
    let squares: f64 = differences().map(|one| f64::from(one).powi(2)).sum();
    let noise = squares / f64::from(3 * a.width() * a.height());
    let psnr = 20.0 * 255.0_f64.log10() - 10.0 * noise.log10();
    let largest = differences().max().unwrap_or(0);
    format!("{psnr:.1} dB from the full path, largest difference {largest}")
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
