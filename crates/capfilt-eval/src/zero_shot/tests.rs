use super::*;
use crate::golden;
use crate::{Features, Matrix, recall_at};

#[test]
fn classes_and_accuracy_are_those_of_open_clip() {
    let golden = golden::metrics().zero_shot;
    let classes: Vec<Vec<f32>> = golden
        .prompts
        .iter()
        .map(|prompts| class_features(prompts).unwrap())
        .collect();
    for (got, expected) in classes.concat().iter().zip(golden.classes.concat()) {
        assert!((f64::from(*got) - expected).abs() < 1e-7);
    }
    let width = classes[0].len();
    let features = Features::new(width, golden.pictures.concat(), &classes.concat()).unwrap();
    let ranks = class_ranks(&features, classes.len(), &golden.labels);
    for (k, top) in [1, 5].into_iter().zip(golden.top) {
        golden::assert_equal(recall_at(k, &ranks).unwrap(), top);
    }
}

#[test]
fn prompts_without_direction_give_no_class() {
    assert_eq!(class_features(&[]), None);
    assert_eq!(class_features(&[vec![0.0, 0.0]]), None);
    assert_eq!(class_features(&[vec![1.0, 0.0], vec![-1.0, 0.0]]), None);
    assert_eq!(class_features(&[vec![f32::NAN, 0.0]]), None);
}

#[test]
fn of_equal_classes_the_first_comes_first() {
    let matrix = Matrix::new(vec![0.5, 0.5, 0.7, 0.5, 0.5, 0.5], 3).unwrap();
    assert_eq!(class_ranks(&matrix, 3, &[1, 0]), [Some(2), Some(0)]);
    assert_eq!(class_ranks(&matrix, 3, &[3]), [None]);
}
