//! A model at work: ONNX Runtime sessions, the tokenizer, decoding loops, captioner and matcher.
//!
//! A [`Captioner`] or [`Matcher`] is a handle to a thread that owns the graphs of one package.
//! Handles are cloned freely; questions of all callers meet in one short queue and are answered in
//! batches. An answer never depends on what else is in its batch.

mod beam;
mod captioner;
mod decoder;
mod decoding;
mod device;
mod encoder;
mod error;
mod graph;
mod matcher;
mod queue;
pub mod runtime;
mod scores;
mod search;
mod seed;
mod stop;

pub use capfilt_onnx::{Manifest, Package, PackageError, Precision, Task, clean_caption};
pub use captioner::{Caption, CaptionOptions, Captioner};
pub use decoding::{Beam, Decoding, DecodingError, Greedy, MOST_BEAMS, Normalisation, Nucleus};
pub use device::{Device, DeviceError};
pub use error::ModelError;
pub use graph::SessionOptions;
pub use matcher::{FirstToken, MatchOptions, Matcher, Similarity, TextScore};
pub use seed::row_seed;
pub use stop::Stop;

#[cfg(test)]
mod parity;
#[cfg(test)]
mod test_skips;
