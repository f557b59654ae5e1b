//! What is written down about a run: `run.json`, and the key-value pairs of every piece.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use capfilt_data::{Footer, Location, Piece, RECIPE};
use capfilt_models::runtime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counts::{DecidedCounts, ScoredCounts};
use crate::error::{RunError, chain};
use crate::file::{Images, PipelineFile};
use crate::opt_outs;
use crate::plan::{Plan, ShardPlan};
use crate::recipe::{Change, StageKey};
use crate::resume::{Standing, standings};
use crate::shelf::Shelf;
use crate::strangers::{DatasetCounts, Strangers};

/// Key of the version that wrote a file.
pub(crate) const VERSION: &str = "capfilt.version";
/// Key of the digest of the stages and packages that a piece was made with.
pub(crate) const PIPELINE: &str = "capfilt.pipeline";
/// Key of the name of a piece's shard.
pub(crate) const SHARD: &str = "capfilt.shard";
/// Key of the number of a piece's first row in its shard.
pub(crate) const FIRST: &str = "capfilt.first-row";
/// Key of the digest of the lists of opt-outs that a piece was held against. Without it, it has still to
/// be held against some.
pub(crate) const OPT_OUTS: &str = "capfilt.opt-outs";
/// Key of the identity of a piece's shard.
pub(crate) const INPUT: &str = "capfilt.input";
/// Key of what identifies a piece's shard whenever that was written; not of one in a store.
pub(crate) const INPUT_SAMPLE: &str = "capfilt.input-sample";
/// Key of the digest of the decision.
pub(crate) const DECISION: &str = "capfilt.decision";
/// Key of the digest of which candidates are kept: two decisions may keep the same.
pub(crate) const VERDICTS: &str = "capfilt.verdicts";
/// Key of the content digest of the `scored` file that a derived file follows from.
pub(crate) const SCORED: &str = "capfilt.scored";
/// Key of the digests of the packages, as JSON by stage.
pub(crate) const PACKAGES: &str = "capfilt.packages";
/// Key of the version of ONNX Runtime.
pub(crate) const RUNTIME: &str = "capfilt.runtime";
/// Key of the devices that models ran on.
pub(crate) const PROVIDER: &str = "capfilt.provider";
/// Key of the precisions of the packages, as JSON by stage.
pub(crate) const PRECISION: &str = "capfilt.precision";
/// Key of the counts of a file, as JSON.
pub(crate) const COUNTS: &str = "capfilt.counts";
/// Key of what pictures were stored by: `all`, or the digest of the decision.
pub(crate) const IMAGES: &str = "capfilt.images";

/// Key of how often the rows that fail in passing were tried, counted from 1.
pub(crate) const PASSES: &str = "capfilt.passes";

/// Form of `run.json` that this version writes. Programs that know only 1 would make all again, by their
/// rule of what a piece was made with.
const FORMAT: u32 = 2;

/// How far a run got.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It is running, or was killed.
    Running,
    /// It was stopped; the same command goes on.
    Stopped,
    /// An error ended it; the same command goes on.
    Failed,
    /// It is finished, but shards failed.
    Partial,
    /// It is finished.
    Finished,
}

/// The content of `run.json`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunFile {
    /// Form of this file.
    pub format: u32,
    /// Name of the pipeline that the folder belongs to.
    pub name: String,
    /// How far the last run got.
    pub state: RunState,
    /// The pipeline, `--set` and the rest of the command line applied.
    pub pipeline: PipelineFile,
    /// What identifies what the output depends on.
    pub digests: Digests,
    /// The shards.
    pub inputs: Vec<InputRecord>,
    /// Shards or pieces that failed, and why.
    pub failed: Vec<FailureRecord>,
    /// Devices that models ran on in the last run that needed them.
    pub devices: Vec<String>,
    /// Precisions of the packages, by stage.
    pub precision: BTreeMap<String, String>,
    /// Seeds of random draws, by stage.
    pub seeds: BTreeMap<String, u64>,
    /// What was counted over all finished pieces.
    pub counts: Counts,
    /// How long it took.
    pub timings: Timings,
    /// Versions of the programs.
    pub versions: Versions,
}

/// What identifies what the output depends on.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Digests {
    /// Of the stages, their options and packages.
    pub pipeline: String,
    /// Of the decision.
    pub decision: String,
    /// Of the packages, by stage.
    pub packages: BTreeMap<String, String>,
    /// Of the file of ONNX Runtime.
    pub runtime: Option<String>,
    /// Of the lists of opt-outs that every finished piece of the shards was held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opt_outs: Option<String>,
    /// What `pipeline` was by the rule of earlier versions, in pieces of theirs that stand.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub earlier: BTreeSet<String>,
}

/// One shard.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InputRecord {
    /// Its name.
    pub shard: String,
    /// Where it lies.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// Digest of its Parquet footer.
    pub footer: String,
    /// Its rows.
    pub rows: u64,
    /// The pieces it is cut into.
    pub pieces: u64,
}

/// A shard or piece that failed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FailureRecord {
    /// Name of the shard.
    pub shard: String,
    /// The piece, where the shard could be opened.
    pub piece: Option<String>,
    /// Where the shard lies.
    pub path: String,
    /// Why it failed.
    pub reason: String,
}

/// What was counted.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Counts {
    /// Finished pieces.
    pub pieces: u64,
    /// Over the rows of `scored`.
    pub scored: ScoredCounts,
    /// Over the rows of `dataset` and `rejected`.
    pub decided: DecidedCounts,
    /// Rows whose mapped id was there before, in the last run.
    pub duplicate_ids: u64,
    /// Rows that the last run tried again.
    #[serde(default)]
    pub retried: u64,
    /// Those of them that came in.
    #[serde(default)]
    pub recovered: u64,
    /// What is in `dataset` at the end of the last run or decision: also what came from inputs of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetCounts>,
}

/// How long it took.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Timings {
    /// When the last run started, in seconds since 1970.
    pub started: u64,
    /// Seconds of the last run.
    pub seconds: f64,
    /// Rows that the last run took through all stages.
    pub rows: u64,
}

/// Versions of the programs.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Versions {
    /// Of capfilt.
    pub capfilt: String,
    /// Of ONNX Runtime, where models ran.
    pub runtime: Option<String>,
}

impl RunFile {
    /// The record of a run of `plan` that has just begun, after the run of `previous`. What this run
    /// will only learn if it opens a model stays as it was.
    pub(crate) fn begin(plan: &Plan, previous: Option<&Self>) -> Self {
        let pipeline = &plan.pipeline;
        let seeds = pipeline
            .stages
            .iter()
            .filter_map(|stage| match &stage.verb {
                crate::stages::Verb::Caption(caption) => Some((stage.name.clone(), caption.seed)),
                _ => None,
            });
        Self {
            format: FORMAT,
            name: pipeline.file.name.clone(),
            state: RunState::Running,
            pipeline: pipeline.file.clone(),
            digests: Digests {
                pipeline: plan.recipe.digest(),
                decision: pipeline.keep.digest(),
                packages: plan.package_digests(),
                runtime: previous.and_then(|previous| previous.digests.runtime.clone()),
                opt_outs: previous
                    .and_then(|previous| previous.digests.opt_outs.clone())
                    .filter(|held| *held == plan.opt_outs),
                earlier: BTreeSet::new(),
            },
            inputs: plan.shards.iter().map(InputRecord::of).collect(),
            failed: plan
                .failed
                .iter()
                .map(|failed| FailureRecord {
                    shard: failed.shard.to_string(),
                    piece: None,
                    path: failed.path.to_string(),
                    reason: failed.reason.clone(),
                })
                .collect(),
            devices: previous
                .map(|previous| previous.devices.clone())
                .unwrap_or_default(),
            precision: plan.precisions(),
            seeds: seeds.collect(),
            counts: Counts::default(),
            timings: Timings {
                started: now(),
                ..Timings::default()
            },
            versions: Versions {
                capfilt: env!("CARGO_PKG_VERSION").to_owned(),
                runtime: previous.and_then(|previous| previous.versions.runtime.clone()),
            },
        }
    }

    /// Reads `run.json` of an output folder; `None` where there is none.
    pub fn read(output: &Location) -> Result<Option<Self>, RunError> {
        let path = output.join("run.json");
        let text = match path.read() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let unreadable = |source| RunError::Record {
            path: path.clone(),
            source,
        };
        let Form { format } = serde_json::from_slice(&text).map_err(unreadable)?;
        if format > FORMAT {
            return Err(RunError::NewerRecord { path });
        }
        serde_json::from_slice(&text).map(Some).map_err(unreadable)
    }

    /// Whether the piece `scored` is of a shard that this run had.
    pub(crate) fn has_shard_of(&self, scored: &Footer) -> bool {
        let shard = scored.value(SHARD);
        let mut inputs = self.inputs.iter();
        inputs.any(|input| Some(input.shard.as_str()) == shard)
    }

    /// Whether the last run brought the piece `scored` past all stages, or left it so.
    pub(crate) fn made(&self, scored: &Footer) -> bool {
        let digest = scored.value(PIPELINE);
        digest == Some(&self.digests.pipeline)
            || digest.is_some_and(|digest| self.digests.earlier.contains(digest))
    }

    /// Whether `other` says the same of what the output depends on, wherever all of it lies: what is
    /// named counts by its content.
    pub(crate) fn depends_as(&self, other: &Self) -> bool {
        let lies_nowhere = |input: &InputRecord| InputRecord {
            path: String::new(),
            ..input.clone()
        };
        let inputs = |run: &Self| run.inputs.iter().map(lies_nowhere).collect::<Vec<_>>();
        self.pipeline.without_places() == other.pipeline.without_places()
            && self.digests.packages == other.digests.packages
            && inputs(self) == inputs(other)
    }

    /// Writes `run.json`, whole or not at all.
    pub(crate) fn write(&self, output: &Location) -> Result<(), RunError> {
        self.write_to(&output.join("run.json"))
    }

    /// Writes the record to `path`, whole or not at all.
    pub(crate) fn write_to(&self, path: &Location) -> Result<(), RunError> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|source| RunError::Record {
            path: path.to_owned(),
            source,
        })?;
        json.push(b'\n');
        Ok(path.replace(&json)?)
    }
}

/// What every form of `run.json` has.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

impl InputRecord {
    fn of(shard: &ShardPlan) -> Self {
        Self {
            shard: shard.shard.to_string(),
            path: shard.footer.path.to_string(),
            size: shard.footer.size,
            footer: shard.footer.digest.clone(),
            rows: shard.footer.rows(),
            pieces: shard.pieces.len() as u64,
        }
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The pairs of a `scored` file that are known before its first row.
pub(crate) fn pairs(plan: &Plan, shard: &ShardPlan, piece: &Piece) -> Vec<(String, String)> {
    let json = |map: BTreeMap<String, String>| serde_json::json!(map).to_string();
    let images = match plan.pipeline.file.store.images {
        Images::All => "all".to_owned(),
        Images::Kept => plan.pipeline.keep.digest(),
    };
    let pairs = [
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (PIPELINE, plan.recipe.digest()),
        (RECIPE, serde_json::json!(plan.recipe).to_string()),
        (SHARD, shard.shard.to_string()),
        (FIRST, piece.first.to_string()),
        (OPT_OUTS, plan.opt_outs.clone()),
        (INPUT, shard.identity.clone()),
        (DECISION, plan.pipeline.keep.digest()),
        (PACKAGES, json(plan.package_digests())),
        (PRECISION, json(plan.precisions())),
        (IMAGES, images),
    ];
    // Without it, a copy of the shard is taken for another one.
    let sample = shard.footer.sample().ok().flatten();
    pairs
        .into_iter()
        .chain(sample.map(|sample| (INPUT_SAMPLE, sample)))
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Adds the pairs of a `scored` file that are known after its last row. Rows of which something was
/// used again bring the runtimes and devices of that along in `pairs`.
pub(crate) fn stamp(pairs: &mut Vec<(String, String)>, shelf: &Shelf, counts: &ScoredCounts) {
    let devices = shelf.devices();
    let runtime = if devices.is_empty() {
        None
    } else {
        runtime::loaded()
    };
    let now = [
        (
            RUNTIME,
            runtime
                .map(|runtime| runtime.version.clone())
                .unwrap_or_default(),
        ),
        (PROVIDER, devices.join(",")),
    ];
    for (key, value) in now {
        match pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = both(Some(known), Some(&value)),
            None => pairs.push((key.to_owned(), value)),
        }
    }
    pairs.push((COUNTS.to_owned(), serde_json::json!(counts).to_string()));
}

/// The values of both lists, each once.
pub(crate) fn both(one: Option<&str>, other: Option<&str>) -> String {
    let mut values: Vec<&str> = Vec::new();
    let lists = one.into_iter().chain(other);
    for value in lists.flat_map(|list| list.split(',')) {
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
    }
    values.join(",")
}

/// The pairs of ours in a file.
pub(crate) fn pairs_of(file: &Footer) -> impl Iterator<Item = (String, String)> {
    let pairs = file.metadata.file_metadata().key_value_metadata();
    pairs
        .into_iter()
        .flatten()
        .filter(|pair| pair.key.starts_with("capfilt."))
        .filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?)))
}

/// What was counted in a `scored` file; nothing where it was written by another version.
pub(crate) fn counts_of(scored: &Footer) -> Option<ScoredCounts> {
    serde_json::from_str(scored.value(COUNTS)?).ok()
}

/// What of an existing output would be made again, and why, in lines.
pub(crate) fn outlook(plan: &Plan) -> Vec<String> {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for standing in standings(plan) {
        let what = match standing {
            Err(error) => format!("cannot be looked at: {}", chain(&error)),
            Ok(Standing::Scored { due: true, .. }) => {
                "were tried once; rows that failed in passing will be tried again".to_owned()
            }
            Ok(Standing::Scored { decided: None, .. }) => {
                "will be decided again, without any model".to_owned()
            }
            Ok(Standing::Scored {
                input_changed: true,
                ..
            }) => "finished, but their shard changed; `--changed` makes them again".to_owned(),
            Ok(Standing::Scored { .. }) => "finished".to_owned(),
            Ok(Standing::Missing) => "will be made".to_owned(),
            Ok(Standing::Again(reason)) => format!("will be made again: {reason}"),
            Ok(Standing::Reuse(change)) => {
                format!("will be made again in part: {}", plan.in_part(&change))
            }
        };
        *reasons.entry(what).or_default() += 1;
    }
    let files = plan.each_piece().map(|(_, piece)| piece.file()).collect();
    let output = &plan.pipeline.output;
    let strangers = Strangers::find(output, plan.named_shards(), &files);
    let others = strangers.map_or_else(
        |error| {
            Some(format!(
                "the output cannot be looked through: {}",
                chain(&error)
            ))
        },
        |strangers| strangers.told(output),
    );
    let held = opt_outs::waiting(plan);
    if held > 0 {
        let what = "will be held against lists of opt-outs".to_owned();
        reasons.insert(what, held);
    }
    reasons
        .into_iter()
        .map(|(what, pieces)| format!("{pieces} pieces {what}"))
        .chain(others)
        .collect()
}

impl Plan {
    /// What is used again and what is not after `change`, and why, in words.
    pub(crate) fn in_part(&self, change: &Change) -> String {
        let (first, others) = self.recipe.stages.split_at(change.stand);
        let names = |stages: &[StageKey]| {
            let names: Vec<_> = stages
                .iter()
                .map(|stage| format!("`{}`", stage.name))
                .collect();
            names.join(", ")
        };
        let why = &change.why;
        if others.is_empty() {
            format!("{why}; no stage runs again")
        } else {
            format!("{why}; {} run again, {} stand", names(others), names(first))
        }
    }
}
