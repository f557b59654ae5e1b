use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Int32Array, RecordBatch, StringArray,
    StructArray, new_null_array,
};
use capfilt_data::candidate::{candidates_array, captions_array};
use capfilt_data::{Candidate, Caption, Kind, PieceWriter, Score, Source, columns};

use super::chosen::Why::Borderline;
use super::facts::Facts;
use super::*;

/// A picture of one white pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\
                       \nIDATx\x9cc\xf8\x0f\0\x01\x01\x01\0\x1b\xb6\xeeV\0\0\0\0IEND\xaeB`\x82";

/// A row of a run: its texts with scores, and what was kept.
struct Made {
    id: &'static str,
    web: Option<(&'static str, Option<f32>)>,
    synthetic: Option<(&'static str, f32)>,
    reject: Option<&'static str>,
}

const THRESHOLD: f32 = 0.5;

/// What `run.json` would say of it.
fn with_threshold() -> Facts {
    Facts {
        threshold: Some(THRESHOLD),
        ..Facts::default()
    }
}

fn candidates(row: &Made) -> Vec<Candidate> {
    let candidate = |text: &str, source, score: Option<f32>| Candidate {
        text: text.to_owned(),
        source,
        by: (source == Source::Synthetic).then(|| "caption".to_owned()),
        log_prob: None,
        scores: score
            .map(|value| Score {
                by: "score".to_owned(),
                kind: Kind::Match,
                value,
            })
            .into_iter()
            .collect(),
    };
    let web = row.web.filter(|(_, score)| score.is_some());
    web.map(|(text, score)| candidate(text, Source::Web, score))
        .into_iter()
        .chain(
            row.synthetic
                .map(|(text, score)| candidate(text, Source::Synthetic, Some(score))),
        )
        .collect()
}

fn kept(row: &Made) -> Vec<Caption> {
    candidates(row)
        .into_iter()
        .filter(|one| one.score().is_some_and(|score| score > THRESHOLD))
        .map(|one| Caption {
            score: one.score(),
            text: one.text,
            source: one.source,
            by: one.by,
        })
        .collect()
}

fn strings<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(texts.collect::<StringArray>())
}

fn publish(path: &Path, schema: &arrow::datatypes::SchemaRef, columns: Vec<ArrayRef>) {
    let mut writer = PieceWriter::create(path, Arc::clone(schema)).unwrap();
    writer
        .write(&RecordBatch::try_new(Arc::clone(schema), columns).unwrap())
        .unwrap();
    writer.publish([]).unwrap();
}

/// Writes the three files of one piece, as a run with one captioner and one scorer does.
fn piece(output: &Path, name: &str, rows: &[Made], picture: &[u8]) {
    let schema = columns::scored(&[]);
    let image = |rows: &[&Made]| -> ArrayRef {
        let bytes: BinaryArray = rows
            .iter()
            .map(|row| row.reject.is_none().then_some(picture))
            .collect();
        let nulls = arrow::array::Array::nulls(&bytes).cloned();
        let path = new_null_array(&arrow::datatypes::DataType::Utf8, rows.len());
        let columns = vec![Arc::new(bytes) as ArrayRef, path];
        Arc::new(StructArray::new(columns::image_fields(), columns, nulls))
    };
    let all: Vec<&Made> = rows.iter().collect();
    let size = || Arc::new(Int32Array::from(vec![1; rows.len()])) as ArrayRef;
    let dropped = |row: &Made| {
        row.web
            .and_then(|(_, score)| score.is_none().then_some("where-text"))
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            columns::ID => strings(rows.iter().map(|row| Some(row.id))),
            columns::URL => strings(rows.iter().map(|_| Some("https://example.org/a?b=<c>"))),
            columns::TEXT => strings(rows.iter().map(|row| row.web.map(|(text, _)| text))),
            columns::IMAGE => image(&all),
            columns::WIDTH | columns::HEIGHT => size(),
            columns::CANDIDATES => {
                let candidates: Vec<_> = rows.iter().map(candidates).collect();
                Arc::new(candidates_array(&candidates).unwrap())
            }
            columns::REJECT => strings(rows.iter().map(|row| row.reject)),
            columns::TEXT_DROPPED_BY => strings(rows.iter().map(dropped)),
            _ => new_null_array(field.data_type(), rows.len()),
        });
    let file = |folder: &str| output.join(folder).join(format!("{name}.parquet"));
    publish(&file("scored"), &schema, columns.collect());

    let stayed: Vec<&Made> = rows
        .iter()
        .filter(|row| row.reject.is_none() && !kept(row).is_empty())
        .collect();
    let schema = columns::dataset(&[]);
    let columns = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            columns::ID => strings(stayed.iter().map(|row| Some(row.id))),
            columns::CAPTIONS => {
                let captions: Vec<_> = stayed.iter().map(|row| kept(row)).collect();
                Arc::new(captions_array(&captions).unwrap())
            }
            columns::IMAGE => image(&stayed),
            _ => new_null_array(field.data_type(), stayed.len()),
        });
    publish(&file("dataset"), &schema, columns.collect());

    let mut removed = Vec::new();
    for row in rows {
        if let Some(reason) = row.reject {
            removed.push((row.id, "fetch", reason, None, None));
            continue;
        }
        for one in candidates(row) {
            let score = one.score().filter(|score| *score <= THRESHOLD);
            if score.is_some() {
                removed.push((
                    row.id,
                    "keep",
                    "below-threshold",
                    Some(one.source.as_str()),
                    score,
                ));
            }
        }
        if dropped(row).is_some() {
            removed.push((row.id, "where-text", "where-text", Some("web"), None));
        }
    }
    let schema = columns::rejected();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "id" => strings(removed.iter().map(|row| Some(row.0))),
            "stage" => strings(removed.iter().map(|row| Some(row.1))),
            "reason" => strings(removed.iter().map(|row| Some(row.2))),
            "source" => strings(removed.iter().map(|row| row.3)),
            "score" => Arc::new(removed.iter().map(|row| row.4).collect::<Float32Array>()),
            "transient" => Arc::new(
                removed
                    .iter()
                    .map(|row| Some(row.2 == "timed-out"))
                    .collect::<BooleanArray>(),
            ),
            _ => new_null_array(field.data_type(), removed.len()),
        });
    publish(&file("rejected"), &schema, columns.collect());
}

const ROWS: [Made; 7] = [
    Made {
        id: "a:0",
        web: Some(("a red car", Some(0.9))),
        synthetic: Some(("car", 0.8)),
        reject: None,
    },
    Made {
        id: "a:1",
        web: Some(("IMG_1 <script>alert(1)</script>", Some(0.1))),
        synthetic: Some(("dog", 0.7)),
        reject: None,
    },
    Made {
        id: "a:2",
        web: Some(("on sale", Some(0.49))),
        synthetic: Some(("cat", 0.2)),
        reject: None,
    },
    // The same id twice: the second has no caption that stays.
    Made {
        id: "twice",
        web: Some(("tree", Some(0.6))),
        synthetic: None,
        reject: None,
    },
    Made {
        id: "twice",
        web: Some(("bush", Some(0.3))),
        synthetic: None,
        reject: None,
    },
    Made {
        id: "a:5",
        web: Some(("\u{202e}x", None)),
        synthetic: Some(("hat", 0.55)),
        reject: None,
    },
    Made {
        id: "a:6",
        web: Some(("gone", None)),
        synthetic: None,
        reject: Some("timed-out"),
    },
];

fn report(output: &Path) -> String {
    let path = write(&output.into()).unwrap();
    assert_eq!(path, output.join("report.html").into());
    String::from_utf8(path.read().unwrap()).unwrap()
}

#[test]
fn everything_is_counted_once() {
    let output = tempfile::tempdir().unwrap();
    piece(output.path(), "a", &ROWS, PIXEL);
    piece(output.path(), "deep/b", &ROWS, PIXEL);
    let survey = survey::take(&output.path().into(), &with_threshold()).unwrap();
    assert_eq!((survey.pieces, survey.rows), (2, 14));
    let fates = survey.fates;
    assert_eq!(
        (
            fates.both,
            fates.web,
            fates.replaced,
            fates.captioned,
            fates.none
        ),
        (2, 2, 4, 0, 4)
    );
    let tally = |source: Source| {
        (
            survey.captions[&source].kept,
            survey.captions[&source].removed,
        )
    };
    assert_eq!(tally(Source::Web), (4, 8));
    assert_eq!(tally(Source::Synthetic), (6, 2));
    let removals: Vec<_> = survey
        .removals
        .iter()
        .map(|(removal, number)| (&*removal.reason, removal.source.as_deref(), *number))
        .collect();
    assert_eq!(
        removals,
        [
            ("timed-out", None, 2),
            ("below-threshold", Some("synthetic"), 2),
            ("below-threshold", Some("web"), 6),
            ("where-text", Some("web"), 2),
        ]
    );
    let histograms = &survey.scores[&("score".to_owned(), Kind::Match)];
    assert_eq!(histograms[&Source::Web].count, 10);
    assert_eq!(histograms[&Source::Synthetic].count, 8);
}

#[test]
fn every_caption_stays_where_the_dataset_is_left_for_later() {
    let output = tempfile::tempdir().unwrap();
    piece(output.path(), "a", &ROWS, PIXEL);
    fs_err::remove_dir_all(output.path().join("dataset")).unwrap();
    let run = r#"{"pipeline": {"store": {"dataset": "later"}}}"#;
    fs_err::write(output.path().join("run.json"), run).unwrap();
    let survey = survey(&output.path().into()).unwrap();
    assert_eq!(survey.captions[&Source::Web].kept, 5);
    assert_eq!(survey.captions[&Source::Synthetic].kept, 4);
    assert_eq!(survey.captions[&Source::Synthetic].removed, 0);
}

#[test]
fn the_page_is_escaped_and_whole() {
    let output = tempfile::tempdir().unwrap();
    piece(output.path(), "a", &ROWS, PIXEL);
    let run = r#"{"name": "<b>name</b>", "pipeline": {"keep": {"threshold": 0.5}}, "models": [{"digest": "ab"}]}"#;
    fs_err::write(output.path().join("run.json"), run).unwrap();
    let page = report(output.path());
    for expected in [
        "&lt;script&gt;alert(1)",
        "&lt;b&gt;name&lt;/b&gt;",
        "threshold 0.5",
        "models.1.digest",
        "data:image/png;base64,iVBOR",
        "Content-Security-Policy",
        "https://example.org/a?b=&lt;c&gt;",
        "timed-out",
        "\u{fffd}x",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    for forbidden in ["<script", "<b>", "\u{202e}", "http-equiv=\"refresh"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("<article>").count(), 6);
}

#[test]
fn borderline_and_worst_come_first() {
    let output = tempfile::tempdir().unwrap();
    piece(output.path(), "a", &ROWS, PIXEL);
    let survey = survey::take(&output.path().into(), &with_threshold()).unwrap();
    let best = survey.chosen.best(4);
    let ids: Vec<_> = best
        .iter()
        .map(|(why, row)| (*why, &*row.id, row.place.1))
        .collect();
    assert_eq!(
        ids,
        [
            (Borderline, "a:2", 2),
            (Borderline, "a:5", 5),
            (Borderline, "twice", 3),
            (Borderline, "a:1", 1)
        ]
    );
}

#[test]
fn only_so_many_pictures_are_held_and_shown() {
    let output = tempfile::tempdir().unwrap();
    let rows: Vec<Made> = (0..40).flat_map(|_| ROWS).collect();
    piece(output.path(), "a", &rows, PIXEL);
    let page = report(output.path());
    assert_eq!(page.matches("<article>").count(), PICTURES);
    for title in ["Borderline", "Replaced", "Nothing left", "Best web texts"] {
        assert!(page.contains(title), "{title}");
    }
}

#[test]
fn what_is_no_picture_is_not_embedded() {
    let output = tempfile::tempdir().unwrap();
    piece(
        output.path(),
        "a",
        &ROWS,
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>",
    );
    let page = report(output.path());
    assert!(!page.contains("data:image"));
    assert!(page.contains("not a picture"));
}

#[test]
fn a_damaged_piece_is_named_and_the_others_are_shown() {
    let output = tempfile::tempdir().unwrap();
    piece(output.path(), "a", &ROWS, PIXEL);
    fs_err::write(output.path().join("scored/b.parquet"), "PAR1").unwrap();
    let page = report(output.path());
    assert!(page.contains("b.parquet"), "named");
    assert!(page.contains("data:image/png"));
}

#[test]
fn a_run_without_rows_or_facts_has_a_page() {
    let output = tempfile::tempdir().unwrap();
    piece(output.path(), "a", &[], PIXEL);
    assert!(report(output.path()).contains("the run did not finish"));
}

#[test]
fn a_folder_that_is_no_output_is_refused() {
    let output = tempfile::tempdir().unwrap();
    let error = write(&output.path().into()).unwrap_err();
    assert!(matches!(error, ReportError::NoOutput(_)), "{error}");
    assert!(error.hint().is_some());
}
