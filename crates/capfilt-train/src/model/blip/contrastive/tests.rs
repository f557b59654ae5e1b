#![expect(
    clippy::cast_precision_loss,
    reason = "ids and counts of tests are small"
)]

use rand_chacha::rand_core::SeedableRng as _;

use super::*;
use crate::golden::{close, device};
use crate::layers::normalize;

fn rows<const R: usize>(rows: [[f32; 2]; R]) -> Tensor<2> {
    normalize(Tensor::from_data(TensorData::from(rows), &device()))
}

/// Numbers of `models.md`, section 10, which its authors computed apart from any model.
#[test]
fn contrast_with_queues_and_soft_targets() {
    let images = rows([[1.0, 0.2], [0.1, 1.0]]);
    let texts = rows([[0.9, 0.3], [-0.2, 1.0]]);
    let momentum_images = rows([[1.0, 0.1], [0.2, 1.0]]).inner();
    let momentum_texts = rows([[0.8, 0.3], [-0.1, 1.0]]).inner();
    let image_queue = rows([[1.0, 1.0], [-1.0, 0.5]]).inner();
    let text_queue = rows([[0.5, -1.0], [-1.0, -1.0]]).inner();
    let right = right_pairs(
        &[0, 1],
        &[None, None],
        Positives::Pairs,
        &images.device().inner(),
    );
    let temperature = Tensor::from_data([[0.07]], &images.device());
    let candidates = Tensor::cat(vec![momentum_texts.clone(), text_queue], 0);
    let (to_texts, _) = soft_contrast(
        &images,
        &momentum_images,
        &candidates,
        &right,
        &temperature,
        0.4,
    );
    let candidates = Tensor::cat(vec![momentum_images, image_queue], 0);
    let (to_images, _) = soft_contrast(
        &texts,
        &momentum_texts,
        &candidates,
        &right,
        &temperature,
        0.4,
    );
    close("i2t", &floats(to_texts), &[0.003_963_741], 1e-4);
    close("t2i", &floats(to_images), &[0.231_309_64], 1e-5);
}

#[test]
fn the_queue_overwrites_its_oldest_and_wraps() {
    let device = device().inner();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut queue = Queue::new(4, 2, &mut random, &device);
    for step in 0..3u64 {
        let batch = Tensor::full([2, 2], step as f32, &device);
        queue.push(batch.clone(), batch, &[2 * step, 2 * step + 1]);
    }
    assert_eq!(queue.pictures, [Some(4), Some(5), Some(2), Some(3)]);
    assert_eq!(
        floats(queue.images),
        [2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    );
    assert_eq!(queue.next, 2);
}

#[test]
fn negatives_are_drawn_by_weight_and_never_the_own() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let weights = [0.0, 1.0, 3.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0];
    let mut counts = [[0; 3]; 3];
    for _ in 0..4000 {
        for (row, column) in draw(&weights, 3, &mut random).into_iter().enumerate() {
            counts[row][column] += 1;
        }
    }
    assert_eq!((counts[0][0], counts[1][1]), (0, 0));
    assert!((2900..3100).contains(&counts[0][2]), "{counts:?}");
    // A row without weights: any other, evenly.
    assert_eq!(counts[2][2], 0);
    assert!((1850..2150).contains(&counts[2][0]), "{counts:?}");
}
