use futures::TryStreamExt;

use super::*;
use crate::test_shards::{Row, bmp, column_texts, input, rows};

fn with_image(bytes: Vec<u8>) -> Row {
    Row {
        image: Some(bytes),
        ..Row::default()
    }
}

async fn decoded(options: Decode, given: &[Row]) -> Vec<RecordBatch> {
    let stage = DecodeRows {
        stage: "decode".to_owned(),
        options,
        sizes: vec![4, 8],
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
    assert_eq!(pixels(batch, 4).unwrap(), Some(vec![200; 4 * 4 * 3]));
    assert_eq!(pixels(batch, 8).unwrap(), Some(vec![200; 8 * 8 * 3]));
    let width = crate::row::column(batch, "width").unwrap();
    assert_eq!(
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int32Type>(width).value(0),
        10
    );
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
