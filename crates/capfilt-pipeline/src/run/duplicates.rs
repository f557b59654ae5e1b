//! Up to the search for duplicates, and from there on.
//!
//! A `dedup` stage needs all rows before any goes on, so that duplicates cost no captions:
//!
//! ```text
//! pieces ──stages before dedup──▶ scored (with hashes) ──┐
//! evaluation sets ──decode──▶ hashes ────────────────────┼──search──▶ rows that go
//! what earlier runs kept: scored (with hashes) ──────────┘               │
//! pieces ◀──────────── dedup and the stages after it ◀───────────────────┘
//! ```
//!
//! What was found is on disk until the run ends: one that goes on after it was killed must not search
//! among other rows.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use capfilt_data::{CONTENT, Footer, Location, PieceWriter, Reject};
use serde::{Deserialize, Serialize};

use super::Run;
use crate::at_once::at_once;
use crate::derive::{self, PieceFiles};
use crate::duplicates::{
    Found, HashFile, LARGEST_BUCKET, Likeness, Place, Search, Set, Sets, find,
};
use crate::error::RunError;
use crate::piece::{Task, Todo};
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::record::{FIRST, SHARD, counts_of};
use crate::resume::{Standing, standings};
use crate::retry::Retry;
use crate::row::{Rejection, column, texts};
use crate::run::in_background;
use crate::stages::dedup::Duplicates;

/// Bytes that the search may hold in sorts and joins before it spills.
const MEMORY: usize = 1 << 30;

/// Rows of what was found that are read at once.
const ROWS: usize = 8_192;

/// Key of what was searched, as JSON.
const SEARCHED: &str = "capfilt.searched";

/// What was found, below the output.
const FOUND: &str = ".duplicates.parquet";

/// Folder below an output on disk for what the search spills.
const SPILL: &str = ".search";

/// What was searched.
#[derive(Debug, Deserialize, Serialize)]
struct Searched {
    /// Key of the stage, with its options and what is in the evaluation sets.
    by: String,
    /// The pieces, by name, and the digests of their content.
    pieces: BTreeMap<String, String>,
}

impl Searched {
    fn new(plan: &Plan, at: usize, candidates: &[Candidate]) -> Self {
        let pieces = candidates.iter().map(|one| {
            let content = one.footer.value(CONTENT).unwrap_or_default();
            (one.todo.piece.to_string(), content.to_owned())
        });
        Self {
            by: plan.recipe.stages[at].key.clone(),
            pieces: pieces.collect(),
        }
    }

    /// Whether what was found there says all about `wanted`, too.
    fn covers(&self, wanted: &Self) -> bool {
        let mut pieces = wanted.pieces.iter();
        self.by == wanted.by
            && pieces.all(|(piece, content)| self.pieces.get(piece) == Some(content))
    }
}

/// What goes of each piece, by its name.
type ByPiece = HashMap<String, Arc<Duplicates>>;

/// A piece that is searched for duplicates.
struct Candidate {
    todo: Todo,
    footer: Footer,
}

impl Run {
    /// Takes the pieces that are not past `dedup` up to it, and finds what goes there.
    pub(super) async fn find_duplicates(&mut self) -> Result<(), RunError> {
        let plan = Arc::clone(&self.pieces.plan);
        let Some((at, _)) = plan.dedup() else {
            return Ok(());
        };
        let candidates = self.up_to(at).await?;
        if candidates.is_empty() || self.pieces.stop.is_stopped() {
            return Ok(());
        }
        self.hash_evaluation_sets().await?;
        if self.pieces.stop.is_stopped() {
            return Ok(());
        }
        let output = plan.pipeline.output.clone();
        let path = output.join(FOUND);
        let searched = Searched::new(&plan, at, &candidates);
        let found = if let Some(found) = read(&path, &searched, &output)? {
            found
        } else {
            let strangers = self.strangers.iter().map(|one| one.scored(&output));
            let found = search(&plan, &candidates, &strangers.collect()).await?;
            write(&path, &searched, &found)?;
            found
        };
        self.pieces.duplicates = Arc::new(found);
        Ok(())
    }

    /// Forgets what was found: all pieces are past it.
    pub(super) fn forget_duplicates(&self) -> io::Result<()> {
        self.pieces.plan.pipeline.output.join(FOUND).remove()
    }

    /// Takes pieces up to the stage `at`. Leaves what is to be done afterwards, and gives those that
    /// are there.
    async fn up_to(&mut self, at: usize) -> Result<Vec<Candidate>, RunError> {
        let full = Arc::clone(&self.pieces.plan);
        let (mut before, mut after) = (VecDeque::new(), VecDeque::new());
        for todo in std::mem::take(&mut self.todo) {
            let task = match todo.task {
                Task::Score => Some(Task::Score),
                Task::Reuse { stand, .. } if stand < at => Some(todo.task),
                Task::Reuse { stand, .. } if stand == at => waiting(&full, &todo, at),
                Task::Retry => Some(Task::Reuse {
                    stand: at,
                    retry: true,
                }),
                Task::Reuse { .. } | Task::Decide => {
                    after.push_back((false, todo));
                    continue;
                }
            };
            before.extend(task.map(|task| Todo {
                task,
                ..todo.clone()
            }));
            let task = Task::Reuse {
                stand: at,
                retry: false,
            };
            after.push_back((true, Todo { task, ..todo }));
        }
        let ended = self.by_the_way(Arc::new(full.before(at)), before).await;
        self.todo = after.iter().map(|(_, todo)| todo.clone()).collect();
        ended?;
        if self.pieces.stop.is_stopped() {
            return Ok(Vec::new());
        }
        let failed: HashSet<String> = self
            .record
            .failed
            .iter()
            .filter_map(|failed| failed.piece.clone())
            .collect();
        self.todo
            .retain(|todo| !failed.contains(&todo.piece.to_string()));
        let candidates = after
            .into_iter()
            .filter(|(is_new, todo)| *is_new && !failed.contains(&todo.piece.to_string()));
        candidates
            .map(|(_, todo)| {
                let files = PieceFiles::new(&full.pipeline.output, &todo.piece.file());
                let footer = Footer::read(&files.scored)?;
                Ok(Candidate { todo, footer })
            })
            .collect()
    }

    /// Does `todo` by `plan`, without any decision.
    async fn by_the_way(&mut self, plan: Arc<Plan>, todo: VecDeque<Todo>) -> Result<(), RunError> {
        let full = std::mem::replace(&mut self.pieces.plan, plan);
        let later = std::mem::replace(&mut self.todo, todo);
        self.pieces.derives = false;
        self.pieces.tally.halfway(true);
        let rows: u64 = self.todo.iter().map(|todo| todo.piece.rows).sum();
        self.pieces
            .tally
            .update(|progress| progress.rows_total += rows);
        let ended = self.all_pieces().await;
        self.pieces.tally.halfway(false);
        self.pieces.derives = true;
        self.pieces.plan = full;
        self.todo = later;
        ended
    }

    /// Makes hashes of the evaluation sets that have none, or changed.
    async fn hash_evaluation_sets(&mut self) -> Result<(), RunError> {
        let Some(sets) = self.pieces.plan.evaluation.clone() else {
            return Ok(());
        };
        let shards = sets.shards.iter().enumerate();
        let pieces =
            shards.flat_map(|(index, shard)| shard.pieces.iter().map(move |piece| (index, piece)));
        let mut todo = VecDeque::new();
        for ((shard, piece), standing) in pieces.zip(standings(&sets)) {
            let is_there = match standing? {
                Standing::Scored { input_changed, .. } => !input_changed,
                Standing::Missing | Standing::Again(_) | Standing::Reuse(_) => false,
            };
            if !is_there {
                todo.push_back(Todo {
                    shard,
                    piece: piece.clone(),
                    task: Task::Score,
                });
            }
        }
        let failed = self.record.failed.len();
        // Sets are nobody's rows of this folder.
        let removals = std::mem::take(&mut self.pieces.removals);
        let hashed = self.by_the_way(sets, todo).await;
        self.pieces.removals = removals;
        hashed?;
        // Without all of its pictures, a set would be thought to be kept apart.
        match self.record.failed.drain(failed..).next() {
            Some(failed) => Err(RunError::Evaluation {
                path: failed.path.into(),
                reason: failed.reason,
            }),
            None => Ok(()),
        }
    }
}

/// What is to be done before the search with a piece whose stages before `at` stand: nothing where an
/// earlier run brought it just here.
fn waiting(plan: &Plan, todo: &Todo, at: usize) -> Option<Task> {
    let files = PieceFiles::new(&plan.pipeline.output, &todo.piece.file());
    let footer = Footer::read(&files.scored).ok();
    let here = footer.filter(|footer| {
        Recipe::of(footer).is_some_and(|recipe| recipe.hashed && recipe.stages.len() == at)
    });
    let Some(footer) = here else {
        return Some(todo.task);
    };
    // Nothing is found by hashes that are damaged.
    if footer.verify().is_err() {
        return Some(Task::Score);
    }
    if matches!(todo.task, Task::Reuse { retry: true, .. }) {
        return Some(Task::Retry);
    }
    let counts = counts_of(&footer)?;
    Retry::due(&footer, &counts).map(|_| Task::Retry)
}

/// What goes of each of `candidates`, by the piece's name.
///
/// `without` are files of which the rows come again in others.
async fn search(
    plan: &Arc<Plan>,
    candidates: &[Candidate],
    without: &HashSet<Location>,
) -> Result<ByPiece, RunError> {
    let Some((_, dedup)) = plan.dedup() else {
        return Ok(ByPiece::new());
    };
    let distance = dedup.distance;
    let output = plan.pipeline.output.clone();
    let candidate = |one: &Candidate| one.footer.path.clone();
    let mut others: HashSet<Location> = candidates.iter().map(candidate).collect();
    others.extend(without.iter().cloned());
    let (planned, folder) = (Arc::clone(plan), output.clone());
    let (evaluation, earlier) = in_background(move || {
        let sets = planned.evaluation.iter();
        let evaluation = sets.flat_map(|sets| {
            let output = &sets.pipeline.output;
            sets.each_piece()
                .map(|(_, piece)| Footer::read(PieceFiles::new(output, &piece.file()).scored))
        });
        let evaluation = evaluation.collect::<Result<Vec<_>, _>>()?;
        let mut earlier = finished(&folder)?;
        earlier.retain(|footer| !others.contains(&footer.path));
        Ok::<_, RunError>((evaluation, earlier))
    })
    .await??;
    let unread = evaluation.iter().filter_map(counts_of);
    let unread: u64 = unread
        .flat_map(|counts| counts.rejected.into_values())
        .sum();
    if unread > 0 {
        tracing::warn!(
            "{unread} pictures of evaluation sets cannot be read: nothing is compared with them"
        );
    }
    let (earlier, without): (Vec<Footer>, Vec<Footer>) =
        earlier.into_iter().partition(is_past_dedup);
    if !without.is_empty() {
        tracing::warn!(
            "{} pieces of shards that the input no longer has were not searched for duplicates: \
             nothing is compared with their pictures",
            without.len()
        );
    }
    let hashes = |footers: &[Footer]| {
        let files = footers.iter().map(HashFile::new);
        files.collect::<Result<Vec<_>, _>>()
    };
    let footers: Vec<Footer> = candidates.iter().map(|one| one.footer.clone()).collect();
    let sets = Sets {
        evaluation: hashes(&evaluation)?,
        earlier: hashes(&earlier)?,
        run: hashes(&footers)?,
    };
    let spill = output.as_file().map(|folder| folder.join(SPILL));
    if let Some(folder) = &spill {
        fs_err::create_dir_all(folder)?;
    }
    let search = Search {
        distance,
        largest_bucket: LARGEST_BUCKET,
        memory: MEMORY,
        spill: spill.clone().unwrap_or_else(std::env::temp_dir),
    };
    let found = find(&sets, &search).await.map_err(|source| RunError::Plan {
        piece: "of the search for duplicates".to_owned(),
        source,
    });
    if let Some(folder) = spill {
        fs_err::remove_dir_all(folder)?;
    }
    let found = found?;
    tell(&found);
    Ok(by_piece(&found, candidates, &evaluation, &earlier))
}

/// What was found, by piece and row, and in words.
fn by_piece(
    found: &Found,
    candidates: &[Candidate],
    evaluation: &[Footer],
    earlier: &[Footer],
) -> ByPiece {
    let name = |place: Place| {
        let file = match place.set {
            Set::Evaluation => &evaluation[place.file],
            Set::Earlier => &earlier[place.file],
            Set::Run => &candidates[place.file].footer,
        };
        let first: u64 = file
            .value(FIRST)
            .and_then(|first| first.parse().ok())
            .unwrap_or(0);
        let shard = file.value(SHARD).unwrap_or_default();
        format!("row {} of `{shard}`", first + place.row)
    };
    let mut by_piece = ByPiece::new();
    for (file, candidate) in candidates.iter().enumerate() {
        let piece = &candidate.todo.piece;
        let gone = found.of_file(file).iter().map(|one| {
            let reason = match one.of.set {
                Set::Evaluation => Reject::EvaluationSet,
                Set::Earlier | Set::Run => Reject::Duplicate,
            };
            let of = name(one.of);
            let detail = match one.likeness {
                Likeness::Exact => format!("the same bytes as {of}"),
                Likeness::Perceptual(bits) => {
                    format!("looks like {of}, {bits} of 64 bits differ")
                }
            };
            (piece.first + one.row, Rejection::new(reason, detail))
        });
        by_piece.insert(piece.to_string(), Arc::new(gone.collect()));
    }
    by_piece
}

/// Whether duplicates were removed from a piece.
fn is_past_dedup(scored: &Footer) -> bool {
    Recipe::of(scored).is_some_and(|recipe| {
        let mut stages = recipe.stages.iter();
        recipe.hashed && stages.any(|stage| stage.verb == "dedup")
    })
}

/// The footers of all finished pieces in `output`, in the order of their names.
fn finished(output: &Location) -> Result<Vec<Footer>, RunError> {
    let scored = output.join("scored");
    let files = scored.parquet_files()?;
    // One that cannot be understood belongs to nobody.
    let footers = at_once(&files, |file| derive::finished(&scored.join(file)));
    let footers = footers.into_iter().filter_map(Result::transpose);
    Ok(footers.collect::<Result<_, _>>()?)
}

fn tell(found: &Found) {
    tracing::info!(
        "{} pictures of this run leave: they are there before, or in an evaluation set",
        found.duplicates().len()
    );
    if let Some(largest) = found.oversized.iter().map(|bucket| bucket.hashes).max() {
        tracing::warn!(
            buckets = found.oversized.len(),
            largest,
            "too many pictures have 16 bits of their hashes in common to compare all of them: of \
             these, only those are found that are equal or share other bits"
        );
    }
}

/// The table of what was found.
fn columns() -> Arc<Schema> {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("piece"),
        Field::new("row", DataType::UInt64, false),
        text("reason"),
        text("detail"),
    ]))
}

/// Writes down what was found among the pieces `searched`.
fn write(path: &Location, searched: &Searched, found: &ByPiece) -> Result<(), RunError> {
    let mut writer = PieceWriter::create(path, columns())?;
    for (piece, gone) in found {
        let mut rows: Vec<_> = gone.iter().collect();
        rows.sort_by_key(|(row, _)| **row);
        let pieces = rows.iter().map(|_| piece);
        let reasons = rows.iter().map(|(_, one)| one.reason.as_str());
        let details = rows
            .iter()
            .map(|(_, one)| one.detail.as_deref().unwrap_or_default());
        let numbers = rows.iter().map(|(row, _)| **row);
        let batch = RecordBatch::try_new(
            columns(),
            vec![
                Arc::new(StringArray::from_iter_values(pieces)),
                Arc::new(UInt64Array::from_iter_values(numbers)),
                Arc::new(StringArray::from_iter_values(reasons)),
                Arc::new(StringArray::from_iter_values(details)),
            ],
        );
        writer.write(&batch.map_err(|error| RunError::Plan {
            piece: path.to_string(),
            source: error.into(),
        })?)?;
    }
    let searched = serde_json::json!(searched).to_string();
    writer.publish([(SEARCHED.to_owned(), searched)])?;
    Ok(())
}

/// What an earlier run found, if it searched all of `searched` as they are.
/// Those of its pieces that are not among them must be past the search: else nobody has their pictures.
fn read(
    path: &Location,
    searched: &Searched,
    output: &Location,
) -> Result<Option<ByPiece>, RunError> {
    let Some(footer) = derive::finished(path)? else {
        return Ok(None);
    };
    let known: Option<Searched> = footer
        .value(SEARCHED)
        .and_then(|known| serde_json::from_str(known).ok());
    let Some(known) = known.filter(|known| known.covers(searched)) else {
        return Ok(None);
    };
    for piece in known.pieces.keys() {
        if searched.pieces.contains_key(piece) {
            continue;
        }
        let scored = output.join("scored").join(format!("{piece}.parquet"));
        if !derive::finished(&scored)?.is_some_and(|scored| is_past_dedup(&scored)) {
            return Ok(None);
        }
    }
    let mut found: HashMap<String, Duplicates> = HashMap::new();
    for batch in footer.batches(None, ROWS)? {
        let batch = batch?;
        let text = |name| texts(&batch, name).map_err(|error| footer.unreadable(error));
        let (pieces, reasons, details) = (text("piece")?, text("reason")?, text("detail")?);
        let rows = column(&batch, "row").map_err(|error| footer.unreadable(error))?;
        let rows = rows.as_primitive::<UInt64Type>();
        for at in 0..batch.num_rows() {
            let Ok(reason) = reasons.value(at).parse() else {
                return Ok(None);
            };
            let rejection = Rejection::new(reason, details.value(at).to_owned());
            let of_piece = found.entry(pieces.value(at).to_owned()).or_default();
            of_piece.insert(rows.value(at), rejection);
        }
    }
    let all = searched.pieces.keys().map(|piece| {
        let gone = found.remove(piece).unwrap_or_default();
        (piece.clone(), Arc::new(gone))
    });
    Ok(Some(all.collect()))
}
