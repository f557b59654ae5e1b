//! Pictures to what the text side attends to: image tokens, then keys and values per layer.

use ort::value::{DynValue, Tensor};

use crate::error::ModelError;
use crate::graph::{Graph, Opener};

/// Image tokens that the image encoder sees at once on the CPU, per four threads.
///
/// More only leave the caches: at BLIP-base's size (577 tokens a picture, two cores) one picture at a
/// time took 0.80 s of processor time each, four at a time 0.87 (fp32), and 0.37 against 0.44 (int8).
const CPU_TOKENS: usize = 600;

/// The graph `vision` of a package, and `cross` where the text side attends to pictures.
pub(crate) struct Encoder {
    vision: Graph,
    cross: Option<Graph>,
    side: usize,
    /// Pictures that `vision` sees at once; all of the batch when `None`.
    at_once: Option<usize>,
}

/// What the text side needs of a batch of pictures.
pub(crate) struct Encoded {
    /// `cross_key.{j}` and `cross_value.{j}`, `[B, h, N, d]`, with the names of their inputs; none where
    /// the text side sees no picture.
    pub(crate) cross: Vec<(String, DynValue)>,
    /// Features for the similarity, `[B, E]` flat, in FILIP `[B, N, E]`; empty for a captioner.
    pub(crate) features: Vec<f32>,
}

impl Encoder {
    /// Opens both graphs; `side` is the picture's side in pixels, `tokens` the image tokens of a
    /// picture.
    pub(crate) fn open(
        opener: &Opener<'_>,
        side: usize,
        tokens: usize,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            cross: Some(opener.open("cross", &[])?),
            ..Self::without_cross(opener, side, tokens)?
        })
    }

    /// The same for a package whose text side sees no picture.
    pub(crate) fn without_cross(
        opener: &Opener<'_>,
        side: usize,
        tokens: usize,
    ) -> Result<Self, ModelError> {
        let on_cpu = opener.chosen() == "cpu";
        Ok(Self {
            vision: opener.open(
                "vision",
                if on_cpu {
                    &["image_embeds", "image_feat"]
                } else {
                    &["image_feat"]
                },
            )?,
            cross: None,
            side,
            at_once: on_cpu.then(|| {
                let quads = opener.threads().div_ceil(4);
                (CPU_TOKENS * quads / tokens.max(1)).max(1)
            }),
        })
    }

    /// Values of one picture's pixels.
    pub(crate) fn pixels(&self) -> usize {
        3 * self.side * self.side
    }

    /// Encodes a batch; every picture has [`Encoder::pixels`] values, `[3, S, S]`.
    pub(crate) fn encode(&mut self, pictures: &[&[f32]]) -> Result<Encoded, ModelError> {
        let (parts, features) = self.see(pictures)?;
        self.vision.release();
        let mut keys = Vec::new();
        if let Some(cross) = &mut self.cross {
            let embeds = joined(parts, &self.vision)?;
            cross.bind("image_embeds", &embeds)?;
            let outputs = cross.run()?;
            keys.extend(cross.outputs().iter().cloned().zip(outputs));
            cross.release();
        }
        Ok(Encoded {
            cross: keys,
            features,
        })
    }

    /// Only the features of a batch, `[B, E]` flat, with the same bits.
    pub(crate) fn features(&mut self, pictures: &[&[f32]]) -> Result<Vec<f32>, ModelError> {
        let (_, features) = self.see(pictures)?;
        self.vision.release();
        Ok(features)
    }

    /// Runs `vision`: image tokens in parts `[.., N, Dv]`, and features `[B, E]` flat.
    fn see(&mut self, pictures: &[&[f32]]) -> Result<(Vec<DynValue>, Vec<f32>), ModelError> {
        let at_once = self.at_once.unwrap_or(pictures.len()).max(1);
        let mut features = Vec::new();
        let mut parts = Vec::new();
        for pictures in pictures.chunks(at_once) {
            let mut pixels = Vec::with_capacity(pictures.len() * self.pixels());
            for picture in pictures {
                pixels.extend_from_slice(picture);
            }
            let shape = [pictures.len(), 3, self.side, self.side];
            let pixels = Tensor::from_array((shape, pixels)).map_err(|e| self.vision.failed(&e))?;
            self.vision.bind("pixel_values", &pixels.into_dyn())?;
            let outputs = self.vision.run()?;
            let mut embeds = None;
            for (name, value) in self.vision.outputs().iter().zip(outputs) {
                if name == "image_feat" {
                    let (_, values) = value
                        .try_extract_tensor::<f32>()
                        .map_err(|e| self.vision.failed(&e))?;
                    features.extend_from_slice(values);
                } else {
                    embeds = Some(value);
                }
            }
            parts.extend(embeds);
        }
        if features.iter().any(|feature| !feature.is_finite()) {
            return Err(ModelError::NotFinite { graph: "vision" });
        }
        Ok((parts, features))
    }
}

/// The image tokens of all pictures as one value `[B, N, Dv]`.
fn joined(mut parts: Vec<DynValue>, vision: &Graph) -> Result<DynValue, ModelError> {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    let mut shape = Vec::new();
    let mut joined = Vec::new();
    let mut pictures = 0;
    for part in &parts {
        let (part_shape, values) = part
            .try_extract_tensor::<f32>()
            .map_err(|e| vision.failed(&e))?;
        pictures += part_shape[0];
        shape = part_shape.to_vec();
        joined.extend_from_slice(values);
    }
    if let Some(first) = shape.first_mut() {
        *first = pictures;
    }
    let tensor = Tensor::from_array((shape, joined)).map_err(|e| vision.failed(&e))?;
    Ok(tensor.into_dyn())
}
