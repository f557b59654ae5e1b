use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::options::Alpha;

mod kinds;

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
    serde_json::from_slice(&fs_err::read(golden_folder().join("image.json")).unwrap()).unwrap()
}

fn file(name: &str) -> Vec<u8> {
    fs_err::read(golden_folder().join("images").join(name)).unwrap()
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
    let values = fs_err::read(golden_folder().join("image.rgb")).unwrap();
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

#[cfg(feature = "turbo")]
#[test]
fn with_the_library_of_pillow_the_pixels_are_its_own() {
    let values = fs_err::read(golden_folder().join("image.rgb")).unwrap();
    let names = "grey restart rgb-444 rgb-422 rgb-420 rgb-420-odd orientation-6 one-pixel";
    let is_taken = |case: &Case| {
        names
            .split(' ')
            .any(|name| case.file == format!("{name}.jpg"))
    };
    for case in golden().cases.into_iter().filter(is_taken) {
        let picture = decode(&file(&case.file), &AS_BLIP).unwrap();
        let difference = largest_difference(&picture, &case.blip, &values, &case.file);
        assert_eq!(difference, 0, "{}", case.file);
    }
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

/// A file with some bytes replaced.
fn patched(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file(name);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// Where a byte sequence begins.
fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .unwrap()
}

/// For every format a file whose header declares `side` x `side` pixels.
fn bombs(side: u16) -> Vec<Vec<u8>> {
    let (big, little) = (u32::from(side).to_be_bytes(), u32::from(side).to_le_bytes());
    let jpeg_at = position(&file("rgb-444.jpg"), b"\xff\xc0") + 5;
    let jpeg = [side.to_be_bytes(), side.to_be_bytes()].concat();
    let gif = [side.to_le_bytes(), side.to_le_bytes()].concat();
    let vp8x = position(&file("orientation-8.webp"), b"VP8X") + 12;
    let webp = (u32::from(side) - 1).to_le_bytes();
    let mut tiff = file("rgb.tif");
    for tag in [256_u16, 257, 278] {
        let at = position(&tiff, &[tag.to_le_bytes(), [4, 0]].concat());
        tiff[at + 8..at + 12].copy_from_slice(&little);
    }
    let png = png_of_size(big, big);
    vec![
        patched("rgb-444.jpg", jpeg_at, &jpeg),
        png,
        patched(
            "offset-frame.gif",
            position(&file("offset-frame.gif"), b",") + 5,
            &gif,
        ),
        patched(
            "orientation-8.webp",
            vp8x,
            &[&webp[..3], &webp[..3]].concat(),
        ),
        patched("rgb.bmp", 18, &[little, little].concat()),
        tiff,
    ]
}

/// A PNG that declares another size, as big-endian numbers of pixels.
fn png_of_size(width: [u8; 4], height: [u8; 4]) -> Vec<u8> {
    let mut png = patched("rgb.png", 16, &[width, height].concat());
    let crc = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&crc);
    png
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

#[test]
fn a_declared_size_over_the_limit_is_refused_by_probe_and_decode() {
    // A large GIF canvas around a small frame is a lie only for its size.
    let mut bombs = bombs(50_000);
    let side = 50_000_u16.to_le_bytes();
    bombs.push(patched("plain.gif", 6, &[side, side].concat()));
    for bomb in bombs {
        for result in [
            probe(&bomb, &DecodeOptions::default()).map(drop),
            decode_default(&bomb).map(drop),
        ] {
            let format = sniff(&bomb);
            let Err(DecodeError::TooManyPixels {
                width,
                height,
                limit,
            }) = result
            else {
                panic!("{format:?}: {result:?}");
            };
            assert!(
                width >= 50_000 && height >= 50_000,
                "{format:?} {width} {height}"
            );
            assert_eq!(limit, 64_000_000);
        }
    }
}

#[test]
fn a_declared_size_that_the_bytes_cannot_fill_is_an_error() {
    for bomb in bombs(7_000) {
        let result = decode_default(&bomb);
        assert!(
            matches!(
                result,
                Err(DecodeError::Truncated | DecodeError::Corrupt { .. })
            ),
            "{:?}: {result:?}",
            sniff(&bomb)
        );
    }
}

#[test]
fn a_side_that_only_an_attack_has_is_refused() {
    let png = png_of_size(2_000_000_u32.to_be_bytes(), 1_u32.to_be_bytes());
    let result = probe(&png, &DecodeOptions::default());
    assert!(
        matches!(result, Err(DecodeError::Unsupported { .. })),
        "{result:?}"
    );
}

#[test]
fn a_picture_of_exactly_the_limit_is_decoded() {
    let bytes = file("rgb.png");
    let options = DecodeOptions {
        max_pixels: 40 * 24,
        ..DecodeOptions::default()
    };
    assert!(decode(&bytes, &options).is_ok());
    let options = DecodeOptions {
        max_pixels: 40 * 24 - 1,
        ..options
    };
    assert_eq!(
        decode(&bytes, &options),
        Err(DecodeError::TooManyPixels {
            width: 40,
            height: 24,
            limit: 40 * 24 - 1
        })
    );
}

#[test]
fn a_jpeg_that_was_cut_and_closed_again_is_corrupt() {
    for name in [
        "rgb-444.jpg",
        "rgb-420.jpg",
        "grey.jpg",
        "restart.jpg",
        "cmyk.jpg",
    ] {
        for closed in cut_and_closed(&file(name)) {
            let result = decode_default(&closed);
            assert!(
                matches!(result, Err(DecodeError::Corrupt { .. })),
                "{name} {}: {result:?}",
                closed.len()
            );
        }
    }
}

/// A JPEG that was cut at several places of its scan and given an end again.
fn cut_and_closed(whole: &[u8]) -> Vec<Vec<u8>> {
    let scan = position(whole, b"\xff\xda");
    (1..10)
        .map(|share| {
            let cut = scan + 14 + (whole.len() - 30 - scan) * share / 10;
            let mut closed = whole[..cut].to_vec();
            while closed.last() == Some(&0xff) {
                closed.pop();
            }
            closed.extend_from_slice(b"\xff\xd9");
            closed
        })
        .collect()
}

const HALF: (u32, u32) = (20, 12);

fn decode_half(bytes: &[u8]) -> Result<Picture, DecodeError> {
    decode_scaled(bytes, &DecodeOptions::default(), HALF.0, HALF.1)
}

#[test]
fn a_scaled_jpeg_is_the_picture_resized() {
    for name in [
        "rgb-444.jpg",
        "rgb-422.jpg",
        "rgb-420.jpg",
        "grey.jpg",
        "restart.jpg",
        "orientation-3.jpg",
        "junk-between-segments.jpg",
    ] {
        let whole = decode_default(&file(name)).unwrap();
        let (width, height) = (whole.width() / 2, whole.height() / 2);
        let half = decode_scaled(&file(name), &DecodeOptions::default(), width, height).unwrap();
        assert_eq!((half.width(), half.height()), (width, height), "{name}");
        let resized = crate::resize::resize(&whole, width, height);
        let pairs = half.pixels().iter().zip(resized.pixels());
        let sum: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        // Edges weigh much in pictures this small.
        assert!(sum < 9 * 3 * width * height, "{name}: {sum}");
    }
    // The size is that of the picture turned upright.
    let bytes = file("orientation-6.jpg");
    let half = decode_scaled(&bytes, &DecodeOptions::default(), 4, 8).unwrap();
    assert_eq!((half.width(), half.height()), (4, 8));
    let smallest = decode_scaled(&file("rgb-420.jpg"), &DecodeOptions::default(), 1, 1).unwrap();
    assert_eq!((smallest.width(), smallest.height()), (5, 3));
}

#[test]
fn what_cannot_be_scaled_is_decoded_whole() {
    for name in [
        "progressive.jpg",
        "scan-by-scan.jpg",
        "adobe-rgb.jpg",
        "cmyk.jpg",
        "ycck.jpg",
        "rgb.png",
        "lossy.webp",
    ] {
        assert_eq!(
            decode_half(&file(name)),
            decode_default(&file(name)),
            "{name}"
        );
    }
    let bytes = file("rgb-444.jpg");
    let whole = decode_scaled(&bytes, &DecodeOptions::default(), 40, 24);
    assert_eq!(whole, decode_default(&bytes));
}

#[test]
fn scaled_decoding_refuses_what_full_decoding_refuses() {
    for name in ["rgb-444.jpg", "rgb-420.jpg", "grey.jpg", "restart.jpg"] {
        let bytes = file(name);
        let whole = decode_half(&bytes);
        for end in 3..bytes.len() {
            match decode_half(&bytes[..end]) {
                Err(DecodeError::Truncated) => {}
                result => assert_eq!(result, whole, "{name} cut at {end}"),
            }
        }
        for closed in cut_and_closed(&bytes) {
            let result = decode_half(&closed);
            assert!(
                matches!(result, Err(DecodeError::Corrupt { .. })),
                "{name} {}: {result:?}",
                closed.len()
            );
        }
    }
    for bomb in bombs(50_000) {
        assert!(matches!(
            decode_half(&bomb),
            Err(DecodeError::TooManyPixels { .. })
        ));
    }
}

#[test]
fn bytes_that_are_no_picture_are_told_from_broken_pictures() {
    assert_eq!(decode_default(b""), Err(DecodeError::Empty));
    for text in [
        &b"<!DOCTYPE html><html>"[..],
        b"{}",
        b"BMW is a car maker",
        b"\0\0\0\0",
        b"GIF",
    ] {
        assert_eq!(
            decode_default(text),
            Err(DecodeError::NotAnImage),
            "{text:?}"
        );
    }
    let unsupported = [
        (&b"\0\0\0\x18ftypheic"[..], "HEIF"),
        (b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
    ];
    for (bytes, name) in unsupported {
        let error = decode_default(bytes).unwrap_err();
        assert_eq!(
            error,
            DecodeError::Unsupported {
                what: name.to_owned()
            }
        );
    }
}

#[test]
fn jpeg_processes_that_are_not_decoded_are_named() {
    let at = position(&file("rgb-444.jpg"), b"\xff\xc0") + 1;
    for (process, what) in [
        (0xc3, "lossless JPEG"),
        (0xc9, "JPEG with arithmetic coding"),
    ] {
        let error = decode_default(&patched("rgb-444.jpg", at, &[process])).unwrap_err();
        assert_eq!(
            error,
            DecodeError::Unsupported {
                what: what.to_owned()
            }
        );
    }
    let error = decode_default(&patched("rgb-444.jpg", at + 3, &[12])).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Unsupported {
            what: "JPEG of 12 bits".to_owned()
        }
    );
}

#[test]
fn an_empty_side_is_corrupt() {
    let at = position(&file("rgb-444.jpg"), b"\xff\xc0") + 5;
    let result = decode_default(&patched("rgb-444.jpg", at, &[0, 0]));
    assert!(
        matches!(result, Err(DecodeError::Corrupt { .. })),
        "{result:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_bytes_give_a_picture_or_an_error(
        file_index: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let cases = golden().cases;
        let mut bytes = file(&file_index.get(&cases).file);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let options = DecodeOptions { max_pixels: 1_000_000, ..DecodeOptions::default() };
        if let Ok(picture) = decode(&bytes, &options) {
            let probed = probe(&bytes, &options).unwrap();
            prop_assert_eq!([probed.width, probed.height], [picture.width(), picture.height()]);
        }
        if let Ok(picture) = decode_scaled(&bytes, &options, 4, 4) {
            prop_assert!(picture.width() * picture.height() <= 1_000_000);
        }
    }

    #[test]
    fn any_bytes_after_a_signature_give_a_picture_or_an_error(
        signature: prop::sample::Index,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let signatures: [&[u8]; 6] = [
            b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GIF89a", b"RIFF\0\0\0\x01WEBPVP8 ",
            b"II*\0\x08\0\0\0", b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
        ];
        let mut file = signature.get(&signatures).to_vec();
        file.extend(bytes);
        let options = DecodeOptions { max_pixels: 1_000_000, ..DecodeOptions::default() };
        prop_assert_eq!(decode(&file, &options).is_ok(), decode(&file, &options).is_ok());
    }
}

#[test]
fn a_structure_that_is_whole_is_told_from_every_prefix() {
    let options = DecodeOptions::default();
    for name in [
        "rgb-420.jpg",
        "progressive.jpg",
        "rgba.png",
        "lossy.webp",
        "plain.gif",
    ] {
        let whole = file(name);
        let found = check(&whole, &options).unwrap();
        assert_eq!(found, probe(&whole, &options).unwrap(), "{name}");
        let picture = decode_default(&whole).unwrap();
        for length in 0..whole.len() {
            let prefix = &whole[..length];
            match check(prefix, &options) {
                // What is missing belongs to no pixel.
                Ok(_) => assert_eq!(
                    decode_default(prefix).as_ref(),
                    Ok(&picture),
                    "{name} {length}"
                ),
                Err(DecodeError::Truncated | DecodeError::Empty | DecodeError::NotAnImage) => {}
                Err(DecodeError::Corrupt { .. }) => {
                    assert!(decode_default(prefix).is_err(), "{name} {length}");
                }
                Err(error) => panic!("{name} {length}: {error}"),
            }
        }
        let longer = [whole.as_slice(), b"and more"].concat();
        assert!(check(&longer, &options).is_ok(), "{name}");
    }
    for case in golden().cases {
        assert!(check(&file(&case.file), &options).is_ok(), "{}", case.file);
    }
}

proptest! {
    #[test]
    fn any_bytes_after_a_signature_are_checked_without_a_panic(
        start in prop::sample::select(vec![
            &b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = [start, rest.as_slice()].concat();
        let _any = check(&bytes, &DecodeOptions::default());
    }
}

mod differential;
mod jpeg;
mod png;
