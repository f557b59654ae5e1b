use std::path::Path;

use arrow::array::{Int64Array, StringArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use capfilt_data::PieceWriter;

use super::*;
use crate::derive::passed;
use crate::record::{DECISION, VERSION};
use crate::row::candidates;
use crate::test_shards::{Row, column_texts, rows};
use crate::write::counted;

#[test]
fn reasons_are_named_one_by_one_or_all_that_may_pass() {
    let some: Retry = "timed-out, not-found".parse().unwrap();
    assert_eq!(some.0, [Reject::TimedOut, Reject::NotFound].into());
    let transient: Retry = "transient".parse().unwrap();
    assert_eq!(transient, Retry::transient());
    assert!(transient.0.contains(&Reject::ServerError));
    assert!(!transient.0.contains(&Reject::NotFound));
    let more: Retry = "transient,gone".parse().unwrap();
    assert_eq!(more.0.len(), transient.0.len() + 1);
}

#[test]
fn what_is_no_reason_of_a_row_is_refused_with_those_that_are() {
    for unknown in ["timedout", "below-threshold", "where-text", "", "Transient"] {
        let message = unknown.parse::<Retry>().unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("unknown reason `{unknown}`")),
            "{message}"
        );
        assert!(message.contains("`transient`, `missing-url`"), "{message}");
        assert!(!message.contains("`not-kept`"), "{message}");
    }
    let message = "timedout".parse::<Retry>().unwrap_err().to_string();
    assert!(message.ends_with("did you mean `timed-out`?"), "{message}");
}

/// A row whose text is `text`; with a picture where it is in.
fn row(text: &'static str, reject: Option<&'static str>) -> Row {
    Row {
        text: Some(text),
        url: Some(format!("http://host/{text}")),
        image: reject.is_none().then(|| text.as_bytes().to_vec()),
        sides: reject.is_none().then_some((8, 6)),
        reject,
    }
}

/// The columns of `scored` of `batch`, each row fetched in `attempts`.
fn as_scored(batch: &RecordBatch, attempts: i32) -> RecordBatch {
    let count = batch.num_rows();
    let nothing = |data_type| new_null_array(data_type, count);
    let fetch = StructArray::new(
        columns::fetch_fields(),
        vec![
            Arc::new(StringArray::from(vec!["some"; count])),
            nothing(&DataType::Int32),
            nothing(&DataType::Int64),
            Arc::new(Int32Array::from(vec![attempts; count])),
            nothing(&DataType::Utf8),
            Arc::new(Int64Array::from(vec![i64::from(attempts) * 100; count])),
        ],
        None,
    );
    let batch = replace(batch, vec![(columns::FETCH, Arc::new(fetch))]).unwrap();
    project(&batch, &columns::scored(&passed(&batch.schema())[1..])).unwrap()
}

/// Writes a file as a pass over the stages would.
fn write(path: &Path, batch: &RecordBatch, pairs: &[(&str, &str)]) -> Footer {
    let mut writer = PieceWriter::create(path, batch.schema()).unwrap();
    writer.write(batch).unwrap();
    let candidates = candidates(batch).unwrap();
    let counts = counted(batch, &candidates).unwrap();
    let counts = (COUNTS.to_owned(), serde_json::json!(counts).to_string());
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    writer.publish(pairs.chain([counts])).unwrap();
    Footer::read(path).unwrap()
}

fn read(path: &Path) -> RecordBatch {
    let footer = Footer::read(path).unwrap();
    let schema = columns::scored(&passed(&footer.schema));
    let batches: Vec<RecordBatch> = footer
        .batches(None, 1_000)
        .unwrap()
        .map(|batch| project(&batch.unwrap(), &schema).unwrap())
        .collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Rows 100 to 139, of which each seventh left, in turn for two reasons.
fn old_rows() -> RecordBatch {
    let all: Vec<Row> = (100..140)
        .map(|number| match number % 14 {
            0 => row("late", Some("timed-out")),
            7 => row("gone", Some("not-found")),
            _ => row("here", None),
        })
        .collect();
    as_scored(&rows(100, &all), 2)
}

struct Lab {
    folder: tempfile::TempDir,
    old: Footer,
    numbers: Numbers,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pairs = [
            (VERSION, "0"),
            (IMAGES, "all"),
            (RUNTIME, "1.0"),
            (PROVIDER, "cpu"),
        ];
        let old = write(&folder.path().join("a.parquet"), &old_rows(), &pairs);
        let retry: Retry = "timed-out".parse().unwrap();
        let (numbers, asked) = retry.numbers(&old, 100).unwrap();
        assert_eq!(numbers, asked);
        Self {
            folder,
            old,
            numbers,
        }
    }

    /// What came of the two rows that were tried again.
    fn fresh(&self, came: [Row; 2]) -> Footer {
        self.fresh_after(came, [3, 3])
    }

    /// The same, in so many attempts each.
    fn fresh_after(&self, came: [Row; 2], attempts: [i32; 2]) -> Footer {
        let batches: Vec<RecordBatch> = self
            .numbers
            .each()
            .zip(came.into_iter().zip(attempts))
            .map(|(number, (row, attempts))| as_scored(&rows(number, &[row]), attempts))
            .collect();
        let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
        let pairs = [
            (VERSION, "1"),
            (IMAGES, "some decision"),
            (DECISION, "d"),
            (RUNTIME, "1.1"),
            (PROVIDER, "cpu"),
        ];
        write(&self.folder.path().join("fresh"), &batch, &pairs)
    }

    fn merge(&self, fresh: &Footer, stopped: bool) -> bool {
        merge(&self.old, 100, fresh, &self.numbers, &|| stopped).unwrap()
    }
}

#[test]
fn rows_are_found_by_their_reason() {
    let lab = Lab::new();
    assert_eq!(lab.numbers.each().collect::<Vec<_>>(), [112, 126]);
    let counts = crate::record::counts_of(&lab.old).unwrap();
    let retry: Retry = "timed-out,gone".parse().unwrap();
    let part = retry.part_of(&counts);
    assert_eq!((part.rows, part.rejected["timed-out"]), (2, 2));
    assert_eq!(Retry::default().part_of(&counts).rows, 0);
}

#[test]
fn rows_that_came_in_take_their_places_and_all_others_stay_as_they_were() {
    let lab = Lab::new();
    let fresh = lab.fresh([row("came", None), row("late", Some("connect"))]);
    assert!(lab.merge(&fresh, false));

    let before = old_rows();
    let after = read(lab.old.path.as_file().unwrap());
    assert_eq!(after.num_rows(), 40);
    for number in 0..40 {
        let same = before.slice(number, 1) == after.slice(number, 1);
        assert_eq!(same, ![12, 26].contains(&number), "row {number}");
    }
    let at = |column, row: usize| column_texts(&after, column)[row].clone();
    assert_eq!(at("id", 12).unwrap(), "s:112");
    assert_eq!(
        (at("text", 12).unwrap(), at("reject", 12)),
        ("came".to_owned(), None)
    );
    assert_eq!(at("id", 26).unwrap(), "s:126");
    assert_eq!(at("reject", 26).unwrap(), "connect");
    let fetch = after.column_by_name("fetch").unwrap().as_struct();
    let attempts = fetch.column(3).as_primitive::<Int32Type>();
    assert_eq!(
        [11, 12, 26].map(|row| attempts.value(row)),
        [2, 5, 5],
        "attempts of both passes"
    );
}

#[test]
fn what_was_answered_stays_where_the_host_was_not_asked_again() {
    let lab = Lab::new();
    let suspended = || row("late", Some("host-suspended"));
    // The second one went by another host before, which was asked.
    let fresh = lab.fresh_after([suspended(), suspended()], [0, 1]);
    assert!(lab.merge(&fresh, false));
    let after = read(lab.old.path.as_file().unwrap());
    assert_eq!(after.slice(12, 1), old_rows().slice(12, 1));
    let reason = |row: usize| column_texts(&after, "reject")[row].clone().unwrap();
    assert_eq!([12, 26].map(reason), ["timed-out", "host-suspended"]);
    let merged = Footer::read(lab.old.path.as_file().unwrap()).unwrap();
    let counts = crate::record::counts_of(&merged).unwrap();
    assert_eq!(counts.rejected["timed-out"], 1);
}

#[test]
fn rows_that_were_never_asked_for_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let reasons = [
        "server-error",
        "host-suspended",
        "not-found",
        "host-suspended",
        "dns",
    ];
    let all: Vec<Row> = reasons
        .iter()
        .map(|reason| row("a", Some(reason)))
        .collect();
    let file = write(
        &folder.path().join("a.parquet"),
        &as_scored(&rows(7, &all), 1),
        &[],
    );
    let (numbers, asked) = Retry::transient().numbers(&file, 7).unwrap();
    assert_eq!(numbers.each().collect::<Vec<_>>(), [7, 8, 10, 11]);
    assert_eq!(asked.each().collect::<Vec<_>>(), [7, 11]);
    let contained = (6..13).filter(|number| asked.contains(*number));
    assert_eq!(contained.collect::<Vec<_>>(), [7, 11]);
}

#[test]
fn the_pairs_of_a_merged_file_are_those_of_all_its_rows() {
    let lab = Lab::new();
    let fresh = lab.fresh([row("came", None), row("late", Some("connect"))]);
    assert!(lab.merge(&fresh, false));
    let merged = Footer::read(lab.old.path.as_file().unwrap()).unwrap();
    let counts = crate::record::counts_of(&merged).unwrap();
    assert_eq!((counts.rows, counts.candidates["web"]), (40, 40));
    assert_eq!(
        counts.rejected.into_iter().collect::<Vec<_>>(),
        [("connect".to_owned(), 1), ("not-found".to_owned(), 3)]
    );
    let value = |key| merged.value(key).unwrap();
    assert_eq!(value(VERSION), "1");
    assert_eq!(value(IMAGES), "all", "pictures of old rows are all there");
    assert_eq!((value(RUNTIME), value(PROVIDER)), ("1.0,1.1", "cpu"));
    assert_eq!(value(DECISION), "d");
    assert_ne!(merged.value(CONTENT), lab.old.value(CONTENT));
    let schema_pairs: Vec<_> = pairs_of(&merged).map(|(key, _)| key).collect();
    let mut once = schema_pairs.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), schema_pairs.len(), "{schema_pairs:?}");
}

#[test]
fn a_stopped_merge_leaves_the_file_that_is_there() {
    let lab = Lab::new();
    let before = lab.old.path.read().unwrap();
    let fresh = lab.fresh([row("came", None), row("came", None)]);
    assert!(!lab.merge(&fresh, true));
    assert_eq!(lab.old.path.read().unwrap(), before);
    let left = fs_err::read_dir(lab.folder.path()).unwrap().count();
    assert_eq!(left, 2, "something was left behind");
}

#[test]
fn too_few_fresh_rows_are_an_error_and_no_file() {
    let lab = Lab::new();
    let before = lab.old.path.read().unwrap();
    let one = as_scored(&rows(112, &[row("came", None)]), 3);
    let fresh = write(&lab.folder.path().join("fresh"), &one, &[]);
    assert!(merge(&lab.old, 100, &fresh, &lab.numbers, &|| false).is_err());
    assert_eq!(lab.old.path.read().unwrap(), before);
}
