//! The image encoder: a pre-norm vision transformer.

use super::config::Vision;
use super::position;
use crate::emit::Emitter;
use crate::error::ImportError;
use crate::graph::{Value, axis};

const MODEL: &str = "vision_model";

impl Emitter<'_, '_> {
    /// `pixel_values` [B, 3, S, S] to image tokens [B, N, Dv].
    pub(super) fn vision(&mut self, pixels: &Value, config: &Vision) -> Result<Value, ImportError> {
        let mut x = self.patch_embedding(pixels, config)?;
        for layer in 0..config.layers {
            x = self.vision_block(&x, config, layer)?;
        }
        self.layer_norm(
            &x,
            &format!("{MODEL}.post_layernorm"),
            config.width,
            config.eps,
        )
    }

    fn patch_embedding(&mut self, pixels: &Value, config: &Vision) -> Result<Value, ImportError> {
        let (width, patch) = (config.width, config.patch);
        let name = format!("{MODEL}.embeddings.patch_embedding");
        let kernel = self
            .parameters
            .table(&format!("{name}.weight"), &[width, 3, patch, patch])?;
        let bias = self.parameters.vector(&[format!("{name}.bias")], width)?;
        let kernel = self.constant(&kernel);
        let bias = self.constant(&bias);
        let x = self
            .graph
            .patches(pixels, &kernel, Some(&bias), axis(patch));
        let x = self.graph.reshape(&x, &[0, axis(width), -1]);
        let x = self.graph.transpose(&x, &[0, 2, 1]);
        // A row of zeros takes the class token, which the table brings along.
        let x = self.graph.pad(&x, &[0, 1, 0], &[0, 0, 0]);
        let table = self.position_table(config)?;
        Ok(self.graph.add(&x, &table))
    }

    /// Position table [N, Dv] at the package's picture size, with the class token added to row 0.
    fn position_table(&mut self, config: &Vision) -> Result<Value, ImportError> {
        let key = format!("{MODEL}.embeddings.class_embedding+position_embedding");
        let tokens = config.tokens();
        if let Some(stored) = self.parameters.file.get(&key) {
            return Ok(self.constant(&stored));
        }
        let checkpoint = self.parameters.checkpoint;
        let trained = Vision {
            size: config.trained_size,
            ..config.clone()
        }
        .tokens();
        let width = config.width;
        let table = checkpoint.read(
            &format!("{MODEL}.embeddings.position_embedding"),
            &[1, trained, width],
        )?;
        let class = checkpoint.read(
            &format!("{MODEL}.embeddings.class_embedding"),
            &[1, 1, width],
        )?;
        let from = config.trained_size / config.patch;
        let to = config.size / config.patch;
        let mut table = position::resize(&table, width, from, to);
        for (value, class) in table.iter_mut().zip(&class) {
            *value += class;
        }
        let stored = self.parameters.file.f32(&key, &[tokens, width], &table)?;
        Ok(self.constant(&stored))
    }

    fn vision_block(
        &mut self,
        x: &Value,
        config: &Vision,
        layer: usize,
    ) -> Result<Value, ImportError> {
        let name = format!("{MODEL}.encoder.layers.{layer}");
        let (width, heads, inner) = (config.width, config.heads, config.inner);
        let normed = self.layer_norm(x, &format!("{name}.layer_norm1"), width, config.eps)?;
        let qkv = self.linear(&normed, &format!("{name}.self_attn.qkv"), width, 3 * width)?;
        let parts = self.split_heads(&qkv, 3, heads, width);
        let mixed = self.attention(&parts[0], &parts[1], &parts[2], None, width / heads);
        let mixed = self.join_heads(&mixed, width);
        let mixed = self.linear(
            &mixed,
            &format!("{name}.self_attn.projection"),
            width,
            width,
        )?;
        let x = self.graph.add(x, &mixed);
        let normed = self.layer_norm(&x, &format!("{name}.layer_norm2"), width, config.eps)?;
        let hidden = self.linear(&normed, &format!("{name}.mlp.fc1"), width, inner)?;
        let hidden = self.graph.gelu(&hidden);
        let hidden = self.linear_of_gelu(&hidden, &format!("{name}.mlp.fc2"), inner, width)?;
        Ok(self.graph.add(&x, &hidden))
    }
}
