//! What a run would do: everything that is checked before the first row is read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use capfilt_data::footer::hex_digest;
use capfilt_data::{Footer, Found, Location, Piece, Shard, clashing, columns};
use capfilt_image::Square;
use capfilt_models::{Package, Task};

use crate::doubts::doubts;
use crate::error::{PipelineError, PipelineErrorKind, chain};
use crate::expression::{Condition, visible};
use crate::file::{Columns, Images, Shards};
use crate::keep::Rule;
use crate::load::Pipeline;
use crate::recipe::Recipe;
use crate::source::{Mapping, find, identity, open_all};
use crate::stages::{Decode, Dedup, Stage, Verb};
use crate::{opt_outs, record, row};

/// Folder below the output for hashes of evaluation sets.
const EVALUATION: &str = ".evaluation";

/// What a run would do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) pipeline: Pipeline,
    pub(crate) shards: Vec<ShardPlan>,
    pub(crate) failed: Vec<FailedShard>,
    pub(crate) packages: HashMap<PathBuf, Arc<Package>>,
    /// Everything that `scored` depends on besides the input.
    pub(crate) recipe: Recipe,
    /// Identifies the lists of opt-outs that rows are held against.
    pub(crate) opt_outs: String,
    /// The evaluation sets, from their pictures to hashes.
    pub(crate) evaluation: Option<Arc<Self>>,
}

/// A shard that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct FailedShard {
    pub(crate) shard: Shard,
    pub(crate) path: Location,
    pub(crate) reason: String,
}

/// What a run would do with one shard.
#[derive(Clone, Debug)]
pub(crate) struct ShardPlan {
    pub(crate) shard: Shard,
    pub(crate) footer: Footer,
    pub(crate) identity: String,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) mapping: Mapping,
    /// The conditions of the `where` and `where-text` stages, by name.
    pub(crate) conditions: HashMap<String, Condition>,
}

/// Checks everything that can be checked without reading rows, fetching or running a model.
///
/// What is allowed and hardly meant is told in the log.
pub fn check(pipeline: &Pipeline) -> Result<Plan, PipelineError> {
    let plan = build(pipeline).map_err(|kind| PipelineError {
        path: pipeline.path.clone(),
        kind,
    })?;
    for doubt in doubts(&plan) {
        tracing::warn!("{doubt}");
    }
    Ok(plan)
}

fn build(pipeline: &Pipeline) -> Result<Plan, PipelineErrorKind> {
    let packages = packages(&pipeline.stages)?;
    let found = find(&pipeline.file.source.shards.0)?;
    refuse_own_output(pipeline, &found)?;
    let count = found.len();
    let mut shards = Vec::new();
    let mut failed = Vec::new();
    let mut first_error = None;
    let mut conditions = HashMap::new();
    for (found, opened) in open_all(found) {
        match opened {
            Ok(footer) => shards.push(plan_shard(pipeline, &found, footer, &mut conditions)?),
            Err(error) => {
                failed.push(FailedShard {
                    shard: found.shard,
                    path: found.path,
                    reason: chain(&error),
                });
                first_error = first_error.or(Some(error));
            }
        }
    }
    if let (Some(source), true) = (first_error, shards.is_empty()) {
        return Err(PipelineErrorKind::NoReadableShard { count, source });
    }
    let text_source = pipeline.file.source.text_source;
    let evaluation = evaluation(pipeline)?.map(Arc::new);
    let sets = evaluation.as_ref().map(|sets| sets.content());
    let recipe = Recipe::new(text_source, &pipeline.stages, &packages, sets.as_deref());
    let plan = Plan {
        pipeline: pipeline.clone(),
        shards,
        failed,
        packages,
        recipe,
        opt_outs: opt_outs::digest(&pipeline.stages)?,
        evaluation,
    };
    let pieces: Vec<(&ShardPlan, &Piece)> = plan.each_piece().collect();
    if let Some((first, second)) = clashing(pieces.iter().map(|(_, piece)| *piece)) {
        return Err(PipelineErrorKind::SameName {
            first: pieces[first].0.footer.path.clone(),
            second: pieces[second].0.footer.path.clone(),
            file: pieces[second].1.file().display().to_string(),
        });
    }
    Ok(plan)
}

/// Refuses to read what the pipeline itself writes: the next run would have all of it as input.
fn refuse_own_output(pipeline: &Pipeline, found: &[Found]) -> Result<(), PipelineErrorKind> {
    let own = ["scored", "dataset", "rejected"];
    let own = own.map(|folder| pipeline.output.join(folder).resolved());
    let is_own = |found: &&Found| {
        let path = found.path.resolved();
        own.iter().any(|folder| path.is_below(folder))
    };
    match found.iter().find(is_own) {
        None => Ok(()),
        Some(found) => Err(crate::load::value(
            "source.shards",
            format!(
                "`{}` is output of this pipeline; name shards that do not lie in its output folder",
                found.path
            ),
        )),
    }
}

/// The plan that makes hashes of the evaluation sets that pictures are compared with.
fn evaluation(pipeline: &Pipeline) -> Result<Option<Plan>, PipelineErrorKind> {
    let dedup = pipeline.stages.iter().find_map(|stage| match &stage.verb {
        Verb::Dedup(dedup) => Some((&stage.name, dedup)),
        _ => None,
    });
    let Some((name, dedup)) = dedup.filter(|(_, dedup)| !dedup.against.is_empty()) else {
        return Ok(None);
    };
    let decode = pipeline.stages.iter().find_map(|stage| match &stage.verb {
        Verb::Decode(decode) => Some(decode.clone()),
        _ => None,
    });
    let mut sets = pipeline.clone();
    sets.stages = vec![Stage {
        name: "decode".to_owned(),
        verb: Verb::Decode(Decode {
            min_side: 0,
            max_pixels: Decode::default().max_pixels,
            resize: None,
            ..decode.unwrap_or_default()
        }),
    }];
    sets.output = pipeline.output.join(EVALUATION);
    sets.file.source.shards = Shards(dedup.against.clone());
    sets.file.source.columns = Columns::default();
    sets.file.store.images = Images::Kept;
    sets.keep = Rule::None;
    let key = format!("stage.{name}.against");
    let refuse = |trouble: &str| {
        let message = format!("{trouble}; expected Parquet files with pictures");
        crate::load::value(key.clone(), message)
    };
    let mut plan = build(&sets).map_err(|error| refuse(&chain(&error)))?;
    plan.recipe.hashed = true;
    for shard in &mut plan.shards {
        // Its ids are nobody's rows here.
        shard.mapping.id = None;
    }
    let mut without = plan
        .shards
        .iter()
        .filter(|shard| shard.mapping.image.is_none());
    let trouble = match (without.next(), plan.failed.first()) {
        (Some(shard), _) => format!("`{}` has no column `image`", shard.footer.path),
        (None, Some(failed)) => failed.reason.clone(),
        (None, None) => return Ok(Some(plan)),
    };
    Err(refuse(&trouble))
}

/// Opens the packages of all stages, each once; that verifies their digests.
fn packages(stages: &[Stage]) -> Result<HashMap<PathBuf, Arc<Package>>, PipelineErrorKind> {
    let mut packages: HashMap<PathBuf, Arc<Package>> = HashMap::new();
    for stage in stages {
        let Some(folder) = stage.verb.model() else {
            continue;
        };
        if !packages.contains_key(folder) {
            let package = Package::open(folder).map_err(|source| PipelineErrorKind::Package {
                stage: stage.name.clone(),
                source,
            })?;
            packages.insert(folder.to_owned(), Arc::new(package));
        }
        let needed = match &stage.verb {
            Verb::Caption(_) => Task::Captioner,
            _ => Task::Filter,
        };
        let tasks = packages
            .get(folder)
            .map(|package| package.manifest.tasks.clone());
        if tasks.is_some_and(|tasks| !tasks.contains(&needed)) {
            return Err(crate::load::value(
                format!("stage.{}.model", stage.name),
                format!(
                    "`{}` is no {needed} package; import one with `capfilt model import --task \
                     {needed}`",
                    folder.display()
                ),
            ));
        }
    }
    Ok(packages)
}

/// Plans conditions once for each set of columns that occurs.
type Conditions = HashMap<Vec<FieldRef>, HashMap<String, Condition>>;

fn plan_shard(
    pipeline: &Pipeline,
    found: &Found,
    footer: Footer,
    known: &mut Conditions,
) -> Result<ShardPlan, PipelineErrorKind> {
    let source = &pipeline.file.source;
    let mapping = Mapping::resolve(&source.columns, &footer.schema, &found.shard, &found.path)?;
    let passed = mapping.passed_fields();
    let conditions = if let Some(conditions) = known.get(&passed) {
        conditions.clone()
    } else {
        let planned = conditions(&pipeline.stages, &passed)?;
        known.insert(passed, planned.clone());
        planned
    };
    Ok(ShardPlan {
        shard: found.shard.clone(),
        identity: identity(&footer),
        pieces: found
            .shard
            .pieces(footer.rows(), source.rows_per_piece.get()),
        footer,
        mapping,
        conditions,
    })
}

/// Plans the conditions of all stages, each over the columns that are known before it.
fn conditions(
    stages: &[Stage],
    passed: &[FieldRef],
) -> Result<HashMap<String, Condition>, PipelineErrorKind> {
    let scored = columns::scored(passed);
    let column = |name: &str| {
        scored
            .fields()
            .iter()
            .find(|field| field.name() == name)
            .cloned()
    };
    let mut known: Vec<FieldRef> = [columns::ID, columns::URL, columns::TEXT]
        .into_iter()
        .filter_map(column)
        .chain(passed.iter().cloned())
        .collect();
    let mut conditions = HashMap::new();
    for stage in stages {
        match &stage.verb {
            Verb::Where(sql) | Verb::WhereText(sql) => {
                let condition = Condition::plan(sql, visible(&known)).map_err(|source| {
                    PipelineErrorKind::Expression {
                        stage: stage.name.clone(),
                        source,
                    }
                })?;
                conditions.insert(stage.name.clone(), condition);
            }
            Verb::Fetch(_) => known.extend(column(columns::FETCH)),
            Verb::Decode(_) => {
                known.extend(
                    [columns::WIDTH, columns::HEIGHT]
                        .into_iter()
                        .filter_map(column),
                );
            }
            Verb::Dedup(_) | Verb::Caption(_) | Verb::Score(_) => {}
        }
    }
    Ok(conditions)
}

impl Plan {
    /// Pieces that there are.
    pub fn pieces(&self) -> usize {
        self.shards.iter().map(|shard| shard.pieces.len()).sum()
    }

    /// Every shard of the input, also those that cannot be read.
    pub(crate) fn named_shards(&self) -> impl Iterator<Item = &Shard> {
        let read = self.shards.iter().map(|shard| &shard.shard);
        read.chain(self.failed.iter().map(|failed| &failed.shard))
    }

    /// Rows that there are.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.footer.rows()).sum()
    }

    /// Identifies what is in the shards, whenever they were written.
    fn content(&self) -> String {
        let shards = self.shards.iter();
        let content = shards.map(|shard| (shard.footer.size, &shard.footer.digest));
        hex_digest(
            serde_json::json!(content.collect::<Vec<_>>())
                .to_string()
                .as_bytes(),
        )
    }

    /// The position of the stage that looks for duplicates.
    pub(crate) fn dedup(&self) -> Option<(usize, &Dedup)> {
        let stages = self.pipeline.stages.iter().enumerate();
        let mut found = stages.filter_map(|(at, stage)| match &stage.verb {
            Verb::Dedup(dedup) => Some((at, dedup)),
            _ => None,
        });
        found.next()
    }

    /// The plan of the stages before `end`, which decides nothing.
    pub(crate) fn before(&self, end: usize) -> Self {
        let mut plan = self.clone();
        plan.recipe = self.recipe.before(end);
        plan.pipeline.stages.truncate(end);
        plan.pipeline.keep = Rule::All;
        plan.pipeline.file.store.images = Images::All;
        plan
    }

    /// Every piece with its shard.
    pub(crate) fn each_piece(&self) -> impl Iterator<Item = (&ShardPlan, &Piece)> {
        self.shards
            .iter()
            .flat_map(|shard| shard.pieces.iter().map(move |piece| (shard, piece)))
    }

    /// Digests of the packages, by the name of the stage.
    pub(crate) fn package_digests(&self) -> BTreeMap<String, String> {
        self.by_stage(|package| package.digest().as_str().to_owned())
    }

    /// Precisions of the packages, by the name of the stage.
    pub(crate) fn precisions(&self) -> BTreeMap<String, String> {
        self.by_stage(|package| package.manifest.precision.to_string())
    }

    fn by_stage(&self, get: impl Fn(&Package) -> String) -> BTreeMap<String, String> {
        let of = |stage: &Stage| {
            let package = self.packages.get(stage.verb.model()?)?;
            Some((stage.name.clone(), get(package)))
        };
        self.pipeline.stages.iter().filter_map(of).collect()
    }

    /// What the model of `stage` sees of a picture.
    pub(crate) fn square(&self, stage: &Stage) -> Option<Square> {
        let package = self.packages.get(stage.verb.model()?)?;
        Some(package.manifest.image.square())
    }

    /// What the models of `stages` see, each once.
    pub(crate) fn squares(&self, stages: &[Stage]) -> Vec<Square> {
        let squares: BTreeSet<Square> = stages
            .iter()
            .filter_map(|stage| self.square(stage))
            .collect();
        squares.into_iter().collect()
    }
}

/// The plan in words: what `capfilt check` prints.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pipeline = &self.pipeline;
        writeln!(f, "pipeline  {}", pipeline.file.name)?;
        writeln!(
            f,
            "input     {} shards, {} rows, {} pieces",
            self.shards.len(),
            self.rows(),
            self.pieces()
        )?;
        for failed in &self.failed {
            writeln!(
                f,
                "          cannot be read: {} ({})",
                failed.path, failed.reason
            )?;
        }
        if let Some(shard) = self.shards.first() {
            let fields = row::schema(&shard.mapping.passed_fields());
            let passed: Vec<&str> = fields
                .fields()
                .iter()
                .skip(1 + columns::SCORED.len())
                .map(|field| field.name().as_str())
                .collect();
            if !passed.is_empty() {
                writeln!(f, "passed    {}", passed.join(", "))?;
            }
        }
        for stage in &pipeline.stages {
            let verb = stage.verb.as_str();
            let what = match &stage.verb {
                Verb::Where(sql) | Verb::WhereText(sql) => sql.clone(),
                Verb::Fetch(fetch) => format!(
                    "{} at once, {} per host, timeout {}, up to {}",
                    fetch.concurrency, fetch.per_host, fetch.timeout, fetch.max_size
                ),
                Verb::Decode(decode) => format!(
                    "up to {}, shorter side from {}",
                    decode.max_pixels, decode.min_side
                ),
                Verb::Dedup(dedup) => describe_dedup(dedup),
                Verb::Caption(_) | Verb::Score(_) => self.describe_model(stage),
            };
            let named = if stage.name == verb {
                String::new()
            } else {
                format!(" `{}`", stage.name)
            };
            writeln!(f, "stage     {verb}{named}: {what}")?;
        }
        writeln!(f, "keep      {}", pipeline.keep.describe())?;
        writeln!(f, "output    {}", pipeline.output)?;
        let redo = record::outlook(self);
        for line in redo {
            writeln!(f, "          {line}")?;
        }
        Ok(())
    }
}

impl Plan {
    fn describe_model(&self, stage: &Stage) -> String {
        let Some(folder) = stage.verb.model() else {
            return String::new();
        };
        self.packages
            .get(folder)
            .map_or_else(String::new, |package| {
                format!(
                    "{} ({}, {} px)",
                    folder.display(),
                    package.manifest.precision,
                    package.manifest.image.size
                )
            })
    }
}

fn describe_dedup(dedup: &Dedup) -> String {
    let distance = dedup.distance.bits();
    let against = match dedup.against.as_slice() {
        [] => String::new(),
        globs => format!(", against {}", globs.join(", ")),
    };
    format!("same bytes, or hashes within {distance} bits{against}")
}
