use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use capfilt_image::{Fit, Format, Quality};
use futures::TryStreamExt;

use super::*;
use crate::test_shards::{Row, bmp, column_texts, input, rows};

fn with_image(bytes: Vec<u8>) -> Row {
    Row {
        image: Some(bytes),
        ..Row::default()
    }
}

fn stretched(size: u32) -> Square {
    let fit = Fit::Stretch;
    Square { size, fit }
}

fn cropped(size: u32) -> Square {
    let fit = Fit::Crop;
    Square { size, fit }
}

async fn decoded(options: Decode, given: &[Row]) -> Vec<RecordBatch> {
    let stage = DecodeRows {
        stage: "decode".to_owned(),
        options,
        squares: vec![stretched(4), stretched(8), cropped(4)],
        hashes: false,
    };
    let rows = Arc::new(stage).rows(input(vec![Ok(rows(0, given))]), Arc::default());
    rows.try_collect().await.unwrap()
}

fn by_number(batches: &[RecordBatch], name: &str) -> Vec<Option<String>> {
    let mut all: Vec<(u64, Option<String>)> = batches
        .iter()
        .flat_map(|batch| {
            let numbers = crate::row::numbers(batch).unwrap().values().to_vec();
            numbers.into_iter().zip(column_texts(batch, name))
        })
        .collect();
    all.sort();
    all.into_iter().map(|(_, text)| text).collect()
}

#[tokio::test]
async fn bytes_that_are_no_picture_worth_having_get_a_reason() {
    let mut short = bmp(8, 8, 7);
    short.truncate(100);
    let options = Decode {
        min_side: 4,
        max_pixels: Pixels(1_000),
        ..Decode::default()
    };
    let given = [
        with_image(bmp(8, 8, 7)),
        with_image(Vec::new()),
        with_image(b"<html>".to_vec()),
        with_image(short),
        with_image(bmp(100, 100, 7)),
        with_image(bmp(100, 3, 7)),
        Row::default(),
    ];
    let batches = decoded(options, &given).await;
    let reasons = by_number(&batches, "reject");
    let reasons: Vec<_> = reasons
        .iter()
        .map(|reason| reason.as_deref().unwrap_or("in"))
        .collect();
    assert_eq!(
        reasons,
        [
            "in",
            "empty",
            "not-an-image",
            "truncated",
            "too-many-pixels",
            "too-small",
            "missing-image"
        ]
    );
    assert_eq!(by_number(&batches, "stage")[1].as_deref(), Some("decode"));
}

#[tokio::test]
async fn a_picture_goes_along_at_the_sizes_of_the_models() {
    let batches = decoded(Decode::default(), &[with_image(bmp(10, 6, 200))]).await;
    let [batch] = batches.as_slice() else {
        panic!("{} batches", batches.len())
    };
    assert_eq!(
        pixels(batch, stretched(4)).unwrap(),
        Some(vec![200; 4 * 4 * 3])
    );
    assert_eq!(
        pixels(batch, stretched(8)).unwrap(),
        Some(vec![200; 8 * 8 * 3])
    );
    assert_eq!(
        pixels(batch, cropped(4)).unwrap(),
        Some(vec![200; 4 * 4 * 3])
    );
    let stored = Stored::of(batch);
    assert_eq!((stored.width, stored.height), (10, 6));
}

/// What became of the only row.
struct Stored {
    bytes: Vec<u8>,
    width: i32,
    height: i32,
    reject: Option<String>,
    /// What a model of 8 x 8 pixels reads.
    seen: Option<Vec<u8>>,
}

impl Stored {
    fn of(batch: &RecordBatch) -> Self {
        let side = |name| {
            let sides = column(batch, name).unwrap();
            sides.as_primitive::<Int32Type>().value(0)
        };
        Self {
            bytes: image_at(batch, 0).unwrap().unwrap().to_vec(),
            width: side("width"),
            height: side("height"),
            reject: column_texts(batch, "reject").remove(0),
            seen: pixels(batch, stretched(8)).unwrap(),
        }
    }

    fn picture(&self) -> Picture {
        capfilt_image::decode(&self.bytes, &DecodeOptions::default()).unwrap()
    }
}

async fn stored(options: &str, bytes: &[u8]) -> Stored {
    let options = toml::from_str(options).unwrap();
    let batches = decoded(options, &[with_image(bytes.to_vec())]).await;
    Stored::of(&batches[0])
}

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images");
    fs_err::read(folder.join(name)).unwrap()
}

/// The mean difference of two pictures' samples.
fn difference(a: &Picture, b: &Picture) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let pairs = a.pixels().iter().zip(b.pixels());
    let sum: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / f64::from(3 * a.width() * a.height())
}

#[tokio::test]
async fn a_large_picture_is_stored_smaller_and_the_models_read_that() {
    for (options, size) in [
        ("resize = { shorter-side = 12 }", (20, 12)),
        ("resize = { longer-side = 30 }", (30, 18)),
        ("resize = { longer-side = 30, quality = 10 }", (30, 18)),
        // `min-side` speaks of the picture as it came.
        ("min-side = 24\nresize = { shorter-side = 12 }", (20, 12)),
    ] {
        let came = golden("rgb.png");
        let stored = stored(options, &came).await;
        let probed = probe(&stored.bytes, &DecodeOptions::default()).unwrap();
        assert_eq!(probed.format, Format::Jpeg);
        assert_eq!((probed.width, probed.height), size);
        assert_eq!((stored.width, stored.height), sides(size));
        let seen = capfilt_image::resize(&stored.picture(), 8, 8);
        assert_eq!(stored.seen.as_deref(), Some(seen.pixels()), "{options}");
        let came = capfilt_image::decode(&came, &DecodeOptions::default()).unwrap();
        let unstored = capfilt_image::resize(&came, 8, 8);
        assert_ne!(stored.seen.as_deref(), Some(unstored.pixels()), "{options}");
    }
}

#[tokio::test]
async fn a_lower_quality_takes_fewer_bytes() {
    let came = golden("rgb.png");
    let [usual, best, low] = [
        "resize = { shorter-side = 12 }",
        "resize = { shorter-side = 12, quality = 100 }",
        "resize = { shorter-side = 12, quality = 10 }",
    ]
    .map(|options| stored(options, &came));
    let (usual, best, low) = (usual.await, best.await, low.await);
    assert!(low.bytes.len() < usual.bytes.len() && usual.bytes.len() < best.bytes.len());
}

#[tokio::test]
async fn a_small_picture_keeps_its_bytes() {
    for (options, name) in [
        ("resize = { shorter-side = 24 }", "rgb.png"),
        ("resize = { longer-side = 40 }", "orientation-6.jpg"),
        ("resize = { longer-side = 1024, quality = 10 }", "alpha.bmp"),
    ] {
        let came = golden(name);
        let stored = stored(options, &came).await;
        assert_eq!(stored.bytes, came, "{name}");
        let seen = capfilt_image::resize(&stored.picture(), 8, 8);
        assert_eq!(stored.seen.as_deref(), Some(seen.pixels()), "{name}");
    }
}

#[tokio::test]
async fn a_smaller_picture_is_turned_and_on_white_once() {
    for name in ["orientation-6.jpg", "orientation-8.webp", "rgba.png"] {
        let came = golden(name);
        let upright = capfilt_image::decode(&came, &DecodeOptions::default()).unwrap();
        let half = (upright.width() / 2, upright.height() / 2);
        let shorter = half.0.min(half.1);
        let options = format!("resize = {{ shorter-side = {shorter} }}");
        let stored = stored(&options, &came).await;
        let expected = capfilt_image::resize(&upright, half.0, half.1);
        let expected = encode_jpeg(&expected, Quality::default()).unwrap();
        assert!(stored.bytes == expected, "{name}");
        assert_eq!(size(&stored.picture()), half, "{name}");
    }
    let options = "orientation = 'ignore'\nresize = { longer-side = 8 }";
    let stored = stored(options, &golden("orientation-6.jpg")).await;
    assert_eq!((stored.width, stored.height), (8, 4));
}

#[tokio::test]
async fn a_scaled_jpeg_is_stored_at_the_size_of_a_full_one() {
    for (name, is_scaled) in [
        ("rgb-420.jpg", true),
        ("orientation-6.jpg", true),
        ("progressive.jpg", false),
        ("rgb.png", false),
    ] {
        let came = golden(name);
        let full = stored("resize = { longer-side = 4 }", &came).await;
        let options = "resize = { longer-side = 4, decoding = 'scaled' }";
        let scaled = stored(options, &came).await;
        assert_eq!((scaled.width, scaled.height), (full.width, full.height));
        assert_eq!(size(&scaled.picture()), size(&full.picture()), "{name}");
        assert_eq!(scaled.bytes != full.bytes, is_scaled, "{name}");
        let difference = difference(&scaled.picture(), &full.picture());
        assert!(difference < 12.0, "{name}: {difference}");
    }
    let options = "min-side = 25\nresize = { shorter-side = 6, decoding = 'scaled' }";
    let small = stored(options, &golden("rgb-420.jpg")).await;
    assert_eq!(small.reject.as_deref(), Some("too-small"));
    assert_eq!((small.width, small.height), (40, 24));
    assert_eq!(small.bytes, golden("rgb-420.jpg"));
}

#[test]
fn a_shape_that_no_jpeg_has_is_a_reason() {
    let stage = DecodeRows {
        stage: "decode".to_owned(),
        options: toml::from_str("resize = { shorter-side = 1 }").unwrap(),
        squares: vec![stretched(8)],
        hashes: false,
    };
    let picture = Picture::try_new(140_000, 2, vec![7; 3 * 280_000]).unwrap();
    let answer = stage.judge(&[], picture, (140_000, 2));
    let detail = "a picture of 70000 x 1 pixels fits no JPEG, whose sides have at most 65535";
    assert_eq!(
        answer.rejection,
        Some(Rejection::new(Reject::Unsupported, detail.to_owned()))
    );
    assert_eq!(answer.sides, Some((140_000, 2)));
    assert!(matches!(answer.image, Image::AsItCame) && answer.pixels.is_empty());
}

#[test]
fn options_without_resize_are_written_as_before_there_was_one() {
    // What is written is part of the key under which results are found again.
    let written = toml::to_string(&Decode::default()).unwrap();
    assert!(!written.contains("resize"), "{written}");
}

#[test]
fn numbers_of_pixels_are_written_with_or_without_unit() {
    assert_eq!("64 MP".parse(), Ok(Pixels(64_000_000)));
    assert_eq!("2MP".parse(), Ok(Pixels(2_000_000)));
    assert_eq!("250000".parse(), Ok(Pixels(250_000)));
    assert_eq!(Pixels(64_000_000).to_string(), "64 MP");
    assert_eq!(
        "64 pixels".parse::<Pixels>().unwrap_err().to_string(),
        "`64 pixels` is not a number of pixels; write it like \"64 MP\" or \"250000\""
    );
    assert!("0".parse::<Pixels>().is_err());
}
