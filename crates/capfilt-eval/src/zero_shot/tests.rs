use super::*;
use crate::golden;
use crate::{Features, Pairs, Ranks, recall_at};

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
    // A picture is to a class what a text is to its picture.
    let pairs = Pairs::new(classes.len(), golden.labels).unwrap();
    let width = classes[0].len();
    let features = Features::new(width, classes.concat(), &golden.pictures.concat()).unwrap();
    let places = Ranks::new(&pairs, &features).of_texts;
    for (k, top) in [1, 5].into_iter().zip(golden.top) {
        golden::assert_equal(recall_at(k, &places).unwrap(), top);
    }
}

#[test]
fn prompts_without_direction_give_no_class() {
    assert_eq!(class_features(&[]), None);
    assert_eq!(class_features(&[vec![0.0, 0.0]]), None);
    assert_eq!(class_features(&[vec![1.0, 0.0], vec![-1.0, 0.0]]), None);
    assert_eq!(class_features(&[vec![f32::NAN, 0.0]]), None);
}
