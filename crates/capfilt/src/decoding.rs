//! `--decoding` and its companions on the command line.

use std::str::FromStr;

use capfilt_models::{Beam, Decoding, Greedy, MOST_BEAMS, Normalisation, Nucleus};
use clap::{Args, ValueEnum};

/// `greedy`, `beam:K` or `nucleus:P` as typed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum DecodingName {
    /// The most probable token at every step.
    Greedy,
    /// The given number of beams.
    Beam(u32),
    /// Draws from the most probable tokens that together reach the given probability.
    Nucleus(f32),
}

/// Why a `--decoding` value was refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum DecodingNameError {
    /// The word before the colon is none of ours.
    #[error("unknown decoding `{got}`; expected `greedy`, `beam:K` or `nucleus:P`")]
    Unknown {
        /// The word.
        got: String,
    },
    /// A number is missing.
    #[error("`{name}` needs a number; for example `{name}:{example}`")]
    NumberMissing {
        /// The word before the colon.
        name: &'static str,
        /// A value that works.
        example: &'static str,
    },
    /// `greedy` was given a number.
    #[error("`greedy` takes no number, got `{got}`")]
    GreedyNumber {
        /// What follows the colon.
        got: String,
    },
    /// The number of beams is not one from 1 to 64.
    #[error("`{got}` is not a number of beams; expected a whole number from 1 to 64")]
    Beams {
        /// What follows the colon.
        got: String,
    },
    /// The probability is out of range.
    #[error("`{got}` is not a probability for `nucleus`; expected a number above 0 and at most 1")]
    Probability {
        /// What follows the colon.
        got: String,
    },
}

impl FromStr for DecodingName {
    type Err = DecodingNameError;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        let (name, number) = match typed.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (typed, None),
        };
        match (name, number) {
            ("greedy", None) => Ok(Self::Greedy),
            ("greedy", Some(got)) => Err(DecodingNameError::GreedyNumber {
                got: got.to_owned(),
            }),
            ("beam", None) => Err(DecodingNameError::NumberMissing {
                name: "beam",
                example: "3",
            }),
            ("beam", Some(got)) => got
                .parse::<u32>()
                .ok()
                .filter(|beams| (1..=MOST_BEAMS).contains(beams))
                .map(Self::Beam)
                .ok_or_else(|| DecodingNameError::Beams {
                    got: got.to_owned(),
                }),
            ("nucleus", None) => Err(DecodingNameError::NumberMissing {
                name: "nucleus",
                example: "0.9",
            }),
            ("nucleus", Some(got)) => got
                .parse::<f32>()
                .ok()
                .filter(|p| *p > 0.0 && *p <= 1.0)
                .map(Self::Nucleus)
                .ok_or_else(|| DecodingNameError::Probability {
                    got: got.to_owned(),
                }),
            (got, _) => Err(DecodingNameError::Unknown {
                got: got.to_owned(),
            }),
        }
    }
}

/// How a caption is found, as typed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DecodingArgs {
    /// How words are chosen: `greedy`, `beam:K` (K beams) or `nucleus:P` (top-p) [default: the package's]
    #[arg(long, value_name = "greedy|beam:K|nucleus:P")]
    pub(crate) decoding: Option<DecodingName>,
    /// Shortest caption in tokens, those of the prompt counted
    #[arg(long, value_name = "N")]
    pub(crate) min_length: Option<u32>,
    /// Longest caption in tokens, those of the prompt counted
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<u32>,
    /// How beams of different length are compared (only with `beam:K`)
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) length_normalisation: Option<LengthNormalisation>,
}

/// Options of decoding that do not go together.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum DecodingUsageError {
    /// Only beams are normalised.
    #[error("`--length-normalisation` works with `--decoding beam:K` only")]
    NotBeam,
    /// No length is allowed.
    #[error("`--min-length {min_length}` is above the longest caption, {max_length} tokens")]
    Lengths {
        /// Shortest caption in tokens.
        min_length: u32,
        /// Longest caption in tokens.
        max_length: u32,
    },
}

impl DecodingArgs {
    /// What is wrong whatever the default is.
    pub(crate) fn check(&self) -> Result<(), DecodingUsageError> {
        match (self.decoding, self.length_normalisation) {
            (Some(DecodingName::Greedy | DecodingName::Nucleus(_)), Some(_)) => {
                Err(DecodingUsageError::NotBeam)
            }
            _ => Ok(()),
        }
    }

    /// What was typed laid over `default`; defaults of another kind of decoding are the program's.
    pub(crate) fn over(&self, default: Decoding) -> Result<Decoding, DecodingUsageError> {
        let mut decoding = match (self.decoding, default) {
            (None, default) => default,
            (Some(DecodingName::Greedy), Decoding::Greedy(options)) => Decoding::Greedy(options),
            (Some(DecodingName::Greedy), _) => Decoding::Greedy(Greedy::default()),
            (Some(DecodingName::Beam(beams)), Decoding::Beam(options)) => {
                Decoding::Beam(Beam { beams, ..options })
            }
            (Some(DecodingName::Beam(beams)), _) => Decoding::Beam(Beam {
                beams,
                ..Beam::default()
            }),
            (Some(DecodingName::Nucleus(p)), Decoding::Nucleus(options)) => {
                Decoding::Nucleus(Nucleus { p, ..options })
            }
            (Some(DecodingName::Nucleus(p)), _) => Decoding::Nucleus(Nucleus {
                p,
                ..Nucleus::default()
            }),
        };
        let (min_length, max_length) = match &mut decoding {
            Decoding::Greedy(options) => (&mut options.min_length, &mut options.max_length),
            Decoding::Beam(options) => (&mut options.min_length, &mut options.max_length),
            Decoding::Nucleus(options) => (&mut options.min_length, &mut options.max_length),
        };
        *max_length = self.max_length.unwrap_or(*max_length);
        // A shortest length that nobody typed gives way to a longest one that somebody did.
        *min_length = self.min_length.unwrap_or((*min_length).min(*max_length));
        if *min_length > *max_length {
            let (min_length, max_length) = (*min_length, *max_length);
            return Err(DecodingUsageError::Lengths {
                min_length,
                max_length,
            });
        }
        match (&mut decoding, self.length_normalisation) {
            (_, None) => {}
            (Decoding::Beam(options), Some(normalisation)) => {
                options.normalisation = normalisation.into();
            }
            (Decoding::Greedy(_) | Decoding::Nucleus(_), Some(_)) => {
                return Err(DecodingUsageError::NotBeam);
            }
        }
        Ok(decoding)
    }
}

/// How the scores of beams of different length are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LengthNormalisation {
    /// By the whole length, prompt included and [SEP] left out: the original code's rule.
    Blip,
    /// By the generated tokens, [SEP] included: the rule of later Hugging Face versions.
    Transformers,
}

impl From<LengthNormalisation> for Normalisation {
    fn from(typed: LengthNormalisation) -> Self {
        match typed {
            LengthNormalisation::Blip => Self::Blip,
            LengthNormalisation::Transformers => Self::Transformers,
        }
    }
}

#[cfg(test)]
mod tests;
