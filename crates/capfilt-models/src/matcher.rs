//! How well texts fit a picture.

mod engine;
mod similarity;

use std::sync::Arc;

use capfilt_image::Preprocess;
use capfilt_onnx::{Package, Texts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::graph::SessionOptions;
use crate::queue::{Queue, usual_batch};
pub(crate) use engine::MatchEngine;
pub use similarity::Similarity;

/// The token at index 0 of a text that is matched with a picture.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstToken {
    /// `[ENC]`, as BLIP was trained and evaluated.
    #[default]
    Enc,
    /// `[CLS]`, as Hugging Face's class and BLIP's demo do.
    Cls,
}

/// How texts are judged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MatchOptions {
    /// The token at index 0 for the match; of no effect in a package without a matching head.
    pub first_token: FirstToken,
    /// Pictures that are judged at once; by default 8 on the CPU and 32 elsewhere.
    pub batch: Option<usize>,
}

/// How well a text fits a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextScore {
    /// Probability that the text describes the picture, 0 to 1: softmax of the matching head's two
    /// logits. `None` for a package without a matching head.
    pub match_probability: Option<f32>,
    /// The matching head's logit for "they match", which retrieval ranks by. `None` likewise.
    pub match_logit: Option<f32>,
    /// Cosine of the picture's and the text's features, -1 to 1. In FILIP the mean of both ways of
    /// asking: the mean over image tokens of the largest cosine to any token of the text, and the mean
    /// over these of the largest cosine to any image token.
    pub similarity: f32,
}

/// A handle to a matcher. Clones share one model.
#[derive(Clone)]
pub struct Matcher {
    queue: Queue<MatchEngine>,
    about: Arc<About>,
}

struct About {
    similarity: Similarity,
    preprocess: Preprocess,
    device: String,
    pixels: usize,
    texts: Texts,
}

/// What is asked: scores of a picture's texts, features of a picture, or features of texts.
pub(crate) enum Asked {
    Scores(Question),
    Image(Vec<f32>),
    Texts(Vec<Vec<u32>>),
}

/// What is answered to [`Asked`].
pub(crate) enum Answer {
    Scores(Vec<TextScore>),
    Image(Vec<f32>),
    Texts(Vec<Vec<f32>>),
}

/// A picture and the tokens of its texts, `[CLS]` first.
pub(crate) struct Question {
    pub(crate) pixels: Vec<f32>,
    pub(crate) texts: Vec<Vec<u32>>,
}

impl Matcher {
    /// Opens a package. Reads files and blocks for as long as the runtime needs to load the graphs.
    pub fn open(
        package: &Package,
        options: &MatchOptions,
        sessions: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let engine = MatchEngine::open(package, options, sessions)?;
        let texts = Texts::of(package).map_err(|error| ModelError::Package {
            package: package.folder.display().to_string(),
            reason: error.to_string(),
        })?;
        let about = About {
            similarity: engine.similarity,
            preprocess: package.manifest.image.clone(),
            device: engine.device.clone(),
            pixels: engine.encoder.pixels(),
            texts,
        };
        let batch = options.batch.unwrap_or_else(|| usual_batch(&engine.device));
        let queue = Queue::start("matcher", batch, engine)?;
        Ok(Self {
            queue,
            about: Arc::new(about),
        })
    }

    /// How pictures become pixel values.
    pub fn preprocess(&self) -> &Preprocess {
        &self.about.preprocess
    }

    /// The device that was chosen, `cpu` or `cuda:N`.
    pub fn device(&self) -> &str {
        &self.about.device
    }

    /// Judges texts against one picture, in order; `pixels` as [`Preprocess::tensor`] gives them,
    /// `[3, S, S]`. The picture is encoded once.
    ///
    /// BLIP judges a text in its cleaned form ([`clean_caption`](crate::clean_caption)), cut to 35
    /// tokens with the first one and `[SEP]`; the other families judge it as it is, cut to the model's
    /// longest. On the CPU the scores are the same, bit for bit,
    /// whatever shares the batch.
    pub async fn score(
        &self,
        pixels: Vec<f32>,
        texts: Vec<String>,
    ) -> Result<Vec<TextScore>, ModelError> {
        self.check(&pixels)?;
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let texts = self.judged(&texts)?;
        let question = Question { pixels, texts };
        match self.queue.ask(Asked::Scores(question)).await? {
            Answer::Scores(scores) => Ok(scores),
            Answer::Image(_) | Answer::Texts(_) => Err(mixed_up()),
        }
    }

    /// How features are compared.
    pub fn similarity(&self) -> Similarity {
        self.about.similarity
    }

    /// What one picture looks like to the similarity: features of length 1, in FILIP those of all
    /// tokens one after the other; `pixels` as for [`Matcher::score`].
    ///
    /// [`Similarity::of`] them and a text's features is [`TextScore::similarity`]; on the CPU bit for bit.
    pub async fn image_features(&self, pixels: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        self.check(&pixels)?;
        match self.queue.ask(Asked::Image(pixels)).await? {
            Answer::Image(features) => Ok(features),
            Answer::Scores(_) | Answer::Texts(_) => Err(mixed_up()),
        }
    }

    /// What texts look like to the similarity, in order, as wide as
    /// [`Matcher::image_features`], in FILIP those of all their tokens; texts are cleaned and cut as for [`Matcher::score`]. They go
    /// through the model at once.
    pub async fn text_features(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let texts = self.judged(texts)?;
        match self.queue.ask(Asked::Texts(texts)).await? {
            Answer::Texts(features) => Ok(features),
            Answer::Scores(_) | Answer::Image(_) => Err(mixed_up()),
        }
    }

    fn check(&self, pixels: &[f32]) -> Result<(), ModelError> {
        let (got, expected) = (pixels.len(), self.about.pixels);
        if got == expected {
            Ok(())
        } else {
            Err(ModelError::Pixels { got, expected })
        }
    }

    /// The tokens of texts.
    fn judged(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, ModelError> {
        texts
            .iter()
            .map(|text| self.about.texts.judged(text))
            .collect::<Result<_, _>>()
            .map_err(|error| ModelError::Text(error.to_string()))
    }
}

/// The error for an answer to another question than was asked.
fn mixed_up() -> ModelError {
    ModelError::Ended {
        reason: "it answered another question".to_owned(),
    }
}

#[cfg(test)]
mod tests;
