//! Changes of pixels as Pillow makes them.

use capfilt_image::{Picture, PictureError};

/// What shows where a picture was moved away.
const FILL: u8 = 128;

/// Pixels that are changed in place: `height` rows of `width` RGB pixels.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pixels: Vec<[u8; 3]>,
}

/// Coefficients [[a, b, c], [d, e, f]]: the middle of the pixel (x, y) shows what was at
/// (a x + b y + c, d x + e y + f).
pub(super) type Affine = [[f64; 3]; 2];

impl From<Picture> for Canvas {
    fn from(picture: Picture) -> Self {
        Self {
            width: picture.width() as usize,
            height: picture.height() as usize,
            pixels: picture.pixels().as_chunks().0.to_vec(),
        }
    }
}

impl Canvas {
    pub(super) fn into_picture(self) -> Result<Picture, PictureError> {
        let side = |side| u32::try_from(side).unwrap_or(0);
        Picture::try_new(
            side(self.width),
            side(self.height),
            self.pixels.into_flattened(),
        )
    }

    /// The pixels from column `left` and row `top` on.
    pub(super) fn crop(&self, left: usize, top: usize, width: usize, height: usize) -> Self {
        let rows = self.pixels.chunks_exact(self.width).skip(top).take(height);
        Self {
            width,
            height,
            pixels: rows
                .flat_map(|row| &row[left..left + width])
                .copied()
                .collect(),
        }
    }

    /// Left becomes right.
    pub(super) fn flip(&mut self) {
        for row in self.pixels.chunks_exact_mut(self.width) {
            row.reverse();
        }
    }

    /// How often each value occurs in each channel.
    fn histograms(&self) -> [[u64; 256]; 3] {
        let mut histograms = [[0; 256]; 3];
        for pixel in &self.pixels {
            for (histogram, &sample) in histograms.iter_mut().zip(pixel) {
                histogram[usize::from(sample)] += 1;
            }
        }
        histograms
    }

    /// Replaces every sample by what the table of its channel has for it.
    fn look_up(&mut self, tables: &[[u8; 256]; 3]) {
        for pixel in &mut self.pixels {
            for (sample, table) in pixel.iter_mut().zip(tables) {
                *sample = table[usize::from(*sample)];
            }
        }
    }

    /// Replaces every sample by what `map` makes of it.
    fn map(&mut self, map: impl Fn(u8) -> u8) {
        let mut table = [0; 256];
        for (value, entry) in (0_u8..=255).zip(&mut table) {
            *entry = map(value);
        }
        self.look_up(&[table; 3]);
    }

    /// `ImageOps.autocontrast`: stretches each channel to all 256 values.
    pub(super) fn auto_contrast(&mut self) {
        let tables = self.histograms().map(|histogram| {
            let mut table = identity();
            let used = |&count: &u64| count > 0;
            let low = histogram.iter().position(used);
            let high = histogram.iter().rposition(used);
            if let Some((low, high)) = low.zip(high)
                && low < high
            {
                let (low, high) = (to_f64(low), to_f64(high));
                let scale = 255.0 / (high - low);
                for (value, entry) in (0_u8..).zip(&mut table) {
                    *entry = to_sample(f64::from(value) * scale - low * scale);
                }
            }
            table
        });
        self.look_up(&tables);
    }

    /// `ImageOps.equalize`: makes all values about equally frequent in each channel.
    pub(super) fn equalize(&mut self) {
        let tables = self.histograms().map(|histogram| {
            let mut table = identity();
            let last = histogram.iter().rev().find(|&&count| count > 0);
            let total: u64 = histogram.iter().sum();
            let step = (total - last.copied().unwrap_or(0)) / 255;
            if step > 0 {
                let mut below = step / 2;
                for (entry, count) in table.iter_mut().zip(histogram) {
                    *entry = u8::try_from(below / step).unwrap_or(255);
                    below += count;
                }
            }
            table
        });
        self.look_up(&tables);
    }

    /// `ImageOps.posterize`: keeps the upper bits.
    pub(super) fn posterize(&mut self, bits: u32) {
        let mask = !(0xff_u8.checked_shr(bits).unwrap_or(0));
        self.map(|sample| sample & mask);
    }

    /// `ImageOps.solarize`: inverts samples of at least `threshold`.
    pub(super) fn solarize(&mut self, threshold: f64) {
        self.map(|sample| {
            if f64::from(sample) < threshold {
                sample
            } else {
                255 - sample
            }
        });
    }

    /// `ImageOps.invert`.
    pub(super) fn invert(&mut self) {
        self.map(|sample| 255 - sample);
    }

    /// `ImageEnhance.Color`: 0 is grey, 1 changes nothing.
    pub(super) fn color(&mut self, factor: f32) {
        for pixel in &mut self.pixels {
            let grey = luma(*pixel);
            *pixel = pixel.map(|sample| blend(grey, sample, factor));
        }
    }

    /// `ImageEnhance.Contrast`: 0 is the mean grey, 1 changes nothing.
    pub(super) fn contrast(&mut self, factor: f32) {
        let sum: u64 = self
            .pixels
            .iter()
            .map(|&pixel| u64::from(luma(pixel)))
            .sum();
        let count = self.pixels.len() as u64;
        let mean = u8::try_from((2 * sum + count) / (2 * count)).unwrap_or(255);
        self.map(|sample| blend(mean, sample, factor));
    }

    /// `ImageEnhance.Sharpness`: 0 is smooth, 1 changes nothing.
    pub(super) fn sharpness(&mut self, factor: f32) {
        let smooth = self.smooth();
        for (pixel, smooth) in self.pixels.iter_mut().zip(smooth) {
            for (sample, smooth) in pixel.iter_mut().zip(smooth) {
                *sample = blend(smooth, *sample, factor);
            }
        }
    }

    /// `ImageFilter.SMOOTH`; pixels at the edge stay.
    fn smooth(&self) -> Vec<[u8; 3]> {
        let mut smooth = self.pixels.clone();
        for y in 1..self.height.saturating_sub(1) {
            for x in 1..self.width.saturating_sub(1) {
                let at = y * self.width + x;
                smooth[at] = std::array::from_fn(|channel| {
                    let sample = |at: usize| u32::from(self.pixels[at][channel]);
                    let around = [at - self.width, at, at + self.width];
                    let sum: u32 = around
                        .iter()
                        .map(|&at| sample(at - 1) + sample(at) + sample(at + 1))
                        .sum();
                    // The middle counts five times.
                    let sum = sum + 4 * sample(at);
                    u8::try_from((2 * sum + 13) / 26).unwrap_or(255)
                });
            }
        }
        smooth
    }

    /// `Image.transform` with `AFFINE`, `BILINEAR` and a grey filling.
    pub(super) fn affine(&mut self, coefficients: Affine) {
        let mut target = Vec::with_capacity(self.pixels.len());
        for y in 0..self.height {
            for x in 0..self.width {
                let (x, y) = (to_f64(x) + 0.5, to_f64(y) + 0.5);
                let [across, down] = coefficients.map(|row| row[0] * x + row[1] * y + row[2]);
                target.push(self.bilinear(across, down));
            }
        }
        self.pixels = target;
    }

    /// The colour at a place, between the middles of the pixels around it.
    fn bilinear(&self, x: f64, y: f64) -> [u8; 3] {
        let (width, height) = (to_f64(self.width), to_f64(self.height));
        if !((0.0..width).contains(&x) && (0.0..height).contains(&y)) {
            return [FILL; 3];
        }
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (dx, dy) = (x - left, y - top);
        let column = |x: f64| to_place(x).min(self.width - 1);
        let row = |y: f64| to_place(y).min(self.height - 1);
        let pixel = |x: f64, y: f64| self.pixels[row(y) * self.width + column(x)];
        let corners = [
            pixel(left, top),
            pixel(left + 1.0, top),
            pixel(left, top + 1.0),
            pixel(left + 1.0, top + 1.0),
        ];
        std::array::from_fn(|channel| {
            let [one, two, three, four] = corners.map(|pixel| f64::from(pixel[channel]));
            let upper = one + (two - one) * dx;
            let lower = three + (four - three) * dx;
            to_sample(upper + (lower - upper) * dy)
        })
    }
}

fn identity() -> [u8; 256] {
    let mut table = [0; 256];
    for (value, entry) in (0_u8..=255).zip(&mut table) {
        *entry = value;
    }
    table
}

/// Brightness, as `convert("L")` gives it.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    u8::try_from((sum + 0x8000) >> 16).unwrap_or(255)
}

/// `Image.blend`: from `from` at 0 to `to` at 1, and beyond.
fn blend(from: u8, to: u8, share: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    to_sample(f64::from(from + share * (to - from)))
}

fn to_f64(place: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sides are small")]
    let place = place as f64;
    place
}

/// The integer part, at least 0.
fn to_place(x: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at 0"
    )]
    let place = x as usize;
    place
}

/// The integer part, as 8 bits.
fn to_sample(x: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at both ends"
    )]
    let sample = x as u8;
    sample
}
