//! A model at rest: packages, ONNX graphs, checkpoint import.
//!
//! [`import`] reads a checkpoint (a BLIP as a Hugging Face folder or an original `.pth` file; a CLIP, `CoCa`
//! or FILIP as a folder of `open_clip`) and writes a package: a folder with a manifest (`model.json`), a tokenizer, ONNX graphs and one
//! file of weights that all graphs share. [`Package::open`] verifies a package and says where its
//! graphs are. Nothing here runs a model.
//!
//! # Graphs
//!
//! Inputs and outputs are 32-bit floats and 64-bit integers whatever the precision. B images, K
//! rows (texts or beams) per image with R = B·K rows, those of an image adjacent; N image tokens,
//! T text tokens, P past tokens, h heads of d features, V vocabulary, E shared features.
//!
//! | graph | inputs | outputs |
//! | --- | --- | --- |
//! | `vision` | `pixel_values` \[B, 3, S, S\] | `image_embeds` \[B, N, Dv\] where the text side looks at it; in filters `image_feat` \[B, E\], FILIP \[B, N, E\], length 1 |
//! | `cross` | `image_embeds` | `cross_key.{j}`, `cross_value.{j}` \[B, h, N, d\] for every text layer j |
//! | `select` | `cross_key.{j}`, `cross_value.{j}`, `images` \[S\] | `selected_key.{j}`, `selected_value.{j}` \[S, h, N, d\] |
//! | `decoder` | `input_ids` \[R, T\], `rows` \[R\], `past_key.{j}`, `past_value.{j}` \[Q, h, P, d\], `cross_key.{j}`, `cross_value.{j}` | `logits` \[R, V\] of the last token, `present_key.{j}`, `present_value.{j}` \[R, h, P+T, d\] |
//! | `matcher` | `input_ids`, `attention_mask` \[R, T\], `cross_key.{j}`, `cross_value.{j}` | `itm_logits` \[R, 2\] |
//! | `text` | `input_ids`, `attention_mask` \[R, T\] | `text_feat` \[R, E\], FILIP \[R, T, E\] with pads that mean nothing, length 1 |
//!
//! Filters of CLIP, `CoCa` and FILIP have `vision` and `text` alone. In `CoCa` the past of the text encoder's layers
//! comes before that of the layers which look at the picture, and layer j of `cross_key` counts the latter only.
//! `CoCa`'s `text` wants a pad behind every text that is not the model's longest.
//!
//! `rows` names for each row the past row that it continues. P may be 0, then Q = R.

mod blip;
mod checkpoint;
mod digest;
mod emit;
mod error;
mod graph;
mod import;
mod kind;
mod manifest;
mod open_clip;
mod package;
mod precision;
mod preprocessor;
mod proto;
mod text;
mod tokenizer;
mod vocabulary;
mod weights;

pub use blip::position::{
    resize as resize_positions, resize_smoothly as resize_positions_smoothly,
};
pub use checkpoint::{Checkpoint, save_tensors};
pub use digest::Digest;
pub use error::{ImportError, PackageError};
pub use import::{ImportOptions, import};
pub use manifest::{
    CheckpointFormat, CheckpointSource, FORMAT, Family, Manifest, SpecialTokens, Task, TextSizes,
    VisionSizes,
};
pub use package::Package;
pub use precision::Precision;
pub use preprocessor::default as default_preprocess;
pub use text::{MOST_TOKENS, Texts, TokenizerError, clean_caption};
pub use vocabulary::Vocabulary;
