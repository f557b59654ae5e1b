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

/// Pictures and their squares as `open_clip`'s transform gives them (`tests/golden/contrastive.py`), from a
/// safetensors file: a length, a JSON header, the values.
#[test]
fn a_cropped_square_is_the_middle_that_torchvision_keeps() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/open_clip/crops.safetensors"
    );
    let bytes = fs_err::read(path).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let picture = |name: &str| {
        let entry = &header[name];
        let number = |value: &serde_json::Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let side = |axis: usize| u32::try_from(entry["shape"][axis].as_u64().unwrap()).unwrap();
        let range = number(&entry["data_offsets"][0])..number(&entry["data_offsets"][1]);
        Picture::try_new(side(1), side(0), data[range].to_vec()).unwrap()
    };
    let square = Square {
        size: 24,
        fit: Fit::Crop,
    };
    for name in ["wide", "tall", "square", "odd"] {
        let seen = square.of(&picture(&format!("{name}.picture")));
        let expected = picture(&format!("{name}.seen"));
        assert!(seen == expected, "{name}");
    }
}

#[test]
fn a_picture_that_is_nearly_a_line_is_cut_before_it_is_enlarged() {
    let picture = Picture::try_new(100_000, 1, vec![9; 300_000]).unwrap();
    let square = Square {
        size: 24,
        fit: Fit::Crop,
    };
    let seen = square.of(&picture);
    assert_eq!((seen.width(), seen.height()), (24, 24));
    assert!(seen.pixels().iter().all(|&value| value == 9));
}
