use super::*;
use crate::test_shards::{Row, rows};
use crate::window::{Budget, PARKED};

fn window() -> Arc<Window> {
    Arc::new(Window::new(Arc::default(), 0))
}

fn taken(order: &mut Order) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(batch) = order.take().unwrap() {
        all.extend(numbers(&batch).unwrap().values());
    }
    all
}

#[test]
fn rows_are_taken_in_the_order_of_the_shard() {
    let mut order = Order::new(&std::iter::once(10..14).collect(), Path::new("."), window());
    order
        .put(rows(12, &[Row::default(), Row::default()]))
        .unwrap();
    assert_eq!(taken(&mut order), [] as [u64; 0]);
    order.put(rows(10, &[Row::default()])).unwrap();
    assert_eq!(taken(&mut order), [10]);
    assert_eq!(order.missing(), Some(11));
    order.put(rows(11, &[Row::default()])).unwrap();
    assert_eq!(taken(&mut order), [11, 12, 13]);
    assert_eq!(order.missing(), None);
}

#[test]
fn small_pictures_are_taken_many_at_a_time_and_large_ones_few() {
    for (bytes, expected) in [
        (1 << 10, vec![64, 16]),
        (40 << 10, vec![26, 26, 26, 2]),
        (1 << 20, vec![16; 5]),
    ] {
        let row = Row {
            image: Some(vec![0; bytes]),
            ..Row::default()
        };
        let mut order = Order::new(&std::iter::once(0..80).collect(), Path::new("."), window());
        order.put(rows(0, &vec![row; 80])).unwrap();
        let mut counts = Vec::new();
        while let Some(batch) = order.take().unwrap() {
            counts.push(batch.num_rows());
        }
        assert_eq!(counts, expected, "{bytes} bytes each");
    }
}

#[test]
fn a_row_that_comes_twice_is_an_error() {
    let mut order = Order::new(&std::iter::once(0..2).collect(), Path::new("."), window());
    order.put(rows(0, &[Row::default()])).unwrap();
    assert!(order.put(rows(0, &[Row::default()])).is_err());
    taken(&mut order);
    assert!(order.put(rows(0, &[Row::default()])).is_err());
}

#[test]
fn some_rows_are_taken_in_their_order_too() {
    let numbers = [3..4, 7..8, 20..21].into_iter().collect();
    let mut order = Order::new(&numbers, Path::new("."), window());
    order.put(rows(20, &[Row::default()])).unwrap();
    order.put(rows(3, &[Row::default()])).unwrap();
    assert_eq!(taken(&mut order), [3]);
    assert_eq!(order.next(), 7);
    order.put(rows(7, &[Row::default()])).unwrap();
    assert_eq!(taken(&mut order), [7, 20]);
    assert_eq!((order.next(), order.missing()), (21, None));
}

#[test]
fn a_row_that_nobody_asked_for_is_told() {
    let mut order = Order::new(&std::iter::once(3..4).collect(), Path::new("."), window());
    order
        .put(rows(3, &[Row::default(), Row::default()]))
        .unwrap();
    assert_eq!(taken(&mut order), [3]);
    assert_eq!(order.missing(), Some(4));
}

#[test]
fn pictures_that_wait_go_to_disk_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let picture = |row: u64| vec![u8::try_from(row).unwrap(); 3 << 20];
    let with_picture = |row: u64| Row {
        image: Some(picture(row)),
        ..Row::default()
    };
    // Another piece leaves little room.
    let budget = Arc::<Budget>::default();
    let [other, window] = [0, 0].map(|first| Arc::new(Window::new(Arc::clone(&budget), first)));
    assert!(other.park(PARKED - (4 << 20), false));
    let numbers = std::iter::once(0..20).collect();
    let mut order = Order::new(&numbers, folder.path(), Arc::clone(&window));
    let mut spilled = Vec::new();
    for row in (1..20).rev() {
        spilled.extend(order.put(rows(row, &[with_picture(row)])).unwrap());
    }
    // One has room in memory; whoever comes in his turn needs none on disk.
    assert_eq!(spilled, (1..19).rev().collect::<Vec<_>>());
    assert!(order.put(rows(0, &[with_picture(0)])).unwrap().is_empty());
    let mut next = 0;
    while let Some(batch) = order.take().unwrap() {
        for row in 0..batch.num_rows() {
            assert_eq!(
                image_at(&batch, row).unwrap(),
                Some(picture(next).as_slice())
            );
            next += 1;
        }
    }
    assert_eq!(next, 20);
    // What waited waits no longer, and a piece that ends gives back what did.
    assert!(window.park(4 << 20, false) && !window.park(1, false));
    drop(other);
    assert!(window.park(PARKED - (4 << 20), false) && !window.park(1, false));
}
