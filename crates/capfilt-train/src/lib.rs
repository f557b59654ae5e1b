//! A trainer for BLIP, CoCa, CLIP and FILIP on the datasets that the pipeline writes.
//!
//! A family is a set of functions over named parameters. Names, shapes and layouts are those
//! of the checkpoints that other programs read: Hugging Face's for BLIP, `open_clip`'s for the others.

mod caption;
mod checkpoint;
pub mod data;
mod draws;
mod export;
mod family;
mod file;
mod fingerprint;
#[cfg(test)]
mod golden;
mod held_out;
mod layers;
mod learner;
mod learning_rate;
mod model;
mod number;
mod operation;
mod optimizer;
mod parameters;
mod progress;
mod start;
mod tagged;
mod tokens;
mod train;

pub use checkpoint::CheckpointError;
pub use export::{ExportError, Exported};
pub use family::Family;
pub use file::{Checkpoints, DeviceName, FileError, HeldOut, Start, TrainFile, Training};
pub use held_out::{HeldOutError, HeldOutNumbers};
pub use learning_rate::{Decay, LearningRate};
pub use model::blip::{Blip, Mode, Sharing};
pub use number::{Blend, Number, NumberError, Part, Peak, Positive, Rate, Share, Weight};
pub use optimizer::{Factors, Moments, OptimizerConfig};
pub use parameters::ParameterError;
pub use progress::{HeldOutLine, StepLine};
pub use start::{StartError, Started};
pub use train::{Event, Outcome, TrainError, train};
