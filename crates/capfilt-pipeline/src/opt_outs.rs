//! Lists of opt-outs that changed since rows were fetched.
//!
//! ```text
//! lists ──▶ rows of finished pieces ──┬─ named now ─────▶ leave, as if they had never been asked for
//!                                     └─ named no more ─▶ go through all stages (`piece.rs`)
//! ```
//!
//! Every piece says which lists it was held against, by the digest of what stood in them; where those
//! are today's, nothing is read. A piece whose rows the lists say nothing new about is not written again:
//! then `run.json` says that all were held against these.
//!
//! What is not stored cannot be held against a list: of a chain of redirects that is its first and its
//! last URL. Rows that a list names somewhere between leave when they are fetched the next time. What was
//! removed as a duplicate of a row that leaves stays away, as it does after `capfilt remove`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use capfilt_data::candidate::candidates_array;
use capfilt_data::{CONTENT, Footer, Piece, Reject, columns};
use capfilt_fetch::opt_out::OptOutCheck;
use capfilt_fetch::{FetchError, FetchOptions, Fetched, Outcome};
use capfilt_models::{ModelError, Stop};
use datafusion::error::DataFusionError;

use crate::at_once::{at_once, try_on_processors};
use crate::derive::{PieceFiles, finished};
use crate::error::{PipelineError, PipelineErrorKind, RunError};
use crate::numbers::Numbers;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::record::{COUNTS, OPT_OUTS, RunFile, pairs_of};
use crate::removal::PAGE;
use crate::restore::Stand;
use crate::rewrite::rewrite;
use crate::row::{Rejection, column, reject, replace, text_at, texts};
use crate::stages::fetch::merged_fetch_column;
use crate::stages::{Stage, Verb};

/// What is said of lists where none is named.
pub(crate) const NONE: &str = "none";

/// Rows that are looked at together; no picture is read.
const ROWS: usize = 4_096;

/// What is looked at.
const READ: [&str; 6] = [
    columns::URL,
    "fetch.attempts",
    "fetch.final_url",
    columns::REJECT,
    columns::DETAIL,
    columns::STAGE,
];

/// The stage that fetches, and its place. A later one finds nothing left to fetch.
fn fetch_of(stages: &[Stage]) -> Option<(usize, &Stage, &FetchOptions)> {
    stages
        .iter()
        .enumerate()
        .find_map(|(at, stage)| match &stage.verb {
            Verb::Fetch(options) => Some((at, stage, &**options)),
            _ => None,
        })
}

/// Identifies the lists of opt-outs of `stages` by what stands in them.
pub(crate) fn digest(stages: &[Stage]) -> Result<String, PipelineErrorKind> {
    let Some((_, stage, options)) = fetch_of(stages) else {
        return Ok(NONE.to_owned());
    };
    let digest = options.opt_outs();
    let digest = digest.map_err(|source| unreadable(stage, source))?;
    Ok(digest.unwrap_or_else(|| NONE.to_owned()))
}

fn unreadable(stage: &Stage, source: FetchError) -> PipelineErrorKind {
    PipelineErrorKind::OptOuts {
        stage: stage.name.clone(),
        source,
    }
}

/// The rows that no list names any more, by the name of their piece.
pub(crate) type Released = HashMap<String, Numbers>;

/// Takes out the rows of finished pieces that lists of opt-outs name now, and gives those that they name no
/// more, with the record of the run before, `previous`, as it is then. Blocks; only for whoever holds the
/// folder's lock.
pub(crate) fn hold(
    plan: &Plan,
    mut previous: Option<RunFile>,
    stop: &Stop,
) -> Result<(Released, Option<RunFile>), RunError> {
    let Some((at, stage, options)) = fetch_of(&plan.pipeline.stages) else {
        return Ok((Released::new(), previous));
    };
    let due = due(plan, at, previous.as_ref())?;
    if due.is_empty() {
        return Ok((Released::new(), previous));
    }
    if let Some(run) = &mut previous
        && run.digests.opt_outs.take().is_some()
    {
        // From now on pieces are held against one or the other.
        run.write(&plan.pipeline.output)?;
    }
    let pieces = due.len();
    tracing::info!("{pieces} finished pieces are held against lists of opt-outs");
    let holder = Holder {
        check: OptOutCheck::new(options).map_err(|source| PipelineError {
            path: plan.pipeline.path.clone(),
            kind: unreadable(stage, source),
        })?,
        plan,
        stage: &stage.name,
        before: Stand::of(&plan.pipeline.stages[..at]),
        stop,
    };
    let held = try_on_processors(&due, |(piece, footer)| match holder.hold(footer, piece) {
        Err(RunError::Piece(error)) => {
            let files = PieceFiles::new(&plan.pipeline.output, &piece.file());
            files.delete_damaged(error)?;
            Ok((piece.to_string(), Held::default()))
        }
        held => held.map(|held| (piece.to_string(), held)),
    })?;
    let named: u64 = held.iter().map(|(_, held)| held.named).sum();
    let released = held.into_iter().filter_map(|(piece, held)| {
        let released = held.released;
        released.first().is_some().then_some((piece, released))
    });
    let released: Released = released.collect();
    if named > 0 {
        tracing::info!("{named} rows leave: lists of opt-outs name them now");
    }
    if !released.is_empty() {
        let pieces = released.len();
        tracing::info!("rows of {pieces} finished pieces are fetched: no list names them any more");
    }
    Ok((released, previous))
}

/// How many finished pieces a run would hold against the lists; none where that cannot be found out.
pub(crate) fn waiting(plan: &Plan) -> u64 {
    let Some((at, _, _)) = fetch_of(&plan.pipeline.stages) else {
        return 0;
    };
    let previous = RunFile::read(&plan.pipeline.output).ok().flatten();
    due(plan, at, previous.as_ref()).map_or(0, |due| due.len() as u64)
}

/// Whether `run` says of all pieces that they were held against the lists of `plan`, or there is nothing to
/// say.
pub(crate) fn are(plan: &Plan, run: &RunFile) -> bool {
    match &run.digests.opt_outs {
        Some(held) => *held == plan.opt_outs,
        None => plan.opt_outs == NONE,
    }
}

/// The finished pieces that have still to be held against the lists. Reads nothing of those of which the
/// run before says that they were.
fn due<'a>(
    plan: &'a Plan,
    at: usize,
    previous: Option<&RunFile>,
) -> Result<Vec<(&'a Piece, Footer)>, RunError> {
    let held: HashSet<&str> = previous
        .filter(|run| run.digests.opt_outs.as_ref() == Some(&plan.opt_outs))
        .into_iter()
        .flat_map(|run| &run.inputs)
        .map(|input| input.shard.as_str())
        .collect();
    let pieces = plan.each_piece();
    let pieces: Vec<&Piece> = pieces
        .filter(|(shard, _)| !held.contains(shard.shard.as_str()))
        .map(|(_, piece)| piece)
        .collect();
    let due = at_once(&pieces, |piece| {
        let files = PieceFiles::new(&plan.pipeline.output, &piece.file());
        let footer = finished(&files.scored)?;
        let footer = footer.filter(|footer| is_due(plan, at, piece, footer));
        Ok::<_, RunError>(footer.map(|footer| (*piece, footer)))
    });
    due.into_iter().filter_map(Result::transpose).collect()
}

/// Whether a piece has still to be held against the lists: unless it says that it was. One of version 1
/// can only say that there were none.
fn is_due(plan: &Plan, at: usize, piece: &Piece, scored: &Footer) -> bool {
    let Some(recipe) = Recipe::of(scored) else {
        return false;
    };
    // What is fetched again meets the lists then.
    let change = plan.recipe.change_from(&recipe);
    if change.is_some_and(|change| change.stand <= at) || scored.rows() != piece.rows {
        return false;
    }
    match scored.value(OPT_OUTS) {
        Some(held) => held != plan.opt_outs,
        None => plan.opt_outs != NONE || recipe.version != 1 || recipe.named_opt_outs(),
    }
}

/// What came of a piece.
#[derive(Default)]
struct Held {
    /// Rows that left.
    named: u64,
    /// The numbers of those that no list names any more.
    released: Numbers,
}

/// What the lists say of a row.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    Nothing,
    /// It leaves with this detail, after so many requests.
    Named(String, i32),
    Released,
}

struct Holder<'a> {
    check: OptOutCheck,
    plan: &'a Plan,
    /// Name of the stage that fetches.
    stage: &'a str,
    /// The stages before it.
    before: Stand,
    stop: &'a Stop,
}

impl Holder<'_> {
    /// Holds the piece `scored` against the lists, and writes it again where rows leave.
    fn hold(&self, scored: &Footer, piece: &Piece) -> Result<Held, RunError> {
        let (mut named, mut released) = (BTreeMap::new(), Vec::new());
        let mut place = 0;
        for batch in scored.batches(Some(&READ), ROWS)? {
            self.go_on()?;
            let verdicts = self
                .verdicts(&batch?)
                .map_err(|source| scored.unreadable(source))?;
            for verdict in verdicts {
                match verdict {
                    Verdict::Nothing => {}
                    Verdict::Named(detail, attempts) => {
                        named.insert(place, (detail, attempts));
                    }
                    Verdict::Released => {
                        let number = piece.first + place;
                        released.push(number..number + 1);
                    }
                }
                place += 1;
            }
        }
        let held = Held {
            named: named.len() as u64,
            released: released.into_iter().collect(),
        };
        if held.named > 0 {
            // It shows pictures.
            self.plan.pipeline.output.join(PAGE).remove()?;
            scored.verify()?;
            self.rewrite(scored, &named, held.released.first().is_none())?;
        }
        Ok(held)
    }

    fn verdicts(&self, rows: &RecordBatch) -> Result<Vec<Verdict>, ArrowError> {
        let get = |name| texts(rows, name);
        let (urls, reasons) = (get(columns::URL)?, get(columns::REJECT)?);
        let (details, stages) = (get(columns::DETAIL)?, get(columns::STAGE)?);
        let fetch = column(rows, columns::FETCH)?.as_struct();
        let (attempts, finals) = (fetched_times(fetch), fetched_from(fetch));
        let all = 0..rows.num_rows();
        Ok(all
            .map(|row| {
                // It brought its picture along, or left before, or was taken out.
                let Some(url) = text_at(urls, row).filter(|_| fetch.is_valid(row)) else {
                    return Verdict::Nothing;
                };
                let attempts = attempts.filter(|all| all.is_valid(row));
                let attempts = attempts.map_or(0, |all| all.value(row));
                let is_out = text_at(stages, row) == Some(self.stage)
                    && text_at(reasons, row) == Some(Reject::OptedOut.as_str());
                let detail = text_at(details, row).filter(|_| is_out);
                let final_url = finals.and_then(|all| text_at(all, row));
                verdict(&self.check, (url, final_url), detail, attempts)
            })
            .collect())
    }

    /// Writes `old` again, in which the rows at the places `named` leave. Where others have still to be
    /// fetched, it does not say yet that it was held against the lists.
    fn rewrite(
        &self,
        old: &Footer,
        named: &BTreeMap<u64, (String, i32)>,
        is_all: bool,
    ) -> Result<(), RunError> {
        let failed = |source: DataFusionError| RunError::Plan {
            piece: old.path.to_string(),
            source,
        };
        let stopped = || self.stop.is_stopped();
        let written = rewrite(old, &stopped, |start, batch| {
            let rows = start..start + batch.num_rows() as u64;
            let here: Vec<_> = rows.map(|place| named.get(&place)).collect();
            self.opted_out(batch, &here).map_err(failed)
        })?;
        let (writer, counts) = written.ok_or_else(cancelled)?;
        let own = [CONTENT, COUNTS, OPT_OUTS];
        let pairs = pairs_of(old).filter(|(key, _)| !own.contains(&key.as_str()));
        let mut pairs: Vec<(String, String)> = pairs.collect();
        pairs.push((COUNTS.to_owned(), serde_json::json!(counts).to_string()));
        if is_all {
            pairs.push((OPT_OUTS.to_owned(), self.plan.opt_outs.clone()));
        }
        writer.publish(pairs)?;
        Ok(())
    }

    /// `rows` where those that are `named` left when they were fetched: nothing is left of what was
    /// learnt from then on.
    fn opted_out(
        &self,
        rows: RecordBatch,
        named: &[Option<&(String, i32)>],
    ) -> Result<RecordBatch, DataFusionError> {
        if named.iter().all(Option::is_none) {
            return Ok(rows);
        }
        let none_of = |name: &str| -> Result<ArrayRef, ArrowError> {
            let old = column(&rows, name)?;
            overlaid(
                old,
                &new_null_array(old.data_type(), rows.num_rows()),
                named,
            )
        };
        let mut new = Vec::new();
        for name in [
            columns::IMAGE,
            columns::WIDTH,
            columns::HEIGHT,
            columns::SHA256,
            columns::PERCEPTUAL_HASH,
        ] {
            // Without a search for duplicates there are no hashes.
            if rows.column_by_name(name).is_some() {
                new.push((name, none_of(name)?));
            }
        }
        let source = self.plan.pipeline.file.source.text_source;
        let before: ArrayRef = Arc::new(candidates_array(
            &self.before.restored(&rows, source.into())?,
        )?);
        let candidates = overlaid(column(&rows, columns::CANDIDATES)?, &before, named)?;
        new.push((columns::CANDIDATES, candidates));
        let dropped_by = texts(&rows, columns::TEXT_DROPPED_BY)?;
        let dropped_before: StringArray = (0..rows.num_rows())
            .map(|row| text_at(dropped_by, row).filter(|name| self.before.has(Some(name))))
            .collect();
        let dropped_before: ArrayRef = Arc::new(dropped_before);
        let dropped_by = overlaid(
            column(&rows, columns::TEXT_DROPPED_BY)?,
            &dropped_before,
            named,
        )?;
        new.push((columns::TEXT_DROPPED_BY, dropped_by));
        let fetched: Vec<Option<Fetched>> = named
            .iter()
            .map(|named| named.map(|(_, attempts)| not_fetched(*attempts)))
            .collect();
        let fetched: Vec<Option<&Fetched>> = fetched.iter().map(Option::as_ref).collect();
        let fetch = merged_fetch_column(column(&rows, columns::FETCH)?, &fetched)?;
        new.push((columns::FETCH, fetch));
        let rejections: Vec<Option<Rejection>> = named
            .iter()
            .map(|named| named.map(|(detail, _)| Rejection::new(Reject::OptedOut, detail.clone())))
            .collect();
        Ok(reject(&replace(&rows, new)?, self.stage, &rejections)?)
    }

    fn go_on(&self) -> Result<(), RunError> {
        if self.stop.is_stopped() {
            return Err(cancelled());
        }
        Ok(())
    }
}

/// What the lists say of the row of a URL that redirects led to another. One that is out left with `detail`;
/// after requests, that was for a host that redirects led to.
fn verdict(
    check: &OptOutCheck,
    (url, final_url): (&str, Option<&str>),
    detail: Option<&str>,
    attempts: i32,
) -> Verdict {
    match (check.of_url(url), detail) {
        (Some(now), Some(detail)) if now == detail && attempts == 0 => Verdict::Nothing,
        (Some(now), _) => Verdict::Named(now, 0),
        (None, Some(detail)) if attempts > 0 && check.still_names(detail) => Verdict::Nothing,
        (None, Some(_)) => Verdict::Released,
        (None, None) => match final_url.and_then(|url| check.of_redirect(url)) {
            Some(now) => Verdict::Named(now, attempts),
            None => Verdict::Nothing,
        },
    }
}

fn cancelled() -> RunError {
    RunError::Model(ModelError::Cancelled)
}

fn fetched_times(fetch: &StructArray) -> Option<&Int32Array> {
    fetch
        .column_by_name("attempts")?
        .as_primitive_opt::<Int32Type>()
}

fn fetched_from(fetch: &StructArray) -> Option<&StringArray> {
    fetch.column_by_name("final_url")?.as_string_opt::<i32>()
}

/// What is known of a fetch that a list forbids, after so many requests.
fn not_fetched(attempts: i32) -> Fetched {
    Fetched {
        outcome: Outcome::OptedOut,
        status: None,
        bytes: 0,
        attempts: attempts.unsigned_abs(),
        final_url: None,
        ms: 0,
        body: None,
        detail: None,
    }
}

/// The values of `new` in the rows that are `named`, and those of `old` in the others.
fn overlaid(
    old: &ArrayRef,
    new: &ArrayRef,
    named: &[Option<&(String, i32)>],
) -> Result<ArrayRef, ArrowError> {
    let picks: Vec<(usize, usize)> = named
        .iter()
        .enumerate()
        .map(|(row, named)| (usize::from(named.is_some()), row))
        .collect();
    arrow::compute::interleave(&[old.as_ref(), new.as_ref()], &picks)
}

#[cfg(test)]
mod tests;
