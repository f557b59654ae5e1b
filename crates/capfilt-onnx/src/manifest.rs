//! `model.json`: what a package holds and how its model is to be used.

use std::collections::BTreeMap;

use capfilt_image::Preprocess;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::precision::Precision;
use crate::text::MOST_TOKENS;

/// Package format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// Family of models: what the graphs are called and what goes in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// BLIP: an image encoder and a BERT with cross-attention.
    Blip,
    /// CLIP: two encoders, one vector a picture and one a text.
    Clip,
    /// `CoCa`: CLIP with a decoder behind its text encoder.
    Coca,
    /// FILIP: two encoders, one vector for every image token and every token of a text.
    Filip,
}

impl Family {
    /// Names of the graphs that a package for this task has, without `.onnx`.
    pub fn graphs(self, task: Task) -> &'static [&'static str] {
        match (self, task) {
            (_, Task::Captioner) => &["vision", "cross", "select", "decoder"],
            (Self::Blip, Task::Filter) => &["vision", "cross", "select", "matcher", "text"],
            (Self::Clip | Self::Coca | Self::Filip, Task::Filter) => &["vision", "text"],
        }
    }
}

/// What a package can do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Write captions.
    Captioner,
    /// Judge whether a text matches an image.
    Filter,
}

impl Task {
    /// Its name on the command line and in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Captioner => "captioner",
            Self::Filter => "filter",
        }
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "captioner" => Ok(Self::Captioner),
            "filter" => Ok(Self::Filter),
            _ => Err(format!(
                "`{text}` is no task, expected `captioner` or `filter`"
            )),
        }
    }
}

/// Sizes of the image encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VisionSizes {
    /// Number of blocks.
    pub layers: usize,
    /// Features per image token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Pixels on the side of a patch.
    pub patch: usize,
    /// Image tokens, including the class token.
    pub tokens: usize,
    /// Features of `image_feat` and `text_feat`, in FILIP of each token; absent where the package has no such outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<usize>,
}

/// Sizes of the text transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TextSizes {
    /// Number of layers; in a captioner those after `CoCa`'s text encoder included.
    pub layers: usize,
    /// Features per token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub positions: usize,
}

/// Ids of the tokens that sequences start, end and are filled up with. The names are BERT's, the tokens
/// whatever the tokenizer calls them: in CLIP's, `cls` is `<|startoftext|>` and `sep` is
/// `<|endoftext|>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SpecialTokens {
    /// \[PAD\]: fills up shorter texts.
    pub pad: u32,
    /// \[CLS\]: starts a text that is compared with an image.
    pub cls: u32,
    /// \[SEP\]: ends every text.
    pub sep: u32,
    /// \[DEC\]: starts a caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dec: Option<u32>,
    /// \[ENC\]: starts a text that is matched with an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enc: Option<u32>,
}

/// Kind of checkpoint that a package was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointFormat {
    /// A Hugging Face folder.
    HuggingFace,
    /// A folder as `open_clip` has it on the hub.
    OpenClip,
    /// An original BLIP file.
    BlipPth,
}

/// The checkpoint that a package was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckpointSource {
    /// Its kind.
    pub format: CheckpointFormat,
    /// Name of its file or folder, without the path.
    pub name: String,
    /// SHA-256 of its weights file; of a sharded checkpoint, of the lines that `sha256sum` prints
    /// for its shards in the order of their names.
    pub digest: Digest,
}

/// The content of `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "model package")]
pub struct Manifest {
    /// Package format; another number than the program's is refused.
    pub format: u32,
    /// Family of models.
    pub family: Family,
    /// What the package can do.
    pub tasks: Vec<Task>,
    /// Precision of the weights.
    pub precision: Precision,
    /// How pictures become `pixel_values`.
    pub image: Preprocess,
    /// Sizes of the image encoder.
    pub vision: VisionSizes,
    /// Sizes of the text transformer.
    pub text: TextSizes,
    /// Ids of the special tokens in `tokenizer.json`.
    pub tokens: SpecialTokens,
    /// Text that every caption starts with, unless another is asked for.
    pub prompt: String,
    /// Decoding that is used unless another is asked for, in the form that pipeline files use.
    pub decoding: serde_json::Value,
    /// SHA-256 of every other file of the package.
    pub files: BTreeMap<String, Digest>,
    /// Where the weights came from.
    pub checkpoint: CheckpointSource,
}

impl Manifest {
    /// Tokens of the longest text that is judged: BLIP's rule, where the model has room for it, and
    /// whatever the other families have room for.
    pub fn judged_tokens(&self) -> usize {
        match self.family {
            Family::Blip => MOST_TOKENS.min(self.text.positions),
            Family::Clip | Family::Coca | Family::Filip => self.text.positions,
        }
    }
}
