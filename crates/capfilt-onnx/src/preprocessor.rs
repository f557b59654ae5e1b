//! How a checkpoint wants its pictures.

pub(crate) mod folder;

use capfilt_image::{Fit, Preprocess};
use serde::Deserialize;

use crate::error::ImportError;

/// Mean and deviation of colours that every original BLIP was trained with.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_72];
const STD: [f32; 3] = [0.268_629_55, 0.261_302_6, 0.275_777_1];

/// What original BLIP checkpoints want at `size` pixels, and models trained here.
pub fn default(size: u32) -> Preprocess {
    Preprocess {
        size,
        fit: Fit::Stretch,
        mean: MEAN,
        std: STD,
    }
}

/// `preprocess_cfg` of `open_clip`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenClip {
    #[serde(default)]
    size: Option<Size>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    mean: Option<[f32; 3]>,
    #[serde(default)]
    std: Option<[f32; 3]>,
    #[serde(default)]
    interpolation: Option<String>,
    #[serde(default)]
    resize_mode: Option<String>,
    // Only `longest`, which is refused, fills anything.
    #[serde(default, rename = "fill_color")]
    _fill_color: serde_json::Value,
}

/// One side, or height and width.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Side(u32),
    Sides([u32; 2]),
}

/// What the `preprocess_cfg` of an `open_clip` folder says, if it has one, for a model that takes
/// pictures of `size` pixels.
pub(crate) fn open_clip(raw: &serde_json::Value, size: u32) -> Result<Preprocess, ImportError> {
    let refuse = |field: &str, reason: String| {
        Err(ImportError::Config {
            field: format!("preprocess_cfg{field}"),
            reason,
        })
    };
    let raw = if raw.is_null() {
        &serde_json::json!({})
    } else {
        raw
    };
    let raw = match OpenClip::deserialize(raw) {
        Ok(raw) => raw,
        Err(error) => return refuse("", error.to_string()),
    };
    match raw.size {
        None => {}
        Some(Size::Side(got)) if got == size => {}
        Some(Size::Sides(got)) if got == [size, size] => {}
        Some(Size::Side(got)) => {
            return refuse(".size", format!("{got}, expected the model's {size}"));
        }
        Some(Size::Sides(got)) => {
            return refuse(".size", format!("{got:?}, expected the model's {size}"));
        }
    }
    for (field, got, expected) in [
        (".mode", raw.mode, "RGB"),
        (".interpolation", raw.interpolation, "bicubic"),
    ] {
        if let Some(got) = got
            && got != expected
        {
            return refuse(field, format!("`{got}`, expected `{expected}`"));
        }
    }
    let fit = match raw.resize_mode.as_deref() {
        None | Some("shortest") => Fit::Crop,
        Some("squash") => Fit::Stretch,
        Some(other) => {
            let reason = format!("`{other}`, expected `shortest` or `squash`");
            return refuse(".resize_mode", reason);
        }
    };
    let std = raw.std.unwrap_or(STD);
    if !std.iter().all(|value| *value > 0.0) {
        return refuse(".std", format!("{std:?}, expected positive numbers"));
    }
    Ok(Preprocess {
        size,
        fit,
        mean: raw.mean.unwrap_or(MEAN),
        std,
    })
}
