use std::time::Duration;

use super::*;

async fn is_held(window: &Window, row: u64) -> bool {
    tokio::time::timeout(Duration::from_millis(20), window.admit(row))
        .await
        .is_err()
}

#[tokio::test]
async fn rows_run_ahead_only_as_far_as_the_window() {
    let window = Window::new(Arc::default(), 100);
    assert!(!is_held(&window, 100 + ROWS - 1).await);
    assert!(is_held(&window, 100 + ROWS).await);
    window.advance(101);
    assert!(!is_held(&window, 100 + ROWS).await);
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
