//! Encoding by the system's libjpeg-turbo, with the feature `turbo`.

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::Quality;
use crate::picture::Picture;

/// The picture as baseline JPEG in 4:2:0. `None` for one with a side over 65500 pixels, the library's
/// limit, and where there is no memory.
pub(super) fn encode(picture: &Picture, quality: Quality) -> Option<Vec<u8>> {
    let width = usize::try_from(picture.width()).ok()?;
    let image = Image {
        pixels: picture.pixels(),
        width,
        pitch: 3 * width,
        height: usize::try_from(picture.height()).ok()?,
        format: PixelFormat::RGB,
    };
    let mut compressor = Compressor::new().ok()?;
    compressor.set_quality(quality.0.into()).ok()?;
    compressor.set_subsamp(Subsamp::Sub2x2).ok()?;
    compressor.compress_to_vec(image).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_takes_what_is_within_its_limit() {
        for (height, is_taken) in [(16, true), (65_500, true), (65_501, false)] {
            let picture = Picture::try_new(1, height, vec![9; 3 * height as usize]).unwrap();
            let bytes = encode(&picture, Quality::default());
            assert_eq!(bytes.is_some(), is_taken, "{height}");
        }
    }
}
