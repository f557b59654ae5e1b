//! The head that predicts words: from the last token's features to one logit per word.

use super::DECODER;
use super::config::Text;
use crate::emit::{Emitter, Parameters};
use crate::error::ImportError;
use crate::graph::Value;

const HEAD: &str = "text_decoder.cls.predictions";

impl Parameters<'_> {
    /// Name of the word embeddings of a text transformer. The output words are tied to them, and
    /// safetensors files may hold either of the two.
    pub(super) fn words_name(&self, body: &str) -> String {
        let own = format!("{body}.embeddings.word_embeddings.weight");
        let tied = format!("{HEAD}.decoder.weight");
        if body == DECODER && !self.checkpoint.contains(&own) && self.checkpoint.contains(&tied) {
            tied
        } else {
            own
        }
    }

    /// Name of the output words: the word embeddings, unless the file has others.
    fn output_words_name(&self, config: &Text) -> Result<String, ImportError> {
        let own = format!("{HEAD}.decoder.weight");
        let tied = self.words_name(DECODER);
        if own == tied || !self.checkpoint.contains(&own) {
            return Ok(tied);
        }
        let shape = [config.vocabulary, config.width];
        if self.checkpoint.read(&own, &shape)? == self.checkpoint.read(&tied, &shape)? {
            return Ok(tied);
        }
        tracing::warn!(
            tensor = own,
            "differs from the word embeddings that it should equal; it is used for the output"
        );
        Ok(own)
    }

    /// Name of the output words' bias, which has two.
    fn output_bias_name(&self, config: &Text) -> Result<String, ImportError> {
        let (own, alias) = (format!("{HEAD}.bias"), format!("{HEAD}.decoder.bias"));
        if !self.checkpoint.contains(&alias) {
            return Ok(own);
        }
        if !self.checkpoint.contains(&own) {
            return Ok(alias);
        }
        let size = [config.vocabulary];
        if self.checkpoint.read(&own, &size)? != self.checkpoint.read(&alias, &size)? {
            tracing::warn!(tensor = alias, "differs from `{own}`, which is used");
        }
        Ok(own)
    }
}

impl Emitter<'_, '_> {
    /// x [R, H] to logits [R, V].
    pub(super) fn language_model_head(
        &mut self,
        x: &Value,
        config: &Text,
    ) -> Result<Value, ImportError> {
        let width = config.width;
        let x = self.linear(x, &format!("{HEAD}.transform.dense"), width, width)?;
        let x = self.graph.gelu(&x);
        let x = self.layer_norm(
            &x,
            &format!("{HEAD}.transform.LayerNorm"),
            width,
            config.eps,
        )?;
        let words = self.parameters.output_words_name(config)?;
        let bias = self.parameters.output_bias_name(config)?;
        self.linear_by_rows(&x, &words, &bias, (width, config.vocabulary))
    }
}
