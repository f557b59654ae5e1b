//! What decides over the numbers of a training, by which a checkpoint knows its training file again.
//!
//! A fingerprint holds no path: what a path names is known by a digest of its content, so that a training file can be
//! started from any folder and moved with its data. What changes no number has no part in it: where things go, what is
//! said and kept on the way, when it starts by itself, and on what it is measured.
//!
//! | version | what it holds |
//! | --- | --- |
//! | 1, up to commit 497e7fa | the whole training file, paths as they were spelled; no version |
//! | 2 | what counts of the training file, without paths; digests of tokenizer, start and held-out data |
//!
//! Data has a digest of its own, of the shards and of what decides their order, in [`Position`](crate::data::Position): in
//! both versions it is judged there. A checkpoint of version 1 is judged by what it says beside paths, and by its data. It
//! cannot tell whether a path names another tokenizer now, but one with another number of words does not fit the
//! parameters; nor another start, which is not looked at any more once there is a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use capfilt_onnx::{Checkpoint, Digest, Vocabulary};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::data::contents;
use crate::file::TrainFile;
use crate::held_out::HeldOutError;

#[cfg(test)]
mod tests;

/// The version of the fingerprints that are written.
const VERSION: u32 = 2;

/// What a checkpoint keeps of its training file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Fingerprint {
    /// Absent in version 1.
    #[serde(default = "first")]
    version: u32,
    /// What the training file says by key, as JSON text: numbers do not change in it.
    file: BTreeMap<String, String>,
    /// Digests of what it names, by key. Those of a start that cannot be read any more are missing.
    #[serde(default)]
    digests: BTreeMap<String, Digest>,
    /// Digest of what it is measured on.
    #[serde(default)]
    held_out: Option<Digest>,
}

const fn first() -> u32 {
    1
}

impl Fingerprint {
    /// Looks at what `file` says and names. `vocabulary` is that of its tokenizer.
    pub(crate) fn of(file: &TrainFile, vocabulary: &Vocabulary) -> Result<Self, HeldOutError> {
        let says = serde_json::to_value(file).unwrap_or_default();
        let says = what_counts(says.as_object().cloned().unwrap_or_default());
        let start = &file.start;
        let named = [
            ("start.model", &start.model),
            ("start.vision", &start.vision),
            ("start.text", &start.text),
        ];
        let mut digests: BTreeMap<String, Digest> = named
            .into_iter()
            .filter_map(|(key, path)| Some((key.to_owned(), content(path.as_deref()?)?)))
            .collect();
        let tokenizer = Digest::of_bytes(&vocabulary.json);
        digests.insert("tokenizer".to_owned(), tokenizer);
        let held_out = file.held_out.as_ref().map(|held_out| {
            let data = serde_json::to_value(&held_out.data).unwrap_or_default();
            let about = json!([without(data, &["shards"]), contents(&held_out.data)?]);
            Ok::<_, HeldOutError>(Digest::of_bytes(about.to_string().as_bytes()))
        });
        Ok(Self {
            version: VERSION,
            file: says
                .into_iter()
                .map(|(key, value)| (key, value.to_string()))
                .collect(),
            digests,
            held_out: held_out.transpose()?,
        })
    }

    /// Whether this program knows the rule that it is judged by.
    pub(crate) fn is_known(&self) -> bool {
        (first()..=VERSION).contains(&self.version)
    }

    /// The keys of the training file for which this, of a checkpoint, says something else than `now`.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let (then, now_says) = (self.says(), now.says());
        let mut keys: Vec<String> = then
            .keys()
            .chain(now_says.keys())
            .filter(|key| then.get(*key) != now_says.get(*key))
            .cloned()
            .collect();
        let changed = self.digests.iter().filter(|(key, then)| {
            let now = now.digests.get(*key);
            now.is_some_and(|now| now != *then)
        });
        keys.extend(changed.map(|(key, _)| key.clone()));
        keys.sort();
        keys.dedup();
        keys
    }

    /// Whether what was measured by this can be compared with what is measured by `now`. Version 1 cannot tell.
    pub(crate) fn measured_as(&self, now: &Self) -> bool {
        self.version < VERSION || self.held_out == now.held_out
    }

    /// What counts of what the training file says.
    fn says(&self) -> Map<String, Value> {
        let parsed = self.file.iter().map(|(key, text)| {
            let value = serde_json::from_str(text);
            (key.clone(), value.unwrap_or(Value::Null))
        });
        what_counts(parsed.collect())
    }
}

/// What of a training file decides over the numbers, without paths.
fn what_counts(file: Map<String, Value>) -> Map<String, Value> {
    const NOT: [&str; 7] = [
        "output",
        "schedule",
        "after",
        "tokenizer",
        "start",
        "checkpoints",
        "held-out",
    ];
    let counts = file
        .into_iter()
        .filter(|(key, _)| !NOT.contains(&key.as_str()));
    counts
        .map(|(key, value)| {
            let value = match (key.as_str(), value) {
                ("data", Value::Array(all)) => all
                    .into_iter()
                    .map(|data| without(data, &["shards"]))
                    .collect(),
                ("loading", loading) => without(loading, &["workers", "most-corrupt"]),
                // Activations that are computed again are the same ones.
                ("training", training) => without(training, &["log-every", "recompute"]),
                (_, value) => value,
            };
            (key, value)
        })
        .collect()
}

fn without(mut table: Value, keys: &[&str]) -> Value {
    if let Some(table) = table.as_object_mut() {
        table.retain(|key, _| !keys.contains(&key.as_str()));
    }
    table
}

/// Digest of the files of a checkpoint to start from, if they can be read.
fn content(path: &Path) -> Option<Digest> {
    let checkpoint = Checkpoint::open(path).ok()?;
    let digests = checkpoint.files().iter().map(|file| Digest::of_file(file));
    let digests: Vec<Digest> = digests.collect::<Result<_, _>>().ok()?;
    Some(Digest::of_bytes(json!(digests).to_string().as_bytes()))
}
