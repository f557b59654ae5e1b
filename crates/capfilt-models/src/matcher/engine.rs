//! The matcher's graphs and what they are asked.

use std::collections::BTreeMap;

use capfilt_onnx::{Family, Package, Task};
use ort::value::Tensor;

use super::similarity::Similarity;
use super::{Answer, Asked, FirstToken, MatchOptions, Question, TextScore};
use crate::encoder::{Encoded, Encoder};
use crate::error::ModelError;
use crate::graph::{Graph, Opener, SessionOptions};
use crate::queue::Engine;

/// Texts are filled up with `[PAD]` to a multiple of this, so that few shapes occur.
const PADDING: usize = 8;

/// The matcher's graphs, on their thread.
pub(crate) struct MatchEngine {
    pub(crate) encoder: Encoder,
    head: Option<Head>,
    text: Graph,
    pub(super) similarity: Similarity,
    pad: u32,
    /// The most tokens of a text, and the fewest pads behind one that is shorter.
    most_tokens: usize,
    fewest_pads: usize,
    pub(super) device: String,
}

/// What judges a match by a text and a picture together.
struct Head {
    graph: Graph,
    first_token: u32,
}

/// What a picture's texts look like to the matcher; pictures of one shape are judged together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Shape {
    /// Rows per picture. At least two: one row takes another kernel, whose sums end in other bits.
    pub(super) rows: usize,
    /// Tokens per text, `[PAD]` included.
    pub(super) tokens: usize,
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
        let similarity = match manifest.family {
            Family::Blip | Family::Clip | Family::Coca => Similarity::Cosine,
            Family::Filip => Similarity::Tokens {
                width: manifest.vision.features.unwrap_or(1),
            },
        };
        let has_head = manifest.family == Family::Blip;
        let opener = Opener::new(package, sessions, if has_head { "matcher" } else { "text" })?;
        let (side, tokens) = (manifest.image.size as usize, manifest.vision.tokens);
        let encoder = if has_head {
            Encoder::open(&opener, side, tokens)?
        } else {
            Encoder::without_cross(&opener, side, tokens)?
        };
        let head = has_head.then(|| -> Result<Head, ModelError> {
            let first_token = match options.first_token {
                FirstToken::Cls => manifest.tokens.cls,
                FirstToken::Enc => manifest.tokens.enc.ok_or_else(|| {
                    unusable("its tokenizer has no [ENC]; choose the first token `cls`")
                })?,
            };
            Ok(Head {
                graph: opener.open("matcher", &["itm_logits"])?,
                first_token,
            })
        });
        Ok(Self {
            encoder,
            head: head.transpose()?,
            text: opener.open("text", &["text_feat"])?,
            similarity,
            pad: manifest.tokens.pad,
            most_tokens: manifest.judged_tokens(),
            // The class token of a CoCa text may look at the pad behind the text.
            fewest_pads: usize::from(manifest.family == Family::Coca),
            device: opener.chosen().to_owned(),
        })
    }

    /// Pictures with as many texts and as long ones are judged together. Neither number shows in a
    /// score: rows of other texts and `[PAD]` change no bit on the CPU (tested).
    pub(super) fn shape(&self, texts: &[Vec<u32>]) -> Shape {
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let tokens = if self.device == "cpu" {
            let padded = longest + self.fewest_pads;
            padded.next_multiple_of(PADDING).min(self.most_tokens)
        } else {
            self.most_tokens
        };
        Shape {
            rows: texts.len().max(2),
            tokens,
        }
    }

    /// Judges pictures whose texts have one shape.
    pub(super) fn judge(
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
        let mut features = self.text_features(shape.tokens, &texts)?.into_iter();
        let mut logits = match &mut self.head {
            Some(head) => head.logits(shape, questions, &encoded, self.pad)?,
            None => Vec::new(),
        }
        .into_iter();
        let width = encoded.features.len() / questions.len().max(1);
        let similarity = self.similarity;
        let judged = questions
            .iter()
            .zip(encoded.features.chunks(width.max(1)))
            .map(|(question, image)| {
                // Rows beyond a picture's texts mean nothing.
                let mut logits = logits
                    .by_ref()
                    .take(shape.rows)
                    .collect::<Vec<_>>()
                    .into_iter();
                features
                    .by_ref()
                    .take(question.texts.len())
                    .map(|text| {
                        let logits = logits.next();
                        TextScore {
                            match_probability: logits.map(probability),
                            match_logit: logits.map(|logits| logits[1]),
                            similarity: similarity.of(image, &text),
                        }
                    })
                    .collect()
            })
            .collect();
        Ok(judged)
    }

    /// Features of texts, filled up to `tokens` each; where every token has features, those of pads
    /// are left out.
    fn text_features(
        &mut self,
        tokens: usize,
        texts: &[&[u32]],
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let (ids, mask) = padded(texts, tokens, self.pad);
        bind_texts(&mut self.text, tokens, ids, mask)?;
        let features = single(&mut self.text)?;
        let each = (features.len() / texts.len().max(1)).max(1);
        let features = features.chunks(each).zip(texts);
        let of_text = |(features, text): (&[f32], &&[u32])| match self.similarity {
            Similarity::Cosine => features.to_vec(),
            Similarity::Tokens { width } => features[..text.len() * width].to_vec(),
        };
        Ok(features.map(of_text).collect())
    }
}

impl Head {
    /// Logits for "they do not match" and "they match", `rows` for each picture.
    fn logits(
        &mut self,
        shape: Shape,
        questions: &[&Question],
        encoded: &Encoded,
        pad: u32,
    ) -> Result<Vec<[f32; 2]>, ModelError> {
        for (name, value) in &encoded.cross {
            self.graph.bind(name, value)?;
        }
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
        let (mut ids, mask) = padded(&texts, shape.tokens, pad);
        for row in ids.chunks_mut(shape.tokens) {
            row[0] = i64::from(self.first_token);
        }
        bind_texts(&mut self.graph, shape.tokens, ids, mask)?;
        Ok(single(&mut self.graph)?.as_chunks().0.to_vec())
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
            if let Some(head) = &mut self.head {
                head.graph.release();
            }
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
        features
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

/// Second value of the softmax of two logits.
pub(super) fn probability(logits: [f32; 2]) -> f32 {
    let (other, matched) = (f64::from(logits[0]), f64::from(logits[1]));
    #[expect(clippy::cast_possible_truncation, reason = "a probability in f32")]
    let probability = (1.0 / (1.0 + (other - matched).exp())) as f32;
    probability
}
