use super::*;

#[tokio::test]
async fn a_port_that_is_taken_is_replaced() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../pipelines/demo/pictures.parquet"
    );
    let pictures = Pictures::read(std::path::Path::new(path)).unwrap();
    let first = Server::start(&pictures, None).await.unwrap();
    let second = Server::start(&pictures, Some(first.address().port()))
        .await
        .unwrap();
    assert_ne!(first.address(), second.address());
    let port = second.address().port();
    drop(second);
    // The port is free a moment after its server is gone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let third = Server::start(&pictures, Some(port)).await.unwrap();
    assert_eq!(third.address().port(), port);
}

#[test]
fn every_picture_has_a_path_that_needs_no_escaping() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../pipelines/demo/pictures.parquet"
    );
    let pictures = Pictures::read(std::path::Path::new(path)).unwrap();
    assert_eq!(pictures.len(), 300);
    for picture in pictures.iter() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        assert!(picture.path.chars().all(plain), "{}", picture.path);
        assert!(picture.png.starts_with(b"\x89PNG"), "{}", picture.path);
    }
    let paths: std::collections::HashSet<_> =
        pictures.iter().map(|picture| &picture.path).collect();
    assert_eq!(paths.len(), pictures.len());
}

#[test]
fn the_bomb_is_small_and_declares_much() {
    use capfilt_image::{DecodeError, DecodeOptions, probe};
    assert!(BOMB.len() < 100);
    let refused = probe(BOMB, &DecodeOptions::default());
    assert!(
        matches!(refused, Err(DecodeError::TooManyPixels { .. })),
        "{refused:?}"
    );
    let pixel = probe(PIXEL, &DecodeOptions::default()).unwrap();
    assert_eq!((pixel.width, pixel.height), (1, 1));
}
