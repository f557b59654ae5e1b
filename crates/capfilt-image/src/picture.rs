//! A decoded picture.

use image::metadata::Orientation as Turn;

/// A decoded picture: 8-bit RGB, `height` rows of `width` pixels from top to
/// bottom, no padding. Never empty.
#[derive(Clone, Eq, PartialEq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// Pixels that do not make a picture of the given size.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{bytes} bytes are no picture of {width} x {height} RGB pixels; expected 3 bytes for each pixel and at least one pixel"
)]
pub struct PictureError {
    width: u32,
    height: u32,
    bytes: usize,
}

impl Picture {
    /// A picture from `3 * width * height` bytes of RGB rows.
    pub fn try_new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, PictureError> {
        let expected = 3 * u128::from(width) * u128::from(height);
        if expected == 0 || pixels.len() as u128 != expected {
            return Err(PictureError {
                width,
                height,
                bytes: pixels.len(),
            });
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// As [`Picture::try_new`] where the caller made the pixels to measure.
    pub(crate) fn from_rows(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        debug_assert_eq!(
            pixels.len() as u64,
            3 * u64::from(width) * u64::from(height)
        );
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The RGB bytes, `3 * width * height` of them.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The RGB bytes, without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The picture as a viewer shows one with this EXIF orientation.
    pub(crate) fn turned(self, turn: Turn) -> Self {
        match turn {
            Turn::NoTransforms => self,
            Turn::Rotate180 => self.mapped(|x, y, width, height| (width - 1 - x, height - 1 - y)),
            Turn::FlipHorizontal => self.mapped(|x, y, width, _| (width - 1 - x, y)),
            Turn::FlipVertical => self.mapped(|x, y, _, height| (x, height - 1 - y)),
            Turn::Rotate90FlipH => self.transposed(|x, y, _, _| (y, x)),
            Turn::Rotate90 => self.transposed(|x, y, _, height| (y, height - 1 - x)),
            Turn::Rotate270 => self.transposed(|x, y, width, _| (width - 1 - y, x)),
            Turn::Rotate270FlipH => {
                self.transposed(|x, y, width, height| (width - 1 - y, height - 1 - x))
            }
        }
    }

    /// A picture of swapped sides, see [`Picture::gather`].
    fn transposed(self, from: impl Fn(usize, usize, usize, usize) -> (usize, usize)) -> Self {
        let (width, height) = (self.height, self.width);
        self.gather(width, height, from)
    }

    /// A picture of the same sides, see [`Picture::gather`].
    fn mapped(self, from: impl Fn(usize, usize, usize, usize) -> (usize, usize)) -> Self {
        let (width, height) = (self.width, self.height);
        self.gather(width, height, from)
    }

    /// A picture of `width` x `height` whose pixel (x, y) is the one that
    /// `from(x, y, old width, old height)` names.
    fn gather(
        self,
        width: u32,
        height: u32,
        from: impl Fn(usize, usize, usize, usize) -> (usize, usize),
    ) -> Self {
        let (old_width, old_height) = (self.width as usize, self.height as usize);
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height as usize {
            for x in 0..width as usize {
                let (old_x, old_y) = from(x, y, old_width, old_height);
                let start = 3 * (old_y * old_width + old_x);
                pixels.extend_from_slice(&self.pixels[start..start + 3]);
            }
        }
        Self::from_rows(width, height, pixels)
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Picture({} x {})", self.width, self.height)
    }
}
