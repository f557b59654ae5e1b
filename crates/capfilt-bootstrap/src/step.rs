//! One command of the loop, and the file that tells it what to do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use capfilt_data::{Source, absolute};
use capfilt_models::Decoding;
use capfilt_train::data::DataSource;
use capfilt_train::{Checkpoints, Family, Mode, Positive, Start, TrainFile};
use serde::Serialize;
use serde_json::Value;

use crate::arm::Keep;
use crate::file::{BootstrapFile, Phase};

/// Where things lie below the output folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The output folder.
    pub(crate) output: PathBuf,
    /// The same, as files and arguments of steps name it.
    named: PathBuf,
}

impl Layout {
    /// That of the output folder `output`, which files of steps name: relative to the current folder.
    pub fn new(output: &Path) -> Self {
        let output = absolute(output);
        Self {
            named: output.clone(),
            output,
        }
    }

    /// The same folder without its name: what a step is told is then the same wherever it lies.
    pub(crate) fn nameless(&self) -> Self {
        Self {
            output: self.output.clone(),
            named: PathBuf::new(),
        }
    }

    /// The folder that the step `name` fills.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.named.join(name)
    }

    /// The file that says what the step `name` does.
    pub fn file(&self, name: &str) -> PathBuf {
        self.named.join(format!("{name}.toml"))
    }

    /// What the evaluation `name` printed.
    pub fn printed(&self, name: &str) -> PathBuf {
        self.named.join(format!("{name}.json"))
    }

    /// What is there when `step` is done.
    pub(crate) fn result(&self, step: &Step) -> PathBuf {
        match &step.kind {
            Kind::Eval { .. } => self.printed(&step.name),
            Kind::Train(_) | Kind::Run { .. } => self.folder(&step.name),
        }
    }

    /// The last checkpoint of the training `name`.
    fn checkpoint(&self, name: &str) -> Result<PathBuf, StepError> {
        let folder = self.output.join(name).join("checkpoints");
        let read = |source| StepError::Read {
            path: folder.clone(),
            source,
        };
        let mut found = Vec::new();
        for entry in fs_err::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?.file_name();
            let entry = entry.to_string_lossy();
            if let Ok(step) = entry.parse::<u64>() {
                found.push((step, entry.into_owned()));
            }
        }
        let last = found.into_iter().max_by_key(|(step, _)| *step);
        let (_, last) = last.ok_or(StepError::NoCheckpoint { folder })?;
        Ok(self.folder(name).join("checkpoints").join(last))
    }

    /// How many texts the run `name` had to judge and kept.
    pub(crate) fn counts(&self, name: &str) -> Result<Value, StepError> {
        let mut run = read_json(&self.output.join(name).join("run.json"))?;
        Ok(run["counts"].take())
    }
}

/// What an earlier step wrote at `path`.
pub(crate) fn read_json(path: &Path) -> Result<Value, StepError> {
    let path = path.to_owned();
    match fs_err::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|source| StepError::Json { path, source })
        }
        Err(source) => Err(StepError::Read { path, source }),
    }
}

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its name, unique and the name of what it makes: `seed-0/m0`.
    pub name: String,
    /// The seed that it belongs to.
    pub seed: u64,
    /// What it does.
    pub kind: Kind,
    /// Names of steps that come before it because it uses what they make.
    pub needs: Vec<String>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Trains a model.
    Train(Training),
    /// Captions and filters the web pairs.
    Run {
        /// The training with the captioner, if there is one.
        captioner: Option<String>,
        /// The training with the filter, if there is one.
        filter: Option<String>,
        /// How captions are written.
        decoding: Decoding,
        /// Which texts the filter keeps.
        keep: Keep,
    },
    /// Measures a package of the training `model` on held-out data, or as a filter on the web pairs
    /// whose truth is known.
    Eval {
        /// The training.
        model: String,
        /// `captioner` or `filter`.
        package: &'static str,
        /// What it is measured on.
        on: On,
    },
}

/// What a package is measured on.
#[derive(Clone, Debug, PartialEq)]
pub enum On {
    /// The held-out set of this name.
    HeldOut(String),
    /// The web pairs, whose truth is known, when these texts are kept.
    Web(Keep),
}

/// What is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// What of the model.
    pub(crate) mode: Mode,
    /// The training that it starts from, if it does not start anew.
    pub(crate) start: Option<String>,
    /// What is learnt beside the human pairs.
    pub(crate) web: WebPart,
}

/// What a model learns of the web.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WebPart {
    /// Nothing: finetuning.
    None,
    /// The pairs as they are.
    Raw,
    /// The pairs as they are, so often that there are as many texts as that run has kept.
    Repeated(String),
    /// What that run has kept.
    Cleaned(String),
}

/// A step that cannot be told what to do.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A file of an earlier step cannot be read.
    #[error("cannot read `{}` of an earlier step; remove the folder to do that step again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of an earlier step is no JSON.
    #[error("`{}` of an earlier step is damaged; remove its folder to do that step again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A training left no checkpoint.
    #[error("there is no checkpoint in `{}`; remove the folder above it to train again", folder.display())]
    NoCheckpoint {
        /// The folder.
        folder: PathBuf,
    },
    /// No texts were kept.
    #[error(
        "the run `{run}` kept no text at all: there is nothing to train on; look at its `report.html`, and lower `keep.threshold`"
    )]
    NothingKept {
        /// The run.
        run: String,
    },
    /// A file has no TOML form.
    #[error("cannot write the file of the step `{step}`")]
    Toml {
        /// The step.
        step: String,
        /// What is wrong.
        source: toml::ser::Error,
    },
}

impl Step {
    /// The text of the file that says what to do, where the command takes one. What the step needs is done.
    pub fn file(&self, all: &BootstrapFile, layout: &Layout) -> Result<Option<String>, StepError> {
        let text = match &self.kind {
            Kind::Train(training) => toml::to_string(&self.training(training, all, layout)?),
            Kind::Run {
                captioner,
                filter,
                decoding,
                keep,
            } => {
                let packages = (captioner.as_deref(), filter.as_deref());
                toml::to_string(&self.pipeline(packages, decoding, *keep, all, layout))
            }
            Kind::Eval { .. } => return Ok(None),
        };
        text.map(Some).map_err(|source| StepError::Toml {
            step: self.name.clone(),
            source,
        })
    }

    /// What the program is called with.
    pub fn arguments(&self, all: &BootstrapFile, layout: &Layout) -> Vec<OsString> {
        let file = layout.file(&self.name);
        let mut arguments: Vec<OsString> = Vec::new();
        match &self.kind {
            Kind::Train(_) => arguments.extend(["train".into(), file.into()]),
            Kind::Run { .. } => {
                arguments.extend(["run".into(), file.into(), "--changed".into()]);
            }
            Kind::Eval { model, package, on } => {
                let package_folder = layout.folder(model).join(package);
                arguments.extend(["eval".into(), "--model".into(), package_folder.into()]);
                let mut option = |name: &str, value: &str| {
                    arguments.extend([name.into(), value.into()]);
                };
                match on {
                    On::HeldOut(set) => {
                        if let Some(set) = all.held_out.get(set) {
                            option("--data", &set.shards);
                            option("--image", &set.image);
                            option("--text", &set.text);
                        }
                    }
                    On::Web(keep) => {
                        let web = &all.web;
                        option("--data", &web.shards);
                        option("--image", &web.image);
                        option("--text", &web.text);
                        option("--metrics", "filter");
                        option("--by", keep.by.as_str());
                        option("--threshold", &keep.threshold.to_string());
                        let known = [("--truth", &web.truth), ("--group", &web.group)];
                        for (name, column) in known {
                            if let Some(column) = column {
                                option(name, column);
                            }
                        }
                    }
                }
                if *package == "captioner" {
                    // Three beams and 20 tokens, as in the paper; a word may be enough ([DEC] counts).
                    let longest = all.positions().min(20).to_string();
                    let options = [
                        ("--decoding", "beam:3"),
                        ("--min-length", "2"),
                        ("--max-length", &longest),
                    ];
                    for (name, value) in options {
                        arguments.extend([name.into(), value.into()]);
                    }
                }
            }
        }
        arguments
    }

    /// Data that the step reads beside what other steps made.
    pub fn shards<'file>(&self, all: &'file BootstrapFile) -> Vec<&'file str> {
        match &self.kind {
            Kind::Train(Training { web, .. }) => {
                let mut shards = vec![all.human.shards.as_str()];
                if matches!(web, WebPart::Raw | WebPart::Repeated(_)) {
                    shards.push(&all.web.shards);
                }
                shards
            }
            Kind::Run { .. } => vec![&all.web.shards],
            Kind::Eval { on, .. } => match on {
                On::HeldOut(set) => {
                    let set = all.held_out.get(set);
                    set.iter().map(|set| set.shards.as_str()).collect()
                }
                On::Web(_) => vec![&all.web.shards],
            },
        }
    }

    fn training(
        &self,
        training: &Training,
        all: &BootstrapFile,
        layout: &Layout,
    ) -> Result<TrainFile, StepError> {
        let human = DataSource {
            text_source: Source::Human,
            ..all.human.clone()
        };
        let mut data = vec![human];
        data.extend(web_data(&training.web, all, layout)?);
        let is_finetuning = training.web == WebPart::None;
        let Phase {
            training: how_long,
            learning_rate,
        } = match training.mode {
            Mode::FinetuneFilter => &all.finetune_filter,
            Mode::FinetuneCaptioner => &all.finetune_captioner,
            Mode::Pretrain if is_finetuning => &all.finetune_captioner,
            Mode::Pretrain => &all.pretrain,
        };
        let start = training.start.as_deref();
        let start = start.map(|name| layout.checkpoint(name)).transpose()?;
        let mut model = all.model.clone();
        model.mode = training.mode;
        Ok(TrainFile {
            output: Some(layout.folder(&self.name)),
            schedule: None,
            after: None,
            seed: self.seed,
            tokenizer: all.tokenizer.clone(),
            model: Family::Blip(model),
            start: Start {
                model: start,
                ..Start::default()
            },
            data,
            loading: all.loading.clone(),
            training: how_long.clone(),
            optimizer: all.optimizer.clone(),
            learning_rate: *learning_rate,
            checkpoints: Checkpoints::default(),
            held_out: None,
        })
    }

    fn pipeline(
        &self,
        (captioner, filter): (Option<&str>, Option<&str>),
        decoding: &Decoding,
        keep: Keep,
        all: &BootstrapFile,
        layout: &Layout,
    ) -> Pipeline {
        let web = &all.web;
        let package = |training: &str, package: &str| layout.folder(training).join(package);
        let mut stage = vec![Stage::Decode {}];
        stage.extend(captioner.map(|training| Stage::Caption {
            model: package(training, "captioner"),
            decoding: decoding.clone(),
            seed: self.seed,
        }));
        stage.extend(filter.map(|training| Stage::Score {
            model: package(training, "filter"),
        }));
        Pipeline {
            name: "capfilt",
            source: PipelineSource {
                shards: web.shards.clone(),
                columns: Columns {
                    image: web.image.clone(),
                    text: web.text.clone(),
                    id: web.id.clone(),
                },
            },
            stage,
            keep: filter.map(|_| Condition {
                condition: format!("{} > {}", keep.by.as_str(), keep.threshold),
            }),
            sink: Sink {
                output: layout.folder(&self.name),
            },
        }
    }
}

/// The `[[data]]` of the web.
fn web_data(
    part: &WebPart,
    all: &BootstrapFile,
    layout: &Layout,
) -> Result<Option<DataSource>, StepError> {
    let raw = |weight: Positive| {
        let mut data = DataSource::new(&all.web.shards);
        data.columns.image = Some(all.web.image.clone());
        data.columns.text = Some(all.web.text.clone());
        data.columns.id.clone_from(&all.web.id);
        data.weight = weight;
        data
    };
    Ok(match part {
        WebPart::None => None,
        WebPart::Raw => Some(raw(DataSource::new("").weight)),
        WebPart::Repeated(run) => {
            let counts = layout.counts(run)?;
            let texts = counts["scored"]["candidates"]["web"].as_f64();
            let kept = kept(&counts);
            let weight = texts.and_then(|texts| Positive::new(kept / texts).ok());
            Some(raw(weight.ok_or_else(|| StepError::NothingKept {
                run: run.clone(),
            })?))
        }
        WebPart::Cleaned(run) => {
            if kept(&layout.counts(run)?) == 0.0 {
                return Err(StepError::NothingKept { run: run.clone() });
            }
            let dataset = layout.folder(run).join("dataset");
            Some(DataSource::new(dataset.to_string_lossy()))
        }
    })
}

/// Texts that a run kept.
fn kept(counts: &Value) -> f64 {
    let kept = &counts["decided"]["kept"];
    let of = |source: &str| kept[source].as_f64().unwrap_or(0.0);
    of("web") + of("synthetic")
}

/// What of a pipeline file a run of the loop says.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pipeline {
    name: &'static str,
    source: PipelineSource,
    stage: Vec<Stage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<Condition>,
    sink: Sink,
}

#[derive(Serialize)]
struct PipelineSource {
    shards: String,
    columns: Columns,
}

#[derive(Serialize)]
struct Columns {
    image: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    Decode {},
    Caption {
        model: PathBuf,
        decoding: Decoding,
        seed: u64,
    },
    Score {
        model: PathBuf,
    },
}

#[derive(Serialize)]
struct Condition {
    #[serde(rename = "where")]
    condition: String,
}

#[derive(Serialize)]
struct Sink {
    output: PathBuf,
}
