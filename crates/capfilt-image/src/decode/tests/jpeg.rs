//! JPEG files of kinds that once came out wrong (`tests/golden/jpeg`), and made ones.

use super::differential::difference;
use super::*;
use crate::hash::perceptual_hash;

fn case(name: &str) -> Vec<u8> {
    fs_err::read(golden_folder().join("jpeg").join(name)).unwrap()
}

fn decoded(name: &str) -> Picture {
    decode_default(&case(name)).unwrap()
}

fn mean(picture: &Picture) -> [u32; 3] {
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let count = u32::try_from(pixels.len()).unwrap();
    [0, 1, 2].map(|channel| {
        let sum: u32 = pixels.iter().map(|pixel| u32::from(pixel[channel])).sum();
        (sum + count / 2) / count
    })
}

#[test]
fn a_scan_for_each_component_gives_the_pixels_of_one_for_all() {
    let flat = decoded("ni_flat16x32.jpg");
    assert_eq!(mean(&flat), [201, 60, 40]);
    for name in ["flat16x32.jpg", "demo.jpg"] {
        let (one, several) = (decoded(name), decoded(&format!("ni_{name}")));
        // Two decoders round their transforms differently.
        let largest = one.pixels().iter().zip(several.pixels());
        let largest = largest.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(largest <= 8, "{name}: {largest}");
        assert_eq!(difference(&several, &one, false), None, "{name}");
        assert_eq!(perceptual_hash(&several), perceptual_hash(&one), "{name}");
    }
}

#[test]
fn what_came_out_wrong_is_what_pillow_sees() {
    for name in ["luma_small", "prog_com_with_eoi_between"] {
        let ours = decoded(&format!("{name}.jpg"));
        let theirs = decoded(&format!("{name}.png"));
        assert_eq!(difference(&ours, &theirs, false), None, "{name}");
        let checked = check(&case(&format!("{name}.jpg")), &DecodeOptions::default()).unwrap();
        assert_eq!(checked.width, theirs.width(), "{name}");
    }
}

/// The segments of a JPEG from the first one called `marker` on, and what is before.
fn cut_before(bytes: &[u8], marker: u8) -> (Vec<u8>, Vec<u8>) {
    let at = position(bytes, &[0xff, marker]);
    (bytes[..at].to_vec(), bytes[at..].to_vec())
}

#[test]
fn a_jpeg_without_some_of_its_scans_is_corrupt() {
    let whole = case("ni_demo.jpg");
    let (before, scans) = cut_before(&whole, 0xda);
    let second = 2 + position(&scans[2..], b"\xff\xda");
    let one_left_out = [&before, &scans[second..]].concat();
    let cut = [&before, &scans[..second], b"\xff\xd9"].concat();
    let progressive = file("progressive.jpg");
    let (before, scans) = cut_before(&progressive, 0xda);
    let second = 2 + position(&scans[2..], b"\xff\xc4");
    let first_only = [&before, &scans[..second], b"\xff\xd9"].concat();
    for bytes in [one_left_out, cut, first_only] {
        let error = decode_default(&bytes).unwrap_err();
        assert!(error.to_string().contains("scans are missing"), "{error}");
        assert!(check(&bytes, &DecodeOptions::default()).is_err());
    }
}

#[test]
fn a_jpeg_without_some_of_its_restarts_is_corrupt() {
    let mut bytes = file("restart.jpg");
    let at = position(&bytes, b"\xff\xd2");
    bytes.drain(at..at + 2);
    let error = decode_default(&bytes).unwrap_err();
    assert!(error.to_string().contains("restart markers"), "{error}");
}

#[test]
fn a_height_behind_the_scan_is_named() {
    let mut bytes = file("rgb-444.jpg");
    let at = position(&bytes, b"\xff\xc0") + 5;
    bytes[at..at + 2].copy_from_slice(&[0, 0]);
    let end = bytes.len() - 2;
    bytes.splice(end..end, *b"\xff\xdc\0\x04\0\x18");
    let what = "JPEG with its height behind the first scan (DNL)".to_owned();
    assert_eq!(
        decode_default(&bytes),
        Err(DecodeError::Unsupported { what })
    );
}
