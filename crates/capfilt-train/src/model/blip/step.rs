//! A training step of BLIP, in the order of its authors' code: student features, momentum, contrast,
//! queue, matching, language.

use burn::tensor::Tensor;
use capfilt_onnx::SpecialTokens;

use super::{Blip, Contrastive, Mode, Momentum, Negatives, Positives, Role};
use crate::layers::{Dropout, KeyValue};
use crate::model::{Losses, Pairs};
use crate::parameters::Parameters;
use crate::tokens::Tokens;

/// What a step of BLIP needs beside its parameters and its batch.
#[derive(Debug)]
pub(crate) struct BlipStep<'a> {
    /// Ids of \[DEC\] and \[ENC\].
    pub(crate) tokens: &'a SpecialTokens,
    /// The momentum model; not looked at by `finetune-captioner`.
    pub(crate) momentum: Option<&'a mut Momentum>,
    /// Weight of the momentum model's opinion in this step.
    pub(crate) alpha: f64,
    /// Tokens of the prompt, \[DEC\] included, that `finetune-captioner` does not ask for.
    pub(crate) prompt: usize,
    /// What is dropped.
    pub(crate) dropped: Option<&'a Dropout>,
}

impl Blip {
    /// The losses of a batch. `choose` draws the wrong pairs by the weights of the contrastive part.
    pub(crate) fn losses(
        &self,
        weights: &Parameters,
        pairs: &Pairs,
        step: BlipStep<'_>,
        choose: impl FnOnce(&Contrastive) -> Negatives,
    ) -> Losses {
        let dropped = step.dropped;
        let image = self.image(weights, pairs.patches.clone());
        let first = |id: Option<u32>| pairs.tokens.starting_with(id.unwrap_or(step.tokens.cls));
        let language = |cross: &[KeyValue]| {
            let tokens = first(step.tokens.dec);
            self.language_loss(weights, &tokens, cross, step.prompt, dropped)
        };
        let Some(momentum) = step.momentum else {
            let cross = self.cross(weights, Role::Decoder, &image);
            return Losses::new("lm", language(&cross), 1.0);
        };
        let cross = self.cross(weights, Role::Encoder, &image);
        let (contrast, matching) = self.encoder_losses(
            weights,
            pairs,
            (&image, &cross, first(step.tokens.enc)),
            momentum,
            (step.alpha, dropped),
            choose,
        );
        let mut losses = Losses::new("itc", contrast, 1.0);
        losses.add("itm", matching, 1.0);
        if self.has_decoder() {
            let loss = if self.shares_cross_attention() {
                language(&cross)
            } else {
                language(&self.cross(weights, Role::Decoder, &image))
            };
            losses.add("lm", loss, 1.0);
        }
        losses
    }

    fn encoder_losses(
        &self,
        weights: &Parameters,
        pairs: &Pairs,
        (image, cross, tokens): (&Tensor<3>, &[KeyValue], Tokens),
        momentum: &mut Momentum,
        (alpha, dropped): (f64, Option<&Dropout>),
        choose: impl FnOnce(&Contrastive) -> Negatives,
    ) -> (Tensor<1>, Tensor<1>) {
        let image_features = Self::image_features(weights, image);
        let text_features = self.text_features(weights, &pairs.tokens, dropped);
        momentum.weights.follow(weights, self.momentum.get());
        let positives = match self.mode {
            Mode::FinetuneFilter => Positives::Pictures,
            Mode::Pretrain | Mode::FinetuneCaptioner => Positives::Pairs,
        };
        let contrast = self.contrastive(
            weights,
            momentum,
            (&image_features, &text_features),
            (pairs.patches.clone(), &pairs.tokens),
            &pairs.pictures,
            positives,
            alpha,
            dropped,
        );
        contrast.remember(&mut momentum.queue, &pairs.pictures);
        let negatives = choose(&contrast);
        let (matching, _) = self.matching_loss(weights, &tokens, cross, &negatives, dropped);
        (contrast.loss, matching)
    }

    /// Holds the temperature in its bounds. Before every step.
    pub(crate) fn clamp(weights: &mut Parameters) {
        let (least, most) = super::TEMPERATURE_BOUNDS;
        weights.update(|declaration, value| {
            (declaration.name == "temp").then(|| value.clone().inner().clamp(least, most))
        });
    }
}
