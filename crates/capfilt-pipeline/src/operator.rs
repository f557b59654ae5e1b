//! What all operators share: one input, the same rows, nothing done before the first poll.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::{
    RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::row::{Place, gather, has_room, is_rejected};

/// How long rows that are done wait for others to be handed on with: a batch costs the same whether
/// it has one row or many.
const GATHER: Duration = Duration::from_millis(4);

/// What one operator does. Plain settings: nothing is opened before the stream is polled.
pub(crate) trait Operator: Debug + Send + Sync + 'static {
    /// The operator's name in a plan.
    const NAME: &'static str;

    /// Its settings in a plan; by default it has none.
    fn describe(&self) -> String {
        String::new()
    }

    /// The columns that it gives for the columns it gets; by default the same.
    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        Arc::clone(input)
    }

    /// Its rows. Polled first when somebody wants rows.
    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static;
}

/// An [`Operator`] as a node of a DataFusion plan.
pub(crate) struct StageExec<O> {
    input: Arc<dyn ExecutionPlan>,
    operator: Arc<O>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl<O: Operator> StageExec<O> {
    /// The node over `input`.
    pub(crate) fn over(input: Arc<dyn ExecutionPlan>, operator: Arc<O>) -> Arc<dyn ExecutionPlan> {
        let schema = operator.schema(&input.schema());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            input.boundedness(),
        );
        Arc::new(Self {
            input,
            operator,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl<O: Debug> Debug for StageExec<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageExec")
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

impl<O: Operator> DisplayAs for StageExec<O> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.operator.describe();
        if settings.is_empty() {
            f.write_str(O::NAME)
        } else {
            write!(f, "{}: {settings}", O::NAME)
        }
    }
}

impl<O: Operator> ExecutionPlan for StageExec<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(child), true) => Ok(Self::over(child, Arc::clone(&self.operator))),
            _ => Err(DataFusionError::Internal(format!(
                "{} takes one input",
                O::NAME
            ))),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let operator = Arc::clone(&self.operator);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        // `once` waits for the first poll: a plan that is only looked at starts nothing.
        let rows = stream::once(async move { operator.rows(input, context) })
            .flatten()
            .inspect_ok(move |batch| baseline.record_output(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What there is to do for a row.
pub(crate) enum Asked<A> {
    /// Nothing.
    Nothing,
    /// Nothing more: this is known of it already.
    Known(A),
    /// This, in a task of its own.
    Work(BoxFuture<'static, Result<A>>),
}

impl<A> Asked<A> {
    /// The work of `future`.
    pub(crate) fn work(future: impl Future<Output = Result<A>> + Send + 'static) -> Self {
        Self::Work(Box::pin(future))
    }
}

/// Work that is done for each row on its own, many rows at a time.
pub(crate) trait RowWork: Send + Sync + 'static {
    /// What is learnt about a row.
    type Answer: Send + 'static;

    /// Rows under way at once. A row that waits costs little besides the work itself, so there may be
    /// as many as the window admits.
    fn in_flight(&self) -> usize;

    /// What to do for `row`, which is still in.
    fn ask(&self, row: &Place) -> Result<Asked<Self::Answer>>;

    /// Bytes that an answer adds to a row.
    fn bytes(_: &Self::Answer) -> usize {
        0
    }

    /// The rows with what was learnt about them; `None` where nothing was asked.
    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Self::Answer>>) -> Result<RecordBatch>;
}

/// Does `work` for every row of `input`: in the background, with a queue of two batches towards
/// the next operator, so that stages overlap. Rows come out in the order in which they are done.
/// Dropping the stream drops all work.
pub(crate) fn for_each_row<W: RowWork>(
    work: W,
    schema: SchemaRef,
    input: SendableRecordBatchStream,
) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(schema, 2);
    let output = builder.tx();
    builder.spawn(async move {
        let in_flight = work.in_flight().max(1);
        let work = &work;
        let done = rows(input)
            .map(|row| async move {
                let row: Place = row?;
                let asked = if is_rejected(row.batch(), row.row())? {
                    Asked::Nothing
                } else {
                    work.ask(&row)?
                };
                let answer = match asked {
                    Asked::Nothing => None,
                    Asked::Known(answer) => Some(answer),
                    // A task of its own goes on while nobody polls this stream.
                    Asked::Work(asked) => Some(
                        SpawnedTask::spawn(asked)
                            .join()
                            .await
                            .map_err(|error| DataFusionError::External(Box::new(error)))??,
                    ),
                };
                Ok::<_, DataFusionError>((row, answer))
            })
            .buffer_unordered(in_flight);
        let mut done = std::pin::pin!(done);
        while let Some(first) = done.next().await {
            let first = first?;
            let mut bytes = brought::<W>(&first)?;
            let mut chunk = vec![first];
            let mut late = std::pin::pin!(tokio::time::sleep(GATHER));
            while has_room(chunk.len(), bytes) {
                tokio::select! {
                    biased;
                    row = done.next() => match row {
                        Some(row) => {
                            let row = row?;
                            bytes += brought::<W>(&row)?;
                            chunk.push(row);
                        }
                        None => break,
                    },
                    () = &mut late => break,
                }
            }
            let (rows, answers): (Vec<_>, Vec<_>) = chunk.into_iter().unzip();
            let batch = gather(&rows)?;
            drop(rows);
            let learnt = work.learn(&batch, answers)?;
            if output.send(Ok(learnt)).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}

/// Bytes of pictures that a row has after what was learnt.
fn brought<W: RowWork>((row, answer): &(Place, Option<W::Answer>)) -> Result<usize> {
    Ok(row.picture_bytes()? + answer.as_ref().map_or(0, W::bytes))
}

/// The rows of `input` one by one, in order. A batch is asked for when the one before is used up.
fn rows(input: SendableRecordBatchStream) -> impl Stream<Item = Result<Place>> + Send {
    stream::try_unfold(
        (input, VecDeque::new()),
        |(mut input, mut rows)| async move {
            loop {
                if let Some(row) = rows.pop_front() {
                    return Ok(Some((row, (input, rows))));
                }
                match input.next().await {
                    Some(batch) => rows.extend(Place::all(batch?)),
                    None => return Ok(None),
                }
            }
        },
    )
}

#[cfg(test)]
mod tests;
