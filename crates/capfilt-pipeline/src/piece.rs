//! One piece on its way: through the stages, what failed in passing once more, and decided.

use std::collections::HashMap;
use std::sync::Arc;

use capfilt_data::{Footer, FooterError, Piece, Reject, Scratch};
use capfilt_models::Stop;
use datafusion::execution::TaskContext;
use datafusion::prelude::SessionConfig;
use futures::StreamExt;

use crate::counts::{DecidedCounts, ScoredCounts};
use crate::derive::{PieceFiles, derive};
use crate::error::{PieceFailure, RunError};
use crate::file::Images;
use crate::numbers::Numbers;
use crate::opt_outs::Released;
use crate::pass::{Pass, Stored};
use crate::plan::{Plan, ShardPlan};
use crate::progress::Tally;
use crate::record::{OPT_OUTS, PASSES, PROVIDER, RUNTIME, counts_of, pairs};
use crate::removal::Removals;
use crate::restore::split;
use crate::retry::{Retry, images, merge};
use crate::row::BATCH_ROWS;
use crate::run::in_background;
use crate::shelf::Shelf;
use crate::stages::dedup::Duplicates;
use crate::window::{Budget, Window};

/// A piece that is not finished, or shall be tried again.
#[derive(Clone, Debug)]
pub(crate) struct Todo {
    pub(crate) shard: usize,
    pub(crate) piece: Piece,
    pub(crate) task: Task,
}

/// What is to be done with a piece. Whatever it is, the decision is taken afterwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Task {
    /// All rows go through the stages, and at the end those again that failed in passing.
    Score,
    /// What the first `stand` stages learnt is used again, the other stages run.
    Reuse {
        /// How many stages stand.
        stand: usize,
        /// Whether rows are tried again, too.
        retry: bool,
    },
    /// Rows of a `scored` file go through the stages again.
    Retry,
    /// Nothing: `scored` is there.
    Decide,
}

impl Task {
    /// Whether all rows pass by, and are counted as they do.
    pub(crate) const fn passes_all_rows(self) -> bool {
        matches!(self, Self::Score | Self::Reuse { .. })
    }
}

/// What was done with a piece.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) scored: ScoredCounts,
    pub(crate) decided: DecidedCounts,
    pub(crate) again: Again,
}

/// Rows of a finished piece that go through the stages once more.
struct Failed {
    numbers: Numbers,
    /// Those of them that were asked for before, and have an answer.
    asked: Numbers,
    /// How they are counted so far.
    before: ScoredCounts,
}

/// What came of the rows that were tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Again {
    /// How many there were.
    pub(crate) retried: u64,
    /// How many of them came in.
    pub(crate) recovered: u64,
}

impl Again {
    /// Both.
    const fn and(self, other: Self) -> Self {
        Self {
            retried: self.retried + other.retried,
            recovered: self.recovered + other.recovered,
        }
    }
}

/// What all pieces of a run share.
#[derive(Clone)]
pub(crate) struct PieceRun {
    pub(crate) plan: Arc<Plan>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) budget: Arc<Budget>,
    /// The reasons for which rows of finished pieces are tried again.
    pub(crate) retry: Retry,
    pub(crate) stop: Stop,
    /// Whether pieces are decided. Those on their way to a stage that needs all of them are not.
    pub(crate) derives: bool,
    /// What somebody asked to take out.
    pub(crate) removals: Arc<Removals>,
    /// Rows of finished pieces that no list of opt-outs names any more.
    pub(crate) released: Arc<Released>,
    /// What was found by the stage that looks for duplicates, by the piece's name.
    pub(crate) duplicates: Arc<HashMap<String, Arc<Duplicates>>>,
}

impl PieceRun {
    /// Takes a piece to its end. `window` says when its last row was read.
    pub(crate) async fn run(
        &self,
        todo: &Todo,
        window: &Arc<Window>,
    ) -> Result<Done, PieceFailure> {
        let files = PieceFiles::new(&self.plan.pipeline.output, &todo.piece.file());
        match todo.task {
            Task::Score => self.score(todo, &files, window).await?,
            Task::Reuse { stand, .. } => {
                verify(&files).await?;
                self.reuse(todo, &files, stand, window).await?;
            }
            Task::Retry | Task::Decide => {
                window.read();
                verify(&files).await?;
            }
        }
        let again = match todo.task {
            Task::Score | Task::Reuse { retry: false, .. } => {
                self.again(todo, &files, Retry::default()).await?
            }
            Task::Reuse { retry: true, .. } | Task::Retry => {
                let first = self.fetch_released(todo, &files).await?;
                let then = self.again(todo, &files, self.retry.clone()).await?;
                first.and(then)
            }
            Task::Decide => Again::default(),
        };
        let footer = footer(&files)?;
        let scored = counts_of(&footer).unwrap_or_default();
        if !self.derives {
            let decided = DecidedCounts::default();
            return Ok(Done {
                scored,
                decided,
                again,
            });
        }
        let rule = self.plan.pipeline.keep.clone();
        let dataset = self.plan.pipeline.file.store.dataset;
        let stop = self.stop.clone();
        let derived =
            in_background(move || derive(&files, &footer, (&rule, dataset), &|| stop.is_stopped()))
                .await
                .and_then(|derived| derived)
                .map_err(PieceFailure::Run)?;
        let decided = derived.ok_or(PieceFailure::Stopped)?.counts;
        Ok(Done {
            scored,
            decided,
            again,
        })
    }

    /// Takes the rows of a piece through the stages into `scored`.
    async fn score(
        &self,
        todo: &Todo,
        files: &PieceFiles,
        window: &Arc<Window>,
    ) -> Result<(), PieceFailure> {
        let pass = Pass {
            numbers: Numbers::of_piece(&todo.piece),
            stored: None,
            path: files.scored.clone(),
            pairs: self.pairs(todo, "1"),
            images: self.plan.pipeline.file.store.images,
            again: false,
            asked: Numbers::default(),
        };
        self.pass(todo, pass, window, Some(&self.tally)).await
    }

    /// Takes the rows of `scored` through the stages that do not stand, into a new `scored`.
    async fn reuse(
        &self,
        todo: &Todo,
        files: &PieceFiles,
        stand: usize,
        window: &Arc<Window>,
    ) -> Result<(), PieceFailure> {
        let (file, first) = (footer(files)?, todo.piece.first);
        let plan = Arc::clone(&self.plan);
        let (file, numbers, others) = in_background(move || {
            let (numbers, others) = split(&plan, &file, first, stand)?;
            Ok::<_, RunError>((file, numbers, others))
        })
        .await
        .and_then(|found| found)
        .map_err(PieceFailure::Run)?;
        let all_stand = self.plan.recipe.change_from_file(&file).is_none();
        let is_labelled =
            self.plan.pipeline.file.store.images == Images::Kept || images(&file) == Images::All;
        if all_stand && is_labelled && others.first().is_none() {
            window.read();
            let counts = counts_of(&file).unwrap_or_default();
            self.tally.rows(&counts, &DecidedCounts::default());
            return Ok(());
        }
        // Rows that come from the shard have had one try; the others what they had.
        let passes = match file.value(PASSES) {
            // Without the search for duplicates, nothing may be tried again that was not compared.
            Some(passes) if others.first().is_none() || self.plan.recipe.hashed => {
                passes.to_owned()
            }
            _ => "1".to_owned(),
        };
        let mut pairs = self.pairs(todo, &passes);
        if matches!(todo.task, Task::Reuse { retry: true, .. })
            && self.released_of(&todo.piece).is_some()
        {
            // They have still to be fetched.
            pairs.retain(|(key, _)| key != OPT_OUTS);
        }
        for key in [RUNTIME, PROVIDER] {
            pairs.push((
                key.to_owned(),
                file.value(key).unwrap_or_default().to_owned(),
            ));
        }
        let pass = Pass {
            numbers: Numbers::of_piece(&todo.piece),
            stored: Some(Stored {
                file,
                first,
                stand,
                numbers,
                others,
            }),
            path: files.scored.clone(),
            pairs,
            images: self.plan.pipeline.file.store.images,
            // On their way up to the search for duplicates their ids were seen.
            again: self.duplicates.contains_key(&todo.piece.to_string()),
            asked: Numbers::default(),
        };
        self.pass(todo, pass, window, Some(&self.tally)).await
    }

    /// Takes the rows that left `scored` for one of the reasons of `retry`, and those that failed in
    /// passing and were tried only once, through the stages again and into `scored`. Stopped or
    /// killed, it leaves `scored` as it was.
    async fn again(
        &self,
        todo: &Todo,
        files: &PieceFiles,
        retry: Retry,
    ) -> Result<Again, PieceFailure> {
        let old = footer(files)?;
        let counts = counts_of(&old).unwrap_or_default();
        let due = Retry::due(&old, &counts);
        let is_due = due.is_some();
        let retry = retry.and(due.unwrap_or_default());
        let before = retry.part_of(&counts);
        if before.rows == 0 {
            return Ok(Again::default());
        }
        let first = todo.piece.first;
        let (old, numbers, asked) = in_background(move || {
            let (numbers, asked) = retry.numbers(&old, first)?;
            Ok::<_, RunError>((old, numbers, asked))
        })
        .await
        .and_then(|found| found)
        .map_err(PieceFailure::Run)?;
        let pairs = self.pairs(todo, "2");
        let rows = Failed {
            numbers,
            asked,
            before,
        };
        self.once_more(todo, files, old, rows, pairs, is_due).await
    }

    /// Takes the rows through the stages that left because a list of opt-outs named them, and that none
    /// names any more. They have their first try.
    async fn fetch_released(&self, todo: &Todo, files: &PieceFiles) -> Result<Again, PieceFailure> {
        let Some(numbers) = self.released_of(&todo.piece).cloned() else {
            return Ok(Again::default());
        };
        let rows = numbers.each().count() as u64;
        let before = ScoredCounts {
            rows,
            rejected: [(Reject::OptedOut.as_str().to_owned(), rows)].into(),
            ..ScoredCounts::default()
        };
        let rows = Failed {
            numbers,
            asked: Numbers::default(),
            before,
        };
        let pairs = self.pairs(todo, "1");
        self.once_more(todo, files, footer(files)?, rows, pairs, true)
            .await
    }

    /// Takes rows of the piece in `old` through the stages, and what came of them into `scored`: always,
    /// or where one came in.
    async fn once_more(
        &self,
        todo: &Todo,
        files: &PieceFiles,
        old: Footer,
        rows: Failed,
        pairs: Vec<(String, String)>,
        always: bool,
    ) -> Result<Again, PieceFailure> {
        let Failed {
            numbers,
            asked,
            before,
        } = rows;
        let first = todo.piece.first;
        // What was counted when the piece was scored is counted anew; an earlier run's is not yet.
        let tally = todo.task.passes_all_rows().then_some(&self.tally);
        if let Some(tally) = tally {
            tally.take_back(&before);
        }
        let scratch =
            Scratch::of(&files.scored).map_err(|error| PieceFailure::Run(error.into()))?;
        let pass = Pass {
            numbers: numbers.clone(),
            stored: None,
            path: scratch.path().clone(),
            pairs,
            images: images(&old),
            again: true,
            asked,
        };
        let start = numbers.first().unwrap_or(first);
        let window = Arc::new(Window::new(Arc::clone(&self.budget), start));
        self.pass(todo, pass, &window, tally).await?;
        let fresh = Footer::read(scratch.path());
        let fresh = fresh.map_err(|error| PieceFailure::Run(error.into()))?;
        let left: u64 = counts_of(&fresh)
            .map(|counts| counts.rejected.into_values().sum())
            .unwrap_or_default();
        let again = Again {
            retried: before.rows,
            recovered: fresh.rows().saturating_sub(left),
        };
        if always || again.recovered > 0 {
            let stop = self.stop.clone();
            let merged = in_background(move || {
                let merged = merge(&old, first, &fresh, &numbers, &|| stop.is_stopped());
                drop(scratch);
                merged
            });
            let merged = merged.await.and_then(|merged| merged);
            if !merged.map_err(PieceFailure::Run)? {
                return Err(PieceFailure::Stopped);
            }
        }
        Ok(again)
    }

    async fn pass(
        &self,
        todo: &Todo,
        pass: Pass,
        window: &Arc<Window>,
        tally: Option<&Arc<Tally>>,
    ) -> Result<(), PieceFailure> {
        let mut config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_extension(Arc::clone(&self.shelf))
            .with_extension(Arc::clone(window))
            .with_extension(Arc::clone(&self.removals));
        if let Some(duplicates) = self.duplicates.get(&todo.piece.to_string()) {
            config = config.with_extension(Arc::clone(duplicates));
        }
        if let Some(tally) = tally {
            config = config.with_extension(Arc::clone(tally));
        }
        let context = Arc::new(TaskContext::default().with_session_config(config));
        let failed = |error| RunError::of_piece(&todo.piece.to_string(), error);
        let plan = self.plan.pass(self.shard(todo), pass).map_err(failed)?;
        let mut report = plan.execute(0, context).map_err(failed)?;
        while let Some(written) = report.next().await {
            written.map_err(failed)?;
        }
        Ok(())
    }

    /// The rows of `piece` that no list of opt-outs names any more, if there are any.
    pub(crate) fn released_of(&self, piece: &Piece) -> Option<&Numbers> {
        self.released.get(&piece.to_string())
    }

    fn shard(&self, todo: &Todo) -> &ShardPlan {
        &self.plan.shards[todo.shard]
    }

    fn pairs(&self, todo: &Todo, passes: &str) -> Vec<(String, String)> {
        let mut pairs = pairs(&self.plan, self.shard(todo), &todo.piece);
        pairs.push((PASSES.to_owned(), passes.to_owned()));
        pairs
    }
}

/// Holds what an earlier run scored against its digest: nothing follows from a damaged file.
async fn verify(files: &PieceFiles) -> Result<(), PieceFailure> {
    let path = files.scored.clone();
    in_background(move || Footer::read(&path)?.verify())
        .await
        .map_err(PieceFailure::Run)?
        .map_err(|error| match error {
            // A disk or store that cannot be read now says nothing about the rows.
            FooterError::Io(_) => PieceFailure::Run(error.into()),
            damaged => PieceFailure::Damaged(damaged),
        })
}

fn footer(files: &PieceFiles) -> Result<Footer, PieceFailure> {
    Footer::read(&files.scored).map_err(|error| PieceFailure::Run(error.into()))
}
