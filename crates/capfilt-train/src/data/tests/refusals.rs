//! What is refused, and what is left out.

use super::*;
use crate::number::Number;

#[test]
fn a_broken_picture_is_left_out_and_listed() {
    let mut data = rows(0..20, 1);
    data[7].bytes.as_mut().unwrap().truncate(40);
    data[11].bytes = None;
    data[13].captions.clear();
    let mut lab = Lab::new().with("data", &[data]);
    lab.loading.most_corrupt = Share::known(0.2);
    lab.batch = 17;
    let mut loader = lab.open();
    let batch = loader.next_batch().unwrap();
    let ids: HashSet<&str> = batch.ids.iter().map(String::as_str).collect();
    assert_eq!(ids.len(), 17);
    loader.next_batch().unwrap();
    let mut corrupt: Vec<&str> = loader.corrupt().iter().map(|one| one.id.as_str()).collect();
    corrupt.sort_unstable();
    assert_eq!(corrupt, ["row 11", "row 13", "row 7"]);
    assert!(
        loader
            .corrupt()
            .iter()
            .all(|one| !ids.contains(one.id.as_str()))
    );
}

#[test]
fn too_many_broken_pictures_end_it() {
    let mut data = rows(0..20, 1);
    for row in &mut data[4..8] {
        row.bytes = Some(b"<html>".to_vec());
    }
    let mut lab = Lab::new().with("data", &[data]);
    // Four of twenty are a fifth: not more.
    lab.loading.most_corrupt = Share::known(0.2);
    take(&mut lab.open(), 8);
    lab.loading.most_corrupt = Share::known(0.19);
    let mut loader = lab.open();
    let error = (0..8)
        .find_map(|_| loader.next_batch().err())
        .unwrap()
        .to_string();
    assert!(
        error.contains("4 of ") && error.contains("most-corrupt"),
        "{error}"
    );
    assert!(error.contains("not a picture"), "{error}");
}

#[test]
fn what_cannot_be_trained_on_is_refused_at_once() {
    let lab = Lab::new();
    assert!(lab.refusal().contains("there is no data"));

    let mut lab = Lab::new();
    lab.sources.push(DataSource::new(
        lab.folder.path().join("none/*.parquet").to_str().unwrap(),
    ));
    assert!(lab.refusal().contains("finds no file"));

    let lab = Lab::new().with("data", &[rows(0..0, 1)]);
    assert!(lab.refusal().contains("is empty"));

    let mut lab = Lab::of_rows(2);
    lab.batch = 5;
    assert!(
        lab.refusal()
            .contains("a batch of 5 is larger than the data, which has 4 samples")
    );

    let mut lab = Lab::of_rows(5);
    lab.sources[0].columns.text = Some("txt".to_owned());
    let refusal = lab.refusal();
    assert!(
        refusal.contains("no column `txt` for `columns.text`") && refusal.contains("`captions`")
    );

    lab.sources[0].columns.text = Some("width".to_owned());
    let refusal = lab.refusal();
    assert!(
        refusal.contains("column `width`") && refusal.contains("`Int32`"),
        "{refusal}"
    );

    let mut lab = Lab::of_rows(5);
    lab.loading.workers = NonZeroUsize::new(1_025);
    assert!(lab.refusal().contains("`loading.workers` is 1025"));

    let mut lab = Lab::of_rows(5);
    lab.sources[0].caption_weights.web = Weight::known(0.0);
    assert!(lab.refusal().contains("one-caption"));

    let mut lab = Lab::of_rows(5);
    lab.loading.augmentation.crop = Some([0.5, 0.2].map(Number::known));
    assert!(lab.refusal().contains("augmentation.crop"));

    let lab = Lab::of_rows(5);
    fs_err::write(lab.folder.path().join("data/0.parquet"), b"PAR1").unwrap();
    assert!(lab.refusal().contains("is not a whole Parquet file"));
}
