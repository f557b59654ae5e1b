//! The two encoders of CLIP and FILIP, under `open_clip`'s names: those of the text at the top level.

use burn::tensor::Tensor;

use super::sizes::{SizeError, Text, Vision, check_pairs, check_size};
use super::tower::{EPSILON, Start, Tower, unit};
use crate::layers::{Activation, Declared, embed, layer_norm};
use crate::operation::Mask;
use crate::parameters::Parameters;
use crate::tokens::Tokens;

/// What a CLIP and a FILIP have in common; they differ in what they make of the tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dual<'a> {
    pub(super) vision: &'a Vision,
    pub(super) text: &'a Text,
    /// E, features that are compared.
    pub(super) embed: usize,
    pub(super) activation: Activation,
}

impl Dual<'_> {
    /// Whether the sizes fit each other and a batch of `batch` pairs.
    pub(super) fn check(self, batch: usize) -> Result<(), SizeError> {
        self.vision.check()?;
        self.text.check()?;
        check_size("embed", self.embed)?;
        check_pairs(batch)
    }

    fn text_tower(self) -> Tower {
        Tower {
            prefix: "transformer".to_owned(),
            width: self.text.width,
            layers: self.text.layers,
            heads: self.text.heads,
            hidden: self.text.hidden(),
            activation: self.activation,
            start: Start::Clip,
        }
    }

    /// Both encoders and their projections, for a vocabulary of `vocabulary` entries.
    pub(super) fn declare(self, vocabulary: usize) -> Declared {
        let mut declared = Declared::new(0.02);
        let (seen, width) = (self.vision.width, self.text.width);
        self.vision.declare(&mut declared, self.activation);
        declared.layer_norm("visual.ln_post", seen);
        declared.table("visual.proj", &[seen, self.embed], unit(seen));
        declared.table("token_embedding.weight", &[vocabulary, width], 0.02);
        let places = [self.text.positions, width];
        declared.table("positional_embedding", &places, 0.01);
        self.text_tower().declare(&mut declared);
        declared.layer_norm("ln_final", width);
        declared.table("text_projection", &[width, self.embed], unit(width));
        declared
    }

    /// `count` image tokens from `first` on after the last norm, `[B, count, W]`.
    pub(super) fn image_tokens(
        self,
        weights: &Parameters,
        patches: Tensor<3>,
        first: usize,
        count: usize,
    ) -> Tensor<3> {
        let x = self.vision.tokens(weights, patches, self.activation);
        layer_norm(
            weights,
            "visual.ln_post",
            x.narrow(1, first, count),
            EPSILON,
        )
    }

    /// Texts to tokens `[B, T, W]` after the last norm. Every token sees those before it.
    pub(super) fn text_tokens(self, weights: &Parameters, tokens: &Tokens) -> Tensor<3> {
        let device = weights.get("positional_embedding").device();
        let words = embed(weights, "token_embedding.weight", tokens.tensor(&device));
        let places = weights.get("positional_embedding");
        let places = places.narrow(0, 0, tokens.width()).unsqueeze::<3>();
        let mask = Mask::causal(tokens.width());
        let x = self.text_tower().run(weights, words + places, Some(&mask));
        layer_norm(weights, "ln_final", x, EPSILON)
    }
}
