//! How well texts fit a picture.

use std::collections::BTreeMap;
use std::sync::Arc;

use capfilt_image::Preprocess;
use capfilt_onnx::{MOST_TOKENS, Package, Task, Texts};
use ort::value::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::encoder::Encoder;
use crate::error::ModelError;
use crate::graph::{Graph, Opener, SessionOptions};
use crate::queue::{Engine, Queue, usual_batch};

/// Texts are filled up with `[PAD]` to a multiple of this, so that few shapes occur.
const PADDING: usize = 8;

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
    /// The token at index 0 for the match.
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
    /// Cosine of the picture's and the text's features, -1 to 1.
    pub similarity: f32,
}

/// A handle to a matcher. Clones share one model.
#[derive(Clone)]
pub struct Matcher {
    queue: Queue<MatchEngine>,
    about: Arc<About>,
}

struct About {
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
        let texts =
            Texts::open(&package.tokenizer(), &package.manifest.tokens).map_err(|error| {
                ModelError::Package {
                    package: package.folder.display().to_string(),
                    reason: error.to_string(),
                }
            })?;
        let about = About {
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
    /// A text is judged in its cleaned form ([`clean_caption`](crate::clean_caption)), cut to 35
    /// tokens with the first one and `[SEP]`. On the CPU the scores are the same, bit for bit,
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

    /// What one picture looks like to the similarity: features of length 1; `pixels` as for
    /// [`Matcher::score`].
    ///
    /// Their dot product with a text's features in f64, rounded to f32, is
    /// [`TextScore::similarity`]; on the CPU bit for bit.
    pub async fn image_features(&self, pixels: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        self.check(&pixels)?;
        match self.queue.ask(Asked::Image(pixels)).await? {
            Answer::Image(features) => Ok(features),
            Answer::Scores(_) | Answer::Texts(_) => Err(mixed_up()),
        }
    }

    /// What texts look like to the similarity, in order, as wide as
    /// [`Matcher::image_features`]; texts are cleaned and cut as for [`Matcher::score`]. They go
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

/// The matcher's graphs, on their thread.
pub(crate) struct MatchEngine {
    pub(crate) encoder: Encoder,
    matcher: Graph,
    text: Graph,
    first_token: u32,
    pad: u32,
    device: String,
}

/// What a picture's texts look like to the matcher; pictures of one shape are judged together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Shape {
    /// Rows per picture. At least two: one row takes another kernel, whose sums end in other bits.
    rows: usize,
    /// Tokens per text, `[PAD]` included.
    tokens: usize,
}

impl MatchEngine {
    pub(crate) fn open(
        package: &Package,
        options: &MatchOptions,
        sessions: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let manifest = &package.manifest;
        let unusable = |reason: &str| ModelError::Package {
            package: package.folder.display().to_string(),
            reason: reason.to_owned(),
        };
        if !manifest.tasks.contains(&Task::Filter) {
            return Err(unusable(
                "it has no filter; import one with `--task filter`",
            ));
        }
        let first_token = match options.first_token {
            FirstToken::Cls => manifest.tokens.cls,
            FirstToken::Enc => manifest.tokens.enc.ok_or_else(|| {
                unusable("its tokenizer has no [ENC]; choose the first token `cls`")
            })?,
        };
        if manifest.text.positions < MOST_TOKENS {
            return Err(unusable("its text encoder has fewer than 35 positions"));
        }
        let opener = Opener::new(package, sessions, "matcher")?;
        Ok(Self {
            encoder: Encoder::open(
                &opener,
                manifest.image.size as usize,
                manifest.vision.tokens,
            )?,
            matcher: opener.open("matcher", &["itm_logits"])?,
            text: opener.open("text", &["text_feat"])?,
            first_token,
            pad: manifest.tokens.pad,
            device: opener.chosen().to_owned(),
        })
    }

    /// Pictures with as many texts and as long ones are judged together. Neither number shows in a
    /// score: rows of other texts and `[PAD]` change no bit on the CPU (tested).
    fn shape(&self, texts: &[Vec<u32>]) -> Shape {
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let tokens = if self.device == "cpu" {
            longest.next_multiple_of(PADDING).min(MOST_TOKENS)
        } else {
            MOST_TOKENS
        };
        Shape {
            rows: texts.len().max(2),
            tokens,
        }
    }

    /// Judges pictures whose texts have one shape.
    fn judge(
        &mut self,
        shape: Shape,
        questions: &[&Question],
    ) -> Result<Vec<Vec<TextScore>>, ModelError> {
        let pictures: Vec<&[f32]> = questions
            .iter()
            .map(|question| question.pixels.as_slice())
            .collect();
        let encoded = self.encoder.encode(&pictures)?;
        let texts: Vec<&[u32]> = questions
            .iter()
            .flat_map(|question| question.texts.iter().map(Vec::as_slice))
            .collect();
        let features = self.text_features(shape.tokens, &texts)?;
        for (name, value) in &encoded.cross {
            self.matcher.bind(name, value)?;
        }
        let logits = self.logits(shape, questions)?;
        let width = encoded.features.len() / questions.len().max(1);
        let mut features = features.chunks(width.max(1));
        let judged = questions
            .iter()
            .zip(encoded.features.chunks(width.max(1)))
            .zip(logits.chunks(2 * shape.rows))
            .map(|((question, image), logits)| {
                logits
                    .chunks(2)
                    .take(question.texts.len())
                    .zip(features.by_ref().take(question.texts.len()))
                    .map(|(logits, text)| text_score(logits, image, text))
                    .collect()
            })
            .collect();
        Ok(judged)
    }

    /// Features of texts, `[R, E]` flat, filled up to `tokens` each.
    fn text_features(&mut self, tokens: usize, texts: &[&[u32]]) -> Result<Vec<f32>, ModelError> {
        let (ids, mask) = padded(texts, tokens, self.pad);
        bind_texts(&mut self.text, tokens, ids, mask)?;
        single(&mut self.text)
    }

    /// Logits of the matching head, `[B * rows, 2]` flat; rows beyond a picture's texts mean nothing.
    fn logits(&mut self, shape: Shape, questions: &[&Question]) -> Result<Vec<f32>, ModelError> {
        let texts: Vec<&[u32]> = questions
            .iter()
            .flat_map(|question| {
                question
                    .texts
                    .iter()
                    .cycle()
                    .take(shape.rows)
                    .map(Vec::as_slice)
            })
            .collect();
        let (mut ids, mask) = padded(&texts, shape.tokens, self.pad);
        for row in ids.chunks_mut(shape.tokens) {
            row[0] = i64::from(self.first_token);
        }
        bind_texts(&mut self.matcher, shape.tokens, ids, mask)?;
        single(&mut self.matcher)
    }
}

/// Token ids and mask of texts, `[R, T]` flat.
fn padded(texts: &[&[u32]], tokens: usize, pad: u32) -> (Vec<i64>, Vec<i64>) {
    let mut ids = Vec::with_capacity(texts.len() * tokens);
    let mut mask = Vec::with_capacity(texts.len() * tokens);
    for text in texts {
        let padding = tokens.saturating_sub(text.len());
        ids.extend(text.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(i64::from(pad), padding));
        mask.extend(std::iter::repeat_n(1, text.len()));
        mask.extend(std::iter::repeat_n(0, padding));
    }
    (ids, mask)
}

/// Binds texts of `tokens` tokens each.
fn bind_texts(
    graph: &mut Graph,
    tokens: usize,
    ids: Vec<i64>,
    mask: Vec<i64>,
) -> Result<(), ModelError> {
    for (input, values) in [("input_ids", ids), ("attention_mask", mask)] {
        let tensor = Tensor::from_array(([values.len() / tokens, tokens], values))
            .map_err(|error| graph.failed(&error))?;
        graph.bind(input, &tensor.into_dyn())?;
    }
    Ok(())
}

impl MatchEngine {
    /// Judges the texts of each picture.
    pub(crate) fn scores(
        &mut self,
        questions: &[Question],
    ) -> Result<Vec<Vec<TextScore>>, ModelError> {
        let mut groups: BTreeMap<Shape, Vec<usize>> = BTreeMap::new();
        for (index, question) in questions.iter().enumerate() {
            groups
                .entry(self.shape(&question.texts))
                .or_default()
                .push(index);
        }
        let mut answers: Vec<Vec<TextScore>> = vec![Vec::new(); questions.len()];
        for (shape, members) in groups {
            let group: Vec<&Question> = members.iter().map(|&index| &questions[index]).collect();
            let judged = self.judge(shape, &group);
            self.text.release();
            self.matcher.release();
            for (index, scores) in members.into_iter().zip(judged?) {
                answers[index] = scores;
            }
        }
        Ok(answers)
    }

    /// Features of each picture.
    fn images(&mut self, pictures: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ModelError> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let pixels: Vec<&[f32]> = pictures.iter().map(Vec::as_slice).collect();
        let features = self.encoder.features(&pixels)?;
        let width = (features.len() / pictures.len()).max(1);
        Ok(features.chunks(width).map(<[f32]>::to_vec).collect())
    }

    /// Features of each text.
    fn texts(&mut self, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let shape = self.shape(texts);
        let tokens: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let features = self.text_features(shape.tokens, &tokens);
        self.text.release();
        let features = features?;
        let width = (features.len() / texts.len().max(1)).max(1);
        Ok(features.chunks(width).map(<[f32]>::to_vec).collect())
    }
}

impl Engine for MatchEngine {
    type Question = Asked;
    type Reply = Answer;

    fn answer(&mut self, batch: Vec<Asked>) -> Result<Vec<Answer>, ModelError> {
        // Scores and pictures are answered together; each question keeps its place.
        let (mut to_score, mut to_see) = (Vec::new(), Vec::new());
        let (mut scored, mut seen) = (Vec::new(), Vec::new());
        let mut answers = Vec::new();
        for (place, asked) in batch.into_iter().enumerate() {
            match asked {
                Asked::Scores(question) => {
                    to_score.push(question);
                    scored.push(place);
                }
                Asked::Image(pixels) => {
                    to_see.push(pixels);
                    seen.push(place);
                }
                Asked::Texts(texts) => answers.push((place, Answer::Texts(self.texts(&texts)?))),
            }
        }
        let scores = self.scores(&to_score)?.into_iter().map(Answer::Scores);
        answers.extend(scored.into_iter().zip(scores));
        let images = self.images(&to_see)?.into_iter().map(Answer::Image);
        answers.extend(seen.into_iter().zip(images));
        answers.sort_by_key(|(place, _)| *place);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// Runs a graph with one output and gives its values.
fn single(graph: &mut Graph) -> Result<Vec<f32>, ModelError> {
    let outputs = graph.run()?;
    let Some(output) = outputs.first() else {
        return Ok(Vec::new());
    };
    let (_, values) = output
        .try_extract_tensor::<f32>()
        .map_err(|error| graph.failed(&error))?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(ModelError::NotFinite {
            graph: graph.name(),
        });
    }
    Ok(values.to_vec())
}

/// The score of a text by the matching head's logits and by features.
fn text_score(logits: &[f32], image: &[f32], text: &[f32]) -> TextScore {
    TextScore {
        match_probability: Some(probability(logits)),
        match_logit: Some(logits[1]),
        similarity: cosine(image, text),
    }
}

/// Second value of the softmax of two logits.
fn probability(logits: &[f32]) -> f32 {
    let (other, matched) = (f64::from(logits[0]), f64::from(logits[1]));
    #[expect(clippy::cast_possible_truncation, reason = "a probability in f32")]
    let probability = (1.0 / (1.0 + (other - matched).exp())) as f32;
    probability
}

/// Dot product of features of length 1.
fn cosine(image: &[f32], text: &[f32]) -> f32 {
    let sum: f64 = image
        .iter()
        .zip(text)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum();
    #[expect(clippy::cast_possible_truncation, reason = "features are f32")]
    let cosine = sum as f32;
    cosine
}

#[cfg(test)]
mod tests;
