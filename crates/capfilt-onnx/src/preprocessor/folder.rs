//! How a folder of `transformers` wants its pictures, read field by field as version 5.23 reads it.
//!
//! `processor_config.json` counts where it has an `image_processor`, else `preprocessor_config.json`. A
//! field that is absent has the default of the processor's class; one that is `null` is switched off.
//! Fields that are not known are refused unless they ask for nothing: any of them may be a step.

mod fields;
#[cfg(test)]
mod tests;

use std::path::Path;

use capfilt_image::{Fit, Preprocess};
use serde_json::{Map, Value, json};

use super::{MEAN, STD, default};
use crate::error::ImportError;
use crate::kind::content;
use fields::{Fields, number};

/// What `save_pretrained` of a processor writes since version 5.
const PROCESSOR: &str = "processor_config.json";
/// What an image processor's and all older versions write.
const IMAGE_PROCESSOR: &str = "preprocessor_config.json";
/// Number that Pillow gives to bicubic resampling.
const BICUBIC: u64 = 3;

/// Fields of `processor_config.json` that no picture goes through.
const OF_TEXTS: &[&str] = &[
    "_processor_class",
    "chat_template",
    "image_seq_length",
    "image_token",
    "num_image_tokens",
    "num_query_tokens",
    "processor_class",
    "qformer_tokenizer",
    "tokenizer",
    "tokenizer_class",
];

/// Fields that change no pixel of what comes out, whatever they are. `size_divisor` is of the class that
/// BLIP's was copied from, and no version reads it.
const WITHOUT_EFFECT: &[&str] = &[
    "_processor_class",
    "_valid_kwargs_names",
    "_valid_processor_keys",
    "backend",
    "default_to_square",
    "device",
    "disable_grouping",
    "feature_extractor_type",
    "image_seq_length",
    "model_input_names",
    "num_query_tokens",
    "processor_class",
    "return_tensors",
    "size_divisor",
    "use_fast",
];

/// What the processor's class assumes for fields that are absent.
struct Class {
    /// Whether one number stands for both sides, and not for the shorter one.
    square: bool,
    /// The size, as it would stand in the file.
    size: fn() -> Value,
    center_crop: bool,
    crop_size: fn() -> Value,
}

const BLIP: Class = Class {
    square: true,
    size: || json!({"height": 384, "width": 384}),
    center_crop: false,
    crop_size: || Value::Null,
};

const CLIP: Class = Class {
    square: false,
    size: || json!({"shortest_edge": 224}),
    center_crop: true,
    crop_size: || json!(224),
};

/// How the folder wants its pictures at `size` pixels, and what is to be said of it. Pictures of another
/// size than `model`, where that counts, do not fit the model's position table.
pub(crate) fn read(
    folder: &Path,
    size: u32,
    model: Option<u32>,
) -> Result<(Preprocess, Vec<String>), ImportError> {
    let nested = match object(folder, PROCESSOR)? {
        Some(object) => of_pictures(object)?,
        None => None,
    };
    let plain = object(folder, IMAGE_PROCESSOR);
    let (file, fields, remarks) = match (nested, plain) {
        (Some(nested), plain) => {
            // What does not count is compared only, so that it may be anything.
            let plain = plain.ok().flatten().unwrap_or_default();
            let file = format!("{PROCESSOR}: image_processor.");
            let remarks = disagreement(&nested, &plain);
            (file, nested, remarks)
        }
        (None, plain) => match plain? {
            Some(plain) => (format!("{IMAGE_PROCESSOR}: "), plain, Vec::new()),
            None => return Ok((default(size), vec![assumed()])),
        },
    };
    let image = understood(Fields::new(file, fields), size, model)?;
    Ok((image, remarks))
}

/// What is said where the folder does not say how it wants its pictures.
fn assumed() -> String {
    format!(
        "the folder has neither `{PROCESSOR}` with an `image_processor` nor `{IMAGE_PROCESSOR}`: pictures get the mean {MEAN:?} and the deviation {STD:?} of every published BLIP; if the model was trained with others, put its file there and import again"
    )
}

/// What is said where two files want different things.
fn disagreement(nested: &Map<String, Value>, plain: &Map<String, Value>) -> Vec<String> {
    let differs = |(name, value): &(&String, &Value)| {
        !WITHOUT_EFFECT.contains(&name.as_str())
            && *name != "image_processor_type"
            && plain.get(*name).is_some_and(|other| other != *value)
    };
    let names: Vec<_> = nested
        .iter()
        .filter(differs)
        .map(|(name, _)| name.as_str())
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "`{PROCESSOR}` and `{IMAGE_PROCESSOR}` disagree on `{}`: the first counts, as in transformers 5; older versions take the second",
        names.join("`, `")
    )]
}

/// The object in a file of the folder, if there is one.
fn object(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>, ImportError> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let text = content::read(&path)?;
    let object = serde_json::from_slice(&text).map_err(|error| ImportError::Malformed {
        path,
        kind: "a picture processor's configuration",
        reason: error.to_string(),
    })?;
    Ok(Some(object))
}

/// The part of `processor_config.json` that pictures go through, if it has one.
fn of_pictures(mut object: Map<String, Value>) -> Result<Option<Map<String, Value>>, ImportError> {
    let pictures = object.remove("image_processor");
    let mut fields = Fields::new(format!("{PROCESSOR}: "), object);
    let pictures = match pictures {
        None | Some(Value::Null) => None,
        Some(Value::Object(pictures)) => Some(pictures),
        Some(other) => return Err(fields.refuse("image_processor", &other, "an object")),
    };
    fields.drop_all(OF_TEXTS);
    fields.finish()?;
    Ok(pictures)
}

fn understood(
    mut fields: Fields,
    size: u32,
    model: Option<u32>,
) -> Result<Preprocess, ImportError> {
    let class = class(&mut fields)?;
    for step in ["do_convert_rgb", "do_resize", "do_rescale"] {
        fields.exactly(step, "true", |value| *value == true)?;
    }
    sizes(&mut fields, &class, model)?;
    fields.exactly("resample", "3 (bicubic)", |value| {
        value.as_u64() == Some(BICUBIC)
    })?;
    fields.exactly("rescale_factor", "1/255", |value| {
        value
            .as_f64()
            .is_some_and(|factor| (factor * 255.0 - 1.0).abs() <= 1e-6)
    })?;
    fields.if_set("data_format", "\"channels_first\"", |value| {
        value == "channels_first"
    })?;
    // Only arrays have another; pictures are decoded here.
    fields.if_set(
        "input_data_format",
        "\"channels_first\" or \"channels_last\"",
        |value| value == "channels_first" || value == "channels_last",
    )?;
    let mean = colours(&mut fields, "image_mean", MEAN, "three numbers", |_| true)?;
    let std = colours(
        &mut fields,
        "image_std",
        STD,
        "three positive numbers",
        |value| value > 0.0,
    )?;
    let (mean, std) = if fields.flag("do_normalize", true)? {
        let needed = |name: &str, colours: Option<[f32; 3]>| {
            colours.ok_or_else(|| fields.refuse(name, &Value::Null, "three numbers"))
        };
        (needed("image_mean", mean)?, needed("image_std", std)?)
    } else {
        ([0.0; 3], [1.0; 3])
    };
    fields.drop_all(WITHOUT_EFFECT);
    fields.finish()?;
    Ok(Preprocess {
        size,
        fit: Fit::Stretch,
        mean,
        std,
    })
}

/// The class by its name; a feature extractor's counts where the image processor's is absent.
fn class(fields: &mut Fields) -> Result<Class, ImportError> {
    let (field, name) = match fields.take("image_processor_type") {
        None | Some(Value::Null) => {
            let field = "feature_extractor_type";
            (field, fields.take(field).unwrap_or_default())
        }
        Some(name) => ("image_processor_type", name),
    };
    if name.is_null() {
        return Ok(BLIP);
    }
    let text = name.as_str().unwrap_or_default();
    let text = text.strip_suffix("Fast").unwrap_or(text);
    match text.strip_suffix("Pil").unwrap_or(text) {
        "BlipImageProcessor" | "BlipFeatureExtractor" => Ok(BLIP),
        "CLIPImageProcessor" | "CLIPFeatureExtractor" => Ok(CLIP),
        _ => Err(fields.refuse(field, &name, "`BlipImageProcessor`")),
    }
}

/// Refuses all but stretching to a square: `size`, and crops and pads that would change it.
fn sizes(fields: &mut Fields, class: &Class, model: Option<u32>) -> Result<(), ImportError> {
    let one_is_square = fields.flag("default_to_square", class.square)?;
    let absent = !fields.has("size");
    let size = fields.take("size").unwrap_or_else(class.size);
    let side = square(&size, one_is_square);
    let fits = |side: u64| model.is_none_or(|model| side == u64::from(model));
    let Some(side) = side.filter(|side| fits(*side)) else {
        let expected = match model {
            Some(model) => format!(
                "{{\"height\":{model},\"width\":{model}}}, the model's `vision_config.image_size` and both sides stretched to it{}",
                if side.is_some() {
                    "; for another size pass `--image-size`"
                } else {
                    ""
                }
            ),
            None => "a square's height and width".to_owned(),
        };
        let absent = if absent {
            " (absent, which means this)"
        } else {
            ""
        };
        return Err(fields.refuse_text("size", &format!("{size}{absent}"), &expected));
    };
    if let Some(other) = fields.take("image_size")
        && square(&other, true) != Some(side)
    {
        return Err(fields.refuse("image_size", &other, &side.to_string()));
    }
    let crops = fields.flag("do_center_crop", class.center_crop)?;
    let crop = fields.take("crop_size").unwrap_or_else(class.crop_size);
    if crops && square(&crop, true) != Some(side) {
        let expected = format!("{side} as `size`, or `do_center_crop` false");
        return Err(fields.refuse("crop_size", &crop, &expected));
    }
    let pads = fields.flag("do_pad", false)?;
    let pad = fields.take("pad_size").unwrap_or_default();
    if pads && !pad.is_null() && square(&pad, true) != Some(side) {
        let expected = format!("{side} as `size`, or `do_pad` false");
        return Err(fields.refuse("pad_size", &pad, &expected));
    }
    Ok(())
}

/// The side of the square that a size stands for: one number where `one_is_square`, two, or a height and
/// a width.
fn square(size: &Value, one_is_square: bool) -> Option<u64> {
    let (height, width) = match size {
        Value::Number(side) if one_is_square => (side.as_u64()?, side.as_u64()?),
        Value::Array(sides) => match &sides[..] {
            [height, width] => (height.as_u64()?, width.as_u64()?),
            _ => return None,
        },
        Value::Object(sides) if sides.len() == 2 => (
            sides.get("height")?.as_u64()?,
            sides.get("width")?.as_u64()?,
        ),
        _ => return None,
    };
    (height == width && height > 0).then_some(height)
}

/// A value for each colour, or one for all; none where it is `null`.
fn colours(
    fields: &mut Fields,
    name: &str,
    absent: [f32; 3],
    expected: &str,
    fits: impl Fn(f32) -> bool,
) -> Result<Option<[f32; 3]>, ImportError> {
    let value = match fields.take(name) {
        None => return Ok(Some(absent)),
        Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let colours = match &value {
        Value::Array(colours) => match &colours[..] {
            [red, green, blue] => Some([number(red), number(green), number(blue)]),
            _ => None,
        },
        one => Some([number(one); 3]),
    };
    let colours = colours.and_then(|[red, green, blue]| Some([red?, green?, blue?]));
    match colours.filter(|colours| colours.iter().all(|value| fits(*value))) {
        Some(colours) => Ok(Some(colours)),
        None => Err(fields.refuse(name, &value, expected)),
    }
}
