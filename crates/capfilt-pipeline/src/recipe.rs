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
//!
//! A key holds no path, but what is there: the digests of models and evaluation sets. Lists of opt-outs
//! are in none, for a list that changed is held against the rows that are there (`opt_outs.rs`). What an
//! earlier version wrote is brought to today's rule before it is compared ([`Recipe::by_todays_rule`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capfilt_data::footer::hex_digest;
use capfilt_data::{Footer, RECIPE};
use capfilt_fetch::NamedFolder;
use capfilt_models::Package;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::file::TextSource;
use crate::stages::decode::Check;
use crate::stages::{Stage, Verb};

/// The rule by which keys are made. Version 1 had paths as they were written in them, and lists of
/// opt-outs by their paths.
const VERSION: u32 = 2;

/// The version of what says none.
const fn first_version() -> u32 {
    1
}

/// The option of a `dedup` stage that is the digest of its evaluation sets.
const SETS: &str = "content of against";

/// What the rows of a `scored` file were made with.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Recipe {
    /// The rule by which the keys were made.
    #[serde(default = "first_version")]
    pub(crate) version: u32,
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
        let stages = stages.iter().map(|stage| {
            let package = stage.verb.model().and_then(|folder| packages.get(folder));
            let mut options = what_counts(&stage.verb, needs_pixels);
            if let (Verb::Dedup(_), Some(sets)) = (&stage.verb, sets) {
                options[SETS] = sets.into();
            }
            StageKey {
                name: stage.name.clone(),
                verb: stage.verb.as_str().to_owned(),
                options,
                package: package.map(|package| package.digest().as_str().to_owned()),
                key: String::new(),
            }
        });
        Self {
            version: VERSION,
            text_source,
            hashed,
            stages: with_keys(stages.collect()),
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

    /// The recipe as it would be written today of the same stages: options that were added since have
    /// their defaults, and what does not count any more is gone. Of version 1 it is not known where a
    /// folder's path began: one that may be that of `wanted` is taken for it. What stood in the lists of
    /// opt-outs is not known either; they are held against the rows.
    fn by_todays_rule(&self, wanted: &Self) -> Self {
        let stages = self.stages.iter().enumerate().map(|(at, stored)| {
            let mut stage = StageKey {
                options: stored.options_today(),
                ..stored.clone()
            };
            let folder = |stage: &StageKey| Some(PathBuf::from(stage.options["folder"].as_str()?));
            let wanted = wanted.stages.get(at).and_then(folder);
            let joined = stored.options["folder"].as_str();
            if self.version == 1
                && let (Some(wanted), Some(joined)) = (wanted, joined)
                && NamedFolder::from(wanted.clone()).may_be(Path::new(joined))
            {
                stage.options["folder"] = serde_json::json!(wanted);
            }
            stage
        });
        Self {
            version: VERSION,
            stages: with_keys(stages.collect()),
            ..self.clone()
        }
    }

    /// Whether lists of opt-outs were named in a recipe of version 1. Later ones do not say it.
    pub(crate) fn named_opt_outs(&self) -> bool {
        let mut stages = self.stages.iter();
        let is_named = |stage: &StageKey, list: &str| !stage.options[list].is_null();
        stages.any(|stage| {
            stage.verb == "fetch"
                && (is_named(stage, "opt-out-domains") || is_named(stage, "opt-out-urls"))
        })
    }

    /// Identifies the recipe.
    pub(crate) fn digest(&self) -> String {
        let last = self.stages.last().map(|stage| stage.key.as_str());
        hex_digest(
            serde_json::json!([self.version, self.text_source, last])
                .to_string()
                .as_bytes(),
        )
    }

    /// What differs from the recipe `stored`; nothing where both are the same.
    pub(crate) fn change_from(&self, stored: &Self) -> Option<Change> {
        let stored = &stored.by_todays_rule(self);
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

    /// How many of the first stages are those of `stored`, a recipe by the same rule.
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

/// `stages` with their keys by today's rule.
fn with_keys(mut stages: Vec<StageKey>) -> Vec<StageKey> {
    let mut before = VERSION.to_string();
    for stage in &mut stages {
        let (name, verb, options) = (&stage.name, &stage.verb, &stage.options);
        let own = serde_json::json!([before, name, verb, options, stage.package]);
        stage.key = hex_digest(own.to_string().as_bytes());
        before.clone_from(&stage.key);
    }
    stages
}

impl StageKey {
    /// The options as they would be written today.
    fn options_today(&self) -> Value {
        fn read<T: DeserializeOwned>(options: &Value) -> Option<T> {
            serde_json::from_value(options.clone()).ok()
        }
        let stored = &self.options;
        let verb = match self.verb.as_str() {
            "fetch" => read(stored).map(Verb::Fetch),
            "decode" => read(stored).map(Verb::Decode),
            "dedup" => {
                let mut own = stored.clone();
                own.as_object_mut().map(|options| options.remove(SETS));
                read(&own).map(Verb::Dedup)
            }
            "caption" => read(stored).map(Verb::Caption),
            "score" => read(stored).map(Verb::Score),
            _ => None,
        };
        // What is not understood differs from whatever is wanted.
        let Some(verb) = verb else {
            return stored.clone();
        };
        // How closely pictures were to be looked at is stored as it was done.
        let mut options = what_counts(&verb, false);
        if self.verb == "dedup" && !stored[SETS].is_null() {
            options[SETS] = stored[SETS].clone();
        }
        options
    }

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

/// The options of `verb` that change results. Models and evaluation sets count by their digests.
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
        Verb::Dedup(dedup) => serde_json::json!(dedup.what_counts()),
        Verb::Caption(caption) => serde_json::json!(caption.what_counts()),
        Verb::Score(score) => serde_json::json!(score.what_counts()),
    }
}

#[cfg(test)]
mod tests;
