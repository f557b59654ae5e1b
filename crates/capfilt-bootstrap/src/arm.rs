//! What is compared.

use capfilt_data::Kind;
use capfilt_models::Decoding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One way through the loop: which parts of CapFilt are used, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Arm {
    /// Its name, also of its folders: letters, digits and `-`.
    pub name: String,
    /// Whether pictures get a synthetic caption.
    #[serde(default = "yes")]
    pub captioner: bool,
    /// Whether texts are filtered.
    #[serde(default = "yes")]
    pub filter: bool,
    /// Which texts the filter keeps, if not those that the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// How captions are written; nucleus sampling, the paper's choice, if absent.
    #[serde(default)]
    pub decoding: Decoding,
    /// Whether captioner and filter are finetuned apart.
    #[serde(default)]
    pub models: Models,
    /// What is trained on the cleaned data.
    #[serde(default)]
    pub next: Next,
    /// Another arm: the web data is repeated until there are as many texts as that arm has. For arms
    /// without captioner and filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicate: Option<String>,
}

const fn yes() -> bool {
    true
}

/// Which texts a filter keeps: those with a score above a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Keep {
    /// The score: the matching head's probability, as in the paper, or the cosine of contrastive features.
    pub by: Kind,
    /// What it has to be above.
    pub threshold: f64,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            by: Kind::Match,
            threshold: 0.5,
        }
    }
}

impl Keep {
    /// What is wrong with it.
    pub(crate) fn reason(self) -> Option<String> {
        let least = match self.by {
            Kind::Match => 0.0,
            Kind::Similarity => -1.0,
        };
        let is_right = (least..1.0).contains(&self.threshold);
        (!is_right).then(|| {
            format!(
                "`threshold` is {}: expected at least {least} and below 1",
                self.threshold
            )
        })
    }
}

/// Whether captioner and filter are finetuned apart (table 4 of the paper).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Models {
    /// Two models, from the same start.
    #[default]
    Decoupled,
    /// One model, finetuned with all three losses.
    Shared,
}

/// What is trained on the cleaned data (table 13 of the paper).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// A new model.
    #[default]
    New,
    /// The model that captioner and filter started from.
    Continued,
}

impl Arm {
    /// Whether the web data stays as it is.
    pub fn is_raw(&self) -> bool {
        !self.captioner && !self.filter
    }

    /// Whether the two make the same dataset of the same model.
    pub(crate) fn has_data_of(&self, other: &Self) -> bool {
        let writes = |arm: &Self| arm.captioner.then(|| arm.decoding.clone());
        let judges = |arm: &Self| arm.filter.then_some(arm.keep);
        writes(self) == writes(other)
            && judges(self) == judges(other)
            && self.models == other.models
    }
}
