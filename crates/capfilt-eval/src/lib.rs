//! Metrics, equal to the implementations that the field reports with.
//!
//! Captions: [`tokenize`] makes the tokens, [`Captions`] holds captions beside their references, and
//! [`bleu`], [`rouge_l`] and [`cider_d`] give pycocoevalcap's numbers. Retrieval: [`Ranks`] from
//! [`Similarities`], again from a second score of the nearest [`Candidates`], and [`recall_at`].
//! Zero-shot classification: [`class_features`] of prompts, and [`class_ranks`]. Filters: [`Curve`] has every threshold's [`Decisions`], and the areas.
//!
//! Shares are from 0 to 1. Nothing here reads a file or runs a model, and every result is the same
//! on every run.
//!
//! ```
//! use capfilt_eval::{Captions, bleu, tokenize};
//!
//! let texts = ["A dog runs.", "a dog is running", "the dog runs"];
//! let tokens = tokenize(&texts);
//! let mut captions = Captions::default();
//! captions.push(&tokens[0], &tokens[1..])?;
//! assert!((bleu(&captions)[0] - 1.0).abs() < 1e-6);
//! # Ok::<(), capfilt_eval::NoReferences>(())
//! ```

mod bleu;
mod captions;
mod cider;
mod filter;
mod retrieval;
mod rouge;
mod similarity;
mod tokenize;
mod zero_shot;

pub use bleu::bleu;
pub use captions::{Captions, NoReferences, mean};
pub use cider::cider_d;
pub use filter::{Curve, Decisions, NotANumber, Point};
pub use retrieval::{Candidates, Pairs, PairsError, Ranks, recall_at};
pub use rouge::rouge_l;
pub use similarity::{Features, Matrix, Similarities, SimilarityError};
pub use tokenize::tokenize;
pub use zero_shot::{class_features, class_ranks};

#[cfg(test)]
mod golden;
