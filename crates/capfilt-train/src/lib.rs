//! A trainer for BLIP, CoCa, CLIP and FILIP on the datasets that the pipeline writes.
//!
//! A family is a set of functions over named [`Parameters`]. Names, shapes and layouts are those
//! of the checkpoints that other programs read: Hugging Face's for BLIP, `open_clip`'s for the others.

pub mod data;
mod family;
#[cfg(test)]
mod golden;
mod layers;
mod learner;
mod learning_rate;
mod model;
mod operation;
mod optimizer;
mod parameters;
mod tokens;

pub use family::Family;
pub use layers::patches;
pub use learner::StepNumbers;
pub use learning_rate::{Decay, LearningRate};
pub use model::{Losses, Pairs};
pub use operation::Mask;
pub use optimizer::OptimizerConfig;
pub use parameters::{Declaration, Init, ParameterError, Parameters, Stored};
pub use tokens::Tokens;
