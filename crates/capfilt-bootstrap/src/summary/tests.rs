use serde_json::json;

use crate::arm::Arm;
use crate::file::Table;
use crate::results::{ArmResult, DataCounts, Results};
use crate::summary::summarise;

fn result(arm: &str, seed: u64, recall: f64, texts: Option<DataCounts>) -> ArmResult {
    let metrics = json!({
        "recall": { "image_to_text": { "1": recall }, "text_to_image": { "1": 0.5 } },
        "cider_d": 1.234,
    });
    let filter = json!({
        "right": 10, "right_kept": 8, "wrong": 20, "wrong_kept": 5, "precision": 0.625, "auc": 0.9,
        "groups": { "file-name": { "wrong": 4, "wrong_kept": 1 } },
    });
    ArmResult {
        arm: arm.to_owned(),
        seed,
        model: format!("seed-{seed}/{arm}"),
        data: None,
        held_out: [("test".to_owned(), metrics.as_object().cloned().unwrap())].into(),
        texts,
        filter: texts.map(|_| filter),
    }
}

#[test]
fn arms_stand_side_by_side_with_means_and_ranges() {
    let counts = DataCounts {
        web: 30,
        web_kept: 13,
        synthetic: 30,
        synthetic_kept: 21,
    };
    let arms: Vec<Arm> =
        serde_json::from_value(json!([{ "name": "raw" }, { "name": "both" }])).unwrap();
    let results = Results {
        format: 1,
        arms,
        tables: vec![Table {
            title: "Table 1".to_owned(),
            arms: vec!["raw".to_owned(), "both".to_owned()],
        }],
        results: vec![
            result("raw", 0, 0.1, None),
            result("both", 0, 0.2, Some(counts)),
            result("raw", 1, 0.3, None),
            result("both", 1, 0.5, Some(counts)),
        ],
        seconds: [].into(),
    };
    let tables = summarise(&results);
    let expected = "Table 1\n\n\
        | arm | test: text R@1 | test: picture R@1 | test: CIDEr-D | web kept | synthetic kept | noise ratio |\n\
        | --- | --- | --- | --- | --- | --- | --- |\n\
        | raw | 20.0 (10.0 to 30.0) | 50.0 (50.0 to 50.0) | 1.23 (1.23 to 1.23) |  |  |  |\n\
        | both | 35.0 (20.0 to 50.0) | 50.0 (50.0 to 50.0) | 1.23 (1.23 to 1.23) | 43 (43 to 43) | 70 (70 to 70) | 30 (30 to 30) |\n";
    assert_eq!(tables[0].markdown(), expected);
    // The raw arm has no filter. 8 of 10 right texts and 5 of 20 wrong ones are kept, and 1 of 4 file names.
    let filters = &tables[1];
    assert_eq!(filters.columns[5], "file-name: kept");
    let cells = [
        "80 (80 to 80)",
        "25 (25 to 25)",
        "62 (62 to 62)",
        "0.900 (0.900 to 0.900)",
        "25 (25 to 25)",
    ];
    let [(name, shown)] = &filters.rows[..] else {
        panic!("{:?}", filters.rows);
    };
    let shown: Vec<String> = shown.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(
        (name.as_str(), shown),
        ("both", cells.map(str::to_owned).to_vec())
    );
}
