//! How weights are stored: 32-bit floats, 16-bit floats or 8-bit integers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Precision of the weights of a package. What goes in and out of a graph is fp32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats, as trained.
    #[default]
    Fp32,
    /// Stored as 16-bit floats, computed in 32 bits: half the size.
    Fp16,
    /// Matrices in 8 bits with one scale per output channel; activations in 8 bits with one scale
    /// per row, so that no row depends on its batch.
    Int8,
}

impl Precision {
    /// Its name on the command line and in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fp32" => Ok(Self::Fp32),
            "fp16" => Ok(Self::Fp16),
            "int8" => Ok(Self::Int8),
            _ => Err(format!(
                "`{text}` is no precision, expected `fp32`, `fp16` or `int8`"
            )),
        }
    }
}
