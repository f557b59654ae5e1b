//! Captions for pictures.

use std::sync::Arc;

use capfilt_image::Preprocess;
use capfilt_onnx::{Package, Task, Texts};

use crate::decoder::{Decoder, DecoderSizes};
use crate::decoding::Decoding;
use crate::encoder::Encoder;
use crate::error::ModelError;
use crate::graph::{Opener, SessionOptions};
use crate::queue::{Engine, Queue, usual_batch};
use crate::search::{Hypothesis, Search, Start};

/// How captions are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaptionOptions {
    /// How a caption is found; the package's way by default.
    pub decoding: Option<Decoding>,
    /// Text that every caption starts with; the package's by default, none when empty.
    pub prompt: Option<String>,
    /// Pictures that are captioned at once; by default 8 on the CPU, where more gain little and take
    /// memory, and 32 elsewhere.
    pub batch: Option<usize>,
}

/// A caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Caption {
    /// The text without the prompt.
    pub text: String,
    /// All tokens: start token, prompt, new tokens and, unless the longest length was reached,
    /// `[SEP]`.
    pub token_ids: Vec<u32>,
    /// Sum over the new tokens (`[SEP]` included) of the model's own log-probability, that is of the
    /// log-softmax of the unedited logits, whatever penalties and cuts chose the token.
    pub log_prob: f32,
}

/// A handle to a captioner. Clones share one model.
#[derive(Clone)]
pub struct Captioner {
    queue: Queue<CaptionEngine>,
    about: Arc<About>,
}

struct About {
    preprocess: Preprocess,
    device: String,
    decoding: Decoding,
    prompt: String,
    pixels: usize,
}

/// A picture and the seed of its draws.
pub(crate) struct Question {
    pixels: Vec<f32>,
    seed: [u8; 32],
}

impl Captioner {
    /// Opens a package. Reads files and blocks for as long as the runtime needs to load the graphs.
    pub fn open(
        package: &Package,
        options: &CaptionOptions,
        sessions: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let engine = CaptionEngine::open(package, options, sessions)?;
        let about = About {
            preprocess: package.manifest.image.clone(),
            device: engine.device.clone(),
            decoding: engine.decoding.clone(),
            prompt: engine.prompt.clone(),
            pixels: engine.encoder.pixels(),
        };
        let batch = options.batch.unwrap_or_else(|| usual_batch(&engine.device));
        let queue = Queue::start("captioner", batch, engine)?;
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

    /// How captions are found, the package's defaults filled in.
    pub fn decoding(&self) -> &Decoding {
        &self.about.decoding
    }

    /// The prompt, the package's default filled in.
    pub fn prompt(&self) -> &str {
        &self.about.prompt
    }

    /// Captions one picture, `pixels` as [`Preprocess::tensor`] gives them, `[3, S, S]`.
    ///
    /// `seed` is that of the random draws ([`row_seed`](crate::row_seed)); only nucleus sampling
    /// uses it. On the CPU the caption is the same, bit for bit, whatever shares its batch.
    pub async fn caption(&self, pixels: Vec<f32>, seed: [u8; 32]) -> Result<Caption, ModelError> {
        if pixels.len() != self.about.pixels {
            let (got, expected) = (pixels.len(), self.about.pixels);
            return Err(ModelError::Pixels { got, expected });
        }
        self.queue.ask(Question { pixels, seed }).await
    }
}

/// The captioner's graphs and everything that surrounds them, on their thread.
pub(crate) struct CaptionEngine {
    pub(crate) encoder: Encoder,
    pub(crate) decoder: Decoder,
    texts: Texts,
    decoding: Decoding,
    prompt: String,
    prompt_tokens: Vec<u32>,
    device: String,
}

impl CaptionEngine {
    pub(crate) fn open(
        package: &Package,
        options: &CaptionOptions,
        sessions: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let manifest = &package.manifest;
        let unusable = |reason: String| ModelError::Package {
            package: package.folder.display().to_string(),
            reason,
        };
        if !manifest.tasks.contains(&Task::Captioner) {
            return Err(unusable(
                "it has no captioner; import one with `--task captioner`".into(),
            ));
        }
        let texts = Texts::of(package).map_err(|error| unusable(error.to_string()))?;
        let decoding = match (&options.decoding, &manifest.decoding) {
            (Some(asked), _) => asked.clone(),
            (None, serde_json::Value::Null) => Decoding::default(),
            (None, stated) => serde_json::from_value(stated.clone())
                .map_err(|error| unusable(format!("its `decoding` is not ours: {error}")))?,
        };
        let prompt = options
            .prompt
            .clone()
            .unwrap_or_else(|| manifest.prompt.clone());
        let prompt_tokens = texts
            .prompt(&prompt)
            .map_err(|error| unusable(error.to_string()))?;
        let text = &manifest.text;
        decoding.check_model(prompt_tokens.len(), text.positions, text.vocabulary)?;
        let sizes = DecoderSizes {
            heads: text.heads,
            head: text.width / text.heads.max(1),
            vocabulary: text.vocabulary,
            pad: manifest.tokens.pad,
        };
        let opener = Opener::new(package, sessions, "decoder")?;
        Ok(Self {
            encoder: Encoder::open(
                &opener,
                manifest.image.size as usize,
                manifest.vision.tokens,
            )?,
            decoder: Decoder::open(&opener, sizes)?,
            texts,
            decoding,
            prompt,
            prompt_tokens,
            device: opener.chosen().to_owned(),
        })
    }

    /// Captions in tokens.
    pub(crate) fn hypotheses(
        &mut self,
        pictures: &[&[f32]],
        seeds: &[[u8; 32]],
    ) -> Result<Vec<Hypothesis>, ModelError> {
        let encoded = self.encoder.encode(pictures)?;
        let searches = seeds
            .iter()
            .map(|&seed| {
                let end = self.texts.tokens().sep;
                Search::new(
                    &self.decoding,
                    Start {
                        prompt: &self.prompt_tokens,
                        end,
                        seed,
                    },
                )
            })
            .collect();
        self.decoder.decode(encoded, &self.prompt_tokens, searches)
    }
}

impl Engine for CaptionEngine {
    type Question = Question;
    type Reply = Caption;

    fn answer(&mut self, batch: Vec<Question>) -> Result<Vec<Caption>, ModelError> {
        let pictures: Vec<&[f32]> = batch
            .iter()
            .map(|question| question.pixels.as_slice())
            .collect();
        let seeds: Vec<[u8; 32]> = batch.iter().map(|question| question.seed).collect();
        self.hypotheses(&pictures, &seeds)?
            .into_iter()
            .map(|found| {
                let text = self
                    .texts
                    .caption(&found.tokens, self.prompt_tokens.len())
                    .map_err(|error| ModelError::Text(error.to_string()))?;
                Ok(Caption {
                    text,
                    token_ids: found.tokens,
                    log_prob: found.log_prob,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
