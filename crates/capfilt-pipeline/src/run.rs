//! Running a pipeline: pieces one after the other, overlapping at their borders.
//!
//! The next piece starts once the one before has read its last row: models, fetches and decoding
//! stay busy across the border, and no more than two pieces are ever open.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use capfilt_data::{Footer, Piece, remove_leftovers};
use capfilt_models::{Stop, runtime};
use datafusion::execution::TaskContext;
use datafusion::prelude::SessionConfig;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use crate::counts::{DecidedCounts, ScoredCounts};
use crate::derive::{PieceFiles, derive};
use crate::error::{PieceFailure, RunError};
use crate::load::Pipeline;
use crate::lock::OutputLock;
use crate::plan::{Plan, ShardPlan, check};
use crate::progress::{Progress, Tally};
use crate::record::{FailureRecord, RunFile, RunState, pairs};
use crate::resume::{Standing, standing};
use crate::row::BATCH_ROWS;
use crate::shelf::{Shelf, blocking};
use crate::window::{Budget, Window};

/// How often it is looked whether the run shall stop.
const LOOK: Duration = Duration::from_millis(50);

/// What a run needs besides its pipeline.
#[derive(Debug)]
pub struct RunContext {
    /// The file of ONNX Runtime; found by itself where none is named.
    pub runtime: Option<PathBuf>,
    /// The switch that stops the run.
    pub stop: Stop,
    /// Where the run tells how it is getting on.
    pub progress: watch::Sender<Progress>,
    /// Makes pieces again whose shard changed since they were finished.
    pub changed: bool,
}

/// What a run did.
#[derive(Debug)]
pub struct RunReport {
    /// What is in `run.json`.
    pub record: RunFile,
    /// Pieces that this run took through the stages.
    pub scored: u64,
    /// Pieces that this run decided again from their scores.
    pub decided: u64,
}

impl RunReport {
    /// Whether there was nothing to do.
    pub fn was_finished(&self) -> bool {
        self.record.state == RunState::Finished && self.scored + self.decided == 0
    }
}

/// Runs `pipeline`, or goes on with it: pieces that are finished are left as they are.
pub async fn run(pipeline: &Pipeline, context: RunContext) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let planned = pipeline.clone();
    let plan = in_background(move || check(&planned)).await??;
    let output = pipeline.output.clone();
    let lock = OutputLock::take(&output)?;
    let previous = previous_run(pipeline)?;
    remove_leftovers(&output)?;
    let mut run = Run::begin(Arc::new(plan), &context, previous.as_ref())?;
    if let Some(previous) = previous.filter(|previous| run.is_finished_as(previous)) {
        return Ok(RunReport {
            record: previous,
            scored: 0,
            decided: 0,
        });
    }
    run.record.write(&output)?;
    let ended = run.pieces(&context.stop).await;
    // What was dropped is gone when its thread is; a killed thread's file goes now.
    remove_leftovers(&output)?;
    run.record.state = match &ended {
        Err(_) => RunState::Failed,
        Ok(()) if context.stop.is_stopped() => RunState::Stopped,
        Ok(()) if run.record.failed.is_empty() => RunState::Finished,
        Ok(()) => RunState::Partial,
    };
    run.record.timings.seconds = started.elapsed().as_secs_f64();
    let devices = run.shelf.devices();
    if !devices.is_empty() {
        run.record.devices = devices;
    }
    run.record.counts.duplicate_ids = run.tally.duplicate_ids();
    let written = run.record.write(&output);
    drop(lock);
    // The error that ended the run says more than one that the record met afterwards.
    ended?;
    written?;
    Ok(RunReport {
        record: run.record,
        scored: run.scored,
        decided: run.decided,
    })
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunError> {
    blocking(work).await.map_err(|source| RunError::Plan {
        piece: "none".to_owned(),
        source,
    })
}

/// The record of the run before, if there was one. Refuses an output folder of another pipeline.
pub fn previous_run(pipeline: &Pipeline) -> Result<Option<RunFile>, RunError> {
    let output = pipeline.output.as_path();
    let Some(record) = RunFile::read(output)? else {
        return Ok(None);
    };
    if record.name != pipeline.file.name {
        return Err(RunError::OtherPipeline {
            output: output.to_owned(),
            found: record.name,
            expected: pipeline.file.name.clone(),
        });
    }
    if record.pipeline.source.columns != pipeline.file.source.columns {
        return Err(RunError::OtherColumns {
            output: output.to_owned(),
        });
    }
    Ok(Some(record))
}

/// What is to be done with one piece.
#[derive(Clone, Debug)]
struct Todo {
    shard: usize,
    piece: Piece,
    /// The `scored` file, where only the decision is to be taken again.
    scored: Option<(Box<Footer>, ScoredCounts)>,
}

/// What was done with one piece.
struct Done {
    scored: ScoredCounts,
    decided: DecidedCounts,
    only_decided: bool,
}

type Running = BoxFuture<'static, (Todo, Result<Done, PieceFailure>)>;

/// A run under way.
struct Run {
    plan: Arc<Plan>,
    record: RunFile,
    shelf: Arc<Shelf>,
    tally: Arc<Tally>,
    budget: Arc<Budget>,
    todo: VecDeque<Todo>,
    stop: Stop,
    runtime: Option<String>,
    scored: u64,
    decided: u64,
}

impl Run {
    fn begin(
        plan: Arc<Plan>,
        context: &RunContext,
        previous: Option<&RunFile>,
    ) -> Result<Self, RunError> {
        let tally = Arc::new(Tally::new(context.progress.clone()));
        let shelf = Shelf::new(
            plan.pipeline.file.device,
            context.runtime.as_deref(),
            &context.stop,
            plan.packages.clone(),
        );
        let mut run = Self {
            record: RunFile::begin(&plan, previous),
            shelf: Arc::new(shelf),
            tally,
            budget: Arc::default(),
            todo: VecDeque::new(),
            stop: context.stop.clone(),
            runtime: None,
            scored: 0,
            decided: 0,
            plan,
        };
        run.look_around(context.changed);
        let scores = run.todo.iter().any(|todo| todo.scored.is_none());
        if scores && !run.plan.packages.is_empty() {
            run.load_runtime(context.runtime.as_deref())?;
        }
        Ok(run)
    }

    /// Whether `previous` finished just this, so that its record still says all there is to say.
    fn is_finished_as(&self, previous: &RunFile) -> bool {
        let record = &self.record;
        self.todo.is_empty()
            && record.failed.is_empty()
            && previous.state == RunState::Finished
            && previous.pipeline == record.pipeline
            && previous.inputs == record.inputs
            && previous.counts.scored == record.counts.scored
            && previous.counts.decided == record.counts.decided
    }

    /// Finds out what is finished, and says what will be made again and why.
    fn look_around(&mut self, changed: bool) {
        let plan = Arc::clone(&self.plan);
        let (mut again, mut input_changes) = (std::collections::BTreeMap::new(), 0_u64);
        self.tally.update(|progress| {
            progress.pieces_total = plan.pieces() as u64;
            progress.rows_total = plan.rows();
        });
        for (index, shard) in plan.shards.iter().enumerate() {
            for piece in &shard.pieces {
                let mut todo = Todo {
                    shard: index,
                    piece: piece.clone(),
                    scored: None,
                };
                match standing(&plan, shard, piece) {
                    Standing::Missing => {}
                    Standing::Again(reason) => *again.entry(reason).or_insert(0_u64) += 1,
                    Standing::Derive {
                        input_changed: true,
                        ..
                    }
                    | Standing::Done {
                        input_changed: true,
                        ..
                    } if changed => {
                        *again.entry("the shard changed").or_default() += 1;
                    }
                    Standing::Derive {
                        footer,
                        scored,
                        input_changed,
                    } => {
                        input_changes += u64::from(input_changed);
                        todo.scored = Some((footer, scored));
                    }
                    Standing::Done {
                        scored,
                        decided,
                        input_changed,
                    } => {
                        input_changes += u64::from(input_changed);
                        self.count(&scored, &decided);
                        self.tally.rows(&scored, &decided);
                        continue;
                    }
                }
                self.todo.push_back(todo);
            }
        }
        for (reason, pieces) in again {
            tracing::info!("{pieces} finished pieces are made again: {reason}");
        }
        if input_changes > 0 {
            tracing::warn!(
                "the shards of {input_changes} finished pieces changed since; `--changed` makes \
                 them again"
            );
        }
        let decide = self
            .todo
            .iter()
            .filter(|todo| todo.scored.is_some())
            .count();
        if decide > 0 {
            tracing::info!("{decide} pieces are decided again from their scores");
        }
    }

    fn load_runtime(&mut self, explicit: Option<&Path>) -> Result<(), RunError> {
        let loaded = runtime::find(explicit)
            .and_then(|library| runtime::load(&library, None))
            .map_err(|error| RunError::Model(error.into()))?;
        self.runtime = Some(loaded.version.clone());
        self.record.versions.runtime = Some(loaded.version.clone());
        let bytes = fs_err::read(&loaded.path)?;
        self.record.digests.runtime = Some(capfilt_data::footer::hex_digest(&bytes));
        Ok(())
    }

    fn count(&mut self, scored: &ScoredCounts, decided: &DecidedCounts) {
        self.record.counts.pieces += 1;
        self.record.counts.scored.add(scored);
        self.record.counts.decided.add(decided);
        self.tally.update(|progress| progress.pieces_done += 1);
    }

    /// Takes all pieces to their end, or to where the run is stopped.
    async fn pieces(&mut self, stop: &Stop) -> Result<(), RunError> {
        let mut running: FuturesUnordered<Running> = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK);
        let mut newest: Option<Arc<Window>> = None;
        loop {
            let may_start = running.len() < 2 && newest.as_ref().is_none_or(|one| one.is_read());
            if may_start && let Some(todo) = self.todo.pop_front() {
                let window = Arc::new(Window::new(Arc::clone(&self.budget), todo.piece.first));
                newest = Some(Arc::clone(&window));
                running.push(self.start(todo, window));
                continue;
            }
            tokio::select! {
                done = running.next() => match done {
                    Some((todo, done)) => {
                        if !self.take(&todo, done)? {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                _ = look.tick() => {}
            }
            if stop.is_stopped() {
                return Ok(());
            }
        }
    }

    /// Takes what came of a piece; false where the run was stopped.
    fn take(&mut self, todo: &Todo, done: Result<Done, PieceFailure>) -> Result<bool, RunError> {
        match done {
            Ok(done) => {
                self.count(&done.scored, &done.decided);
                if done.only_decided {
                    self.tally.rows(&done.scored, &done.decided);
                    self.decided += 1;
                } else {
                    self.record.timings.rows += done.scored.rows;
                    self.scored += 1;
                }
                self.record.write(&self.plan.pipeline.output)?;
                Ok(true)
            }
            Err(PieceFailure::Stopped) => Ok(false),
            Err(PieceFailure::Run(error)) => Err(error),
            Err(PieceFailure::Shard(reason)) => {
                let shard = &self.plan.shards[todo.shard];
                let piece = todo.piece.to_string();
                tracing::warn!(piece, reason, "a piece failed; the others go on");
                self.record.failed.push(FailureRecord {
                    shard: shard.shard.to_string(),
                    piece: Some(piece),
                    path: shard.footer.path.display().to_string(),
                    reason,
                });
                Ok(true)
            }
        }
    }

    fn start(&self, todo: Todo, window: Arc<Window>) -> Running {
        let piece = PieceRun {
            plan: Arc::clone(&self.plan),
            shelf: Arc::clone(&self.shelf),
            tally: Arc::clone(&self.tally),
            runtime: self.runtime.clone(),
            stop: self.stop.clone(),
        };
        async move {
            let done = piece.run(&todo, &window).await;
            // However it ended, the next piece need not wait for its rows.
            window.read();
            (todo, done)
        }
        .boxed()
    }
}

/// One piece under way.
struct PieceRun {
    plan: Arc<Plan>,
    shelf: Arc<Shelf>,
    tally: Arc<Tally>,
    runtime: Option<String>,
    stop: Stop,
}

impl PieceRun {
    async fn run(&self, todo: &Todo, window: &Arc<Window>) -> Result<Done, PieceFailure> {
        let files = PieceFiles::new(&self.plan.pipeline.output, &todo.piece.file());
        let shard = &self.plan.shards[todo.shard];
        let name = todo.piece.to_string();
        let (footer, scored, only_decided) = if let Some((footer, scored)) = &todo.scored {
            window.read();
            (footer.as_ref().clone(), scored.clone(), true)
        } else {
            self.score(shard, &todo.piece, &files, window)
                .await
                .map_err(|error| RunError::of_piece(&name, error))?;
            let read = Footer::read(&files.scored);
            let footer = read.map_err(|error| PieceFailure::Run(error.into()))?;
            let counts = footer
                .value(crate::record::COUNTS)
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_default();
            (footer, counts, false)
        };
        let rule = self.plan.pipeline.keep.clone();
        let stop = self.stop.clone();
        let derived = in_background(move || derive(&files, &footer, &rule, &|| stop.is_stopped()))
            .await
            .and_then(|derived| derived)
            .map_err(PieceFailure::Run)?;
        let decided = derived.ok_or(PieceFailure::Stopped)?;
        Ok(Done {
            scored,
            decided,
            only_decided,
        })
    }

    /// Takes the rows of a piece through the stages into `scored`.
    async fn score(
        &self,
        shard: &ShardPlan,
        piece: &Piece,
        files: &PieceFiles,
        window: &Arc<Window>,
    ) -> datafusion::error::Result<()> {
        let pairs = pairs(&self.plan, shard, self.runtime.as_deref());
        let plan = self.plan.piece(shard, piece, files, pairs)?;
        let config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_extension(Arc::clone(&self.shelf))
            .with_extension(Arc::clone(&self.tally))
            .with_extension(Arc::clone(window));
        let context = Arc::new(TaskContext::default().with_session_config(config));
        let mut report = plan.execute(0, context)?;
        while let Some(written) = report.next().await {
            written?;
        }
        Ok(())
    }
}
