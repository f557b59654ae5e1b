//! A pipeline file as it is written.

use std::num::NonZeroU64;
use std::path::PathBuf;

use capfilt_data::Source;
use capfilt_fetch::FetchOptions;
use capfilt_models::Device;
use capfilt_schedule::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::{Caption, Decode, Dedup, Score};

/// A pipeline: where rows come from, what is done with them, what is kept, where they go.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PipelineFile {
    /// Name of the pipeline. An output folder belongs to the pipeline of this name.
    pub name: String,
    /// When `capfilt schedule` starts it: five cron fields in UTC, or a table with a time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Another pipeline file, relative to this one: `capfilt schedule` starts this one when that one
    /// has new output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PathBuf>,
    /// Where models run: `auto`, `cpu` or `cuda:N`.
    #[serde(default)]
    pub device: Device,
    /// Where rows come from.
    pub source: SourceTable,
    /// What is done with each row, in this order.
    #[serde(default)]
    pub stage: Vec<StageTable>,
    /// Which captions are kept; all of them without this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeepTable>,
    /// What is stored.
    #[serde(default)]
    pub store: StoreTable,
    /// Where the output goes.
    #[serde(default)]
    pub sink: SinkTable,
}

impl PipelineFile {
    /// The file without the places of what it names.
    pub(crate) fn without_places(&self) -> Self {
        let mut file = self.clone();
        file.after = None;
        file.source.shards.0.clear();
        file.sink.output = None;
        for stage in &mut file.stage {
            if let Some(fetch) = &mut stage.fetch {
                fetch.folder = None;
                fetch.opt_out_domains.clear();
                fetch.opt_out_urls.clear();
            }
            if let Some(dedup) = &mut stage.dedup {
                dedup.against.clear();
            }
            if let Some(caption) = &mut stage.caption {
                caption.model.clear();
            }
            if let Some(score) = &mut stage.score {
                score.model.clear();
            }
        }
        file
    }
}

/// Where rows come from.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceTable {
    /// Parquet shards: a path, a glob, or a URL of an object store (`s3://`, `gs://`, `az://`), or
    /// several; paths are relative to the pipeline file.
    #[serde(default)]
    pub shards: Shards,
    /// Which columns hold what.
    #[serde(default)]
    pub columns: Columns,
    /// Rows of one piece, the unit of work and of output.
    #[serde(default = "rows_per_piece")]
    pub rows_per_piece: NonZeroU64,
    /// Where the texts come from. Texts of `human` are never filtered.
    #[serde(default)]
    pub text_source: TextSource,
}

const fn rows_per_piece() -> NonZeroU64 {
    const ROWS: NonZeroU64 = NonZeroU64::new(10_000).unwrap();
    ROWS
}

/// One path or glob, or a list of them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "OneOrMore", into = "Vec<String>")]
pub struct Shards(pub Vec<String>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Shards {
    fn from(shards: OneOrMore) -> Self {
        match shards {
            OneOrMore::One(shard) => Self(vec![shard]),
            OneOrMore::More(shards) => Self(shards),
        }
    }
}

impl From<Shards> for Vec<String> {
    fn from(shards: Shards) -> Self {
        shards.0
    }
}

impl JsonSchema for Shards {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Shards".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        OneOrMore::json_schema(generator)
    }
}

/// Which columns of the shards hold what. Without any name, the columns called `url`, `text`,
/// `image` and `id` are used, as far as they are there.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Columns {
    /// Where pictures are fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Pictures: binary, a struct `{bytes, path}`, or a list of either, of which the first counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Row ids; `<shard>:<row>` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Columns {
    /// Whether no column is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where texts come from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextSource {
    /// Found beside the picture.
    #[default]
    Web,
    /// Written by people for the picture.
    Human,
}

impl From<TextSource> for Source {
    fn from(source: TextSource) -> Self {
        match source {
            TextSource::Web => Self::Web,
            TextSource::Human => Self::Human,
        }
    }
}

/// One stage: exactly one verb, and a name if it likes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StageTable {
    /// Name of the stage; its verb by default. Two stages of one verb must have names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Drop rows that do not meet this SQL condition.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub where_: Option<String>,
    /// Drop web texts that do not meet this SQL condition; the picture stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub where_text: Option<String>,
    /// Get the bytes of pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<FetchOptions>,
    /// Check the bytes of pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<Decode>,
    /// Remove pictures that are there more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// Write captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<Caption>,
    /// Score captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
}

/// Which captions are kept: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeepTable {
    /// A caption is kept when the score of the one scorer is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// A caption is kept when it meets this SQL condition over the scorers' names, `match`,
    /// `similarity`, `text`, `source` and `log_prob`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub where_: Option<String>,
}

/// What is stored.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreTable {
    /// Of which rows the pictures are stored.
    #[serde(default)]
    pub images: Images,
    /// When `dataset` is written.
    #[serde(default)]
    pub dataset: Dataset,
}

/// Of which rows pictures are stored.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Images {
    /// Of all that have one.
    #[default]
    All,
    /// Of those with a kept caption; `capfilt decide` can then only tighten.
    Kept,
}

/// When `dataset` is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataset {
    /// By the run.
    #[default]
    Now,
    /// By `capfilt decide`: until then a picture is on disk once, in `scored`. Not with `[keep]`.
    Later,
}

/// Where the output goes.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SinkTable {
    /// The output folder, relative to the pipeline file, or a URL of an object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
}
