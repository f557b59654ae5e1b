//! BLIP's `MED` as ONNX graphs: a vision transformer and a BERT whose layers also read image tokens.
//!
//! Axes in shapes: B images, K rows per image, R = B·K rows, N image tokens, T text tokens, P past
//! tokens, h heads, d features per head, Dv and H features of an image and a text token.

pub(crate) mod config;
mod emitter;
pub(crate) mod graphs;
mod language;
mod linear;
pub(crate) mod position;
mod text;
mod vision;

use crate::checkpoint::Checkpoint;

/// Prefix of the text transformer in a captioner.
pub(crate) const DECODER: &str = "text_decoder.bert";
/// Prefix of the text transformer in a filter.
pub(crate) const ENCODER: &str = "text_encoder";

/// Prefix of a text transformer that the checkpoint has; the decoder first.
pub(crate) fn body(checkpoint: &Checkpoint) -> Option<&'static str> {
    [DECODER, ENCODER]
        .into_iter()
        .find(|prefix| checkpoint.contains(&format!("{prefix}.embeddings.word_embeddings.weight")))
}
