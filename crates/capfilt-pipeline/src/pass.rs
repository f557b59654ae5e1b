//! One way of some rows of a shard through stages into a file, as a DataFusion plan.
//!
//! ```text
//! shard ── source ── all stages ── write                                  all rows, the first time
//!
//! scored ── restore ── pixels ──┐
//!                               ├── stages that changed ── write          what was learnt is used again
//! shard ── source ── others ────┘
//! ```

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use capfilt_data::{Footer, Location, columns};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;

use crate::file::Images;
use crate::numbers::Numbers;
use crate::operator::StageExec;
use crate::plan::{Plan, ShardPlan};
use crate::removal::RemoveRows;
use crate::restore::RestoreRows;
use crate::scan;
use crate::stages::caption::CaptionRows;
use crate::stages::decode::{DecodeRows, PixelRows};
use crate::stages::dedup::DedupRows;
use crate::stages::fetch::Fetch;
use crate::stages::score::ScoreRows;
use crate::stages::where_::Where;
use crate::stages::where_text::WhereText;
use crate::stages::{Stage, Verb};
use crate::write::WriteRows;

/// One way of some rows of a shard through all stages into a file.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The rows.
    pub(crate) numbers: Numbers,
    /// Those of them of which something is used again.
    pub(crate) stored: Option<Stored>,
    /// The file.
    pub(crate) path: Location,
    /// Its key-value pairs, as far as they are known before the first row.
    pub(crate) pairs: Vec<(String, String)>,
    /// Of which rows pictures are stored.
    pub(crate) images: Images,
    /// Whether the rows went that way before.
    pub(crate) again: bool,
    /// Those of them that were asked for then, and have an answer.
    pub(crate) asked: Numbers,
}

/// Rows of which an earlier run learnt something that is used again.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The `scored` file that they are in.
    pub(crate) file: Footer,
    /// The number of its first row.
    pub(crate) first: u64,
    /// How many of the first stages stand.
    pub(crate) stand: usize,
    /// The rows.
    pub(crate) numbers: Numbers,
    /// Those that go through all stages: not enough of them is stored.
    pub(crate) others: Numbers,
}

impl Plan {
    /// The DataFusion plan of one pass over rows of `shard`, from the scan to the writer.
    pub(crate) fn pass(&self, shard: &ShardPlan, pass: Pass) -> Result<Arc<dyn ExecutionPlan>> {
        let stages = self.pipeline.stages.as_slice();
        let rows = match &pass.stored {
            None => {
                let rows = self.source(shard, &pass.numbers)?;
                self.stages(shard, rows, stages, &pass.asked)?
            }
            Some(stored) => {
                let rows = self.restored(shard, stored)?;
                self.stages(shard, rows, &stages[stored.stand..], &pass.asked)?
            }
        };
        let schema: SchemaRef = columns::scored(&shard.mapping.passed_fields());
        let write = WriteRows {
            path: pass.path,
            numbers: pass.numbers,
            schema,
            pairs: pass.pairs,
            images: pass.images,
            rule: self.pipeline.keep.clone(),
            has_ids: shard.mapping.id.is_some() && !pass.again,
        };
        Ok(StageExec::over(rows, Arc::new(write)))
    }

    /// Rows of the shard before the first stage.
    fn source(&self, shard: &ShardPlan, numbers: &Numbers) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = scan::plan(
            &shard.footer,
            &shard.shard,
            numbers,
            &shard.mapping,
            self.pipeline.file.source.text_source,
        )?;
        Ok(without_removed(rows))
    }

    /// Rows as they were after the stages that stand.
    fn restored(&self, shard: &ShardPlan, stored: &Stored) -> Result<Arc<dyn ExecutionPlan>> {
        let (stand, changed) = self.pipeline.stages.split_at(stored.stand);
        let restore = RestoreRows::new(
            stand,
            stored.numbers.clone(),
            self.pipeline.file.source.text_source,
            self.recipe.hashed,
            shard.mapping.clone(),
        );
        let scan = scan::stored(&stored.file, stored.first, &stored.numbers);
        let mut rows = StageExec::over(scan, Arc::new(restore));
        let decode = stand.iter().find_map(|stage| match &stage.verb {
            Verb::Decode(options) => Some(options),
            _ => None,
        });
        let squares = self.squares(changed);
        let hashes = self.recipe.hashed;
        if let (Some(options), true) = (decode, hashes || !squares.is_empty()) {
            rows = StageExec::over(rows, Arc::new(PixelRows::new(options, squares, hashes)));
        }
        if stored.others.first().is_none() {
            return Ok(rows);
        }
        let others = self.source(shard, &stored.others)?;
        let others = self.stages(shard, others, stand, &Numbers::default())?;
        let others = with_columns_of(others, &rows.schema())?;
        let both = UnionExec::try_new(vec![others, rows])?;
        Ok(Arc::new(CoalescePartitionsExec::new(both)))
    }

    /// `rows` after `stages`, of which `asked` were asked for in an earlier pass.
    fn stages(
        &self,
        shard: &ShardPlan,
        rows: Arc<dyn ExecutionPlan>,
        stages: &[Stage],
        asked: &Numbers,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = &self.pipeline.stages;
        let mut models = all.iter().filter(|stage| stage.verb.model().is_some());
        let last = models.next_back().map(|stage| stage.name.as_str());
        stages.iter().try_fold(rows, |rows, stage| {
            let name = stage.name.clone();
            let last = last == Some(stage.name.as_str());
            let square = self.square(stage).unwrap_or_default();
            let condition = || {
                shard.conditions.get(&stage.name).cloned().ok_or_else(|| {
                    DataFusionError::Internal(format!(
                        "the condition of `{}` was not planned",
                        stage.name
                    ))
                })
            };
            Ok(match &stage.verb {
                Verb::Where(_) => StageExec::over(
                    rows,
                    Arc::new(Where {
                        stage: name,
                        condition: condition()?,
                    }),
                ),
                Verb::WhereText(_) => StageExec::over(
                    rows,
                    Arc::new(WhereText {
                        stage: name,
                        condition: condition()?,
                    }),
                ),
                Verb::Fetch(options) => without_removed(StageExec::over(
                    rows,
                    Arc::new(Fetch {
                        stage: name,
                        options: options.as_ref().clone(),
                        asked: asked.clone(),
                    }),
                )),
                Verb::Decode(options) => without_removed(StageExec::over(
                    rows,
                    Arc::new(DecodeRows {
                        stage: name,
                        options: options.clone(),
                        squares: self.squares(all),
                        hashes: self.recipe.hashed,
                    }),
                )),
                Verb::Dedup(_) => StageExec::over(rows, Arc::new(DedupRows { stage: name })),
                Verb::Caption(options) => StageExec::over(
                    rows,
                    Arc::new(CaptionRows {
                        stage: name,
                        options: options.clone(),
                        square,
                        last,
                    }),
                ),
                Verb::Score(options) => StageExec::over(
                    rows,
                    Arc::new(ScoreRows {
                        stage: name,
                        options: options.clone(),
                        square,
                        last,
                    }),
                ),
            })
        })
    }
}

/// `rows` without what somebody asked to take out.
fn without_removed(rows: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    StageExec::over(rows, Arc::new(RemoveRows))
}

/// `rows` with just the columns of `schema`.
fn with_columns_of(
    rows: Arc<dyn ExecutionPlan>,
    schema: &SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let from = rows.schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| Ok((col(field.name(), &from)?, field.name().clone())))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, rows)?))
}
