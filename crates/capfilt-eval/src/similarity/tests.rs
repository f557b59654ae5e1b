use super::*;

#[test]
fn what_is_no_matrix_of_numbers_is_refused() {
    let width = |got, width| Some(SimilarityError::Width { got, width });
    assert_eq!(Matrix::new(vec![0.0; 5], 2).err(), width(5, 2));
    assert_eq!(Matrix::new(vec![0.0; 5], 0).err(), width(5, 0));
    assert_eq!(
        Features::new(2, vec![0.0, 1.0, f32::NAN, 0.0], &[0.0, 1.0]).err(),
        Some(SimilarityError::NotFinite { row: 1, index: 0 })
    );
    assert_eq!(
        Features::new(2, vec![0.0, 1.0], &[0.0, f32::INFINITY]).err(),
        Some(SimilarityError::NotFinite { row: 0, index: 1 })
    );
}
