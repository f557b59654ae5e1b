//! The image encoder: a vision transformer, and `CoCa`'s queries that look at its tokens.

use super::config::{Config, Pooler, Vision};
use super::tower::EPSILON;
use crate::checkpoint::part;
use crate::emit::{Emitter, Layers, Parameters};
use crate::error::ImportError;
use crate::graph::{Value, axis};
use crate::weights::Stored;

/// Tokens that are wanted after pooling: rows `first` to `end`.
pub(super) type Wanted = std::ops::Range<usize>;

impl Emitter<'_, '_> {
    /// `pixel_values` [B, 3, S, S] to the `wanted` of the pooled and normalised image tokens.
    pub(super) fn image_tokens(
        &mut self,
        pixels: &Value,
        config: &Config,
        wanted: Wanted,
    ) -> Result<Value, ImportError> {
        let vision = &config.vision;
        let x = self.patch_embedding_of(pixels, vision)?;
        let x = self.blocks(&vision.tower, x, None)?;
        let x = match vision.pooler {
            Some(pooler) => self.pool(&x, config, pooler, wanted)?,
            None if wanted == (0..vision.tokens()) => x,
            None => self.rows(&x, wanted, 1),
        };
        self.layer_norm(&x, "visual.ln_post", config.image_width(), EPSILON)
    }

    fn patch_embedding_of(
        &mut self,
        pixels: &Value,
        vision: &Vision,
    ) -> Result<Value, ImportError> {
        let (width, patch, tokens) = (vision.tower.width, vision.patch, vision.tokens());
        let kernel = self
            .parameters
            .table("visual.conv1.weight", &[width, 3, patch, patch])?;
        let kernel = self.constant(&kernel);
        let x = self.graph.patches(pixels, &kernel, None, axis(patch));
        let x = self.graph.reshape(&x, &[0, axis(width), -1]);
        let x = self.graph.transpose(&x, &[0, 2, 1]);
        // A row of zeros takes the class token, which the table brings along.
        let x = self.graph.pad(&x, &[0, 1, 0], &[0, 0, 0]);
        let table = self.parameters.image_places(tokens, width)?;
        let table = self.constant(&table);
        let x = self.graph.add(&x, &table);
        if vision.ln_pre {
            self.layer_norm(&x, "visual.ln_pre", width, EPSILON)
        } else {
            Ok(x)
        }
    }

    /// What the `wanted` queries see in image tokens x [B, N, W]: [B, wanted, E].
    fn pool(
        &mut self,
        x: &Value,
        config: &Config,
        pooler: Pooler,
        wanted: Wanted,
    ) -> Result<Value, ImportError> {
        const NAME: &str = "visual.attn_pool";
        let (width, embed) = (config.vision.tower.width, config.embed);
        // Where both widths are equal, the three matrices are one tensor.
        let weight = |(index, name): &(usize, &str)| {
            if width == embed {
                part(&format!("{NAME}.attn.in_proj_weight"), *index, 3)
            } else {
                format!("{NAME}.attn.{name}_proj_weight")
            }
        };
        let bias =
            |(index, _): &(usize, &str)| part(&format!("{NAME}.attn.in_proj_bias"), *index, 3);
        let layers = |parts: &[(usize, &str)]| Layers {
            weights: parts.iter().map(weight).collect(),
            biases: parts.iter().map(bias).collect(),
        };
        let table = self
            .parameters
            .table(&format!("{NAME}.query"), &[pooler.queries, embed])?;
        let query = self.constant(&table);
        let query = self
            .graph
            .reshape(&query, &[1, axis(pooler.queries), axis(embed)]);
        let query = self.rows(&query, wanted, 1);
        let query = self.layer_norm(&query, &format!("{NAME}.ln_q"), embed, EPSILON)?;
        let query = self.linears_of(&query, &layers(&[(0, "q")]), embed, embed)?;
        let query = self
            .split_heads(&query, 1, pooler.heads, embed)
            .swap_remove(0);
        let x = self.layer_norm(x, &format!("{NAME}.ln_k"), width, EPSILON)?;
        let keys = self.linears_of(&x, &layers(&[(1, "k"), (2, "v")]), width, embed)?;
        let keys = self.split_heads(&keys, 2, pooler.heads, embed);
        let mixed = self.attention(&query, &keys[0], &keys[1], None, embed / pooler.heads);
        let mixed = self.join_heads(&mixed, embed);
        self.linear(&mixed, &format!("{NAME}.attn.out_proj"), embed, embed)
    }

    /// Rows of x along `axis`.
    fn rows(&mut self, x: &Value, rows: Wanted, along: i64) -> Value {
        let start = self.graph.ints(&[axis(rows.start)]);
        let end = self.graph.ints(&[axis(rows.end)]);
        self.graph.slice(x, &start, &end, along)
    }
}

impl Parameters<'_> {
    /// Position table [N, W] with the class token added to row 0.
    fn image_places(&mut self, tokens: usize, width: usize) -> Result<Stored, ImportError> {
        let mut table = self
            .checkpoint
            .read("visual.positional_embedding", &[tokens, width])?;
        let class = self.checkpoint.read("visual.class_embedding", &[width])?;
        for (value, class) in table.iter_mut().zip(&class) {
            *value += class;
        }
        let key = "visual.class_embedding+positional_embedding";
        self.file.f32(key, &[tokens, width], &table)
    }
}
