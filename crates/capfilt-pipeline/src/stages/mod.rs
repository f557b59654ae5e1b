//! What a pipeline can do with a row: one verb a file.

pub(crate) mod caption;
pub(crate) mod decode;
pub(crate) mod dedup;
pub(crate) mod fetch;
pub(crate) mod score;
pub(crate) mod where_;
pub(crate) mod where_text;

use capfilt_fetch::FetchOptions;
pub use caption::Caption;
pub use decode::{Check, Decode, JpegDecoding, Pixels, PixelsError, Resize, ResizeError, Side};
pub use dedup::Dedup;
pub use score::Score;
use serde::Serialize;

/// One stage: its name and what it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// Its name, unique in the pipeline.
    pub name: String,
    /// What it does.
    pub verb: Verb,
}

/// What a stage does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Drops rows by a condition.
    Where(String),
    /// Drops web texts by a condition.
    WhereText(String),
    /// Gets the bytes of pictures.
    Fetch(Box<FetchOptions>),
    /// Checks the bytes of pictures.
    Decode(Decode),
    /// Removes pictures that are there more than once.
    Dedup(Dedup),
    /// Writes captions.
    Caption(Caption),
    /// Scores captions.
    Score(Score),
}

impl Verb {
    /// The verb as it is written in a pipeline file.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Where(_) => "where",
            Self::WhereText(_) => "where-text",
            Self::Fetch(_) => "fetch",
            Self::Decode(_) => "decode",
            Self::Dedup(_) => "dedup",
            Self::Caption(_) => "caption",
            Self::Score(_) => "score",
        }
    }

    /// Folder of the model package that the stage uses.
    pub fn model(&self) -> Option<&std::path::Path> {
        match self {
            Self::Caption(caption) => Some(&caption.model),
            Self::Score(score) => Some(&score.model),
            Self::Where(_)
            | Self::WhereText(_)
            | Self::Fetch(_)
            | Self::Decode(_)
            | Self::Dedup(_) => None,
        }
    }
    /// Whether the stage needs pictures that were decoded.
    pub(crate) fn needs_pixels(&self) -> bool {
        matches!(self, Self::Dedup(_)) || self.model().is_some()
    }

    /// Whether the stage looks at pictures, decoded or not.
    pub(crate) fn reads_pictures(&self) -> bool {
        matches!(self, Self::Decode(_)) || self.needs_pixels()
    }
}
