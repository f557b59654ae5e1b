use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::options::Alpha;

/// A picture and what Pillow sees in it: `tests/golden/image.py` says how
/// they are made.
#[derive(Deserialize)]
struct Case {
    file: String,
    tolerance: u8,
    blip: View,
    upright: View,
}

/// A size in pixels, and where in `image.rgb` the pixels begin.
#[derive(Deserialize)]
struct View {
    size: [u32; 2],
    at: usize,
}

#[derive(Deserialize)]
struct Golden {
    pillow: String,
    cases: Vec<Case>,
}

const AS_BLIP: DecodeOptions = DecodeOptions {
    max_pixels: 64_000_000,
    orientation: Orientation::Ignore,
    alpha: Alpha::Drop,
};

fn golden_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(golden_folder().join("image.json")).unwrap()).unwrap()
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(golden_folder().join("images").join(name)).unwrap()
}

fn decode_default(bytes: &[u8]) -> Result<Picture, DecodeError> {
    decode(bytes, &DecodeOptions::default())
}

/// Compares a decoded picture with Pillow's, and gives the largest difference.
fn largest_difference(picture: &Picture, view: &View, values: &[u8], name: &str) -> u8 {
    assert_eq!([picture.width(), picture.height()], view.size, "{name}");
    let expected = &values[view.at..view.at + picture.pixels().len()];
    picture
        .pixels()
        .iter()
        .zip(expected)
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap()
}

#[test]
fn every_kind_of_picture_is_what_pillow_sees() {
    let golden = golden();
    let values = std::fs::read(golden_folder().join("image.rgb")).unwrap();
    assert_eq!(golden.pillow, "12.3.0");
    assert!(
        golden.cases.len() >= 55,
        "only {} cases",
        golden.cases.len()
    );
    let mut wrong = Vec::new();
    for Case {
        file: name,
        tolerance,
        blip,
        upright,
    } in golden.cases
    {
        let bytes = file(&name);
        for (view, options) in [(blip, AS_BLIP), (upright, DecodeOptions::default())] {
            let picture = match decode(&bytes, &options) {
                Ok(picture) => picture,
                Err(error) => {
                    wrong.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let difference = largest_difference(&picture, &view, &values, &name);
            if difference > tolerance {
                wrong.push(format!("{name} {options:?}: {difference} > {tolerance}"));
            }
            let probed = probe(&bytes, &options).unwrap();
            assert_eq!([probed.width, probed.height], view.size, "{name}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_prefix_of_a_picture_is_truncated_or_the_whole_picture() {
    let mut wrong = Vec::new();
    for Case { file: name, .. } in golden().cases {
        let bytes = file(&name);
        let whole = decode_default(&bytes);
        let mut truncated = 0;
        for end in 0..bytes.len() {
            match decode_default(&bytes[..end]) {
                Err(DecodeError::Truncated) => truncated += 1,
                Err(DecodeError::Empty) if end == 0 => {}
                Err(DecodeError::NotAnImage) if end < 18 => {}
                result if result == whole => {}
                result => wrong.push(format!(
                    "{name} cut at {end} of {}: {result:?}",
                    bytes.len()
                )),
            }
        }
        if 2 * truncated < bytes.len() && !name.starts_with("trailing") {
            wrong.push(format!(
                "{name}: {truncated} of {} prefixes truncated",
                bytes.len()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
}
