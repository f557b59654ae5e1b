//! What can go wrong when a model is opened or asked.

use std::sync::Arc;

use crate::decoding::DecodingError;
use crate::runtime::RuntimeError;

/// Why a model gave no answer. Cheap to clone: a failed batch tells every caller.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ModelError {
    /// ONNX Runtime cannot be used.
    #[error(transparent)]
    Runtime(Arc<RuntimeError>),
    /// The package cannot do what was asked of it.
    #[error("the model package `{package}` cannot be used: {reason}")]
    Package {
        /// Folder of the package.
        package: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A named device cannot be used.
    #[error("device `{device}` cannot be used: {reason}")]
    Device {
        /// As it was named.
        device: String,
        /// Why.
        reason: String,
    },
    /// The decoding options do not fit.
    #[error(transparent)]
    Decoding(#[from] DecodingError),
    /// ONNX Runtime refused or failed a graph.
    #[error("graph `{graph}` failed: {reason}")]
    Graph {
        /// File name without extension.
        graph: &'static str,
        /// What the runtime says.
        reason: String,
    },
    /// A graph gave numbers that are not finite.
    #[error(
        "graph `{graph}` gave numbers that are not finite; the weights or the picture are broken"
    )]
    NotFinite {
        /// File name without extension.
        graph: &'static str,
    },
    /// A picture of the wrong size.
    #[error("a picture has {got} values, expected {expected}")]
    Pixels {
        /// Values given.
        got: usize,
        /// Values of the model's input.
        expected: usize,
    },
    /// A text that cannot be turned into tokens or back.
    #[error("{0}")]
    Text(String),
    /// The run was stopped.
    #[error("stopped before the model had answered")]
    Cancelled,
    /// The thread that owns the model has ended.
    #[error("the model's thread has ended: {reason}")]
    Ended {
        /// Why, as far as known.
        reason: String,
    },
}

impl From<RuntimeError> for ModelError {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(Arc::new(error))
    }
}
