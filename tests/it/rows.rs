//! Bad rows: each gives a counted reason, and the rows beside it are untouched.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use insta::assert_snapshot;

use crate::program::models_can_run;
use crate::shards::{Row, bmp, jpeg, listed_texts, numbers, png, texts};
use crate::work::{WITHOUT_MODELS, Work};

/// The checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn a_bad_picture_gives_a_reason_and_its_neighbours_stay() {
    let truncated = png(96, 80, 1)[..200].to_vec();
    // The size stands at bytes 16 to 24 of a PNG, and bytes 29 to 33 are the checksum over it.
    let mut lies_about_size = png(96, 80, 2);
    lies_about_size[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let checksum = crc32(&lies_about_size[12..29]).to_be_bytes();
    lies_about_size[29..33].copy_from_slice(&checksum);
    let work = Work::new(WITHOUT_MODELS);
    work.shard(
        "a",
        &[
            Row::good(1, "good"),
            Row::with_picture(Vec::new(), "zero bytes"),
            Row::with_picture(b"<html>not found</html>".to_vec(), "a page"),
            Row::with_picture(truncated, "truncated"),
            Row::with_picture(lies_about_size, "65536 x 65536"),
            Row::with_picture(png(8, 96, 3), "too narrow"),
            Row {
                text: Some("no picture".to_owned()),
                ..Row::default()
            },
            Row::good(2, "good too"),
        ],
    );
    let ran = work.run().expect_code(0);
    let scored = work.read("scored", "a");
    let reasons: Vec<String> = texts(&scored, "reject")
        .into_iter()
        .map(|reason| reason.unwrap_or("in".to_owned()))
        .collect();
    assert_eq!(reasons[0], "in");
    assert_eq!(
        reasons[1..],
        [
            "empty",
            "not-an-image",
            "truncated",
            "too-many-pixels",
            "too-small",
            "missing-image",
            "in"
        ]
    );
    assert_eq!(
        texts(&work.read("dataset", "a"), "id"),
        [Some("a:0".into()), Some("a:7".into())]
    );
    let rejected = work.read("rejected", "a");
    assert_eq!(rejected.num_rows(), 6);
    assert_eq!(texts(&rejected, "reason")[0].as_deref(), Some("empty"));
    let reasons = work.run_json().to_string();
    for reason in [
        "empty",
        "not-an-image",
        "truncated",
        "too-many-pixels",
        "too-small",
        "missing-image",
    ] {
        assert!(
            reasons.contains(&format!("\"{reason}\"")),
            "run.json does not count `{reason}`"
        );
        assert!(
            ran.stderr.contains(reason),
            "`{reason}` is not told:\n{}",
            ran.stderr
        );
    }
}

#[test]
fn a_picture_is_what_its_bytes_say() {
    // The struct's `path` names another format: a lie that nobody may believe.
    let bytes = [png(40, 30, 5), bmp(40, 30, 5), jpeg(40, 30, 5)];
    let paths = vec![Some("picture.exe"); bytes.len()];
    let image = arrow::array::StructArray::from(vec![
        (
            Arc::new(arrow::datatypes::Field::new(
                "bytes",
                arrow::datatypes::DataType::Binary,
                true,
            )),
            Arc::new(
                bytes
                    .iter()
                    .map(|bytes| Some(bytes.as_slice()))
                    .collect::<BinaryArray>(),
            ) as ArrayRef,
        ),
        (
            Arc::new(arrow::datatypes::Field::new(
                "path",
                arrow::datatypes::DataType::Utf8,
                true,
            )),
            Arc::new(StringArray::from(paths)) as ArrayRef,
        ),
    ]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a text"; bytes.len()]));
    let work = Work::new(WITHOUT_MODELS);
    crate::shards::write_columns(
        &work.shard_path("a"),
        vec![("image", Arc::new(image)), ("text", text)],
    );
    work.run().expect_code(0);
    let dataset = work.read("dataset", "a");
    assert_eq!(numbers(&dataset, "width"), vec![Some(40); bytes.len()]);
    assert_eq!(numbers(&dataset, "height"), vec![Some(30); bytes.len()]);
}

#[test]
fn odd_texts_come_out_as_they_came_in() {
    let long = "word ".repeat(20_000);
    let odd = [
        "",
        " ",
        &long,
        "nul \0 inside",
        "\u{202e}reversed\u{202c}",
        "tab\tand\nline",
        "日本語 🙂",
    ];
    let work = Work::new(WITHOUT_MODELS);
    let rows: Vec<Row> = odd
        .iter()
        .zip(0..)
        .map(|(text, seed)| Row::good(seed, text))
        .collect();
    work.shard("a", &rows);
    work.run().expect_code(0);
    let scored = texts(&work.read("scored", "a"), "text");
    assert_eq!(scored, odd.map(|text| Some(text.to_owned())));
    assert_eq!(
        texts(&work.read("scored", "a"), "reject"),
        vec![None; odd.len()]
    );
}

#[test]
fn odd_texts_can_be_scored() {
    if !models_can_run() {
        return;
    }
    let long = "word ".repeat(20_000);
    let odd = [
        "",
        " ",
        &long,
        "nul \0 inside",
        "\u{202e}reversed\u{202c}",
        "日本語 🙂",
    ];
    let work = Work::new(&Work::model_stages());
    let mut rows: Vec<Row> = odd
        .iter()
        .zip(0..)
        .map(|(text, seed)| Row::good(seed, text))
        .collect();
    rows.push(Row {
        text: None,
        ..Row::good(99, "")
    });
    work.shard("a", &rows);
    work.run().expect_code(0);
    let scored = work.read("scored", "a");
    assert_eq!(texts(&scored, "reject"), vec![None; rows.len()]);
    let candidates = listed_texts(&scored, "candidates");
    for (texts, odd) in candidates.iter().zip(odd).skip(2) {
        assert!(
            texts.iter().any(|text| text == odd),
            "`{odd}` is no candidate of {texts:?}"
        );
    }
    // A row without a text is captioned and has no web candidate.
    assert_eq!(candidates.last().map(Vec::len), Some(1));
}

#[test]
fn duplicate_ids_are_kept_and_warned_about() {
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"text\", id = \"id\" }",
        WITHOUT_MODELS,
    );
    let row = |seed, id: &str| Row {
        id: Some(id.to_owned()),
        ..Row::good(seed, "a text")
    };
    work.shard("a", &[row(1, "x"), row(2, "y"), row(3, "x")]);
    let ran = work.run().expect_code(0);
    let ids = texts(&work.read("dataset", "a"), "id");
    assert_eq!(ids, ["x", "y", "x"].map(|id| Some(id.to_owned())));
    assert!(ran.stderr.contains("an id occurs twice"), "{}", ran.stderr);
}

#[test]
fn passed_through_columns_named_like_ours_are_renamed() {
    let work = Work::new(WITHOUT_MODELS);
    let rows = [Row::good(1, "one"), Row::good(2, "two")];
    let pictures = rows
        .iter()
        .map(|row| row.picture.as_deref())
        .collect::<BinaryArray>();
    crate::shards::write_columns(
        &work.shard_path("a"),
        vec![
            ("image", Arc::new(pictures)),
            ("text", Arc::new(StringArray::from(vec!["one", "two"]))),
            ("width", Arc::new(Int64Array::from(vec![-1, -2]))),
            (
                "captions",
                Arc::new(StringArray::from(vec!["mine", "mine too"])),
            ),
            ("licence", Arc::new(StringArray::from(vec!["CC0", "CC BY"]))),
        ],
    );
    work.run().expect_code(0);
    let dataset = work.read("dataset", "a");
    assert_eq!(numbers(&dataset, "width"), [Some(96), Some(96)]);
    let theirs: &Int64Array = dataset
        .column_by_name("input_width")
        .unwrap()
        .as_any()
        .downcast_ref()
        .unwrap();
    assert_eq!(theirs.values(), &[-1, -2]);
    assert_eq!(
        texts(&dataset, "licence"),
        [Some("CC0".into()), Some("CC BY".into())]
    );
    assert_eq!(
        texts(&dataset, "input_captions"),
        [Some("mine".into()), Some("mine too".into())]
    );
}

#[test]
fn a_shard_without_rows_gives_empty_files() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard("a", &[]);
    work.shard("b", &[Row::good(1, "one")]);
    work.run().expect_code(0);
    assert_eq!(work.read("scored", "a").num_rows(), 0);
    assert_eq!(work.read("scored", "b").num_rows(), 1);
}

#[test]
fn an_unreadable_shard_does_not_stop_the_others() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard("a", &[Row::good(1, "one")]);
    work.shard("c", &[Row::good(2, "two")]);
    fs_err::write(work.shard_path("b"), b"PAR1 this is no Parquet file PAR1").unwrap();
    let ran = work.run().expect_code(4);
    assert!(work.told(&ran).contains("in/b.parquet"), "{}", ran.stderr);
    assert_eq!(work.read("dataset", "a").num_rows(), 1);
    assert_eq!(work.read("dataset", "c").num_rows(), 1);
    work.assert_whole();
    // Once the shard is mended, only it is left to do.
    work.shard("b", &[Row::good(3, "three")]);
    work.run().expect_code(0);
    assert_eq!(work.read("dataset", "b").num_rows(), 1);
}

#[test]
fn a_broken_page_in_a_shard_fails_that_shard_only() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard("a", &[Row::good(1, "one"), Row::good(2, "two")]);
    work.shard("b", &[Row::good(3, "three")]);
    let mut bytes = fs_err::read(work.shard_path("a")).unwrap();
    bytes[4..120].fill(0xff);
    fs_err::write(work.shard_path("a"), bytes).unwrap();
    work.run().expect_code(4);
    assert_eq!(work.read("dataset", "b").num_rows(), 1);
    assert!(!work.output().join("scored/a.parquet").exists());
    work.assert_whole();
}

#[test]
fn the_summary_of_a_run_tells_what_happened() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard(
        "a",
        &[Row::good(1, "one"), Row::with_picture(Vec::new(), "two")],
    );
    let ran = work.run().expect_code(0);
    assert_eq!(ran.stdout, "");
    insta::with_settings!({filters => vec![(r"[\d.]+ s\b", "[TIME]"), (r"\d[\d,.]* rows/s", "[SPEED]")]}, {
        assert_snapshot!(work.told(&ran), @r"
    exit code 0
    finished `[DIR]/out`
    rows       2
    pictures   1 with captions, 0 without
    captions   1 kept, 0 removed
    removed    1 empty
    time       [TIME]
    ");
    });
}
