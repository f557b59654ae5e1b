//! `pipelines/mini-blip/smoke.toml`: the loop with models that learn something, and its filter against the truth.

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{capfilt, models_can_run, root, skipped};

/// Takes minutes, so it runs only where it is asked for, as CI does.
#[test]
fn smoke_of_the_loop_removes_wrong_texts_and_keeps_right_ones() {
    let Ok(data) = std::env::var("CAPFILT_MINI_BLIP") else {
        skipped(format_args!(
            "the whole loop takes minutes: name the folder that `pipelines/mini-blip/prepare.py` filled in CAPFILT_MINI_BLIP"
        ));
        return;
    };
    if !models_can_run() {
        return;
    }
    let scratch = TempDir::new().unwrap();
    let demo = root().join("pipelines/demo");
    let text = fs_err::read_to_string(root().join("pipelines/mini-blip/smoke.toml"))
        .unwrap()
        .replace("../../out/mini-blip-data", &data)
        .replace("../demo", demo.to_str().unwrap());
    let file = scratch.path().join("smoke.toml");
    fs_err::write(&file, text).unwrap();
    let output = scratch.path().join("out");
    let arguments = [
        "bootstrap",
        file.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    capfilt(arguments).expect_code(0);

    let results = fs_err::read_to_string(output.join("bootstrap.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let both = &results["results"][0];
    let filter = &both["filter"];
    let number = |name: &str| filter[name].as_f64().unwrap();
    let (right, wrong) = (number("right"), number("wrong"));
    let share = |wrong: f64, right: f64| wrong / (wrong + right);
    let before = share(wrong, right);
    // What the filter can do, at the threshold that keeps 70 % of the right texts.
    let roc: Vec<[f64; 2]> = serde_json::from_value(filter["roc"].clone()).unwrap();
    let [wrong_kept, right_kept] = *roc.iter().find(|[_, right]| *right >= 0.7).unwrap();
    let after = share(wrong_kept * wrong, right_kept * right);
    assert!(
        after <= before * 2.0 / 3.0,
        "{after:.3} of the texts are wrong where 70 % of the right ones stay, {before:.3} of all"
    );
    // What it did at the threshold of the file. Other processors' arithmetic moves similarities a little.
    let after = share(number("wrong_kept"), number("right_kept"));
    let kept = number("right_kept") / right;
    assert!(
        after <= before * 0.75 && kept >= 0.6,
        "{after:.3} of the kept texts are wrong, {before:.3} of all; {kept:.3} of the right ones are kept"
    );
    // The pipeline decided as the evaluation says.
    assert_eq!(
        both["texts"]["web-kept"].as_f64(),
        Some(number("right_kept") + number("wrong_kept"))
    );
    // The new model finds texts it never saw at three times the rate of chance.
    let recall = &both["held-out"]["seen"]["recall"]["image_to_text"]["5"];
    assert!(recall.as_f64() > Some(3.0 * 5.0 / 785.0), "{recall}");
}
