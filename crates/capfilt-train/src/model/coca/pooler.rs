//! Attentional pooler: learned queries that look at image tokens once.

use burn::tensor::{Tensor, module};

use crate::layers::{Declared, KeyValue, layer_norm, linear, vector};
use crate::model::tower::{EPSILON, unit, xavier};
use crate::operation::attention;
use crate::parameters::Parameters;

/// MHA(q = LN(queries), k = v = LN(tokens)), under the names of `torch.nn.MultiheadAttention`.
#[derive(Clone, Debug)]
pub(super) struct Pooler {
    pub(super) name: &'static str,
    pub(super) queries: usize,
    /// Features of a query.
    pub(super) width: usize,
    /// Features of an image token.
    pub(super) source: usize,
    pub(super) heads: usize,
}

impl Pooler {
    pub(super) fn declare(&self, declared: &mut Declared) {
        let Self {
            name,
            queries,
            width,
            source,
            ..
        } = *self;
        declared.table(&format!("{name}.query"), &[queries, width], 1.0);
        declared.layer_norm(&format!("{name}.ln_q"), width);
        declared.layer_norm(&format!("{name}.ln_k"), source);
        let mut weight = |part: &str, out: usize, input: usize| {
            let name = format!("{name}.attn.{part}");
            declared.uniform_weight(&name, &[out, input], xavier(out, input));
        };
        if source == width {
            weight("in_proj_weight", 3 * width, width);
        } else {
            // `torch` splits the matrix when keys have another width.
            weight("q_proj_weight", width, width);
            weight("k_proj_weight", width, source);
            weight("v_proj_weight", width, source);
        }
        declared.constant(&format!("{name}.attn.in_proj_bias"), &[3 * width], 0.0);
        let out = format!("{name}.attn.out_proj");
        declared.uniform_weight(&format!("{out}.weight"), &[width, width], unit(width));
        declared.constant(&format!("{out}.bias"), &[width], 0.0);
    }

    /// `[B, S, source]` to `[B, queries, width]`.
    pub(super) fn pool(&self, weights: &Parameters, tokens: Tensor<3>) -> Tensor<3> {
        let Self {
            name,
            queries,
            width,
            source,
            heads,
        } = *self;
        let batch = tokens.dims()[0];
        let tokens = layer_norm(weights, &format!("{name}.ln_k"), tokens, EPSILON);
        let query = weights.get(&format!("{name}.query")).unsqueeze::<3>();
        let query = layer_norm(weights, &format!("{name}.ln_q"), query, EPSILON);
        let bias = vector(weights, &format!("{name}.attn.in_proj_bias"));
        let project = |x: Tensor<3>, part: &str, index: usize| {
            let weight = if source == width {
                let all = weights.get(&format!("{name}.attn.in_proj_weight"));
                all.narrow(1, index * width, width)
            } else {
                weights.get(&format!("{name}.attn.{part}_proj_weight"))
            };
            module::linear(
                x,
                weight,
                Some(bias.clone().narrow(0, index * width, width)),
            )
        };
        let kv = KeyValue {
            key: project(tokens.clone(), "k", 1),
            value: project(tokens, "v", 2),
        };
        let query = project(query, "q", 0).expand([batch, queries, width]);
        let seen = attention(query, kv, heads, None, None);
        linear(weights, &format!("{name}.attn.out_proj"), seen)
    }
}
