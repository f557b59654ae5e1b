//! Which device a model runs on.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Which device a model runs on, written `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The first CUDA device when the library and the machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(u32),
}

/// A device that is none of ours.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown device `{0}`; expected `auto`, `cpu` or `cuda:N`, N a number from 0")]
pub struct DeviceError(String);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(typed: &str) -> Result<Self, DeviceError> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .parse()
                .ok()
                .filter(|&number: &u32| plain && number <= 1023)
        };
        match (typed, typed.strip_prefix("cuda:").and_then(number)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(number)) => Ok(Self::Cuda(number)),
            _ => Err(DeviceError(typed.to_owned())),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = DeviceError;

    fn try_from(typed: String) -> Result<Self, DeviceError> {
        typed.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl JsonSchema for Device {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Which device a model runs on.",
            "type": "string",
            "pattern": "^(auto|cpu|cuda:[0-9]{1,4})$"
        })
    }
}

#[cfg(test)]
mod tests;
