//! How a caption is found: the options of greedy, beam and nucleus decoding.
//!
//! Lengths count every token of the sequence: the decoder's start token, the prompt, the new tokens
//! and `[SEP]`. Written in TOML as `"greedy"`, `"beam"` or `"nucleus"` (all defaults), or as a table
//! of one key: `{ nucleus = { p = 0.9, max-length = 30 } }`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, MapAccess, Unexpected, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The most beams that are accepted: a bound against typing errors, far above any use.
pub const MOST_BEAMS: u32 = 64;

/// How a caption is found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoding {
    /// The most probable token at every step.
    Greedy(Greedy),
    /// The best of several sequences that grow side by side.
    Beam(Beam),
    /// Draws from the smallest set of tokens that together reach a probability.
    Nucleus(Nucleus),
}

/// Options of greedy decoding.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Greedy {
    /// Scores of tokens that the sequence already holds are divided by this (multiplied when
    /// negative); 1 changes nothing.
    pub repetition_penalty: f32,
    /// `[SEP]` is banned while the sequence is shorter; prompt tokens count.
    pub min_length: u32,
    /// The longest sequence; prompt tokens count.
    pub max_length: u32,
}

/// Options of beam search.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Beam {
    /// How many sequences grow side by side, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub beams: u32,
    /// Log-probabilities of tokens that the sequence already holds are multiplied by this; 1
    /// changes nothing.
    pub repetition_penalty: f32,
    /// `[SEP]` is banned while the sequence is shorter; prompt tokens count.
    pub min_length: u32,
    /// The longest sequence; prompt tokens count.
    pub max_length: u32,
    /// How sequences of different length are compared.
    pub normalisation: Normalisation,
}

/// Options of nucleus sampling.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Nucleus {
    /// The smallest set of most probable tokens that together reach this probability is kept.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f32,
    /// Only this many of the most probable tokens are kept before `p` applies; 0 keeps all.
    pub top_k: u32,
    /// Scores are divided by this before the tokens are chosen.
    pub temperature: f32,
    /// Scores of tokens that the sequence already holds are divided by this (multiplied when
    /// negative); 1 changes nothing.
    pub repetition_penalty: f32,
    /// `[SEP]` is banned while the sequence is shorter; prompt tokens count.
    pub min_length: u32,
    /// The longest sequence; prompt tokens count.
    pub max_length: u32,
}

/// How beam search compares sequences of different length.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// Sum of log-probabilities over the whole length, prompt included, `[SEP]` not: what BLIP used.
    #[default]
    Blip,
    /// Sum of log-probabilities over the new tokens, `[SEP]` included: transformers 4.57 and later.
    Transformers,
}

impl Default for Greedy {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            min_length: 5,
            max_length: 20,
        }
    }
}

impl Default for Beam {
    fn default() -> Self {
        Self {
            beams: 3,
            repetition_penalty: 1.0,
            min_length: 5,
            max_length: 20,
            normalisation: Normalisation::Blip,
        }
    }
}

impl Default for Nucleus {
    fn default() -> Self {
        Self {
            p: 0.9,
            top_k: 50,
            temperature: 1.0,
            repetition_penalty: 1.1,
            min_length: 5,
            max_length: 20,
        }
    }
}

impl Default for Decoding {
    fn default() -> Self {
        Self::Nucleus(Nucleus::default())
    }
}

/// Why decoding options were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodingError {
    /// A number lies outside of its range.
    #[error("`{option}` is `{got}`, expected {expected}")]
    OutOfRange {
        /// The option's name.
        option: &'static str,
        /// Its value.
        got: String,
        /// What would do.
        expected: &'static str,
    },
    /// No room for a new token.
    #[error(
        "`max-length` is `{max_length}`, which leaves no new token after {prompt} prompt tokens; \
         lengths count the prompt, so give at least `{}`", prompt + 1
    )]
    NoRoom {
        /// The option.
        max_length: u32,
        /// Tokens before the first new one.
        prompt: usize,
    },
    /// The model has fewer positions than the longest sequence.
    #[error("`max-length` is `{max_length}`, but the model has {positions} positions")]
    TooLong {
        /// The option.
        max_length: u32,
        /// What the model has.
        positions: usize,
    },
    /// Too few tokens for so many beams.
    #[error("`beams` is `{beams}`, but a vocabulary of {vocabulary} tokens allows fewer")]
    TooManyBeams {
        /// The option.
        beams: u32,
        /// Tokens of the model.
        vocabulary: usize,
    },
}

impl Decoding {
    /// `(min_length, max_length)`, prompt tokens counted.
    pub fn lengths(&self) -> (u32, u32) {
        match self {
            Self::Greedy(o) => (o.min_length, o.max_length),
            Self::Beam(o) => (o.min_length, o.max_length),
            Self::Nucleus(o) => (o.min_length, o.max_length),
        }
    }

    /// Rows of the decoder that one picture takes.
    pub fn rows(&self) -> usize {
        match self {
            Self::Beam(o) => o.beams as usize,
            Self::Greedy(_) | Self::Nucleus(_) => 1,
        }
    }

    /// Checks what can be checked without a model.
    pub fn check(&self) -> Result<(), DecodingError> {
        let positive = |option, value: f32| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                let got = value.to_string();
                Err(DecodingError::OutOfRange {
                    option,
                    got,
                    expected: "a number above 0",
                })
            }
        };
        match self {
            Self::Greedy(o) => positive("repetition-penalty", o.repetition_penalty),
            Self::Beam(o) => {
                positive("repetition-penalty", o.repetition_penalty)?;
                if (1..=MOST_BEAMS).contains(&o.beams) {
                    return Ok(());
                }
                Err(DecodingError::OutOfRange {
                    option: "beams",
                    got: o.beams.to_string(),
                    expected: "a whole number from 1 to 64",
                })
            }
            Self::Nucleus(o) => {
                positive("repetition-penalty", o.repetition_penalty)?;
                positive("temperature", o.temperature)?;
                if o.p > 0.0 && o.p <= 1.0 {
                    return Ok(());
                }
                Err(DecodingError::OutOfRange {
                    option: "p",
                    got: o.p.to_string(),
                    expected: "a number above 0 and at most 1",
                })
            }
        }
    }

    /// Checks the options against a model: `prompt` tokens before the first new one, `positions`
    /// of the decoder, tokens of the `vocabulary`.
    pub fn check_model(
        &self,
        prompt: usize,
        positions: usize,
        vocabulary: usize,
    ) -> Result<(), DecodingError> {
        self.check()?;
        let (_, max_length) = self.lengths();
        if max_length as usize <= prompt {
            return Err(DecodingError::NoRoom { max_length, prompt });
        }
        if max_length as usize > positions {
            return Err(DecodingError::TooLong {
                max_length,
                positions,
            });
        }
        match self {
            // The first step takes 2 x beams different tokens from one row, one of them [SEP].
            Self::Beam(o) if 2 * o.beams as usize >= vocabulary => {
                Err(DecodingError::TooManyBeams {
                    beams: o.beams,
                    vocabulary,
                })
            }
            _ => Ok(()),
        }
    }
}

const KINDS: &[&str] = &["greedy", "beam", "nucleus"];

impl<'de> Deserialize<'de> for Decoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecodingVisitor)
    }
}

struct DecodingVisitor;

impl<'de> Visitor<'de> for DecodingVisitor {
    type Value = Decoding;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`greedy`, `beam`, `nucleus`, or a table of one of these keys")
    }

    fn visit_str<E: serde::de::Error>(self, kind: &str) -> Result<Decoding, E> {
        match kind {
            "greedy" => Ok(Decoding::Greedy(Greedy::default())),
            "beam" => Ok(Decoding::Beam(Beam::default())),
            "nucleus" => Ok(Decoding::Nucleus(Nucleus::default())),
            got => Err(E::unknown_variant(got, KINDS)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Decoding, A::Error> {
        let Some(kind) = map.next_key::<String>()? else {
            return Err(A::Error::invalid_value(Unexpected::Map, &self));
        };
        let decoding = match kind.as_str() {
            "greedy" => Decoding::Greedy(map.next_value()?),
            "beam" => Decoding::Beam(map.next_value()?),
            "nucleus" => Decoding::Nucleus(map.next_value()?),
            got => return Err(A::Error::unknown_variant(got, KINDS)),
        };
        match map.next_key::<String>()? {
            None => Ok(decoding),
            Some(second) => Err(A::Error::custom(format!(
                "`{kind}` and `{second}` are both given; a caption stage decodes in one way"
            ))),
        }
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, data: A) -> Result<Decoding, A::Error> {
        let (kind, variant) = data.variant::<String>()?;
        match kind.as_str() {
            "greedy" => variant.newtype_variant().map(Decoding::Greedy),
            "beam" => variant.newtype_variant().map(Decoding::Beam),
            "nucleus" => variant.newtype_variant().map(Decoding::Nucleus),
            got => Err(A::Error::unknown_variant(got, KINDS)),
        }
    }
}

impl JsonSchema for Decoding {
    fn schema_name() -> Cow<'static, str> {
        "Decoding".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let greedy = generator.subschema_for::<Greedy>();
        let beam = generator.subschema_for::<Beam>();
        let nucleus = generator.subschema_for::<Nucleus>();
        json_schema!({
            "description": "How a caption is found.",
            "oneOf": [
                { "type": "string", "enum": KINDS },
                {
                    "type": "object",
                    "properties": { "greedy": greedy, "beam": beam, "nucleus": nucleus },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests;
