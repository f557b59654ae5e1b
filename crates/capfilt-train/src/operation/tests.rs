use super::*;
use crate::golden::{close, device};
use crate::layers::indices;
use crate::parameters::floats;

/// Numbers of `models.md`, section 10; the row without a target is not among the rows.
#[test]
fn label_smoothing() {
    let logits = [[2.0, 0.5, -1.0, 0.0], [0.0, 1.0, 3.0, -2.0]];
    let logits = Tensor::<2>::from_data(logits, &device());
    let labels = indices(&[0, 2], &device());
    let smooth = cross_entropy(logits.clone(), labels.clone(), 0.1);
    close("smoothed", &floats(smooth), &[0.465_182_48], 1e-6);
    let hard = cross_entropy(logits, labels, 0.0);
    close("unsmoothed", &floats(hard), &[0.258_932_47], 1e-6);
}
