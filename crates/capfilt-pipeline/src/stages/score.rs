//! Score every candidate of a row against its picture.
//!
//! The picture is encoded once for all its texts.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use capfilt_data::candidate::candidates_array;
use capfilt_data::{Kind, Score as Judgement, columns};
use capfilt_image::Square;
use capfilt_models::{FirstToken, MatchOptions, TextScore};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::{Asked, Operator, RowWork, for_each_row};
use crate::row::{self, Place, project, replace, without_pixels};
use crate::shelf::{Shelf, answered, tensor};
use crate::stages::caption::batch;
use crate::stages::decode::pixels;

/// How texts are judged.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Score {
    /// Folder of a model package that can filter; relative to the pipeline file. A BLIP gives a match
    /// probability and a similarity, a CLIP, `CoCa` or FILIP a similarity alone.
    pub model: PathBuf,
    /// The token at the beginning of a text that is matched with a picture; for BLIP alone.
    #[serde(default)]
    pub first_token: FirstToken,
    /// Pictures that the model judges at once.
    #[serde(default = "batch")]
    pub batch: NonZeroUsize,
}

impl Score {
    /// The options that change results, besides the model itself.
    pub(crate) fn what_counts(&self) -> Self {
        Self {
            model: PathBuf::new(),
            batch: batch(),
            ..self.clone()
        }
    }

    /// The options as the matcher takes them.
    pub(crate) fn options(&self) -> MatchOptions {
        MatchOptions {
            first_token: self.first_token,
            batch: Some(self.batch.get()),
        }
    }
}

/// The operator of a `score` stage.
#[derive(Clone, Debug)]
pub(crate) struct ScoreRows {
    pub(crate) stage: String,
    pub(crate) options: Score,
    /// What the model sees of a picture.
    pub(crate) square: Square,
    /// Whether no later stage needs pictures.
    pub(crate) last: bool,
}

impl Operator for ScoreRows {
    const NAME: &'static str = "ScoreExec";

    fn describe(&self) -> String {
        format!(
            "model={}, batch={}",
            self.options.model.display(),
            self.options.batch
        )
    }

    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        if self.last {
            without_pixels(input)
        } else {
            Arc::clone(input)
        }
    }

    fn rows(
        self: Arc<Self>,
        input: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let schema = self.schema(&input.schema());
        let work = Scoring {
            score: self,
            shelf: Shelf::of(&context),
            schema: Arc::clone(&schema),
        };
        for_each_row(work, schema, input)
    }
}

struct Scoring {
    score: Arc<ScoreRows>,
    shelf: Arc<Shelf>,
    schema: SchemaRef,
}

impl RowWork for Scoring {
    /// One for each candidate, in order.
    type Answer = Vec<TextScore>;

    /// Three batches: one in the model, one ready, one that fills up as rows leave.
    fn in_flight(&self) -> usize {
        3 * self.score.options.batch.get()
    }

    fn ask(&self, row: &Place) -> Result<Asked<Self::Answer>> {
        let row = &row.cut();
        let Some(pixels) = pixels(row, self.score.square)? else {
            return Ok(Asked::Nothing);
        };
        let candidates = row::candidates(row)?;
        let texts: Vec<String> = candidates
            .into_iter()
            .flatten()
            .map(|one| one.text)
            .collect();
        if texts.is_empty() {
            return Ok(Asked::Nothing);
        }
        let (shelf, score) = (Arc::clone(&self.shelf), Arc::clone(&self.score));
        Ok(Asked::work(async move {
            let matcher = shelf.matcher(&score.stage, &score.options).await?;
            let tensor = tensor(matcher.preprocess(), pixels).await?;
            answered(matcher.score(tensor, texts).await)
        }))
    }

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Self::Answer>>) -> Result<RecordBatch> {
        let mut candidates = row::candidates(rows)?;
        for (candidates, scores) in candidates.iter_mut().zip(answers) {
            for (candidate, score) in candidates.iter_mut().zip(scores.into_iter().flatten()) {
                let by = &self.score.stage;
                let judgement = |kind, value| Judgement {
                    by: by.clone(),
                    kind,
                    value,
                };
                let matched = score
                    .match_probability
                    .map(|value| judgement(Kind::Match, value));
                candidate.scores.extend(matched);
                candidate
                    .scores
                    .push(judgement(Kind::Similarity, score.similarity));
            }
        }
        let candidates: ArrayRef = Arc::new(candidates_array(&candidates)?);
        let learnt = replace(rows, vec![(columns::CANDIDATES, candidates)])?;
        Ok(project(&learnt, &self.schema)?)
    }
}
