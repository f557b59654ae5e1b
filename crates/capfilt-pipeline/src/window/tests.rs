use std::time::Duration;

use super::*;

async fn is_held(window: &Window, row: u64) -> bool {
    tokio::time::timeout(Duration::from_millis(20), window.admit(row))
        .await
        .is_err()
}

#[tokio::test]
async fn rows_run_ahead_only_as_far_as_the_window() {
    let budget = Arc::<Budget>::default();
    let (one, other) = (
        Window::new(Arc::clone(&budget), 100),
        Window::new(budget, 0),
    );
    for row in 100..100 + ROWS as u64 {
        assert!(!is_held(&one, row).await);
        one.hold(row, 0);
    }
    let next = 100 + ROWS as u64;
    assert!(is_held(&one, next).await);
    assert!(is_held(&other, 1).await, "all pieces share the rows");
    assert!(!is_held(&other, 0).await);
    one.advance(101);
    assert!(!is_held(&one, next).await);
}

#[tokio::test]
async fn bytes_of_one_piece_hold_back_another_but_never_its_first_row() {
    let budget = Arc::<Budget>::default();
    let (one, other) = (Window::new(Arc::clone(&budget), 0), Window::new(budget, 0));
    one.hold(3, BYTES);
    assert!(is_held(&other, 1).await);
    assert!(!is_held(&other, 0).await);
    assert!(!is_held(&one, 0).await);
    one.advance(4);
    assert!(!is_held(&other, 1).await);
}

#[tokio::test]
async fn a_piece_that_ends_early_gives_its_bytes_back() {
    let budget = Arc::<Budget>::default();
    let (one, other) = (Window::new(Arc::clone(&budget), 0), Window::new(budget, 0));
    one.hold(0, BYTES);
    let waiting = other.admit(1);
    let mut waiting = std::pin::pin!(waiting);
    assert!(
        tokio::time::timeout(Duration::from_millis(20), &mut waiting)
            .await
            .is_err()
    );
    drop(one);
    tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .unwrap();
}

/// Whether `row` still waits after a while.
async fn waits(mut room: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    tokio::time::timeout(Duration::from_millis(20), &mut room)
        .await
        .is_err()
}

#[tokio::test]
async fn no_picture_is_fetched_where_there_is_no_room_but_near_the_first_row() {
    let window = Window::new(Arc::default(), 10);
    assert!(window.has_room(5_000));
    window.hold(10, BYTES);
    assert!(window.has_room(10 + NEAR - 1));
    assert!(!window.has_room(10 + NEAR));
    let (near, far) = (window.room(10 + NEAR), window.room(5_000));
    let (mut near, mut far) = (std::pin::pin!(near), std::pin::pin!(far));
    assert!(waits(near.as_mut()).await);
    assert!(waits(far.as_mut()).await);
    // The first row is written, but another holds as much.
    window.hold(11, BYTES);
    window.advance(11);
    assert!(!waits(near.as_mut()).await);
    assert!(waits(far.as_mut()).await);
    window.advance(12);
    assert!(!waits(far.as_mut()).await);
}

#[tokio::test]
async fn as_many_are_woken_as_there_may_be_room_for() {
    let window = Window::new(Arc::default(), 0);
    window.hold(0, BYTES);
    let mut rooms: Vec<_> = (1_000..1_010)
        .map(|row| Box::pin(window.room(row)))
        .collect();
    for room in &mut rooms {
        assert!(waits(room.as_mut()).await);
    }
    window.advance(1);
    let mut woken = Vec::new();
    for room in &mut rooms {
        woken.push(!waits(room.as_mut()).await);
    }
    assert_eq!(woken[..3], [true, true, false], "{woken:?}");
    assert!(window.has_room(1_009), "nobody holds anything any more");
}

#[tokio::test]
async fn a_row_that_was_given_up_keeps_nobody_waiting() {
    let window = Window::new(Arc::default(), 0);
    window.hold(0, BYTES);
    let mut gone = Box::pin(window.room(500));
    let mut other = Box::pin(window.room(501));
    assert!(waits(gone.as_mut()).await);
    assert!(waits(other.as_mut()).await);
    drop(gone);
    window.advance(1);
    assert!(!waits(other.as_mut()).await);
}

#[tokio::test]
async fn pictures_on_disk_make_room() {
    let window = Window::new(Arc::default(), 0);
    window.hold(100, BYTES / 2);
    window.hold(101, BYTES / 2);
    assert!(!window.has_room(200));
    let mut rooms: Vec<_> = (200..205).map(|row| Box::pin(window.room(row))).collect();
    for room in &mut rooms {
        assert!(futures::poll!(room).is_pending());
    }
    window.spill(&[100, 101]);
    let mut woken = 0;
    for room in &mut rooms {
        woken += usize::from(futures::poll!(room).is_ready());
    }
    assert_eq!(woken, 4, "two for each picture");
    // One of them brings no picture, and hands its room on.
    window.spill(&[200]);
    assert!(futures::poll!(&mut rooms[4]).is_ready());
    // Its row is still under way.
    window.advance(101);
}

#[tokio::test]
async fn room_in_one_piece_is_for_all() {
    let budget = Arc::<Budget>::default();
    let [one, other, third] = [0; 3].map(|first| Window::new(Arc::clone(&budget), first));
    one.hold(100, BYTES);
    let mut rooms = [other.room(500), third.room(400), other.room(501)].map(Box::pin);
    for room in &mut rooms {
        assert!(futures::poll!(room).is_pending());
    }
    one.spill(&[100]);
    let mut woken = Vec::new();
    for room in &mut rooms {
        woken.push(futures::poll!(room).is_ready());
    }
    assert_eq!(
        woken,
        [true, false, true],
        "the piece that began first is first"
    );
    drop(one);
    assert!(futures::poll!(&mut rooms[1]).is_ready());
}
