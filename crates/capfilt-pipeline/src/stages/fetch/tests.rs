use futures::TryStreamExt;

use super::*;
use crate::test_shards::{Row, bmp, column_texts, data_url, input, rows};

async fn fetched(given: &[Row]) -> RecordBatch {
    let stage = Fetch {
        stage: "fetch".to_owned(),
        options: FetchOptions::default(),
        asked: Numbers::default(),
    };
    let batches: Vec<RecordBatch> = Arc::new(stage)
        .rows(input(vec![Ok(rows(0, given))]), Arc::default())
        .try_collect()
        .await
        .unwrap();
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let order = arrow::compute::sort_to_indices(column(&all, ".row").unwrap(), None, None).unwrap();
    arrow::compute::take_record_batch(&all, &order).unwrap()
}

fn with_url(url: &str) -> Row {
    Row {
        url: Some(url.to_owned()),
        ..Row::default()
    }
}

#[tokio::test]
async fn a_url_brings_bytes_or_a_reason() {
    let picture = bmp(2, 2, 9);
    let given = [
        with_url(&data_url(&picture)),
        with_url("nonsense"),
        with_url("ftp://example.org/x"),
        with_url("  "),
        Row::default(),
    ];
    let batch = fetched(&given).await;
    assert_eq!(image_at(&batch, 0).unwrap(), Some(picture.as_slice()));
    let reasons: Vec<_> = column_texts(&batch, "reject")
        .into_iter()
        .map(Option::unwrap_or_default)
        .collect();
    assert_eq!(
        reasons,
        [
            "",
            "bad-url",
            "scheme-not-allowed",
            "missing-url",
            "missing-url"
        ]
    );
    let fetch = column(&batch, "fetch").unwrap();
    assert!(fetch.is_valid(0) && fetch.is_valid(1) && fetch.is_null(4));
    assert_eq!(
        fetch.as_struct().column(0).as_string::<i32>().value(0),
        "ok"
    );
}

#[tokio::test]
async fn a_picture_that_came_along_is_not_fetched() {
    let row = Row {
        image: Some(vec![1, 2, 3]),
        ..with_url("nonsense")
    };
    let batch = fetched(&[row]).await;
    assert_eq!(image_at(&batch, 0).unwrap(), Some([1, 2, 3].as_slice()));
    assert_eq!(column_texts(&batch, "reject"), [None]);
}

#[test]
fn every_outcome_but_ok_is_the_reason_of_the_same_name() {
    for outcome in Outcome::ALL {
        let named = reason(outcome).map(Reject::as_str);
        assert_eq!(named, (outcome != Outcome::Ok).then_some(outcome.as_str()));
        assert_eq!(
            reason(outcome).is_some_and(Reject::is_transient),
            outcome.is_transient()
        );
    }
}
