//! Changing pictures from time to time, so that a model cannot learn them by heart.
//!
//! The changes are Pillow's and the draws those of torchvision and BLIP: the values of single draws
//! differ, as the generators do.

mod pixels;

use std::f64::consts::PI;

use capfilt_image::{Picture, PictureError, resize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::draws::Draws;
use crate::number::{self, Number};
use pixels::{Affine, Canvas};

/// How pictures are changed before a model sees them.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Augmentation {
    /// A part is cut out, of an area between these shares of the picture's and of an aspect between
    /// 3/4 and 4/3. Without it, the whole picture is stretched to a square.
    pub crop: Option<[number::Part; 2]>,
    /// Whether every other picture is mirrored.
    pub flip: bool,
    /// What else is done.
    pub policy: Policy,
}

/// Changes of colours and places.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// None.
    None,
    /// `RandAugment` with the operations of BLIP: two of them at level 5 of 10, each done half of the
    /// time.
    #[default]
    RandAugment,
    /// The policy that `AutoAugment` found for `ImageNet`, as FILIP has it.
    AutoAugment,
}

impl Default for Augmentation {
    /// That of BLIP's pretraining.
    fn default() -> Self {
        Self {
            crop: Some([0.2, 1.0].map(Number::known)),
            flip: true,
            policy: Policy::RandAugment,
        }
    }
}

/// One change of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Identity,
    AutoContrast,
    Equalize,
    Invert,
    Rotate(f64),
    ShearX(f64),
    ShearY(f64),
    TranslateX(f64),
    TranslateY(f64),
    Posterize(u32),
    Solarize(f64),
    Color(f32),
    Contrast(f32),
    Sharpness(f32),
}

impl Augmentation {
    /// What `draws` make of a picture: a square of `size` pixels.
    pub(super) fn apply(
        &self,
        picture: Picture,
        size: u32,
        draws: &mut Draws,
    ) -> Result<Picture, PictureError> {
        let picture = match self.crop {
            Some(scale) => {
                let canvas = Canvas::from(picture);
                let part = part(canvas.width, canvas.height, scale.map(Number::get), draws);
                canvas
                    .crop(part.left, part.top, part.width, part.height)
                    .into_picture()?
            }
            None => picture,
        };
        let mut canvas = Canvas::from(resize(&picture, size, size));
        if self.flip && draws.chance(0.5) {
            canvas.flip();
        }
        let operations = match self.policy {
            Policy::None => [Operation::Identity; 2],
            Policy::RandAugment => rand_augment(draws),
            Policy::AutoAugment => auto_augment(draws),
        };
        for operation in operations {
            operation.apply(&mut canvas);
        }
        canvas.into_picture()
    }
}

/// A part of a picture in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// The part that torchvision's `RandomResizedCrop` cuts out.
fn part(width: usize, height: usize, [low, high]: [f64; 2], draws: &mut Draws) -> Part {
    const ASPECTS: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
    let [narrow, wide] = ASPECTS;
    #[expect(clippy::cast_precision_loss, reason = "sides are below 2^20")]
    let (across, down) = (width as f64, height as f64);
    for _ in 0..10 {
        let area = across * down * draws.between(low, high);
        let aspect = draws.between(narrow.ln(), wide.ln()).exp();
        let part_width = pixels(area * aspect);
        let part_height = pixels(area / aspect);
        if (1..=width).contains(&part_width) && (1..=height).contains(&part_height) {
            return Part {
                top: draws.place(height - part_height + 1),
                left: draws.place(width - part_width + 1),
                width: part_width,
                height: part_height,
            };
        }
    }
    // Too wide or too high: the middle, of the aspect that is nearest.
    let aspect = (across / down).clamp(narrow, wide);
    let part_width = width.min(pixels((down * aspect).powi(2))).max(1);
    let part_height = height.min(pixels((across / aspect).powi(2))).max(1);
    Part {
        left: (width - part_width) / 2,
        top: (height - part_height) / 2,
        width: part_width,
        height: part_height,
    }
}

/// The side of a square of `area`, in whole pixels.
fn pixels(area: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an area is positive and small"
    )]
    let side = area.sqrt().round_ties_even() as usize;
    side
}

/// A number or its negative.
fn signed(number: f64, draws: &mut Draws) -> f64 {
    if draws.chance(0.5) { number } else { -number }
}

/// The two operations of BLIP's `RandomAugment(2, 5)`. At level 5 its factors for brightness and
/// sharpness are 1.0, which change nothing.
fn rand_augment(draws: &mut Draws) -> [Operation; 2] {
    [(); 2].map(|()| {
        let operation = match draws.below(10) {
            0 => Operation::AutoContrast,
            1 => Operation::Equalize,
            2 => Operation::Rotate(signed(15.0, draws)),
            3 => Operation::ShearX(signed(0.15, draws)),
            4 => Operation::ShearY(signed(0.15, draws)),
            5 => Operation::TranslateX(signed(5.0, draws)),
            6 => Operation::TranslateY(signed(5.0, draws)),
            // Identity, brightness, sharpness.
            _ => Operation::Identity,
        };
        if draws.chance(0.5) {
            operation
        } else {
            Operation::Identity
        }
    })
}

/// An operation of `AutoAugment`, how likely it is done, and how strongly: 0 to 9.
type Step = (Verb, f64, u8);

/// An operation without its strength.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    AutoContrast,
    Color,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Rotate,
    Sharpness,
    ShearX,
    Solarize,
}

/// The policy for `ImageNet`, as torchvision has it.
const IMAGE_NET: [[Step; 2]; 25] = {
    use Verb::{
        AutoContrast, Color, Contrast, Equalize, Invert, Posterize, Rotate, Sharpness, ShearX,
        Solarize,
    };
    [
        [(Posterize, 0.4, 8), (Rotate, 0.6, 9)],
        [(Solarize, 0.6, 5), (AutoContrast, 0.6, 0)],
        [(Equalize, 0.8, 0), (Equalize, 0.6, 0)],
        [(Posterize, 0.6, 7), (Posterize, 0.6, 6)],
        [(Equalize, 0.4, 0), (Solarize, 0.2, 4)],
        [(Equalize, 0.4, 0), (Rotate, 0.8, 8)],
        [(Solarize, 0.6, 3), (Equalize, 0.6, 0)],
        [(Posterize, 0.8, 5), (Equalize, 1.0, 0)],
        [(Rotate, 0.2, 3), (Solarize, 0.6, 8)],
        [(Equalize, 0.6, 0), (Posterize, 0.4, 6)],
        [(Rotate, 0.8, 8), (Color, 0.4, 0)],
        [(Rotate, 0.4, 9), (Equalize, 0.6, 0)],
        [(Equalize, 0.0, 0), (Equalize, 0.8, 0)],
        [(Invert, 0.6, 0), (Equalize, 1.0, 0)],
        [(Color, 0.6, 4), (Contrast, 1.0, 8)],
        [(Rotate, 0.8, 8), (Color, 1.0, 2)],
        [(Color, 0.8, 8), (Solarize, 0.8, 7)],
        [(Sharpness, 0.4, 7), (Invert, 0.6, 0)],
        [(ShearX, 0.6, 5), (Equalize, 1.0, 0)],
        [(Color, 0.4, 0), (Equalize, 0.6, 0)],
        [(Equalize, 0.4, 0), (Solarize, 0.2, 4)],
        [(Solarize, 0.6, 5), (AutoContrast, 0.6, 0)],
        [(Invert, 0.6, 0), (Equalize, 1.0, 0)],
        [(Color, 0.6, 4), (Contrast, 1.0, 8)],
        [(Equalize, 0.8, 0), (Equalize, 0.6, 0)],
    ]
};

/// The two operations of one row of [`IMAGE_NET`].
fn auto_augment(draws: &mut Draws) -> [Operation; 2] {
    IMAGE_NET[draws.place(IMAGE_NET.len())].map(|(verb, p, level)| {
        let is_positive = draws.chance(0.5);
        if draws.chance(p) {
            verb.at(level, is_positive)
        } else {
            Operation::Identity
        }
    })
}

impl Verb {
    /// The operation of strength `level`, 0 to 9; its sign where it has one.
    fn at(self, level: u8, is_positive: bool) -> Operation {
        let sign = if is_positive { 1.0 } else { -1.0 };
        let share = f64::from(level) / 9.0;
        #[expect(clippy::cast_possible_truncation, reason = "Pillow's factors are f32")]
        let factor = (1.0 + sign * 0.9 * share) as f32;
        match self {
            Self::AutoContrast => Operation::AutoContrast,
            Self::Color => Operation::Color(factor),
            Self::Contrast => Operation::Contrast(factor),
            Self::Equalize => Operation::Equalize,
            Self::Invert => Operation::Invert,
            // 8 - round(level / (9 / 4)); no level gives a half.
            Self::Posterize => Operation::Posterize(8 - (8 * u32::from(level) + 9) / 18),
            Self::Rotate => Operation::Rotate(sign * 30.0 * share),
            Self::Sharpness => Operation::Sharpness(factor),
            Self::ShearX => Operation::ShearX(sign * 0.3 * share),
            Self::Solarize => Operation::Solarize(255.0 * (1.0 - share)),
        }
    }
}

impl Operation {
    fn apply(self, canvas: &mut Canvas) {
        match self {
            Self::Identity => {}
            Self::AutoContrast => canvas.auto_contrast(),
            Self::Equalize => canvas.equalize(),
            Self::Invert => canvas.invert(),
            Self::Rotate(degrees) => canvas.affine(rotation(degrees, canvas.width, canvas.height)),
            Self::ShearX(share) => canvas.affine([[1.0, share, 0.0], [0.0, 1.0, 0.0]]),
            Self::ShearY(share) => canvas.affine([[1.0, 0.0, 0.0], [share, 1.0, 0.0]]),
            Self::TranslateX(by) => canvas.affine([[1.0, 0.0, by], [0.0, 1.0, 0.0]]),
            Self::TranslateY(by) => canvas.affine([[1.0, 0.0, 0.0], [0.0, 1.0, by]]),
            Self::Posterize(bits) => canvas.posterize(bits),
            Self::Solarize(threshold) => canvas.solarize(threshold),
            Self::Color(factor) => canvas.color(factor),
            Self::Contrast(factor) => canvas.contrast(factor),
            Self::Sharpness(factor) => canvas.sharpness(factor),
        }
    }
}

/// `Image.rotate`: counter-clockwise about the middle.
fn rotation(degrees: f64, width: usize, height: usize) -> Affine {
    let (sin, cos) = (-degrees * PI / 180.0).sin_cos();
    #[expect(clippy::cast_precision_loss, reason = "sides are small")]
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    [
        [cos, sin, x - cos * x - sin * y],
        [-sin, cos, y + sin * x - cos * y],
    ]
}

#[cfg(test)]
mod tests;
