use super::*;
use crate::test_shards::{Row, rows};

fn taken(order: &mut Order) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(batch) = order.take().unwrap() {
        assert!(batch.num_rows() <= BATCH_ROWS);
        all.extend(numbers(&batch).unwrap().values());
    }
    all
}

#[test]
fn rows_are_taken_in_the_order_of_the_shard() {
    let mut order = Order::new(10);
    order
        .put(&rows(12, &[Row::default(), Row::default()]))
        .unwrap();
    assert_eq!(taken(&mut order), [] as [u64; 0]);
    order.put(&rows(10, &[Row::default()])).unwrap();
    assert_eq!(taken(&mut order), [10]);
    assert!(!order.is_empty());
    order.put(&rows(11, &[Row::default()])).unwrap();
    assert_eq!(taken(&mut order), [11, 12, 13]);
    assert!(order.is_empty());
}

#[test]
fn a_row_that_comes_twice_is_an_error() {
    let mut order = Order::new(0);
    order.put(&rows(0, &[Row::default()])).unwrap();
    assert!(order.put(&rows(0, &[Row::default()])).is_err());
    taken(&mut order);
    assert!(order.put(&rows(0, &[Row::default()])).is_err());
}
