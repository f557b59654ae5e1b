//! Write a synthetic caption for every picture.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use capfilt_data::candidate::candidates_array;
use capfilt_data::{Candidate, Source, columns};
use capfilt_image::Square;
use capfilt_models::{CaptionOptions, Decoding, row_seed};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::{Asked, Operator, RowWork, for_each_row};
use crate::row::{self, Place, project, replace, text_at, texts, without_pixels};
use crate::shelf::{Shelf, answered, tensor};
use crate::stages::decode::pixels;

/// How pictures are captioned.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Caption {
    /// Folder of a model package that can caption; relative to the pipeline file.
    pub model: PathBuf,
    /// How a caption is found; the package's way by default, else nucleus sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding: Option<Decoding>,
    /// Text that every caption starts with and that is cut off again; the package's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Seed of the random draws. A row's draws depend on it, the stage's name and the row's id.
    #[serde(default)]
    pub seed: u64,
    /// Pictures that the model captions at once.
    #[serde(default = "batch")]
    pub batch: NonZeroUsize,
}

/// Pictures that a model sees at once.
pub(crate) const fn batch() -> NonZeroUsize {
    const BATCH: NonZeroUsize = NonZeroUsize::new(8).unwrap();
    BATCH
}

impl Caption {
    /// The options that change results, besides the model itself.
    pub(crate) fn what_counts(&self) -> Self {
        Self {
            model: PathBuf::new(),
            batch: batch(),
            ..self.clone()
        }
    }

    /// The options as the captioner takes them.
    pub(crate) fn options(&self) -> CaptionOptions {
        CaptionOptions {
            decoding: self.decoding.clone(),
            prompt: self.prompt.clone(),
            batch: Some(self.batch.get()),
        }
    }
}

/// The operator of a `caption` stage.
#[derive(Clone, Debug)]
pub(crate) struct CaptionRows {
    pub(crate) stage: String,
    pub(crate) options: Caption,
    /// What the model sees of a picture.
    pub(crate) square: Square,
    /// Whether no later stage needs pictures.
    pub(crate) last: bool,
}

impl Operator for CaptionRows {
    const NAME: &'static str = "CaptionExec";

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
        let work = Captioning {
            caption: self,
            shelf: Shelf::of(&context),
            schema: Arc::clone(&schema),
        };
        for_each_row(work, schema, input)
    }
}

struct Captioning {
    caption: Arc<CaptionRows>,
    shelf: Arc<Shelf>,
    schema: SchemaRef,
}

impl RowWork for Captioning {
    type Answer = Candidate;

    /// Three batches: one in the model, one ready, one that fills up as rows leave.
    fn in_flight(&self) -> usize {
        3 * self.caption.options.batch.get()
    }

    fn ask(&self, row: &Place) -> Result<Asked<Candidate>> {
        let row = &row.cut();
        let Some(pixels) = pixels(row, self.caption.square)? else {
            return Ok(Asked::Nothing);
        };
        let id = text_at(texts(row, columns::ID)?, 0).unwrap_or_default();
        let seed = row_seed(self.caption.options.seed, &self.caption.stage, id);
        let (shelf, caption) = (Arc::clone(&self.shelf), Arc::clone(&self.caption));
        Ok(Asked::work(async move {
            let captioner = shelf.captioner(&caption.stage, &caption.options).await?;
            let tensor = tensor(captioner.preprocess(), pixels).await?;
            let written = answered(captioner.caption(tensor, seed).await)?;
            Ok(Candidate {
                text: written.text,
                source: Source::Synthetic,
                by: Some(caption.stage.clone()),
                log_prob: Some(written.log_prob),
                scores: Vec::new(),
            })
        }))
    }

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<Candidate>>) -> Result<RecordBatch> {
        let mut candidates = row::candidates(rows)?;
        for (candidates, answer) in candidates.iter_mut().zip(answers) {
            candidates.extend(answer);
        }
        let candidates: ArrayRef = Arc::new(candidates_array(&candidates)?);
        let learnt = replace(rows, vec![(columns::CANDIDATES, candidates)])?;
        Ok(project(&learnt, &self.schema)?)
    }
}
