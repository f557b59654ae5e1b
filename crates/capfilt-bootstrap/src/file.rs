//! Bootstrap files.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use capfilt_data::{
    Footer, FooterError, Location, ShardsError, absolute, find_shards, shards_below,
};
use capfilt_models::DecodingError;
use capfilt_schedule::Schedule;
use capfilt_train::data::{DataSource, Loading};
use capfilt_train::{Blip, LearningRate, Mode, OptimizerConfig, Training};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arm::{Arm, Keep};
use crate::steps::FIRST;

#[cfg(test)]
pub(crate) mod tests;

/// A bootstrap file: what there is, how models are trained, and which arms are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BootstrapFile {
    /// Folder of everything that is made. Relative to this file, as all paths.
    #[serde(default)]
    pub output: Option<PathBuf>,
    /// When `capfilt schedule` starts it: five cron fields in UTC, or a table with a time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Another file, relative to this one: `capfilt schedule` starts this one when that one has new output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PathBuf>,
    /// Seeds; everything is done for each of them.
    #[serde(default = "zero")]
    pub seeds: Vec<u64>,
    /// How often the loop is gone round: in the second round, captioner and filter start from the
    /// model that the arm ended with in the first.
    #[serde(default = "one")]
    pub rounds: NonZeroU32,
    /// `tokenizer.json` or `vocab.txt`, or a folder with one; uncased BERT's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// The model, a BLIP. Its `mode` is set by the step.
    pub model: Blip,
    /// Pictures with texts that people wrote for them.
    pub human: DataSource,
    /// Pictures with texts from the web.
    pub web: Web,
    /// Pictures with texts that nothing is trained on, by name.
    pub held_out: BTreeMap<String, HeldOutSet>,
    /// How samples are made.
    #[serde(default)]
    pub loading: Loading,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Pretraining, of the first model and of those on cleaned data.
    pub pretrain: Phase,
    /// Finetuning on the human pairs to a captioner; also of a shared model.
    pub finetune_captioner: Phase,
    /// Finetuning on the human pairs to a filter.
    pub finetune_filter: Phase,
    /// Which texts filters keep.
    #[serde(default)]
    pub keep: Keep,
    /// What is compared.
    #[serde(default)]
    pub arm: Vec<Arm>,
    /// Which arms are shown side by side; all of them in one table without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub table: Vec<Table>,
}

/// Pictures with texts from the web.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Web {
    /// Parquet files: one, a folder or a glob.
    pub shards: String,
    /// The column of the pictures.
    #[serde(default = "image")]
    pub image: String,
    /// The column of the texts.
    #[serde(default = "text")]
    pub text: String,
    /// The column of the ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The boolean column that says whether a text belongs to its picture, where that is known. Only the
    /// filters' numbers come from it; no model sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<String>,
    /// The column with the kind of a text that does not belong; each kind gets its own numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Pictures with texts that nothing is trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HeldOutSet {
    /// Parquet files: one, a folder or a glob.
    pub shards: String,
    /// The column of the pictures.
    #[serde(default = "image")]
    pub image: String,
    /// The column of the texts.
    #[serde(default = "text")]
    pub text: String,
}

/// How long a model learns, and at what rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phase {
    /// How long, and from how much at a time.
    pub training: Training,
    /// The learning rate.
    pub learning_rate: LearningRate,
}

/// Arms that are shown side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Table {
    /// What is above it.
    pub title: String,
    /// Names of arms.
    pub arms: Vec<String>,
}

fn zero() -> Vec<u64> {
    vec![0]
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn image() -> String {
    "image".to_owned()
}

fn text() -> String {
    "text".to_owned()
}

/// A bootstrap file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the bootstrap file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, or has keys or values that are not known.
    #[error("`{}` is no bootstrap file: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A value makes no sense.
    #[error("`{}`: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A decoding makes no sense.
    #[error("`{}`: arm `{arm}`: `decoding`", path.display())]
    Decoding {
        /// The file.
        path: PathBuf,
        /// The arm.
        arm: String,
        /// What is wrong.
        source: DecodingError,
    },
    /// Data is not there.
    #[error("`{}`: `{table}.shards`", path.display())]
    Shards {
        /// The file.
        path: PathBuf,
        /// The table that names it.
        table: String,
        /// What is wrong.
        source: ShardsError,
    },
    /// Data cannot be read.
    #[error("`{}`: `{table}.shards`", path.display())]
    Footer {
        /// The file.
        path: PathBuf,
        /// The table that names it.
        table: String,
        /// What is wrong.
        source: FooterError,
    },
    /// Data has not the columns that are named.
    #[error("`{}`: `{table}`: `{shard}` has no column `{column}`; it has {}", path.display(), exist.join(", "))]
    Column {
        /// The file.
        path: PathBuf,
        /// The table that names it.
        table: String,
        /// The shard.
        shard: Location,
        /// What is missing.
        column: String,
        /// The columns that there are.
        exist: Vec<String>,
    },
}

impl BootstrapFile {
    /// Reads and checks the bootstrap file at `path`, and looks at its data before hours are spent on some of it. Its
    /// paths are relative to its own folder, and absolute then, since files of steps elsewhere name them; `output`, which
    /// counts instead of the file's, is relative to the current folder.
    pub fn load(path: &Path, output: Option<&Path>) -> Result<Self, FileError> {
        let file = Self::read(path, output)?;
        file.check_data(path)?;
        Ok(file)
    }

    /// The same without a look at the data.
    pub fn read(path: &Path, output: Option<&Path>) -> Result<Self, FileError> {
        let text = fs_err::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut file: Self = toml::from_str(&text).map_err(|error| FileError::Syntax {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        file.anchor(&absolute(path.parent().unwrap_or(Path::new(""))));
        if let Some(output) = output {
            file.output = Some(output.to_owned());
        }
        file.check(path)?;
        Ok(file)
    }

    /// Makes the paths of the file those below `folder`.
    fn anchor(&mut self, folder: &Path) {
        for path in [&mut self.output, &mut self.after, &mut self.tokenizer]
            .into_iter()
            .flatten()
        {
            *path = folder.join(&*path);
        }
        let held_out = self.held_out.values_mut().map(|set| &mut set.shards);
        let shards = [&mut self.human.shards, &mut self.web.shards];
        for shards in shards.into_iter().chain(held_out) {
            *shards = shards_below(folder, shards);
        }
    }

    /// What this file says of the steps, whatever is called and wherever it lies: with digests of their content, which
    /// `content` gives, in the place of all paths.
    pub(crate) fn by_content(&self, mut content: impl FnMut(&str) -> String) -> Self {
        let mut file = Self {
            output: None,
            schedule: None,
            after: None,
            ..self.clone()
        };
        if let Some(tokenizer) = &mut file.tokenizer {
            *tokenizer = content(&tokenizer.to_string_lossy()).into();
        }
        let held_out = file.held_out.values_mut().map(|set| &mut set.shards);
        let shards = [&mut file.human.shards, &mut file.web.shards];
        for shards in shards.into_iter().chain(held_out) {
            *shards = content(shards);
        }
        file
    }

    /// The arm of this name.
    pub(crate) fn arm(&self, name: &str) -> Option<&Arm> {
        self.arm.iter().find(|arm| arm.name == name)
    }

    fn check(&self, path: &Path) -> Result<(), FileError> {
        self.reason().map_or(Ok(()), |reason| {
            Err(FileError::Value {
                path: path.to_owned(),
                reason,
            })
        })?;
        for arm in &self.arm {
            arm.decoding.check().map_err(|source| FileError::Decoding {
                path: path.to_owned(),
                arm: arm.name.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// The longest caption that the model can write.
    pub(crate) fn positions(&self) -> usize {
        self.model.text.positions
    }

    /// What is wrong with the values.
    fn reason(&self) -> Option<String> {
        if self.output.is_none() {
            return Some("there is no `output`: name a folder here or with `--output`".to_owned());
        }
        if self.model.mode != Mode::Pretrain {
            return Some("`model.mode` is set by the steps: leave it out".to_owned());
        }
        for (name, phase) in [
            ("pretrain", &self.pretrain),
            ("finetune-captioner", &self.finetune_captioner),
            ("finetune-filter", &self.finetune_filter),
        ] {
            if let Err(error) = self.model.check(phase.training.batch.get()) {
                return Some(format!("`model`, for `{name}`: {error}"));
            }
        }
        if self.seeds.is_empty() || self.arm.is_empty() || self.held_out.is_empty() {
            return Some(
                "`seeds`, `[[arm]]` and `[held-out.NAME]` need one entry each at least".to_owned(),
            );
        }
        let keeps = self.arm.iter().filter_map(|arm| arm.keep);
        if let Some(reason) = std::iter::once(self.keep)
            .chain(keeps)
            .find_map(Keep::reason)
        {
            return Some(reason);
        }
        let is_name = |name: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
            !name.is_empty() && name.chars().all(fits)
        };
        let names = self.arm.iter().map(|arm| &arm.name);
        if let Some(name) = names
            .chain(self.held_out.keys())
            .find(|name| !is_name(name))
        {
            return Some(format!(
                "`{name}` names folders: expected letters, digits and `-`"
            ));
        }
        let positions = self.positions();
        let longest = |arm: &Arm| arm.decoding.lengths().1;
        let too_long = |arm: &&Arm| arm.captioner && longest(arm) as usize > positions;
        if let Some(arm) = self.arm.iter().find(too_long) {
            return Some(format!(
                "arm `{}`: `decoding` has a `max-length` of {}, but `model.text.positions` is {positions}",
                arm.name,
                longest(arm)
            ));
        }
        if self.arm(FIRST).is_some() {
            return Some(format!(
                "no arm may be called `{FIRST}`: that is the first model"
            ));
        }
        for (place, arm) in self.arm.iter().enumerate() {
            if self.arm[..place].iter().any(|other| other.name == arm.name) {
                return Some(format!("two arms are called `{}`", arm.name));
            }
            let Some(other) = &arm.replicate else {
                continue;
            };
            if !arm.is_raw() {
                return Some(format!(
                    "arm `{}`: `replicate` needs `captioner = false` and `filter = false`",
                    arm.name
                ));
            }
            let is_meant = |arm: &Arm| arm.name == *other && !arm.is_raw();
            if !self.arm[..place].iter().any(is_meant) {
                return Some(format!(
                    "arm `{}`: `replicate` is `{other}`: expected an arm above it, with a captioner or a filter",
                    arm.name
                ));
            }
        }
        let unknown = |name: &&String| self.arm(name).is_none();
        let named = self
            .table
            .iter()
            .flat_map(|table| &table.arms)
            .find(unknown);
        named.map(|name| format!("a `[[table]]` names the arm `{name}`, which is not there"))
    }

    /// Looks whether all data is there, with its columns.
    fn check_data(&self, path: &Path) -> Result<(), FileError> {
        let web = &self.web;
        let of_web = [web.id.as_ref(), web.truth.as_ref(), web.group.as_ref()];
        let mut web_columns = vec![&web.image, &web.text];
        web_columns.extend(of_web.into_iter().flatten());
        let human = &self.human.columns;
        let of_human = [&human.image, &human.text, &human.id];
        let human_columns: Vec<&String> = of_human.into_iter().flatten().collect();
        Self::look(path, "human", &self.human.shards, &human_columns)?;
        Self::look(path, "web", &web.shards, &web_columns)?;
        for (name, set) in &self.held_out {
            let table = format!("held-out.{name}");
            Self::look(path, &table, &set.shards, &[&set.image, &set.text])?;
        }
        Ok(())
    }

    fn look(path: &Path, table: &str, shards: &str, columns: &[&String]) -> Result<(), FileError> {
        let (path, table) = (path.to_owned(), table.to_owned());
        let found = match find_shards(shards) {
            Ok(found) => found,
            Err(source) => {
                return Err(FileError::Shards {
                    path,
                    table,
                    source,
                });
            }
        };
        for shard in found {
            let schema = match Footer::read(shard.path.clone()) {
                Ok(footer) => footer.schema,
                Err(source) => {
                    return Err(FileError::Footer {
                        path,
                        table,
                        source,
                    });
                }
            };
            let missing = columns
                .iter()
                .find(|column| schema.index_of(column).is_err());
            if let Some(column) = missing {
                let fields = schema.fields().iter();
                return Err(FileError::Column {
                    path,
                    table,
                    shard: shard.path,
                    column: (*column).clone(),
                    exist: fields.map(|field| field.name().clone()).collect(),
                });
            }
        }
        Ok(())
    }
}
