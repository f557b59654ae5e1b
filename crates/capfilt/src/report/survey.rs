//! The first pass: everything the page says, apart from the pictures.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use capfilt_data::candidate::read_candidates;
use capfilt_data::read::text_column;
use capfilt_data::{Batches, Candidate, Footer, Kind, Location, Source, columns};

use super::ReportError;
use super::chosen::{Chosen, Judged, Row};
use super::facts::Facts;
use super::histogram::Histogram;

/// Rows held at once; their texts may be long.
const ROWS: usize = 256;

/// What separates kept from removed for the pictures' order where the pipeline names nothing.
const MIDDLE: f32 = 0.5;

/// What was removed: by which stage, why, and whether it was a row or a text of some source.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Removal {
    pub(crate) stage: Option<String>,
    pub(crate) reason: String,
    pub(crate) source: Option<String>,
    pub(crate) transient: bool,
}

/// What became of the texts of one source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) kept: u64,
    pub(crate) removed: u64,
}

/// What became of the pictures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Fates {
    /// The web text and a synthetic caption stayed.
    pub(crate) both: u64,
    /// Only the web text (or one written by people) stayed.
    pub(crate) web: u64,
    /// There was a web text, and only a synthetic caption stayed.
    pub(crate) replaced: u64,
    /// There was no web text, and a synthetic caption stayed.
    pub(crate) captioned: u64,
    /// Nothing stayed.
    pub(crate) none: u64,
}

impl Fates {
    /// Pictures in the dataset.
    pub(crate) const fn kept(&self) -> u64 {
        self.both + self.web + self.replaced + self.captioned
    }

    /// Pictures that could be looked at.
    pub(crate) const fn all(&self) -> u64 {
        self.kept() + self.none
    }
}

/// Everything that was counted.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) pieces: u64,
    pub(crate) rows: u64,
    pub(crate) fates: Fates,
    pub(crate) captions: BTreeMap<Source, Tally>,
    pub(crate) removals: BTreeMap<Removal, u64>,
    pub(crate) scores: BTreeMap<(String, Kind), BTreeMap<Source, Histogram>>,
    pub(crate) chosen: Chosen,
    /// What could not be read, for people.
    pub(crate) problems: Vec<String>,
}

/// Problems beyond this are only counted.
const MOST_PROBLEMS: usize = 20;

/// Reads every piece of an output folder. A piece that cannot be read is a problem to be shown and
/// does not stop the others, unless it is the only one.
pub(crate) fn take(output: &Location, facts: &Facts) -> Result<Survey, ReportError> {
    let scored = output.join("scored");
    let files = scored.parquet_files().map_err(ReportError::Read)?;
    if files.is_empty() {
        return Err(ReportError::NoOutput(output.clone()));
    }
    let mut survey = Survey {
        pieces: 0,
        rows: 0,
        fates: Fates::default(),
        captions: BTreeMap::new(),
        removals: BTreeMap::new(),
        scores: BTreeMap::new(),
        chosen: Chosen::new(facts.threshold.unwrap_or(MIDDLE)),
        problems: Vec::new(),
    };
    let mut failed = 0_usize;
    for piece in &files {
        if let Err(error) = survey.piece(output, piece, facts) {
            if files.len() == 1 {
                return Err(error);
            }
            failed += 1;
            if failed <= MOST_PROBLEMS {
                survey
                    .problems
                    .push(format!("{}: {error}", piece.display()));
            }
        }
    }
    if failed > MOST_PROBLEMS {
        survey.problems.push(format!(
            "{} more pieces cannot be read",
            failed - MOST_PROBLEMS
        ));
    }
    Ok(survey)
}

impl Survey {
    fn piece(&mut self, output: &Location, piece: &Path, facts: &Facts) -> Result<(), ReportError> {
        let path = Arc::new(output.join("scored").join(piece));
        let mut kept = if facts.has_no_dataset {
            Kept::All
        } else {
            Kept::Some(Dataset::open(&output.join("dataset").join(piece))?)
        };
        let columns = [
            columns::ID,
            columns::URL,
            columns::WIDTH,
            columns::HEIGHT,
            columns::CANDIDATES,
            columns::REJECT,
            columns::TEXT,
            columns::TEXT_DROPPED_BY,
        ];
        let footer = Footer::read(&*path)?;
        let mut at = 0;
        for batch in footer.batches(Some(&columns), ROWS)? {
            let batch = Columns {
                path: &path,
                batch: batch?,
            };
            self.batch(&batch, at, &path, &mut kept)?;
            at += batch.batch.num_rows() as u64;
        }
        self.rows += at;
        self.pieces += 1;
        self.rejected(&output.join("rejected").join(piece))
    }

    fn batch(
        &mut self,
        batch: &Columns<'_>,
        first: u64,
        path: &Arc<Location>,
        kept: &mut Kept,
    ) -> Result<(), ReportError> {
        let ids = batch.texts(columns::ID)?;
        let urls = batch.texts(columns::URL)?;
        let texts = batch.texts(columns::TEXT)?;
        let dropped_by = batch.texts(columns::TEXT_DROPPED_BY)?;
        let widths = batch.array(columns::WIDTH)?;
        let heights = batch.array(columns::HEIGHT)?;
        let rejects = batch.array(columns::REJECT)?;
        let candidates = read_candidates(batch.array(columns::CANDIDATES)?)
            .map_err(|error| batch.unusable(columns::CANDIDATES, Some(error)))?;
        let value = |texts: &StringArray, row: usize| {
            texts.is_valid(row).then(|| texts.value(row).to_owned())
        };
        for (row, candidates) in candidates.into_iter().enumerate() {
            if rejects.is_valid(row) {
                continue;
            }
            let stayed = kept.of(ids.value(row), &candidates)?;
            let mut judged = self.judge(&candidates, &stayed);
            let text_dropped_by = value(&dropped_by, row);
            let web = |judged: &Judged| judged.source == Source::Web;
            if text_dropped_by.is_some() && !judged.iter().any(web) {
                // It was never judged, but people want to see what went.
                let text = Judged::cut(texts.value(row));
                judged.insert(
                    0,
                    Judged {
                        text,
                        source: Source::Web,
                        score: None,
                        kept: false,
                    },
                );
                self.captions.entry(Source::Web).or_default().removed += 1;
            }
            self.count(&judged);
            self.chosen.offer(Row {
                place: (Arc::clone(path), first + row as u64),
                id: ids.value(row).to_owned(),
                url: value(&urls, row),
                size: integer(widths, row).zip(integer(heights, row)),
                text_dropped_by,
                judged,
            });
        }
        Ok(())
    }

    fn judge(&mut self, candidates: &[Candidate], stayed: &[(String, Source)]) -> Vec<Judged> {
        let judge = |candidate: &Candidate| {
            let kept = stayed
                .iter()
                .any(|(text, source)| *text == candidate.text && *source == candidate.source);
            let tally = self.captions.entry(candidate.source).or_default();
            if kept {
                tally.kept += 1;
            } else {
                tally.removed += 1;
            }
            for score in &candidate.scores {
                let histograms = self
                    .scores
                    .entry((score.by.clone(), score.kind))
                    .or_default();
                histograms
                    .entry(candidate.source)
                    .or_default()
                    .add(score.kind, score.value);
            }
            Judged {
                text: Judged::cut(&candidate.text),
                source: candidate.source,
                score: candidate.score(),
                kept,
            }
        };
        candidates.iter().map(judge).collect()
    }

    fn count(&mut self, judged: &[Judged]) {
        let kept = |synthetic: bool| {
            judged
                .iter()
                .any(|one| one.kept && (one.source == Source::Synthetic) == synthetic)
        };
        let had_web = judged.iter().any(|one| one.source != Source::Synthetic);
        let fate = match (kept(false), kept(true)) {
            (true, true) => &mut self.fates.both,
            (true, false) => &mut self.fates.web,
            (false, true) if had_web => &mut self.fates.replaced,
            (false, true) => &mut self.fates.captioned,
            (false, false) => &mut self.fates.none,
        };
        *fate += 1;
    }

    fn rejected(&mut self, path: &Location) -> Result<(), ReportError> {
        let footer = Footer::read(path)?;
        let names = ["stage", "reason", "source", "transient"];
        for batch in footer.batches(Some(&names), ROWS * 16)? {
            let batch = Columns {
                path,
                batch: batch?,
            };
            let stages = batch.texts("stage")?;
            let reasons = batch.texts("reason")?;
            let sources = batch.texts("source")?;
            let transients = batch.array("transient")?;
            let transients = transients
                .as_any()
                .downcast_ref::<BooleanArray>()
                .ok_or_else(|| batch.unusable("transient", None))?;
            let value = |texts: &StringArray, row: usize| {
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            for row in 0..batch.batch.num_rows() {
                let removal = Removal {
                    stage: value(&stages, row),
                    reason: reasons.value(row).to_owned(),
                    source: value(&sources, row),
                    transient: transients.value(row),
                };
                *self.removals.entry(removal).or_default() += 1;
            }
        }
        Ok(())
    }
}

fn integer(array: &ArrayRef, row: usize) -> Option<i32> {
    let integers = array.as_primitive_opt::<Int32Type>()?;
    integers.is_valid(row).then(|| integers.value(row))
}

/// A batch, and the file that it is from.
struct Columns<'a> {
    path: &'a Location,
    batch: RecordBatch,
}

impl Columns<'_> {
    fn array(&self, name: &'static str) -> Result<&ArrayRef, ReportError> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| self.unusable(name, None))
    }

    fn texts(&self, name: &'static str) -> Result<StringArray, ReportError> {
        text_column(self.array(name)?).map_err(|error| self.unusable(name, Some(error)))
    }

    fn unusable(
        &self,
        column: &'static str,
        source: Option<capfilt_data::ColumnError>,
    ) -> ReportError {
        ReportError::Column {
            path: self.path.clone(),
            column,
            source,
        }
    }
}

/// Which captions of a `scored` file are kept.
enum Kept {
    /// All: nothing was decided.
    All,
    /// Those of the dataset.
    Some(Dataset),
}

impl Kept {
    /// The captions that were kept of the next row of the `scored` file.
    fn of(
        &mut self,
        id: &str,
        candidates: &[Candidate],
    ) -> Result<Vec<(String, Source)>, ReportError> {
        match self {
            Self::All => {
                let all = candidates.iter();
                Ok(all.map(|one| (one.text.clone(), one.source)).collect())
            }
            Self::Some(dataset) => dataset.of(id, candidates),
        }
    }
}

/// The rows of a `dataset` file, which are some of the rows of the `scored` file, in its order.
struct Dataset {
    path: Location,
    batches: Batches,
    rows: VecDeque<(String, Vec<(String, Source)>)>,
}

impl Dataset {
    fn open(path: &Location) -> Result<Self, ReportError> {
        let columns = [columns::ID, columns::CAPTIONS];
        let batches = Footer::read(path)?.batches(Some(&columns), ROWS)?;
        Ok(Self {
            path: path.clone(),
            batches,
            rows: VecDeque::new(),
        })
    }

    /// The captions of the next row of the `scored` file. Ids may repeat, so the captions must be the
    /// row's too.
    fn of(
        &mut self,
        id: &str,
        candidates: &[Candidate],
    ) -> Result<Vec<(String, Source)>, ReportError> {
        while self.rows.is_empty() {
            match self.batches.next() {
                Some(batch) => self.read(batch?)?,
                None => return Ok(Vec::new()),
            }
        }
        let is_of_row = |(kept_id, captions): &(String, Vec<(String, Source)>)| {
            kept_id == id
                && captions.iter().all(|(text, source)| {
                    candidates
                        .iter()
                        .any(|one| one.text == *text && one.source == *source)
                })
        };
        if self.rows.front().is_some_and(is_of_row) {
            Ok(self
                .rows
                .pop_front()
                .map(|(_, captions)| captions)
                .unwrap_or_default())
        } else {
            Ok(Vec::new())
        }
    }

    fn read(&mut self, batch: RecordBatch) -> Result<(), ReportError> {
        let batch = Columns {
            path: &self.path,
            batch,
        };
        let ids = batch.texts(columns::ID)?;
        let captions = batch.array(columns::CAPTIONS)?;
        let unusable = || batch.unusable(columns::CAPTIONS, None);
        let lists = captions.as_list_opt::<i32>().ok_or_else(unusable)?;
        let structs = lists.values().as_struct_opt().ok_or_else(unusable)?;
        let column = |name| {
            let array = structs.column_by_name(name).ok_or_else(unusable)?;
            text_column(array).map_err(|error| batch.unusable(columns::CAPTIONS, Some(error)))
        };
        let (texts, sources) = (column("text")?, column("source")?);
        let mut read = Vec::with_capacity(ids.len());
        for row in 0..ids.len() {
            let bound = |at: usize| usize::try_from(lists.value_offsets()[at]).unwrap_or(0);
            let captions = (bound(row)..bound(row + 1)).map(|at| {
                let source = match sources.value(at) {
                    "web" => Source::Web,
                    "human" => Source::Human,
                    _ => Source::Synthetic,
                };
                (texts.value(at).to_owned(), source)
            });
            read.push((ids.value(row).to_owned(), captions.collect()));
        }
        self.rows.extend(read);
        Ok(())
    }
}
