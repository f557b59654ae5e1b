//! Rows as they are: columns, decoding, held-out data.

use super::super::dataset::{Budget, Part, windows};
use super::*;

#[test]
fn orientation_is_that_of_the_pipeline() {
    let turned = include_bytes!("../../../../../tests/golden/images/orientation-6.jpg");
    let options = |text: &str| {
        let recipe = format!(
            r#"{{"text-source": "web", "stages": [{{"name": "d", "verb": "decode", "options": {text}, "key": ""}}]}}"#
        );
        let mut lab = Lab::new();
        let mut row = given(0, 1);
        row.bytes = Some(turned.to_vec());
        let path = lab.folder.path().join("a.parquet");
        write(&path, &[row], 1, &[("capfilt.recipe", &recipe)]);
        lab.sources.push(DataSource::new(path.to_str().unwrap()));
        let mut viewed = evaluation(&lab.sources[0], &lab.preprocess, NonZeroUsize::MIN).unwrap();
        viewed.next().unwrap().unwrap().pixels
    };
    let expected = |orientation| {
        let options = capfilt_image::DecodeOptions {
            orientation,
            ..capfilt_image::DecodeOptions::default()
        };
        let picture = capfilt_image::decode(turned, &options).unwrap();
        Lab::new().preprocess.tensor(&picture)
    };
    let (apply, ignore) = (
        expected(capfilt_image::Orientation::Apply),
        expected(capfilt_image::Orientation::Ignore),
    );
    assert_ne!(apply, ignore);
    assert_eq!(
        options(r#"{"orientation": "ignore", "alpha": "drop"}"#),
        ignore
    );
    assert_eq!(options(r#"{"orientation": "apply"}"#), apply);
    assert_eq!(options("{}"), apply);
}

#[test]
fn evaluation_shows_every_picture_in_order_with_all_its_captions() {
    let mut data = rows(0..9, 2);
    data[4].bytes = Some(Vec::new());
    let lab = Lab::new().with("data", &[data, rows(20..25, 1)]);
    let mut evaluation = evaluation(&lab.sources[0], &lab.preprocess, NonZeroUsize::MIN).unwrap();
    let viewed: Vec<Viewed> = evaluation.by_ref().map(Result::unwrap).collect();
    let ids: Vec<&str> = viewed.iter().map(|one| one.id.as_str()).collect();
    let expected = (0..9).filter(|row| *row != 4).chain(20..25);
    assert_eq!(
        ids,
        expected.map(|row| format!("row {row}")).collect::<Vec<_>>()
    );
    assert_eq!(viewed[1].texts, ["row 1 caption 0", "row 1 caption 1"]);
    let picture =
        capfilt_image::decode(&jpeg(1), &capfilt_image::DecodeOptions::default()).unwrap();
    assert_eq!(viewed[1].pixels, lab.preprocess.tensor(&picture));
    assert_eq!(evaluation.corrupt().len(), 1);
    assert_eq!(evaluation.corrupt()[0].id, "row 4");
}

#[test]
fn lists_of_texts_are_captions_too() {
    let mut lab = Lab::new();
    let path = lab.folder.path().join("a.parquet");
    let mut builder = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for texts in [vec![Some("a"), None, Some("c")], vec![], vec![Some("d")]] {
        builder.append_value(texts);
    }
    let texts: ListArray = builder.finish();
    let columns = vec![
        ("image", images(&rows(0..3, 0))),
        ("text", Arc::new(texts) as ArrayRef),
    ];
    write_columns(&path, columns);
    lab.sources.push(DataSource::new(path.to_str().unwrap()));
    lab.loading.most_corrupt = Share::known(0.5);
    lab.batch = 3;
    let mut loader = lab.open();
    // The footer counts the missing texts.
    assert_eq!(loader.samples_per_epoch(), 5);
    assert_eq!(texts_of(&loader.next_batch().unwrap()), ["a", "c", "d"]);
}

fn texts_of(batch: &Batch) -> Vec<&str> {
    let mut texts: Vec<&str> = batch.texts.iter().map(String::as_str).collect();
    texts.sort_unstable();
    texts
}

#[test]
fn windows_keep_to_rows_and_bytes() {
    let lab = Lab::of_rows(40);
    let dataset = Dataset::open(&lab.sources[0], Sampling::OneCaption).unwrap();
    let at = |rows: usize, bytes| {
        let budget = Budget {
            rows: NonZeroUsize::new(rows).unwrap(),
            bytes,
        };
        let windows = windows(&dataset.parts(budget), budget);
        let counts = windows
            .iter()
            .map(|window| window.iter().map(Part::rows).sum());
        counts.collect::<Vec<usize>>()
    };
    assert_eq!(at(1_000, 1 << 30), [40]);
    // Files of 5 rows in row groups of 3 and 2, of which the first is cut.
    assert_eq!(at(6, 1 << 30), [5; 8]);
    assert_eq!(at(1, 1 << 30), [1; 40]);
    let bytes = jpeg(0).len() as u64;
    assert!(bytes > 100);
    let windows = at(1_000, 8 * bytes);
    assert_eq!(windows.iter().sum::<usize>(), 40);
    assert!(windows.iter().all(|&rows| rows <= 8), "{windows:?}");
    assert_eq!(at(1_000, 1), [1; 40]);
}
