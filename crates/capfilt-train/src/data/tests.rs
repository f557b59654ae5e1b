mod evaluation;
mod refusals;

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, ListArray, RecordBatch, StringArray, StructArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use capfilt_data::candidate::captions_array;
use capfilt_data::columns::{self, image_fields};
use capfilt_data::{Caption, PieceWriter, Source};
use capfilt_image::{Picture, Quality, encode_jpeg};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::number::{Positive, Share, Weight};

const SIZE: u32 = 8;

/// A row of a test: id, encoded picture, captions.
#[derive(Clone)]
pub(crate) struct Given {
    id: String,
    bytes: Option<Vec<u8>>,
    captions: Vec<(String, Source)>,
}

/// A picture of one colour.
fn jpeg(number: usize) -> Vec<u8> {
    let colour =
        [number * 37, number * 11, number * 5].map(|value| u8::try_from(value % 256).unwrap());
    let picture = Picture::try_new(12, 10, colour.repeat(120)).unwrap();
    encode_jpeg(&picture, Quality::try_from(90).unwrap()).unwrap()
}

fn given(number: usize, captions: usize) -> Given {
    let sources = [Source::Web, Source::Synthetic, Source::Human];
    Given {
        id: format!("row {number}"),
        bytes: Some(jpeg(number)),
        captions: (0..captions)
            .map(|caption| {
                (
                    format!("row {number} caption {caption}"),
                    sources[caption % 3],
                )
            })
            .collect(),
    }
}

pub(crate) fn rows(numbers: impl IntoIterator<Item = usize>, captions: usize) -> Vec<Given> {
    numbers
        .into_iter()
        .map(|number| given(number, captions))
        .collect()
}

fn images(rows: &[Given]) -> ArrayRef {
    let bytes: BinaryArray = rows.iter().map(|row| row.bytes.as_deref()).collect();
    let path = new_null_array(&DataType::Utf8, rows.len());
    Arc::new(StructArray::new(
        image_fields(),
        vec![Arc::new(bytes), path],
        None,
    ))
}

/// Writes a file as the pipeline does; its row groups have `group` rows.
pub(crate) fn write(path: &Path, rows: &[Given], group: usize, pairs: &[(&str, &str)]) {
    let schema = columns::dataset(&[]);
    let mut writer = PieceWriter::create(path, Arc::clone(&schema)).unwrap();
    for rows in rows.chunks(group) {
        let captions: Vec<Vec<Caption>> = rows
            .iter()
            .map(|row| {
                let captions = row.captions.iter();
                captions
                    .map(|(text, source)| Caption {
                        text: text.clone(),
                        source: *source,
                        by: None,
                        score: None,
                    })
                    .collect()
            })
            .collect();
        let ids: StringArray = rows.iter().map(|row| Some(row.id.as_str())).collect();
        let sides: ArrayRef = Arc::new(Int32Array::from(vec![1; rows.len()]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids),
            new_null_array(&DataType::Utf8, rows.len()),
            images(rows),
            Arc::clone(&sides),
            sides,
            Arc::new(captions_array(&captions).unwrap()),
        ];
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
            .unwrap();
        // Closes the row group.
        writer.content().unwrap();
    }
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    writer.publish(pairs).unwrap();
}

/// Writes a file with any columns.
fn write_columns(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut writer = PieceWriter::create(path, schema).unwrap();
    writer.write(&batch).unwrap();
    writer.publish([]).unwrap();
}

/// A folder of data and how it is read.
struct Lab {
    folder: TempDir,
    sources: Vec<DataSource>,
    loading: Loading,
    preprocess: Preprocess,
    batch: usize,
}

impl Lab {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            sources: Vec::new(),
            loading: Loading {
                workers: NonZeroUsize::new(2),
                ..Loading::default()
            },
            preprocess: Preprocess {
                fit: capfilt_image::Fit::Stretch,
                size: SIZE,
                mean: [0.5; 3],
                std: [0.25; 3],
            },
            batch: 4,
        }
    }

    /// Adds a `[[data]]` of files, one for each of `files`.
    fn with(mut self, name: &str, files: &[Vec<Given>]) -> Self {
        let folder = self.folder.path().join(name);
        for (number, rows) in files.iter().enumerate() {
            write(&folder.join(format!("{number}.parquet")), rows, 3, &[]);
        }
        self.sources.push(DataSource::new(folder.to_str().unwrap()));
        self
    }

    /// Files of 5 rows with 2 captions each.
    fn of_rows(rows_: usize) -> Self {
        let files: Vec<Vec<Given>> = (0..rows_)
            .step_by(5)
            .map(|first| rows(first..(first + 5).min(rows_), 2))
            .collect();
        Self::new().with("data", &files)
    }

    fn sampling(mut self, sampling: Sampling) -> Self {
        self.loading.sampling = sampling;
        self
    }

    fn feed(&self) -> Feed<'_> {
        Feed {
            sources: &self.sources,
            loading: &self.loading,
            preprocess: &self.preprocess,
            batch: self.batch,
            seed: 3,
        }
    }

    fn open(&self) -> Loader {
        Loader::open(&self.feed()).unwrap()
    }

    fn refusal(&self) -> String {
        let error = Loader::open(&self.feed()).err().unwrap();
        chain(&error)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn take(loader: &mut Loader, batches: usize) -> Vec<Batch> {
    (0..batches).map(|_| loader.next_batch().unwrap()).collect()
}

fn texts(batches: &[Batch]) -> Vec<String> {
    let mut texts: Vec<String> = batches
        .iter()
        .flat_map(|batch| batch.texts.clone())
        .collect();
    texts.sort();
    texts
}

fn sorted(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().collect();
    texts.sort();
    texts
}

#[test]
fn every_pair_comes_once_an_epoch_in_another_order() {
    let lab = Lab::of_rows(22);
    let mut loader = lab.open();
    assert_eq!(loader.samples_per_epoch(), 44);
    let (first, second) = (take(&mut loader, 11), take(&mut loader, 11));
    let all = sorted(
        (0..22).flat_map(|row| (0..2).map(move |caption| format!("row {row} caption {caption}"))),
    );
    assert_eq!(texts(&first), all);
    assert_eq!(texts(&second), all);
    assert!(first.iter().all(|batch| batch.epoch == 0));
    assert!(second.iter().all(|batch| batch.epoch == 1));
    let order = |batches: &[Batch]| {
        batches
            .iter()
            .flat_map(|b| b.ids.clone())
            .collect::<Vec<_>>()
    };
    assert_ne!(order(&first), order(&second));
    let in_order: Vec<String> = (0..22)
        .flat_map(|row| vec![format!("row {row}"); 2])
        .collect();
    assert_ne!(order(&first), in_order);
    for batch in &first {
        assert_eq!(batch.pixels.len(), 4 * 3 * 64);
        for (id, picture) in batch.ids.iter().zip(&batch.pictures) {
            assert_eq!(*picture, key(id));
        }
    }
}

#[test]
fn one_caption_is_chosen_for_each_picture_by_weights() {
    let files: Vec<_> = (0..40)
        .map(|file| rows(10 * file..10 * file + 10, 3))
        .collect();
    let mut lab = Lab::new()
        .with("data", &files)
        .sampling(Sampling::OneCaption);
    lab.sources[0].caption_weights = CaptionWeights {
        human: Weight::known(0.0),
        web: Weight::known(3.0),
        synthetic: Weight::known(1.0),
    };
    let mut loader = lab.open();
    assert_eq!(loader.samples_per_epoch(), 400);
    let batches = take(&mut loader, 100);
    let ids: HashSet<&String> = batches.iter().flat_map(|batch| &batch.ids).collect();
    assert_eq!(ids.len(), 400);
    let mut chosen: BTreeMap<char, usize> = BTreeMap::new();
    for text in batches.iter().flat_map(|batch| &batch.texts) {
        *chosen.entry(text.chars().last().unwrap()).or_default() += 1;
    }
    let web = chosen[&'0'];
    assert!((270..330).contains(&web), "{chosen:?}");
    assert_eq!(chosen.get(&'2'), None);
}

#[test]
fn data_are_mixed_evenly_by_weight() {
    let mut lab = Lab::new()
        .with("large", &[rows(0..60, 1)])
        .with("small", &[rows(100..110, 1)])
        .with("rare", &[rows(200..220, 1)]);
    lab.sources[1].weight = Positive::known(2.0);
    lab.sources[2].weight = Positive::known(0.5);
    lab.batch = 10;
    let mut loader = lab.open();
    assert_eq!(loader.samples_per_epoch(), 60 + 20 + 10);
    let epochs = [take(&mut loader, 9), take(&mut loader, 9)];
    let of = |batches: &[Batch], range: std::ops::Range<usize>| {
        let texts = texts(batches);
        let is_of = |text: &String| {
            let number = text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
            range.contains(&number)
        };
        texts.into_iter().filter(is_of).collect::<Vec<_>>()
    };
    for epoch in &epochs {
        assert_eq!(of(epoch, 0..60).len(), 60);
        let twice = (100..110).flat_map(|row| vec![format!("row {row} caption 0"); 2]);
        assert_eq!(of(epoch, 100..110), sorted(twice));
        // The small data is not gone after the first half.
        assert!(of(&epoch[5..], 100..110).len() >= 4);
    }
    // Half of it in each of two epochs, all of it in both.
    let rare = epochs.iter().map(|epoch| of(epoch, 200..220));
    let rare: Vec<Vec<String>> = rare.collect();
    assert_eq!([rare[0].len(), rare[1].len()], [10, 10]);
    let all = (200..220).map(|row| format!("row {row} caption 0"));
    assert_eq!(sorted(rare.concat()), sorted(all));
}

#[test]
fn a_sample_seen_twice_in_an_epoch_is_changed_differently() {
    let mut lab = Lab::new().with("data", &[rows(0..4, 1)]);
    lab.sources[0].weight = Positive::known(2.0);
    // Something to cut out of.
    let samples: Vec<u8> = (0..3 * 40 * 40)
        .map(|i| u8::try_from(i * i % 251).unwrap())
        .collect();
    let picture = Picture::try_new(40, 40, samples).unwrap();
    let mut row = given(0, 1);
    row.bytes = Some(encode_jpeg(&picture, Quality::try_from(90).unwrap()).unwrap());
    write(
        &lab.folder.path().join("data/0.parquet"),
        &vec![row; 1],
        1,
        &[],
    );
    lab.batch = 2;
    let batch = lab.open().next_batch().unwrap();
    let (one, other) = batch.pixels.split_at(3 * 64);
    assert_ne!(one, other);
}

#[test]
fn back_translations_are_as_likely_as_the_captions() {
    for sampling in [Sampling::OneCaption, Sampling::EveryPair] {
        let mut lab = Lab::new().sampling(sampling);
        let count = 300;
        let texts = |word: &str| -> ArrayRef {
            Arc::new((0..count).map(|_| Some(word)).collect::<StringArray>())
        };
        let rows = rows(0..count, 0);
        let path = lab.folder.path().join("a.parquet");
        let (german, russian) = (texts("german"), texts("russian"));
        let columns = vec![
            ("image", images(&rows)),
            ("text", texts("own")),
            ("de", german),
            ("ru", russian),
        ];
        write_columns(&path, columns);
        let mut source = DataSource::new(path.to_str().unwrap());
        source.columns.back_translations = vec!["de".to_owned(), "ru".to_owned()];
        lab.sources.push(source);
        let batches = take(&mut lab.open(), count / 4);
        for word in ["own", "german", "russian"] {
            let texts = batches.iter().flat_map(|batch| &batch.texts);
            let times = texts.filter(|text| *text == word).count();
            assert!((70..130).contains(&times), "{word}: {times}");
        }
        // Rows without ids have those of shard and row.
        let ids: HashSet<String> = batches.iter().flat_map(|batch| batch.ids.clone()).collect();
        assert!(ids.len() == count && ids.contains("a:299"));
    }
}

#[test]
fn workers_change_nothing() {
    let mut lab = Lab::of_rows(30);
    let with = |lab: &mut Lab, workers| {
        lab.loading.workers = NonZeroUsize::new(workers);
        take(&mut lab.open(), 20)
    };
    assert_eq!(with(&mut lab, 1), with(&mut lab, 3));
}

#[test]
fn a_seed_gives_another_order() {
    let lab = Lab::of_rows(30);
    let other = Feed {
        seed: 4,
        ..lab.feed()
    };
    assert_ne!(
        take(&mut lab.open(), 3),
        take(&mut Loader::open(&other).unwrap(), 3)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_resumed_loader_gives_the_same_batches(
        count in 8_usize..40,
        buffer in 1_usize..40,
        batch in 1_usize..7,
        before in 0_usize..30,
        weight in prop::sample::select(vec![0.4, 1.0, 2.5]),
        one_caption: bool,
    ) {
        let mut lab = Lab::of_rows(count).with("other", &[rows(100..109, 3)]);
        lab.sources[1].weight = Positive::known(weight);
        lab.loading.shuffle_buffer.rows = NonZeroUsize::new(buffer).unwrap();
        lab.batch = batch;
        if one_caption {
            lab.loading.sampling = Sampling::OneCaption;
        }
        let mut loader = lab.open();
        take(&mut loader, before);
        let stored = serde_json::to_string(loader.position()).unwrap();
        let expected = take(&mut loader, 12);

        lab.loading.workers = NonZeroUsize::new(3);
        let position: Position = serde_json::from_str(&stored).unwrap();
        let mut resumed = Loader::open_at(&lab.feed(), &position).unwrap();
        prop_assert_eq!(resumed.position(), &position);
        prop_assert_eq!(take(&mut resumed, 12), expected);
        prop_assert_eq!(resumed.position(), loader.position());
    }

    #[test]
    fn windows_keep_all_rows_whatever_the_buffer(
        count in 1_usize..40,
        buffer in 1_usize..60,
    ) {
        let mut lab = Lab::of_rows(count);
        lab.loading.shuffle_buffer.rows = NonZeroUsize::new(buffer).unwrap();
        lab.batch = 1;
        let batches = take(&mut lab.open(), 2 * count);
        let all = (0..count).flat_map(|row| (0..2).map(move |c| format!("row {row} caption {c}")));
        prop_assert_eq!(texts(&batches), sorted(all));
    }
}

#[test]
fn other_data_or_another_seed_are_no_place_to_go_on() {
    let lab = Lab::of_rows(20);
    let mut loader = lab.open();
    take(&mut loader, 2);
    let position = loader.position().clone();
    let other = Feed {
        seed: 4,
        ..lab.feed()
    };
    assert!(matches!(
        Loader::open_at(&other, &position),
        Err(DataError::Moved)
    ));
    let path = lab.folder.path().join("data/0.parquet");
    write(&path, &rows(0..4, 2), 3, &[]);
    assert!(matches!(
        Loader::open_at(&lab.feed(), &position),
        Err(DataError::Moved)
    ));
}
