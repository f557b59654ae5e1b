//! The text transformer: BERT with cross-attention, post-norm.

use burn::tensor::{Tensor, module};

use super::{Blip, Role, Sharing, TEXT_EPSILON};
use crate::layers::{
    Activation, Declared, Dropout, KeyValue, dropout, embed, layer_norm, linear, vector,
};
use crate::operation::{Mask, attention};
use crate::parameters::Parameters;
use crate::tokens::Tokens;

/// Parts of the layers that are shared or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    SelfAttention,
    CrossAttention,
    /// Embeddings and the two matrices of every layer.
    Rest,
}

/// Name of the LM head.
const HEAD: &str = "text_decoder.cls.predictions";

impl Role {
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Encoder => "text_encoder",
            Self::Decoder => "text_decoder.bert",
        }
    }
}

impl Part {
    /// The part that a name below a role's prefix belongs to.
    pub(crate) fn of(name: &str) -> Self {
        if name.contains(".crossattention.") {
            Self::CrossAttention
        } else if name.contains(".attention.") {
            Self::SelfAttention
        } else {
            Self::Rest
        }
    }
}

impl Blip {
    /// Whose parameters `role` works with in `part`.
    pub(crate) fn owner(&self, role: Role, part: Part) -> Role {
        let own = match self.sharing {
            Sharing::None => true,
            Sharing::All => false,
            Sharing::AllButSelfAttention => part == Part::SelfAttention,
            Sharing::AllButCrossAttention => part == Part::CrossAttention,
        };
        if role == Role::Encoder || own || !self.has_encoder() {
            role
        } else {
            Role::Encoder
        }
    }

    /// Full name of what is called `name` below a role's prefix.
    fn name(&self, role: Role, name: &str) -> String {
        format!("{}.{name}", self.owner(role, Part::of(name)).prefix())
    }

    /// The name below a role's prefix of parameter `name`, if `role` works with it.
    pub(crate) fn plays<'a>(&self, role: Role, name: &'a str) -> Option<&'a str> {
        [Role::Encoder, Role::Decoder]
            .into_iter()
            .find_map(|owner| {
                let rest = name.strip_prefix(owner.prefix())?.strip_prefix('.')?;
                (self.owner(role, Part::of(rest)) == owner).then_some(rest)
            })
    }

    /// Names below a role's prefix, with the matrices of a checkpoint.
    pub(super) fn declare_text(&self, declared: &mut Declared, vocabulary: usize) {
        let width = self.text.width;
        let mut of_a_role = Declared::new(declared.deviation);
        let embeddings = "embeddings";
        for (table, rows) in [("word", vocabulary), ("position", self.text.positions)] {
            let table = format!("{embeddings}.{table}_embeddings.weight");
            of_a_role.table(&table, &[rows, width], declared.deviation);
        }
        of_a_role.layer_norm(&format!("{embeddings}.LayerNorm"), width);
        for layer in 0..self.text.layers {
            let layer = format!("encoder.layer.{layer}");
            for (block, source) in [("attention", width), ("crossattention", self.vision.width)] {
                let block = format!("{layer}.{block}");
                of_a_role.linear(&format!("{block}.self.query"), width, width);
                of_a_role.linear(&format!("{block}.self.key"), width, source);
                of_a_role.linear(&format!("{block}.self.value"), width, source);
                of_a_role.linear(&format!("{block}.output.dense"), width, width);
                of_a_role.layer_norm(&format!("{block}.output.LayerNorm"), width);
            }
            of_a_role.linear(
                &format!("{layer}.intermediate.dense"),
                self.text.hidden(),
                width,
            );
            of_a_role.linear(&format!("{layer}.output.dense"), width, self.text.hidden());
            of_a_role.layer_norm(&format!("{layer}.output.LayerNorm"), width);
        }
        let roles = [
            (Role::Encoder, self.has_encoder()),
            (Role::Decoder, self.has_decoder()),
        ];
        for role in roles
            .into_iter()
            .filter(|(_, there)| *there)
            .map(|(role, _)| role)
        {
            let own = of_a_role
                .list
                .iter()
                .filter(|declaration| self.owner(role, Part::of(&declaration.name)) == role);
            declared.list.extend(own.map(|declaration| {
                let mut own = declaration.clone();
                own.name = self.name(role, &declaration.name);
                own
            }));
        }
        if self.has_decoder() {
            declared.constant(&format!("{HEAD}.bias"), &[vocabulary], 0.0);
            declared.linear(&format!("{HEAD}.transform.dense"), width, width);
            declared.layer_norm(&format!("{HEAD}.transform.LayerNorm"), width);
        }
    }

    /// Keys and values of image tokens `[B, N, Dv]` for every layer. They are made once and serve
    /// every text that looks at the picture.
    pub(crate) fn cross(
        &self,
        weights: &Parameters,
        role: Role,
        image: &Tensor<3>,
    ) -> Vec<KeyValue> {
        (0..self.text.layers)
            .map(|layer| {
                let part = |part: &str| {
                    let name = format!("encoder.layer.{layer}.crossattention.self.{part}");
                    linear(weights, &self.name(role, &name), image.clone())
                };
                KeyValue {
                    key: part("key"),
                    value: part("value"),
                }
            })
            .collect()
    }

    /// Texts to tokens `[B, T, W]`: of the text alone, or grounded in pictures by `cross`.
    pub(crate) fn text(
        &self,
        weights: &Parameters,
        role: Role,
        tokens: &Tokens,
        cross: Option<&[KeyValue]>,
        dropped: Option<&Dropout>,
    ) -> Tensor<3> {
        let device = weights
            .get(&self.name(role, "embeddings.LayerNorm.bias"))
            .device();
        let named = |name: &str| self.name(role, name);
        let words = embed(
            weights,
            &named("embeddings.word_embeddings.weight"),
            tokens.tensor(&device),
        );
        let places = weights
            .get(&named("embeddings.position_embeddings.weight"))
            .narrow(0, 0, tokens.width());
        let x = words + places.unsqueeze::<3>();
        let x = layer_norm(weights, &named("embeddings.LayerNorm"), x, TEXT_EPSILON);
        let mut x = dropout(x, dropped);
        let mask = Mask::of_lengths(tokens.lengths(), tokens.width(), role == Role::Decoder);
        for number in 0..self.text.layers {
            let layer = format!("encoder.layer.{number}");
            let block = format!("{layer}.attention");
            let part = |part: &str, x: &Tensor<3>| {
                linear(weights, &named(&format!("{block}.self.{part}")), x.clone())
            };
            let kv = KeyValue {
                key: part("key", &x),
                value: part("value", &x),
            };
            let seen = attention(part("query", &x), kv, self.text.heads, Some(&mask), dropped);
            x = self.joined(weights, role, &format!("{block}.output"), x, seen, dropped);
            if let Some(cross) = cross {
                let block = format!("{layer}.crossattention");
                let query = linear(weights, &named(&format!("{block}.self.query")), x.clone());
                let seen = attention(query, cross[number].clone(), self.text.heads, None, dropped);
                x = self.joined(weights, role, &format!("{block}.output"), x, seen, dropped);
            }
            let hidden = linear(
                weights,
                &named(&format!("{layer}.intermediate.dense")),
                x.clone(),
            );
            let hidden = Activation::Gelu.of(hidden);
            x = self.joined(
                weights,
                role,
                &format!("{layer}.output"),
                x,
                hidden,
                dropped,
            );
        }
        x
    }

    /// LN(x + W y): how every part of a layer joins the stream.
    fn joined(
        &self,
        weights: &Parameters,
        role: Role,
        name: &str,
        x: Tensor<3>,
        y: Tensor<3>,
        dropped: Option<&Dropout>,
    ) -> Tensor<3> {
        let y = linear(weights, &self.name(role, &format!("{name}.dense")), y);
        let norm = self.name(role, &format!("{name}.LayerNorm"));
        layer_norm(weights, &norm, x + dropout(y, dropped), TEXT_EPSILON)
    }

    /// Tokens `[R, W]` to logits `[R, V]` over words, whose matrix is that of the word embeddings.
    pub(crate) fn word_logits(&self, weights: &Parameters, rows: Tensor<2>) -> Tensor<2> {
        let x = linear(
            weights,
            &format!("{HEAD}.transform.dense"),
            rows.unsqueeze_dim(0),
        );
        let x = Activation::Gelu.of(x);
        let x = layer_norm(
            weights,
            &format!("{HEAD}.transform.LayerNorm"),
            x,
            TEXT_EPSILON,
        );
        let words = weights.get(&self.name(Role::Decoder, "embeddings.word_embeddings.weight"));
        let bias = vector(weights, &format!("{HEAD}.bias"));
        module::linear(x, words.transpose(), Some(bias)).squeeze_dim(0)
    }
}
