use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::row::numbers;
use crate::test_shards::{Row, column_texts, input, rows};

/// Rejects every row with its own number as detail, later rows first.
struct Numbering {
    asked: Arc<AtomicUsize>,
    in_flight: usize,
}

impl RowWork for Numbering {
    type Answer = u64;

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn ask(&self, row: &Place) -> Result<Asked<u64>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let number = numbers(row.batch())?.value(row.row());
        Ok(Asked::work(async move {
            tokio::time::sleep(Duration::from_millis(20_u64.saturating_sub(number))).await;
            Ok(number)
        }))
    }

    fn learn(&self, rows: &RecordBatch, answers: Vec<Option<u64>>) -> Result<RecordBatch> {
        let rejections: Vec<_> = answers
            .into_iter()
            .map(|answer| {
                answer.map(|number| {
                    crate::row::Rejection::new(capfilt_data::Reject::Where, number.to_string())
                })
            })
            .collect();
        Ok(crate::row::reject(rows, "numbering", &rejections)?)
    }
}

fn numbering(in_flight: usize) -> (Numbering, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    (
        Numbering {
            asked: Arc::clone(&asked),
            in_flight,
        },
        asked,
    )
}

async fn collect(stream: SendableRecordBatchStream) -> Result<Vec<RecordBatch>> {
    stream.try_collect().await
}

#[tokio::test]
async fn every_row_gets_its_own_answer_whatever_the_order() {
    for (batches, in_flight) in [
        (vec![20], 1),
        (vec![20], 8),
        (vec![1; 20], 8),
        (vec![7, 13], 50),
    ] {
        let (work, _) = numbering(in_flight);
        let mut first = 0;
        let batches: Vec<_> = batches
            .into_iter()
            .map(|count| {
                let batch = rows(first, &vec![Row::default(); count]);
                first += count as u64;
                Ok(batch)
            })
            .collect();
        let schema = rows(0, &[]).schema();
        let done = collect(for_each_row(work, schema, input(batches)))
            .await
            .unwrap();
        let mut seen = Vec::new();
        for batch in done {
            for (number, detail) in numbers(&batch)
                .unwrap()
                .values()
                .iter()
                .zip(column_texts(&batch, "detail"))
            {
                assert_eq!(detail, Some(number.to_string()));
                seen.push(*number);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn rows_that_left_are_stepped_over() {
    let (work, asked) = numbering(4);
    let gone = Row {
        reject: Some("not-found"),
        ..Row::default()
    };
    let batch = rows(0, &[gone.clone(), Row::default(), gone]);
    let done = collect(for_each_row(work, batch.schema(), input(vec![Ok(batch)])))
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(done.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    let mut reasons: Vec<_> = done
        .iter()
        .flat_map(|batch| column_texts(batch, "reject"))
        .collect();
    reasons.sort();
    assert_eq!(
        reasons.into_iter().flatten().collect::<Vec<_>>(),
        ["not-found", "not-found", "where"]
    );
}

#[tokio::test]
async fn no_rows_give_no_rows() {
    let (work, _) = numbering(4);
    let schema = rows(0, &[]).schema();
    assert!(
        collect(for_each_row(work, schema, input(vec![])))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_error_of_the_input_ends_the_rows() {
    let (work, _) = numbering(4);
    let batch = rows(0, &[Row::default()]);
    let schema = batch.schema();
    let broken = DataFusionError::Internal("the disk is gone".to_owned());
    let error = collect(for_each_row(
        work,
        schema,
        input(vec![Ok(batch), Err(broken)]),
    ))
    .await
    .unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}

/// Work that never ends, and knows when it is dropped.
struct Endless(Arc<()>);

impl RowWork for Endless {
    type Answer = ();

    fn in_flight(&self) -> usize {
        4
    }

    fn ask(&self, _: &Place) -> Result<Asked<()>> {
        let held = Arc::clone(&self.0);
        Ok(Asked::work(async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        }))
    }

    fn learn(&self, rows: &RecordBatch, _: Vec<Option<()>>) -> Result<RecordBatch> {
        Ok(rows.clone())
    }
}

#[tokio::test]
async fn dropping_the_rows_drops_the_work() {
    let held = Arc::new(());
    let batch = rows(0, &vec![Row::default(); 10]);
    let mut stream = for_each_row(
        Endless(Arc::clone(&held)),
        batch.schema(),
        input(vec![Ok(batch)]),
    );
    let waited = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    assert!(waited.is_err(), "work that never ends gave {waited:?}");
    assert!(Arc::strong_count(&held) > 2, "no work was started");
    drop(stream);
    for _ in 0..100 {
        if Arc::strong_count(&held) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} tasks are still at work", Arc::strong_count(&held) - 1);
}
