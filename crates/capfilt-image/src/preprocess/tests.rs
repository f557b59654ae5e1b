use super::*;

const BLIP: Preprocess = Preprocess {
    size: 2,
    fit: Fit::Stretch,
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
};

#[test]
fn a_tensor_holds_the_channels_one_after_the_other() {
    let pixels = vec![0, 51, 255, 10, 61, 245, 20, 71, 235, 30, 81, 225];
    let tensor = BLIP.tensor(&Picture::try_new(2, 2, pixels.clone()).unwrap());
    assert_eq!(tensor.len(), 12);
    for (index, value) in tensor.iter().enumerate() {
        let (channel, pixel) = (index / 4, index % 4);
        let sample = f64::from(pixels[3 * pixel + channel]);
        let (mean, std) = (f64::from(BLIP.mean[channel]), f64::from(BLIP.std[channel]));
        let expected = (sample / 255.0 - mean) / std;
        assert!(
            (f64::from(*value) - expected).abs() < 1e-6,
            "{index}: {value} {expected}"
        );
    }
}

#[test]
fn any_picture_becomes_a_square_of_the_given_size() {
    let picture = Picture::try_new(5, 3, vec![7; 45]).unwrap();
    assert_eq!(BLIP.tensor(&picture).len(), 12);
    let large = Preprocess { size: 48, ..BLIP };
    assert_eq!(large.tensor(&picture).len(), 3 * 48 * 48);
}

#[test]
fn an_unknown_key_is_refused() {
    let text = r#"{"size": 2, "mean": [0, 0, 0], "std": [1, 1, 1], "crop": true}"#;
    let error = serde_json::from_str::<Preprocess>(text)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown field `crop`"), "{error}");
}
