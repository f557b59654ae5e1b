//! Taking rows out of finished pieces.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use capfilt_data::{CONTENT, Footer, FooterError, Location, Reject, columns, remove_leftovers};
use capfilt_models::{ModelError, Stop};

use super::Removals;
use super::list::RequestList;
use super::request::{Form, Request};
use super::rows::taken_out;
use crate::at_once::try_on_processors;
use crate::counts::ScoredCounts;
use crate::decide::{Decision, pipeline};
use crate::derive::{PieceFiles, derive};
use crate::error::RunError;
use crate::file::Dataset;
use crate::keep::Rule;
use crate::lock::OutputLock;
use crate::manifest;
use crate::record::{self, COUNTS, Counts, RunFile, counts_of, pairs_of};
use crate::rewrite::rewrite;
use crate::row::{BATCH_ROWS, text_at, texts};
use crate::strangers::DatasetCounts;

/// Rows that are looked at together where no picture is read.
const ROWS: usize = 4_096;

/// What is looked at first. The path of a picture lies beside its bytes, and tells whether there is a
/// picture.
const READ: [&str; 7] = [
    columns::ID,
    columns::URL,
    "fetch.final_url",
    "image.path",
    columns::REJECT,
    columns::DETAIL,
    columns::SHA256,
];

/// The page of an output folder, which shows pictures.
pub(crate) const PAGE: &str = "report.html";

/// What was taken out.
#[derive(Clone, Debug, Default)]
pub struct RemovalReport {
    /// Requests that the folder keeps to now.
    pub requests: usize,
    /// Those of them that came new.
    pub new_requests: usize,
    /// Rows that match, and were taken out, or would be.
    pub rows: u64,
    /// Rows that had been taken out before.
    pub rows_before: u64,
    /// Pieces that there are.
    pub pieces: u64,
    /// Pieces that have such rows.
    pub rewritten: u64,
    /// The requests that a row matches, or matched when it was taken out.
    pub matched: HashSet<Request>,
    /// Whether a page was there that may have shown such rows; it is gone.
    pub page_deleted: bool,
}

/// Takes the rows that `list` asks for out of `output`, and those of earlier requests that a killed
/// program left. With `dry_run` it only counts. Blocks; no model and no fetch.
pub fn remove(
    output: &Location,
    list: &RequestList,
    dry_run: bool,
    stop: &Stop,
) -> Result<RemovalReport, RunError> {
    let nothing = || RunError::NothingScored {
        output: output.clone(),
    };
    if !output.is_folder()? {
        return Err(nothing());
    }
    let lock = OutputLock::take(output)?;
    let run = RunFile::read(output)?.ok_or_else(nothing)?;
    let mut removals = Removals::read(output)?;
    let new_requests = removals.add(list.requests());
    let mut folder = Folder {
        output,
        run: Some(run),
        stop,
    };
    let mut report = if dry_run {
        folder.find(&removals)?.report()
    } else {
        remove_leftovers(output)?;
        if new_requests > 0 {
            removals.applied = false;
            removals.write(output)?;
        }
        let (report, damaged) = folder.apply(&removals)?;
        if let Some((_, error)) = damaged.into_iter().next() {
            return Err(RunError::Piece(error));
        }
        folder.applied(&mut removals)?;
        report
    };
    report.requests = removals.len();
    report.new_requests = new_requests;
    drop(lock);
    Ok(report)
}

/// The requests that a run into `output` keeps to, after what a killed `remove` left is done, and the
/// record of the run before, `run`, as it is then. Only for whoever holds the folder's lock.
pub(crate) fn finish(
    output: &Location,
    run: Option<RunFile>,
    stop: &Stop,
) -> Result<(Removals, Option<RunFile>), RunError> {
    let mut removals = Removals::read(output)?;
    if removals.applied {
        return Ok((removals, run));
    }
    let mut folder = Folder { output, run, stop };
    let (report, damaged) = folder.apply(&removals)?;
    tracing::info!(
        "{} rows are taken out of {} finished pieces, as was asked for before",
        report.rows,
        report.rewritten
    );
    for (file, error) in damaged {
        PieceFiles::new(output, &file).delete_damaged(error)?;
    }
    folder.applied(&mut removals)?;
    Ok((removals, folder.run))
}

/// Pieces that cannot be read, and why.
type Damaged = Vec<(PathBuf, FooterError)>;

/// An output folder with its record of the last run, if there is one.
struct Folder<'a> {
    output: &'a Location,
    run: Option<RunFile>,
    stop: &'a Stop,
}

/// The rows of one piece that match.
#[derive(Default)]
struct Found {
    /// The request of each such row, by its place in the file.
    rows: BTreeMap<u64, Request>,
    /// All requests that a row matches, or matched when it was taken out.
    matched: HashSet<Request>,
    /// Rows that were taken out before.
    before: u64,
}

/// What was found in all pieces.
#[derive(Default)]
struct Findings {
    pieces: Vec<(PathBuf, Found)>,
    damaged: Damaged,
}

impl Findings {
    fn report(&self) -> RemovalReport {
        let mut report = RemovalReport::default();
        for (_, found) in &self.pieces {
            report.pieces += 1;
            report.rows += found.rows.len() as u64;
            report.rows_before += found.before;
            report.rewritten += u64::from(!found.rows.is_empty());
            report.matched.extend(&found.matched);
        }
        report
    }
}

impl Folder<'_> {
    /// Looks for rows that match, in every file of `scored`: also those that are no pieces of the input
    /// any more hold pictures.
    fn find(&self, removals: &Removals) -> Result<Findings, RunError> {
        let scored = self.output.join("scored");
        let files = scored.parquet_files()?;
        let found = try_on_processors(&files, |file| {
            self.go_on()?;
            Ok::<_, RunError>((file.to_owned(), find(&scored.join(file), removals)))
        })?;
        let mut findings = Findings::default();
        for (file, found) in found {
            match found {
                Ok(found) => findings.pieces.push((file, found)),
                Err(error) => findings.damaged.push((file, error)),
            }
        }
        Ok(findings)
    }

    /// Takes the rows that match out of all pieces that can be read.
    fn apply(&self, removals: &Removals) -> Result<(RemovalReport, Damaged), RunError> {
        let findings = self.find(removals)?;
        let mut report = findings.report();
        let page = self.output.join(PAGE);
        if report.rows > 0 && page.is_file()? {
            page.remove()?;
            report.page_deleted = true;
        }
        let Findings { pieces, damaged } = findings;
        let mut damaged = damaged;
        let rule = self.rule()?;
        let current: HashSet<PathBuf> = match &self.run {
            Some(run) => run.pieces_of(self.output)?.into_iter().collect(),
            None => HashSet::new(),
        };
        let files: Vec<PathBuf> = pieces.iter().map(|(file, _)| file.clone()).collect();
        let found: BTreeMap<PathBuf, Found> = pieces.into_iter().collect();
        let done = try_on_processors(&files, |file| {
            self.go_on()?;
            let rule = rule.as_ref().filter(|_| current.contains(file));
            match self.of_piece(file, &found[file], rule) {
                Err(RunError::Piece(error)) => Ok(Some((file.to_owned(), error))),
                done => done.map(|()| None),
            }
        })?;
        damaged.extend(done.into_iter().flatten());
        Ok((report, damaged))
    }

    /// Writes a piece without the rows that were found, and what follows from it, where that does not
    /// follow from it yet.
    fn of_piece(&self, file: &Path, found: &Found, rule: Option<&Rule>) -> Result<(), RunError> {
        let files = PieceFiles::new(self.output, file);
        let mut scored = Footer::read(&files.scored)?;
        if !found.rows.is_empty() {
            scored.verify()?;
            self.rewrite(&scored, &found.rows)?;
            scored = Footer::read(&files.scored)?;
        }
        let dataset = self.dataset();
        if files.follow(&scored, dataset) {
            return Ok(());
        }
        if let Some(rule) = rule.filter(|_| self.is_decided(&scored)) {
            scored.verify()?;
            let derived = derive(&files, &scored, (rule, dataset), &|| self.stop.is_stopped())?;
            derived.ok_or_else(stopped)?;
        } else {
            // A run that was stopped brought the piece to some stage; the next one goes on from there.
            files.dataset.remove()?;
            files.rejected.remove()?;
        }
        Ok(())
    }

    /// Whether a piece is past all stages, so that what follows from it can be made without a run; so it
    /// is if its shard is gone, since no run comes to it.
    fn is_decided(&self, scored: &Footer) -> bool {
        self.run
            .as_ref()
            .is_some_and(|run| run.made(scored) || !run.has_shard_of(scored))
    }

    /// Writes `old` again with the rows `requests` taken out. Holds a batch of rows.
    fn rewrite(&self, old: &Footer, requests: &BTreeMap<u64, Request>) -> Result<(), RunError> {
        let stopped_now = || self.stop.is_stopped();
        let written = rewrite(old, &stopped_now, |start, batch| {
            let here: Vec<Option<Request>> = (start..start + batch.num_rows() as u64)
                .map(|row| requests.get(&row).copied())
                .collect();
            let batch = taken_out(&batch, &here);
            Ok(batch.map_err(|source| old.unreadable(source))?)
        })?;
        let (writer, counts) = written.ok_or_else(stopped)?;
        let mut pairs: Vec<(String, String)> = pairs_of(old)
            .filter(|(key, _)| ![CONTENT, COUNTS].contains(&key.as_str()))
            .collect();
        pairs.push((COUNTS.to_owned(), serde_json::json!(counts).to_string()));
        writer.publish(pairs)?;
        Ok(())
    }

    /// The rule of the last decision.
    fn rule(&self) -> Result<Option<Rule>, RunError> {
        let run = self.run.as_ref();
        let decided = run.map(|run| pipeline(self.output, run, &Decision::default()));
        Ok(decided.transpose()?.map(|pipeline| pipeline.keep))
    }

    /// When the dataset is written.
    fn dataset(&self) -> Dataset {
        let run = self.run.as_ref();
        run.map_or(Dataset::Now, |run| run.pipeline.store.dataset)
    }

    /// Takes down in both records that all is done: what is counted, and that nothing is left to do.
    fn applied(&mut self, removals: &mut Removals) -> Result<(), RunError> {
        if let (Some(run), Some(rule)) = (&self.run, self.rule()?) {
            let mut now = run.clone();
            now.counts = self.counts(run, &rule)?;
            if now != *run {
                // Whoever waits for new output shall learn of rows that are gone, too.
                manifest::keep(&now, self.output, record::now())?;
                now.write(self.output)?;
                self.run = Some(now);
            }
        }
        if !removals.applied {
            removals.applied = true;
            removals.write(self.output)?;
        }
        Ok(())
    }

    /// What there is to count in the pieces of the last run.
    fn counts(&self, run: &RunFile, rule: &Rule) -> Result<Counts, RunError> {
        let mut counts = Counts {
            pieces: 0,
            scored: ScoredCounts::default(),
            decided: crate::counts::DecidedCounts::default(),
            ..run.counts.clone()
        };
        for file in run.pieces_of(self.output)? {
            let files = PieceFiles::new(self.output, &file);
            let scored = Footer::read(&files.scored)?;
            let decided = files.derived(&scored, &rule.digest(), self.dataset());
            if let (true, Some(decided)) = (run.has_shard_of(&scored), decided) {
                counts.pieces += 1;
                counts.scored.add(&counts_of(&scored).unwrap_or_default());
                counts.decided.add(&decided);
            }
        }
        // A record of before such counts does not change for their sake.
        if counts.dataset.is_some() {
            counts.dataset = Some(DatasetCounts::of(self.output, run)?);
        }
        Ok(counts)
    }

    fn go_on(&self) -> Result<(), RunError> {
        if self.stop.is_stopped() {
            return Err(stopped());
        }
        Ok(())
    }
}

fn stopped() -> RunError {
    RunError::Model(ModelError::Cancelled)
}

/// The rows of the `scored` file at `path` that match. Reads pictures only where one has no digest
/// and a request needs it.
fn find(path: &Location, removals: &Removals) -> Result<Found, FooterError> {
    let footer = Footer::read(path)?;
    let mut found = Found::default();
    let mut start = 0;
    let mut digests_lack = false;
    for batch in footer.batches(Some(&READ), ROWS)? {
        let batch = batch?;
        found
            .before(&batch)
            .map_err(|source| footer.unreadable(source))?;
        found.matches(start, removals, &batch);
        digests_lack |= lacks_digest(&batch);
        start += batch.num_rows() as u64;
    }
    if digests_lack && removals.has(Form::Picture) {
        let read = [columns::IMAGE, columns::REJECT, columns::SHA256];
        start = 0;
        for batch in footer.batches(Some(&read), BATCH_ROWS)? {
            let batch = batch?;
            found.matches(start, removals, &batch);
            start += batch.num_rows() as u64;
        }
    }
    Ok(found)
}

/// Whether some picture has no digest.
fn lacks_digest(rows: &RecordBatch) -> bool {
    let Some(pictures) = rows.column_by_name(columns::IMAGE) else {
        return false;
    };
    let digests = rows.column_by_name(columns::SHA256);
    (0..rows.num_rows())
        .any(|row| pictures.is_valid(row) && digests.is_none_or(|digests| digests.is_null(row)))
}

impl Found {
    /// Takes in the rows of `batch`, the first of which has the place `start`.
    fn matches(&mut self, start: u64, removals: &Removals, batch: &RecordBatch) {
        for (row, requests) in (start..).zip(removals.matches(batch)) {
            if let Some(first) = requests.first() {
                self.rows.entry(row).or_insert(*first);
            }
            self.matched.extend(requests);
        }
    }

    /// Takes in the rows that were taken out before.
    fn before(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let (reasons, details) = (
            texts(batch, columns::REJECT)?,
            texts(batch, columns::DETAIL)?,
        );
        for row in 0..batch.num_rows() {
            if text_at(reasons, row) == Some(Reject::Removed.as_str()) {
                self.before += 1;
                let detail = text_at(details, row);
                let request: Option<Request> = detail.and_then(|detail| detail.parse().ok());
                self.matched.extend(request);
            }
        }
        Ok(())
    }
}
