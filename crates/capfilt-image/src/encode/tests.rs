use std::path::PathBuf;

use super::*;
use crate::decode::decode;
use crate::format::{Format, sniff};
use crate::options::DecodeOptions;

fn golden(name: &str) -> Picture {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images");
    let bytes = fs_err::read(folder.join(name)).unwrap();
    decode(&bytes, &DecodeOptions::default()).unwrap()
}

fn quality(number: u8) -> Quality {
    Quality::try_from(number).unwrap()
}

/// Encodes and decodes.
fn again(picture: &Picture, quality: Quality) -> Picture {
    let bytes = encode_jpeg(picture, quality).unwrap();
    decode(&bytes, &DecodeOptions::default()).unwrap()
}

/// Peak signal-to-noise ratio in decibels.
fn psnr(a: &Picture, b: &Picture) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let pairs = a.pixels().iter().zip(b.pixels());
    let error: f64 = pairs
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum::<f64>()
        / f64::from(3 * a.width() * a.height());
    20.0 * 255.0_f64.log10() - 10.0 * error.log10()
}

#[test]
fn the_loss_is_that_of_libjpeg() {
    let picture = golden("rgb.png");
    // Decibels of OpenCV's `imencode` at these qualities, and of Pillow 12.3.0 with
    // `subsampling=2`. The picture has sharp colour edges, which halved resolution costs.
    for (number, theirs) in [(30, 22.94), (95, 29.74), (100, 29.90)] {
        let ours = psnr(&picture, &again(&picture, quality(number)));
        assert!(
            (ours - theirs).abs() < 0.3,
            "{number}: {ours} dB, not {theirs}"
        );
    }
}

#[test]
fn every_size_up_to_the_limit_of_jpeg_comes_back() {
    for (width, height) in [(1, 1), (1, 17), (16, 16), (33, 31), (65_535, 1)] {
        let pixels = [10, 120, 230].repeat((width * height) as usize);
        let picture = Picture::try_new(width, height, pixels).unwrap();
        let back = again(&picture, Quality::default());
        assert!(psnr(&picture, &back) > 45.0, "{width} x {height}");
    }
    let picture = Picture::try_new(1, 65_536, vec![0; 3 * 65_536]).unwrap();
    assert_eq!(
        encode_jpeg(&picture, Quality::default())
            .unwrap_err()
            .to_string(),
        "a picture of 1 x 65536 pixels fits no JPEG, whose sides have at most 65535"
    );
}

#[test]
fn the_file_is_baseline_with_half_the_colour_resolution() {
    let bytes = encode_jpeg(&golden("rgb.png"), quality(100)).unwrap();
    assert_eq!(sniff(&bytes), Some(Format::Jpeg));
    let frame = bytes
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    // Three components, of which the first has two samples each way for one of the others.
    assert_eq!(bytes[frame + 9], 3);
    assert_eq!([11, 14, 17].map(|at| bytes[frame + at]), [0x22, 0x11, 0x11]);
}

#[test]
fn qualities_go_from_1_to_100() {
    let parsed: Quality = serde_json::from_str("80").unwrap();
    assert_eq!(u8::from(parsed), 80);
    assert_eq!(serde_json::to_string(&parsed).unwrap(), "80");
    for number in ["0", "101"] {
        let error = serde_json::from_str::<Quality>(number).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{number} is no JPEG quality; expected 1 to 100")
        );
    }
}
