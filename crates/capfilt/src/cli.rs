//! The command line as it is typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use capfilt_data::Kind;
use capfilt_models::{Device, SessionOptions};
use capfilt_pipeline::Retry;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::decoding::DecodingArgs;
use crate::eval::Metric;
use crate::exit;
use crate::logging::LogFormat;
use crate::session::Session;

/// CapFilt for your own pictures: caption them, filter the captions, write a clean dataset.
///
/// Text for people goes to stderr, data to stdout.
#[derive(Debug, Parser)]
#[command(
    name = "capfilt",
    version,
    after_help = concat_help("Example:\n  capfilt run pipelines/capfilt.toml --output out/"),
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Settings of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Settings that every command takes.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// How log lines and progress are written to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Say more (twice: much more); the variable `RUST_LOG` says it in detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

/// One command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Run(Run),
    Check(Check),
    Decide(Decide),
    Remove(Remove),
    Report(Report),
    Caption(Caption),
    Score(Score),
    Eval(Eval),
    Train(Train),
    Bootstrap(Bootstrap),
    /// Make and look at model packages
    #[command(
        subcommand,
        after_help = "Example:\n  capfilt model show models/captioner"
    )]
    Model(Model),
    /// Get and look at ONNX Runtime
    #[command(subcommand, after_help = "Example:\n  capfilt runtime install")]
    Runtime(Runtime),
    Schedule(Schedule),
    Schema(Schema),
}

/// Run the whole thing on pictures that the repository carries
///
/// Serves about 300 clip-art pictures over HTTP on this machine, runs
/// `pipelines/demo.toml` on them with the models of the repository, and says
/// what was kept, replaced and removed, and why.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  capfilt demo --output out/demo")]
pub(crate) struct Demo {
    /// Folder for the dataset and the page
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// Run a pipeline; run it again to resume
///
/// A finished run says so and does nothing, unless `--retry` names reasons for
/// which rows left it: those rows are tried again. Ctrl-C stops within two
/// seconds and keeps what is finished; a second Ctrl-C stops at once.
#[derive(Args, Debug)]
#[command(after_help = concat_help(
    "Example:
  capfilt run pipelines/capfilt.toml --input 'shards/*.parquet' --output out/ --set keep.threshold=0.6
  capfilt run pipelines/capfilt.toml --retry transient"
))]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// Try rows of finished pieces again: those that may go better another time, or those that left
    /// for one of these reasons (`rejected` has them)
    #[arg(long, value_name = "transient|REASON,..")]
    pub(crate) retry: Option<Retry>,
    /// Make pieces again whose shard changed since they were finished
    #[arg(long)]
    pub(crate) changed: bool,
}

/// Train a captioner, a filter or a dual encoder; run it again to resume
///
/// Reads the `dataset` of a pipeline's output, or any Parquet files with
/// pictures and texts, and ends with a model package that `caption` and
/// `score` take. Ctrl-C ends the step, saves a checkpoint and stops.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  capfilt train pipelines/train/clip.toml --output out/train")]
pub(crate) struct Train {
    /// The training file
    #[arg(value_name = "TRAIN.toml")]
    pub(crate) training: PathBuf,
    /// Write into this folder instead of the file's `output`
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// Go through CapFilt's whole loop, and compare ways of doing it; run it again to resume
///
/// Pretrains a model on human and web pairs, finetunes a captioner and a filter
/// from it, cleans the web pairs with them, trains a new model on the result, and
/// measures every model on held-out pairs: for each arm and each seed of the file.
/// Steps whose data and options did not change are not done again. Writes
/// `bootstrap.json` and a page, and prints the tables as Markdown.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  capfilt bootstrap pipelines/mini-blip.toml --output out/mini-blip"
)]
pub(crate) struct Bootstrap {
    /// The bootstrap file
    #[arg(value_name = "BOOTSTRAP.toml")]
    pub(crate) file: PathBuf,
    /// Write into this folder instead of the file's `output`
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Only say which steps there are, and which are done, begun or changed
    #[arg(long)]
    pub(crate) plan: bool,
    /// Steps that are done side by side, each on its part of the cores: small models do more that way
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
}

/// Validate a pipeline without running it, and print its plan
///
/// Checks the file, the columns of the input, the model packages and the
/// output folder, and says what of an existing output would be redone.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  capfilt check pipelines/capfilt.toml")]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
}

/// A pipeline file and what the command line changes in it.
#[derive(Args, Debug)]
pub(crate) struct PipelineArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pub(crate) pipeline: PathBuf,
    /// Read these shards instead of `[source] shards`: paths, globs or URLs of object stores (may be
    /// given more than once)
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub(crate) input: Vec<String>,
    /// Write into this folder, or below this URL of an object store, instead of `[sink] output`
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Set one value of the pipeline file (may be given more than once)
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Take the keep decisions again from the stored scores
///
/// Runs no model and fetches nothing.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  capfilt decide out/ --threshold 0.6 --dry-run")]
pub(crate) struct Decide {
    /// The output folder of a run, or its URL
    #[arg(value_name = "OUTPUT")]
    pub(crate) output: PathBuf,
    /// Keep a caption when its score is above this
    #[arg(long, value_name = "X")]
    pub(crate) threshold: Option<f64>,
    /// Set one value of `[keep]` (may be given more than once)
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Take rows out of an output folder that somebody asked to be gone
///
/// The list has one request a line: `id:ROW`, `url:URL`, `domain:example.org`
/// (and what is below it), `sha256:DIGEST` of a picture as it is stored, or
/// `url-sha256:DIGEST` of a URL. Lines that begin with `#` are skipped. Of the
/// rows only ids are left, and `report.html` is deleted. Every later run keeps
/// to the requests, of which `removed.json` has digests. Without `--list` it
/// finishes what was begun before.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  capfilt remove out/ --list opt-outs.txt --dry-run")]
pub(crate) struct Remove {
    /// The output folder of a run
    #[arg(value_name = "OUTPUT")]
    pub(crate) output: PathBuf,
    /// File with one request a line
    #[arg(long, value_name = "FILE", required_if_eq("dry_run", "true"))]
    pub(crate) list: Option<PathBuf>,
    /// Only say how many rows would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Write `report.html` into an output folder
///
/// One page that works from disk: counts per reason, score histograms, and
/// pictures with both texts, scores and decisions.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  capfilt report out/")]
pub(crate) struct Report {
    /// The output folder of a run
    #[arg(value_name = "OUTPUT")]
    pub(crate) output: PathBuf,
}

/// Caption pictures: one JSON line each
///
/// A picture that cannot be read gives an error line on stderr; the others go
/// on, and the exit code is 1. The result for a picture does not depend on the
/// others; random draws depend on the seed and the picture's name as given.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  capfilt caption --model models/captioner photo.jpg
  capfilt caption --model models/captioner --decoding nucleus:0.9 --seed 7 *.jpg")]
pub(crate) struct Caption {
    /// Folder of a model package that captions
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
    /// Text that every caption starts from; empty: the decoder token alone [default: the package's]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Seed of the random draws (only `nucleus:P` draws)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) compute: Compute,
    /// The pictures
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
}

/// Score texts against pictures: one JSON line per picture and text
///
/// `match` is the probability that picture and text belong together, null for
/// a package without a matching head (CLIP, CoCa, FILIP); `similarity` is the
/// cosine of their embeddings, in FILIP the mean of both ways of comparing
/// tokens. BLIP judges texts in its cleaned form, the others as they are.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  capfilt score --model models/filter --text 'a red car' --text 'a cat' photo.jpg"
)]
pub(crate) struct Score {
    /// Folder of a model package that scores
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) model: PathBuf,
    /// The first token of a text: [ENC] as in the original code, [CLS] as in Hugging Face's
    #[arg(long, value_enum, value_name = "TOKEN", default_value_t = FirstToken::Enc)]
    pub(crate) first_token: FirstToken,
    /// A text to score (may be given more than once)
    #[arg(long, required = true, value_name = "TEXT")]
    pub(crate) text: Vec<String>,
    #[command(flatten)]
    pub(crate) compute: Compute,
    /// The pictures
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
}

/// Compute metrics of a model package on pictures and texts: one JSON object
///
/// `--data` takes Parquet files: the `dataset/` of a run, or any with pictures
/// and texts. Rows with the same picture are one picture with several texts.
/// A captioner's captions are compared with the texts: BLEU, ROUGE-L and CIDEr-D
/// as pycocoevalcap computes them. A filter package retrieves: Recall@K by
/// similarity and re-ranked by its matching head, as BLIP does. With `--truth` it
/// judges texts that belong to their pictures and others. Shares are from 0 to 1.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  capfilt eval --model models/captioner --data 'coco/*.parquet' --decoding beam:3
  capfilt eval --model models/filter --data out/dataset --metrics recall,recall-reranked
  capfilt eval --model models/filter --data judged.parquet --truth fits --group noise
  capfilt eval --model models/filter --data labelled.parquet --metrics zero-shot --text class --template 'a drawing of {}'")]
pub(crate) struct Eval {
    /// Folder of a model package
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) model: PathBuf,
    /// Parquet files, or folders of them (may be given more than once)
    #[arg(long, required = true, value_name = "GLOB", num_args = 1..)]
    pub(crate) data: Vec<String>,
    /// What to compute [default: all that the package can do, but `zero-shot`]
    #[arg(long, value_enum, value_name = "LIST", value_delimiter = ',')]
    pub(crate) metrics: Vec<Metric>,
    /// The column of the pictures [default: `image`]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) image: Option<String>,
    /// The column of the texts, one or a list of them [default: `captions`, else `text`]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text: Option<String>,
    /// The boolean column that says whether a row's text belongs to its picture
    #[arg(long, value_name = "COLUMN")]
    pub(crate) truth: Option<String>,
    /// The column with the kind of a row whose text does not belong; each kind gets its own numbers
    #[arg(long, value_name = "COLUMN", requires = "truth")]
    pub(crate) group: Option<String>,
    /// The score that texts are judged by (`filter`) [default: match, if the package has a matching head]
    #[arg(long, value_enum, value_name = "SCORE")]
    pub(crate) by: Option<FilterScore>,
    /// Scores above this are kept (`filter`)
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub(crate) threshold: f64,
    /// A prompt of each class, `{}` its name (`zero-shot`; may be given more than once)
    #[arg(long, value_name = "TEXT", default_value = "a photo of a {}", value_parser = template)]
    pub(crate) template: Vec<String>,
    /// How many of the most similar are ranked again (`recall-reranked`); BLIP takes 256 for COCO
    #[arg(long, value_name = "K", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) candidates: u16,
    /// The first token of a text: [ENC] as in the original code, [CLS] as in Hugging Face's
    #[arg(long, value_enum, value_name = "TOKEN", default_value_t = FirstToken::Enc)]
    pub(crate) first_token: FirstToken,
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
    /// Text that every caption starts from; empty: the decoder token alone [default: the package's]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Seed of the random draws (only `nucleus:P` draws)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

/// Where and how a model computes.
#[derive(Args, Debug)]
pub(crate) struct Compute {
    /// Where to compute: `auto`, `cpu` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: Device,
    /// Pictures per forward pass
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) batch: Option<u16>,
}

impl Compute {
    /// How models are opened.
    pub(crate) fn sessions(&self, session: &Session) -> SessionOptions {
        SessionOptions {
            device: self.device,
            threads: None,
            runtime: None,
            stop: session.stop().clone(),
        }
    }

    /// Pictures per forward pass, unless the default.
    pub(crate) fn batch(&self) -> Option<usize> {
        self.batch.map(usize::from)
    }
}

/// What a filter says of a picture and a text.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FilterScore {
    /// The matching head's probability that they match.
    Match,
    /// The cosine of their contrastive features.
    Similarity,
}

impl From<FilterScore> for Kind {
    fn from(score: FilterScore) -> Self {
        match score {
            FilterScore::Match => Self::Match,
            FilterScore::Similarity => Self::Similarity,
        }
    }
}

/// The first token of a scored text.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FirstToken {
    /// [ENC].
    Enc,
    /// [CLS].
    Cls,
}

/// Commands about model packages.
#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    Import(ModelImport),
    Show(ModelShow),
}

/// Make a model package from a checkpoint
///
/// Reads a BLIP as a Hugging Face folder (safetensors, sharded too, or
/// `pytorch_model.bin`) or an original `.pth` file, and a CLIP, CoCa or FILIP
/// as a folder of `open_clip` (`open_clip_config.json`, its weights and a
/// `tokenizer.json`). Nothing in a checkpoint is executed.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  capfilt model import blip-image-captioning-base/ --output models/captioner --precision fp16
  capfilt model import model_base_retrieval_coco.pth --output models/filter --task filter
  capfilt model import CLIP-ViT-B-32-laion2B-s34B-b79K/ --output models/clip")]
pub(crate) struct ModelImport {
    /// Folder of Hugging Face or `open_clip`, or `.pth` file
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// Folder for the package
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) output: PathBuf,
    /// What the package is for; needed only when the checkpoint can do both
    #[arg(long, value_enum)]
    pub(crate) task: Option<Task>,
    /// `tokenizer.json` or `vocab.txt` [default: the folder's; for `.pth` bert-base-uncased with [DEC] and [ENC]]
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Text that every caption starts from [default: none for folders, `a picture of ` for `.pth`]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Side of the square picture in pixels [default: the checkpoint's]
    #[arg(long, value_name = "N")]
    pub(crate) image_size: Option<u32>,
    /// How weights are stored
    #[arg(long, value_enum, default_value_t = Precision::Fp32)]
    pub(crate) precision: Precision,
}

/// What a package is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Task {
    /// Writes captions.
    Captioner,
    /// Scores texts.
    Filter,
}

/// How a package's weights are stored.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Precision {
    /// 32-bit floats.
    Fp32,
    /// Stored as 16-bit floats, computed as 32-bit floats on a CPU.
    Fp16,
    /// 8-bit integers with one scale per output channel and per row of activations.
    Int8,
}

/// Say what is inside a model package, with digests verified
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  capfilt model show models/captioner")]
pub(crate) struct ModelShow {
    /// Folder of the package
    #[arg(value_name = "PACKAGE")]
    pub(crate) package: PathBuf,
}

/// Commands about ONNX Runtime.
#[derive(Debug, Subcommand)]
pub(crate) enum Runtime {
    Install(RuntimeInstall),
    /// Say which library is used, its version and its providers
    #[command(after_help = "Example:\n  capfilt runtime show")]
    Show,
}

/// Get ONNX Runtime through pip (or uv) into the user's cache
///
/// A pinned version, checked by SHA-256.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  capfilt runtime install\n  capfilt runtime install --cuda")]
pub(crate) struct RuntimeInstall {
    /// The build for NVIDIA GPUs
    #[arg(long)]
    pub(crate) cuda: bool,
}

/// Run the pipelines of a folder by their `schedule` and `after` keys
///
/// Each run is a process of its own, and no file has two at once: a time that
/// comes while its run goes on is skipped. Files that are added, edited or
/// removed are noticed. A time that passed while no scheduler was at work is
/// made up for once. Ctrl-C or SIGTERM stops all runs and waits for them, two
/// seconds at most; they go on where they were when the scheduler is back.
#[derive(Args, Debug)]
#[command(after_help = concat_help(
    "Examples:
  capfilt schedule pipelines/
  capfilt schedule pipelines/ --once        # from cron, a systemd timer or a Kubernetes CronJob
  capfilt schedule pipelines/ --status"
))]
pub(crate) struct Schedule {
    /// The folder of the pipeline files (`*.toml`); what the scheduler knows is kept there too
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Run what is due now, each file once and those first that others come after, and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// Show the files, their last results and next starts, and exit
    #[arg(long, conflicts_with = "once")]
    pub(crate) status: bool,
}

/// Print a JSON Schema, or compare with `schemas/`
///
/// Without a name: list the names, or with `--check` compare all of them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  capfilt schema pipeline > schemas/pipeline.json
  capfilt schema --check")]
pub(crate) struct Schema {
    /// Which schema
    #[arg(value_enum)]
    pub(crate) name: Option<crate::schema::Name>,
    /// Compare with the file in `schemas/` instead of printing
    #[arg(long)]
    pub(crate) check: bool,
}

/// A template with a place for the name of a class.
fn template(typed: &str) -> Result<String, String> {
    if typed.contains("{}") {
        Ok(typed.to_owned())
    } else {
        Err("it has no `{}` for the name of the class".to_owned())
    }
}

/// An example followed by the exit codes.
fn concat_help(example: &str) -> String {
    format!("{example}\n\n{}", exit::HELP)
}

impl From<FirstToken> for capfilt_models::FirstToken {
    fn from(typed: FirstToken) -> Self {
        match typed {
            FirstToken::Enc => Self::Enc,
            FirstToken::Cls => Self::Cls,
        }
    }
}

impl From<Task> for capfilt_onnx::Task {
    fn from(typed: Task) -> Self {
        match typed {
            Task::Captioner => Self::Captioner,
            Task::Filter => Self::Filter,
        }
    }
}

impl From<Precision> for capfilt_onnx::Precision {
    fn from(typed: Precision) -> Self {
        match typed {
            Precision::Fp32 => Self::Fp32,
            Precision::Fp16 => Self::Fp16,
            Precision::Int8 => Self::Int8,
        }
    }
}
