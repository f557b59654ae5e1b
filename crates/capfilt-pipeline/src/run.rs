//! Running a pipeline: pieces one after the other, overlapping at their borders.
//!
//! The next piece starts once the one before has read its last row: models, fetches and decoding
//! stay busy across the border, while earlier pieces wait for their slowest hosts and try again what
//! failed in passing. No more than [`OPEN`] pieces are ever open.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capfilt_data::{Piece, remove_leftovers};
use capfilt_models::{Stop, runtime};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use crate::counts::{DecidedCounts, ScoredCounts};
use crate::derive::PieceFiles;
use crate::error::{PieceFailure, RunError, chain};
use crate::load::Pipeline;
use crate::lock::OutputLock;
use crate::manifest;
use crate::opt_outs::{self, Released};
use crate::piece::{Done, PieceRun, Task, Todo};
use crate::plan::{Plan, check};
use crate::progress::{Progress, Tally};
use crate::record::{FailureRecord, RunFile, RunState};
use crate::removal::{self, Removals};
use crate::resume::{Standing, standings};
use crate::retry::Retry;
use crate::shelf::{Shelf, blocking};
use crate::strangers::{DatasetCounts, Stranger, Strangers};
use crate::window::Window;

mod duplicates;

/// How often it is looked whether the run shall stop.
const LOOK: Duration = Duration::from_millis(50);

/// Pieces that may be open at once: one that reads, and others that are past that. Each of those may
/// wait as long as its slowest URL takes, and once more when it tries again, doing next to nothing
/// meanwhile: with fewer, a percent of stalling URLs would hold up the run. All share the rows and
/// bytes under way; an open piece of its own costs what its writer has not written yet, some 8 MiB at
/// most.
const OPEN: usize = 32;

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
    /// Tries rows of finished pieces again that left for one of these reasons.
    pub retry: Retry,
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
    /// Pieces that an earlier run scored, and of which this one tried rows again.
    pub retried: u64,
}

impl RunReport {
    /// Whether there was nothing to do.
    pub fn was_finished(&self) -> bool {
        self.record.state == RunState::Finished && self.scored + self.decided + self.retried == 0
    }
}

/// Runs `pipeline`, or goes on with it: pieces that are finished are left as they are.
pub async fn run(pipeline: &Pipeline, context: RunContext) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let output = pipeline.output.clone();
    // Whoever cannot have the folder learns it before thousands of shards are looked at; and a plan
    // that does not hold makes no folder.
    let existing = output.clone();
    let lock = in_background(move || OutputLock::take_existing(&existing)).await??;
    let planned = pipeline.clone();
    let plan = in_background(move || check(&planned)).await??;
    let lock = if let Some(lock) = lock {
        lock
    } else {
        let new = output.clone();
        in_background(move || OutputLock::take(&new)).await??
    };
    let before = previous_run(pipeline)?;
    remove_leftovers(&output)?;
    let (folder, stop) = (output.clone(), context.stop.clone());
    let (plan, removals, released, previous) = in_background(move || {
        let (removals, previous) = removal::finish(&folder, before, &stop)?;
        let (released, previous) = opt_outs::hold(&plan, previous, &stop)?;
        Ok::<_, RunError>((plan, removals, released, previous))
    })
    .await??;
    let finished_before = previous
        .as_ref()
        .is_some_and(|previous| previous.state == RunState::Finished);
    let kept_to = (removals, released);
    let mut run = Run::begin(Arc::new(plan), &context, previous.as_ref(), kept_to)?;
    for stranger in &run.strangers {
        stranger.remove_derived(&output)?;
    }
    if run.todo.is_empty() {
        run.remove_strangers()?;
    }
    if let Some(previous) = previous.filter(|previous| run.is_finished_as(previous)) {
        return Ok(RunReport {
            record: previous,
            scored: 0,
            decided: 0,
            retried: 0,
        });
    }
    run.record.write(&output)?;
    let ended = run.all_stages().await;
    if ended.is_ok() && !context.stop.is_stopped() {
        run.remove_strangers()?;
        run.forget_duplicates()?;
    }
    // What was dropped is gone when its thread is; a killed thread's file goes now.
    remove_leftovers(&output)?;
    let is_whole = ended.is_ok() && !context.stop.is_stopped() && run.record.failed.is_empty();
    if is_whole && run.holds_all {
        let lists = run.pieces.plan.opt_outs.clone();
        run.record.digests.opt_outs = Some(lists);
    }
    run.record.state = match &ended {
        Err(_) => RunState::Failed,
        Ok(()) if context.stop.is_stopped() => RunState::Stopped,
        Ok(()) if run.record.failed.is_empty() => RunState::Finished,
        Ok(()) => RunState::Partial,
    };
    run.record.timings.seconds = started.elapsed().as_secs_f64();
    let noted = run.note_devices();
    let (folder, record) = (output.clone(), run.record.clone());
    let counted = in_background(move || DatasetCounts::of(&folder, &record)).await?;
    run.record.counts.dataset = counted.as_ref().ok().cloned();
    run.record.counts.duplicate_ids = run.pieces.tally.duplicate_ids();
    let report = RunReport {
        record: run.record,
        scored: run.scored,
        decided: run.decided,
        retried: run.retried,
    };
    // Before `run.json` says that it ended: a run that is killed in between is told twice rather than
    // never.
    let kept = if report.was_finished() && finished_before {
        Ok(())
    } else {
        manifest::keep(&report.record, &output, report.record.timings.started)
    };
    let written = report.record.write(&output);
    drop(lock);
    // The error that ended the run says more than one that the record met afterwards.
    ended?;
    noted?;
    counted?;
    kept?;
    written?;
    Ok(report)
}

pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunError> {
    blocking(work).await.map_err(|source| RunError::Plan {
        piece: "none".to_owned(),
        source,
    })
}

/// The record of the run before, if there was one. Refuses an output folder of another pipeline.
pub fn previous_run(pipeline: &Pipeline) -> Result<Option<RunFile>, RunError> {
    let output = &pipeline.output;
    let Some(record) = RunFile::read(output)? else {
        return Ok(None);
    };
    if record.name != pipeline.file.name {
        return Err(RunError::OtherPipeline {
            output: output.clone(),
            found: record.name,
            expected: pipeline.file.name.clone(),
        });
    }
    if record.pipeline.source.columns != pipeline.file.source.columns {
        return Err(RunError::OtherColumns {
            output: output.clone(),
        });
    }
    Ok(Some(record))
}

type Running = BoxFuture<'static, (Todo, Result<Done, PieceFailure>)>;

/// A run under way.
struct Run {
    pieces: PieceRun,
    record: RunFile,
    todo: VecDeque<Todo>,
    strangers: Vec<Stranger>,
    /// Pieces of shards that the input does not have.
    of_others: u64,
    /// The file of ONNX Runtime, where one was named.
    library: Option<PathBuf>,
    /// Whether all finished pieces are held against the lists of opt-outs when all is done.
    holds_all: bool,
    scored: u64,
    decided: u64,
    retried: u64,
}

impl Run {
    fn begin(
        plan: Arc<Plan>,
        context: &RunContext,
        previous: Option<&RunFile>,
        (removals, released): (Removals, Released),
    ) -> Result<Self, RunError> {
        let shelf = Shelf::new(
            plan.pipeline.file.device,
            context.runtime.as_deref(),
            &context.stop,
            plan.packages.clone(),
        );
        let mut run = Self {
            record: RunFile::begin(&plan, previous),
            pieces: PieceRun {
                plan,
                shelf: Arc::new(shelf),
                tally: Arc::new(Tally::new(context.progress.clone())),
                budget: Arc::default(),
                retry: context.retry.clone(),
                stop: context.stop.clone(),
                derives: true,
                removals: Arc::new(removals),
                released: Arc::new(released),
                duplicates: Arc::default(),
            },
            todo: VecDeque::new(),
            strangers: Vec::new(),
            of_others: 0,
            library: context.runtime.clone(),
            holds_all: true,
            scored: 0,
            decided: 0,
            retried: 0,
        };
        run.look_around(context.changed)?;
        run.find_strangers()?;
        if run.todo.iter().any(|todo| run.needs_models(todo.task)) {
            run.load_runtime()?;
        }
        Ok(run)
    }

    /// Whether `previous` finished just this, so that its record still says all there is to say.
    fn is_finished_as(&self, previous: &RunFile) -> bool {
        let record = &self.record;
        self.todo.is_empty()
            && record.failed.is_empty()
            && previous.state == RunState::Finished
            && previous.depends_as(record)
            && opt_outs::are(&self.pieces.plan, previous)
            && previous.counts.scored == record.counts.scored
            && previous.counts.decided == record.counts.decided
            && previous
                .counts
                .dataset
                .as_ref()
                .is_none_or(|dataset| dataset.pieces_of_other_inputs == self.of_others)
    }

    /// Finds out what is finished, and says what will be made again and why.
    fn look_around(&mut self, changed: bool) -> Result<(), RunError> {
        let plan = Arc::clone(&self.pieces.plan);
        let (mut again, mut input_changes) = (BTreeMap::<String, u64>::new(), 0_u64);
        self.pieces.tally.update(|progress| {
            progress.pieces_total = plan.pieces() as u64;
            progress.rows_total = plan.rows();
        });
        let mut standings = standings(&plan).into_iter();
        for (index, shard) in plan.shards.iter().enumerate() {
            for piece in &shard.pieces {
                let Some(standing) = standings.next().transpose()? else {
                    break;
                };
                let task = match &standing {
                    Standing::Missing => Task::Score,
                    Standing::Again(reason) => {
                        *again.entry(reason.clone()).or_default() += 1;
                        Task::Score
                    }
                    Standing::Reuse(change) => {
                        *again.entry(plan.in_part(change)).or_default() += 1;
                        self.reuse(change.stand, piece)
                    }
                    Standing::Scored {
                        input_changed: true,
                        ..
                    } if changed => {
                        *again.entry("the shard changed".to_owned()).or_default() += 1;
                        Task::Score
                    }
                    Standing::Scored {
                        scored,
                        decided,
                        input_changed,
                        due,
                        made_with,
                    } => {
                        input_changes += u64::from(*input_changed);
                        if *made_with != self.record.digests.pipeline {
                            self.record.digests.earlier.insert(made_with.clone());
                        }
                        let released = self.pieces.released_of(piece).is_some();
                        self.holds_all &= !(released && *input_changed);
                        // Rows of a shard that changed may be others.
                        let asked = released || self.pieces.retry.part_of(scored).rows > 0;
                        let retry = *due || (asked && !input_changed);
                        match decided {
                            _ if retry => Task::Retry,
                            None => Task::Decide,
                            Some(decided) => {
                                self.count(scored, decided);
                                self.pieces.tally.rows(scored, decided);
                                continue;
                            }
                        }
                    }
                };
                self.todo.push_back(Todo {
                    shard: index,
                    piece: piece.clone(),
                    task,
                });
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
        let count = |task| self.todo.iter().filter(|todo| todo.task == task).count();
        match count(Task::Decide) {
            0 => {}
            pieces => tracing::info!("{pieces} pieces are decided again from their scores"),
        }
        match count(Task::Retry) {
            0 => {}
            pieces => tracing::info!("rows of {pieces} finished pieces are tried again"),
        }
        Ok(())
    }

    /// What is to be done with `piece`, of which the first `stand` stages stand.
    fn reuse(&self, stand: usize, piece: &Piece) -> Task {
        let retry = self.pieces.released_of(piece).is_some();
        // Rows that come in are compared with others before they go on.
        let search = self.pieces.plan.dedup().filter(|_| retry);
        let stand = search.map_or(stand, |(at, _)| stand.min(at));
        Task::Reuse { stand, retry }
    }

    fn find_strangers(&mut self) -> Result<(), RunError> {
        let plan = &self.pieces.plan;
        let files = plan.each_piece().map(|(_, piece)| piece.file()).collect();
        let found = Strangers::find(&plan.pipeline.output, plan.named_shards(), &files)?;
        if let Some(told) = found.told(&plan.pipeline.output) {
            tracing::warn!("{told}");
        }
        self.of_others = found.of_others;
        // Of a shard that cannot be read, nobody knows how it is cut.
        let is_read = |one: &Stranger| {
            let mut shards = plan.shards.iter();
            shards.any(|shard| shard.shard.as_str() == one.shard)
        };
        self.strangers = found.cut.into_iter().filter(is_read).collect();
        if !self.strangers.is_empty() {
            tracing::info!(
                "{} finished pieces give way to others: their shards are cut otherwise now",
                self.strangers.len()
            );
        }
        Ok(())
    }

    /// Removes pieces of shards that are cut otherwise now, and of which all new pieces are finished.
    fn remove_strangers(&mut self) -> Result<(), RunError> {
        for stranger in self.strangers.drain(..) {
            let mut failed = self.record.failed.iter();
            if failed.all(|failed| failed.shard != stranger.shard) {
                stranger.remove_scored(&self.pieces.plan.pipeline.output)?;
            }
        }
        Ok(())
    }

    /// Whether it is sure that rows will need a model.
    fn needs_models(&self, task: Task) -> bool {
        let stages = &self.pieces.plan.pipeline.stages;
        let run = match task {
            Task::Score | Task::Retry => stages.as_slice(),
            Task::Reuse { stand, .. } => &stages[stand..],
            Task::Decide => &[],
        };
        run.iter().any(|stage| stage.verb.model().is_some())
    }

    /// Loads ONNX Runtime: where there is none, that is better said before rows are fetched.
    fn load_runtime(&self) -> Result<(), RunError> {
        runtime::find(self.library.as_deref())
            .and_then(|library| runtime::load(&library, None))
            .map_err(|error| RunError::Model(error.into()))?;
        Ok(())
    }

    /// Takes down which devices and runtime models ran on, if any did.
    fn note_devices(&mut self) -> Result<(), RunError> {
        let devices = self.pieces.shelf.devices();
        if let (false, Some(loaded)) = (devices.is_empty(), runtime::loaded()) {
            self.record.devices = devices;
            self.record.versions.runtime = Some(loaded.version.clone());
            let bytes = fs_err::read(&loaded.path)?;
            self.record.digests.runtime = Some(capfilt_data::footer::hex_digest(&bytes));
        }
        Ok(())
    }

    fn count(&mut self, scored: &ScoredCounts, decided: &DecidedCounts) {
        self.record.counts.pieces += 1;
        self.record.counts.scored.add(scored);
        self.record.counts.decided.add(decided);
        self.pieces
            .tally
            .update(|progress| progress.pieces_done += 1);
    }

    /// Takes all pieces through all stages, or to where the run is stopped.
    async fn all_stages(&mut self) -> Result<(), RunError> {
        if self.pieces.plan.dedup().is_some() && !self.todo.is_empty() {
            self.find_duplicates().await?;
            // Without what was found, nothing may go on.
            if self.pieces.stop.is_stopped() {
                return Ok(());
            }
        }
        self.all_pieces().await
    }

    /// Takes all pieces to their end, or to where the run is stopped.
    async fn all_pieces(&mut self) -> Result<(), RunError> {
        let mut running: FuturesUnordered<Running> = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK);
        let mut newest: Option<Arc<Window>> = None;
        loop {
            let may_start = running.len() < OPEN && newest.as_ref().is_none_or(|one| one.is_read());
            if may_start && let Some(todo) = self.todo.pop_front() {
                let budget = Arc::clone(&self.pieces.budget);
                let window = Arc::new(Window::new(budget, todo.piece.first));
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
            if self.pieces.stop.is_stopped() {
                return Ok(());
            }
        }
    }

    /// Takes what came of a piece; false where the run was stopped.
    fn take(&mut self, todo: &Todo, done: Result<Done, PieceFailure>) -> Result<bool, RunError> {
        match done {
            Ok(done) if !self.pieces.derives => {
                self.record.counts.retried += done.again.retried;
                self.record.counts.recovered += done.again.recovered;
                Ok(true)
            }
            Ok(done) => {
                self.count(&done.scored, &done.decided);
                let (finished, rows) = match todo.task {
                    Task::Score | Task::Reuse { .. } => (&mut self.scored, done.scored.rows),
                    Task::Retry => (&mut self.retried, done.again.retried),
                    Task::Decide => (&mut self.decided, 0),
                };
                *finished += 1;
                self.record.timings.rows += rows;
                self.record.counts.retried += done.again.retried;
                self.record.counts.recovered += done.again.recovered;
                if !todo.task.passes_all_rows() {
                    self.pieces.tally.rows(&done.scored, &done.decided);
                }
                self.record.write(&self.pieces.plan.pipeline.output)?;
                Ok(true)
            }
            Err(PieceFailure::Stopped) => Ok(false),
            Err(PieceFailure::Run(error)) => Err(error),
            Err(PieceFailure::Damaged(error)) => {
                let (piece, error) = (todo.piece.to_string(), chain(&error));
                if self.pieces.derives && self.pieces.plan.dedup().is_some() {
                    // Past the search, nobody would compare its pictures.
                    let output = &self.pieces.plan.pipeline.output;
                    PieceFiles::new(output, &todo.piece.file())
                        .scored
                        .remove()?;
                    let reason =
                        format!("{error}; it was deleted, and the next run makes it again");
                    self.failed(todo, piece, reason);
                    return Ok(true);
                }
                tracing::warn!(piece, error, "a finished piece is made again");
                if self.needs_models(Task::Score) {
                    self.load_runtime()?;
                }
                self.todo.push_front(Todo {
                    task: Task::Score,
                    ..todo.clone()
                });
                Ok(true)
            }
            Err(PieceFailure::Shard(reason)) => {
                self.failed(todo, todo.piece.to_string(), reason);
                Ok(true)
            }
        }
    }

    fn failed(&mut self, todo: &Todo, piece: String, reason: String) {
        tracing::warn!(piece, reason, "a piece failed; the others go on");
        let shard = &self.pieces.plan.shards[todo.shard];
        self.record.failed.push(FailureRecord {
            shard: shard.shard.to_string(),
            piece: Some(piece),
            path: shard.footer.path.to_string(),
            reason,
        });
    }

    fn start(&self, todo: Todo, window: Arc<Window>) -> Running {
        let pieces = self.pieces.clone();
        async move {
            let done = pieces.run(&todo, &window).await;
            // However it ended, the next piece need not wait for its rows.
            window.read();
            (todo, done)
        }
        .boxed()
    }
}
