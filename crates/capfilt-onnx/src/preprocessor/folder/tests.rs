use std::collections::BTreeMap;
use std::path::Path;

use capfilt_image::Picture;
use serde::Deserialize;

use super::*;

/// What transformers does with such files (`tests/golden/processors.py`).
#[derive(Deserialize)]
struct Golden {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
    side: u32,
    tensors: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<String, Value>,
    tensor: Option<usize>,
}

/// Cases that are refused, and what is said.
const REFUSED: &[(&str, &str)] = &[
    (
        "size as a number for the shorter side",
        "`preprocessor_config.json: size` of the model configuration is not usable: 8, expected {\"height\":8,\"width\":8}",
    ),
    ("size as a number, squares off", "size` of"),
    (
        "size of the shorter side",
        "{\"shortest_edge\":8}, expected",
    ),
    ("size of both edges", "\"longest_edge\":16"),
    (
        "size at most",
        "{\"max_height\":8,\"max_width\":8}, expected",
    ),
    ("size with more", "\"longest_edge\":9"),
    ("size not square", "{\"height\":8,\"width\":12}, expected"),
    (
        "size of another model",
        "{\"height\":16,\"width\":16}, expected {\"height\":8,\"width\":8}, the model's `vision_config.image_size` and both sides stretched to it; for another size pass `--image-size`",
    ),
    ("size null", "null, expected {\"height\":8"),
    (
        "size absent",
        "{\"height\":384,\"width\":384} (absent, which means this), expected",
    ),
    (
        "image_size of another model",
        "image_size` of the model configuration is not usable: 16, expected 8",
    ),
    (
        "feature extractor of CLIP",
        "crop_size` of the model configuration is not usable: 224, expected 8 as `size`",
    ),
    (
        "feature extractor of CLIP, size as a number",
        "size` of the model configuration is not usable: 8,",
    ),
    (
        "class of ViT",
        "image_processor_type` of the model configuration is not usable: \"ViTImageProcessor\", expected `BlipImageProcessor`",
    ),
    (
        "crop smaller",
        "crop_size` of the model configuration is not usable: 4, expected 8",
    ),
    (
        "crop without a size",
        "crop_size` of the model configuration is not usable: null, expected 8",
    ),
    (
        "pad to more",
        "pad_size` of the model configuration is not usable: {\"height\":10,\"width\":10}, expected 8",
    ),
    (
        "no resize",
        "do_resize` of the model configuration is not usable: false, expected true",
    ),
    (
        "resize null",
        "do_resize` of the model configuration is not usable: null, expected true",
    ),
    ("no rescale", "do_rescale` of"),
    ("rescale null", "do_rescale` of"),
    ("no colours", "do_convert_rgb` of"),
    (
        "resample bilinear",
        "resample` of the model configuration is not usable: 2, expected 3 (bicubic)",
    ),
    ("resample by name", "\"bicubic\", expected 3 (bicubic)"),
    ("resample as 3.0", "3.0, expected 3 (bicubic)"),
    ("resample null", "null, expected 3 (bicubic)"),
    ("rescale by 1/127.5", "expected 1/255"),
    ("rescale factor null", "null, expected 1/255"),
    (
        "mean null",
        "image_mean` of the model configuration is not usable: null, expected three numbers",
    ),
    ("mean of four", "[0.5,0.5,0.5,0.5], expected three numbers"),
    ("mean a text", "\"imagenet\", expected three numbers"),
    (
        "deviation zero",
        "[0.5,0,0.5], expected three positive numbers",
    ),
    (
        "channels last",
        "\"channels_last\", expected \"channels_first\"",
    ),
    (
        "a step that is not known",
        "do_flip_channel_order` of the model configuration is not usable: true, expected no such field",
    ),
    (
        "a field that is not known",
        "crop_pct` of the model configuration is not usable: 0.9, expected no such field",
    ),
    (
        "a field of the processor that is not known",
        "`processor_config.json: images_kwargs` of",
    ),
    (
        "a list",
        "is not readable as a picture processor's configuration",
    ),
];

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/processors.json");
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

fn read_files(
    files: &BTreeMap<String, Value>,
    size: u32,
    model: Option<u32>,
) -> Result<(Preprocess, Vec<String>), ImportError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs_err::write(folder.path().join(name), content.to_string()).unwrap();
    }
    read(folder.path(), size, model)
}

#[test]
fn what_is_taken_gives_the_pixels_of_transformers_and_all_else_is_refused() {
    let golden = golden();
    let picture = Picture::try_new(golden.width, golden.height, golden.rgb).unwrap();
    let mut refused: BTreeMap<&str, &str> = REFUSED.iter().copied().collect();
    let mut taken = 0;
    for case in &golden.cases {
        let name = case.name.as_str();
        match (
            read_files(&case.files, golden.side, Some(golden.side)),
            refused.remove(name),
        ) {
            (Ok((image, _)), None) if name == "neither" => {
                assert_eq!(image, default(golden.side));
            }
            (Ok((image, _)), None) => {
                let tensor = case.tensor.unwrap_or_else(|| panic!("`{name}` is taken"));
                let expected = &golden.tensors[tensor];
                let got = image.tensor(&picture);
                let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
                assert!(worst.fold(0.0, f32::max) < 1e-6, "{name}");
                assert_eq!(got.len(), expected.len(), "{name}");
                taken += 1;
            }
            (Err(error), Some(expected)) => {
                let error = error.to_string();
                assert!(error.contains(expected), "{name}: {error}");
            }
            (Ok(_), Some(_)) => panic!("`{name}` is taken"),
            (Err(error), None) => panic!("`{name}` is refused: {error}"),
        }
    }
    assert!(refused.is_empty(), "no such cases: {refused:?}");
    assert!(taken >= 25, "{taken}");
}

#[test]
fn the_case_of_transformers_5_has_its_own_mean_and_deviation() {
    let golden = golden();
    let case = &golden.cases[1];
    assert_eq!(case.name, "as BlipProcessor of transformers 5 writes it");
    let (image, remarks) = read_files(&case.files, golden.side, Some(golden.side)).unwrap();
    assert_eq!((image.mean, image.std), ([0.5; 3], [0.5; 3]));
    assert_eq!(remarks, [""; 0]);
}

#[test]
fn files_that_disagree_and_files_that_are_not_there_are_told() {
    let golden = golden();
    let remarks = |name: &str| {
        let case = golden.cases.iter().find(|case| case.name == name).unwrap();
        read_files(&case.files, golden.side, Some(golden.side))
            .unwrap()
            .1
    };
    let said = remarks("both files, others");
    assert_eq!(
        said,
        [
            "`processor_config.json` and `preprocessor_config.json` disagree on `image_mean`: the first counts, as in transformers 5; older versions take the second"
        ]
    );
    assert!(remarks("both files, the same").is_empty());
    assert!(remarks("a processor of transformers 4 beside").is_empty());
    let said = remarks("neither");
    assert!(
        said[0].contains("0.48145467") && said[0].contains("neither `processor_config.json`"),
        "{said:?}"
    );
}

#[test]
fn a_size_that_was_asked_for_counts_for_the_files() {
    let golden = golden();
    let case = golden
        .cases
        .iter()
        .find(|case| case.name == "size of another model")
        .unwrap();
    let (image, _) = read_files(&case.files, 24, None).unwrap();
    assert_eq!(image.size, 24);
    let case = golden
        .cases
        .iter()
        .find(|case| case.name == "size of the shorter side")
        .unwrap();
    let error = read_files(&case.files, 24, None).unwrap_err().to_string();
    assert!(
        error.contains("expected a square's height and width"),
        "{error}"
    );
}
