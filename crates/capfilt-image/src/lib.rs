//! Bytes to pixels to a tensor: sniffing, guarded decoding, the Pillow resize.
//!
//! The first line of defence against web pictures. [`sniff`] tells the format
//! from the bytes alone, [`probe`] reads the header and refuses pictures that
//! declare too many pixels before anything is allocated for them, [`decode`]
//! turns one still picture (the first frame of an animation) into a
//! [`Picture`]: 8-bit RGB, rows from top to bottom. Whatever the bytes are,
//! the answer is a picture or a [`DecodeError`]; a picture with missing data
//! is an error, never a half-grey picture.
//!
//! [`resize`] computes Pillow's bicubic resize in the same integer arithmetic,
//! so the values are equal, not close. [`Preprocess`] is what a model package
//! states about its input and makes the tensor from a picture. [`encode_jpeg`]
//! writes a picture that is to be stored smaller than it came.
//!
//! The crate knows nothing of where bytes come from or of models. Colour
//! profiles and gamma are ignored, as Pillow's `convert("RGB")` ignores them.
//!
//! ```
//! use capfilt_image::{DecodeError, DecodeOptions, decode};
//!
//! let options = DecodeOptions::default();
//! assert_eq!(decode(b"<html>", &options), Err(DecodeError::NotAnImage));
//! ```

mod decode;
mod encode;
mod error;
mod format;
mod hash;
mod options;
mod picture;
mod preprocess;
mod resize;

pub use crate::decode::{Probe, check, decode, decode_scaled, probe};
pub use crate::encode::{EncodeError, Quality, QualityError, encode_jpeg};
pub use crate::error::DecodeError;
pub use crate::format::{Format, sniff};
pub use crate::hash::perceptual_hash;
pub use crate::options::{Alpha, DecodeOptions, Orientation};
pub use crate::picture::{Picture, PictureError};
pub use crate::preprocess::{Fit, Preprocess, Square};
pub use crate::resize::resize;
