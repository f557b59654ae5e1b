//! What the rows of a `scored` file were made with, stage by stage, and how much of that still holds.
//!
//! Each stage has a key: the digest of its own name, options and model, and of the key of the stage
//! before it. What a stage learnt is used again as long as its key is the same:
//!
//! ```text
//! stored    fetch ── decode ── caption ── score
//!             ║        ║          ║
//! wanted    fetch ── decode ── caption ── beam ── score
//!           └────── stand ───────────┘   └─ run again ─┘
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use capfilt_data::footer::hex_digest;
use capfilt_data::{Footer, RECIPE};
use capfilt_models::Package;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::file::TextSource;
use crate::stages::decode::Check;
use crate::stages::{Stage, Verb};

/// What the rows of a `scored` file were made with.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Recipe {
    /// Where the texts come from.
    pub(crate) text_source: TextSource,
    /// Whether pictures have hashes, by which duplicates are found.
    #[serde(default)]
    pub(crate) hashed: bool,
    /// The stages, in order.
    pub(crate) stages: Vec<StageKey>,
}

/// One stage of a recipe.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StageKey {
    /// Its name.
    pub(crate) name: String,
    /// What it does.
    pub(crate) verb: String,
    /// Its options, without those that change no result.
    pub(crate) options: Value,
    /// Digest of its model package: where that lies does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<String>,
    /// Digest of all this and of the key before it.
    pub(crate) key: String,
}

/// What differs between two recipes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Change {
    /// How many of the first stages stand.
    pub(crate) stand: usize,
    /// Why the others do not.
    pub(crate) why: String,
}

impl Recipe {
    /// The recipe of a pipeline with `stages`, which compares with evaluation sets of the digest `sets`.
    pub(crate) fn new(
        text_source: TextSource,
        stages: &[Stage],
        packages: &HashMap<PathBuf, Arc<Package>>,
        sets: Option<&str>,
    ) -> Self {
        let needs_pixels = stages.iter().any(|stage| stage.verb.needs_pixels());
        let hashed = stages
            .iter()
            .any(|stage| matches!(stage.verb, Verb::Dedup(_)));
        let mut before = String::new();
        let stages = stages
            .iter()
            .map(|stage| {
                let package = stage.verb.model().and_then(|folder| packages.get(folder));
                let package = package.map(|package| package.digest().as_str().to_owned());
                let verb = stage.verb.as_str().to_owned();
                let mut options = what_counts(&stage.verb, needs_pixels);
                if let (Verb::Dedup(_), Some(sets)) = (&stage.verb, sets) {
                    options["content of against"] = sets.into();
                }
                let own = serde_json::json!([before, stage.name, verb, options, package]);
                let key = hex_digest(own.to_string().as_bytes());
                before.clone_from(&key);
                StageKey {
                    name: stage.name.clone(),
                    verb,
                    options,
                    package,
                    key,
                }
            })
            .collect();
        Self {
            text_source,
            hashed,
            stages,
        }
    }

    /// The recipe of the stages before `end`.
    pub(crate) fn before(&self, end: usize) -> Self {
        Self {
            stages: self.stages[..end].to_vec(),
            ..self.clone()
        }
    }

    /// The recipe of a `scored` file; nothing where it was written by another version.
    pub(crate) fn of(scored: &Footer) -> Option<Self> {
        serde_json::from_str(scored.value(RECIPE)?).ok()
    }

    /// What differs from the recipe of the file `scored`.
    pub(crate) fn change_from_file(&self, scored: &Footer) -> Option<Change> {
        self.change_from(&Self::of(scored)?)
    }

    /// Identifies the recipe.
    pub(crate) fn digest(&self) -> String {
        let last = self.stages.last().map(|stage| stage.key.as_str());
        hex_digest(
            serde_json::json!([self.text_source, last])
                .to_string()
                .as_bytes(),
        )
    }

    /// What differs from the recipe `stored`; nothing where both are the same.
    pub(crate) fn change_from(&self, stored: &Self) -> Option<Change> {
        let same = self.same_as(stored);
        if same < self.stages.len().max(stored.stages.len()) {
            let stand = if stored.can_stand(same) { same } else { 0 };
            let why = self.difference_at(same, stored);
            return Some(Change { stand, why });
        }
        let why = if self.text_source != stored.text_source {
            "`source.text-source` changed"
        } else if self.hashed && !stored.hashed {
            "pictures have no hashes yet"
        } else {
            return None;
        };
        let (stand, why) = (same, why.to_owned());
        Some(Change { stand, why })
    }

    /// How many of the first stages are those of `stored`.
    fn same_as(&self, stored: &Self) -> usize {
        let pairs = self.stages.iter().zip(&stored.stages);
        pairs
            .take_while(|(wanted, stored)| wanted.key == stored.key)
            .count()
    }

    /// Whether it is worth and possible to go on from stored rows after their first `stand` stages.
    fn can_stand(&self, stand: usize) -> bool {
        let (first, others) = self.stages.split_at(stand);
        let has = |stages: &[StageKey], verb: &str| stages.iter().any(|stage| stage.verb == verb);
        let learnt = ["fetch", "caption", "score"];
        let is_worth = learnt.iter().any(|verb| has(first, verb));
        // What a later stage stored in place of the bytes that were fetched.
        let is_overwritten = has(first, "fetch")
            && others.iter().any(|stage| match stage.verb.as_str() {
                "fetch" => true,
                "decode" => !stage.options["resize"].is_null(),
                _ => false,
            });
        is_worth && !is_overwritten
    }

    /// The difference from `stored` in the stage `at`, the first one that differs, in words.
    fn difference_at(&self, at: usize, stored: &Self) -> String {
        let (wanted, old) = (self.stages.get(at), stored.stages.get(at));
        if stored.hashed && old.is_none() && wanted.is_some_and(|stage| stage.verb == "dedup") {
            return "duplicates were not looked for yet".to_owned();
        }
        let names = |stages: &[StageKey], name: &str| stages.iter().any(|stage| stage.name == name);
        match (wanted, old) {
            (Some(wanted), Some(old)) if wanted.name == old.name && wanted.verb == old.verb => {
                format!("`{}` changed ({})", wanted.name, wanted.changes_from(old))
            }
            (Some(wanted), _) if !names(&stored.stages, &wanted.name) => {
                format!("`{}` is new", wanted.name)
            }
            (_, Some(old)) if !names(&self.stages, &old.name) => format!("`{}` is gone", old.name),
            (Some(wanted), _) => format!("`{}` stands elsewhere", wanted.name),
            (None, _) => "stages are gone".to_owned(),
        }
    }
}

impl StageKey {
    /// What differs from `old`, the same stage: names of options.
    fn changes_from(&self, old: &Self) -> String {
        let mut changes = Vec::new();
        if self.package != old.package {
            changes.push("the model".to_owned());
        }
        match (&self.options, &old.options) {
            (Value::Object(new), Value::Object(old)) => {
                let mut keys: Vec<&String> = new.keys().chain(old.keys()).collect();
                keys.sort();
                keys.dedup();
                keys.retain(|key| new.get(*key) != old.get(*key));
                changes.extend(keys.into_iter().map(|key| format!("`{key}`")));
            }
            (new, old) if new != old => changes.push("the condition".to_owned()),
            _ => {}
        }
        changes.join(", ")
    }
}

/// The options of `verb` that change results. Models count by their digest.
fn what_counts(verb: &Verb, needs_pixels: bool) -> Value {
    match verb {
        Verb::Where(sql) | Verb::WhereText(sql) => serde_json::json!(sql.trim()),
        Verb::Fetch(fetch) => serde_json::json!(fetch.what_counts()),
        Verb::Decode(decode) => {
            let mut decode = decode.clone();
            // Models and hashes need pixels, however closely they were to be looked at.
            if needs_pixels {
                decode.check = Check::Pixels;
            }
            serde_json::json!(decode)
        }
        Verb::Dedup(dedup) => serde_json::json!(dedup),
        Verb::Caption(caption) => serde_json::json!(caption.what_counts()),
        Verb::Score(score) => serde_json::json!(score.what_counts()),
    }
}

#[cfg(test)]
mod tests;
