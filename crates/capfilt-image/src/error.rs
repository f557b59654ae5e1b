//! Why bytes did not become a picture.

use crate::format::Format;

/// Why bytes did not become a picture.
///
/// Trying again with the same bytes gives the same error. Fetching again can
/// help for [`DecodeError::Truncated`] alone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// There are no bytes.
    #[error("the picture has no bytes")]
    Empty,
    /// The bytes begin like no picture format that is known here.
    #[error("not a picture: expected JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF")]
    NotAnImage,
    /// A picture, but of a format or variant that is not decoded here.
    #[error("{what} is not supported; convert the picture to JPEG or PNG")]
    Unsupported {
        /// The format or variant.
        what: String,
    },
    /// The header declares more pixels than allowed.
    #[error(
        "{width} x {height} pixels are declared, at most {limit} are allowed; raise `max-pixels` to decode it"
    )]
    TooManyPixels {
        /// Declared width in pixels.
        width: u32,
        /// Declared height in pixels.
        height: u32,
        /// The largest number of pixels allowed.
        limit: u64,
    },
    /// The bytes end before the picture does.
    #[error("the picture is cut off before its end")]
    Truncated,
    /// The bytes contradict the format.
    #[error("damaged {format} data: {detail}")]
    Corrupt {
        /// The format, from the first bytes.
        format: Format,
        /// What the decoder said.
        detail: String,
    },
}

impl DecodeError {
    /// A [`DecodeError::Corrupt`] with `detail` in words.
    pub(crate) fn corrupt(format: Format, detail: impl Into<String>) -> Self {
        Self::Corrupt {
            format,
            detail: detail.into(),
        }
    }

    /// A [`DecodeError::Unsupported`] naming `what`.
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }
}
