use super::*;
use crate::test_shards::{Row, rows};

fn known(names: &[&str]) -> SchemaRef {
    let all = row::schema(&[Arc::new(Field::new("NSFW", DataType::Utf8, true))]);
    let fields: Vec<FieldRef> = all
        .fields()
        .iter()
        .filter(|field| names.contains(&field.name().as_str()))
        .cloned()
        .collect();
    visible(&fields)
}

fn met(sql: &str, given: &[Row]) -> Vec<bool> {
    let condition = Condition::plan(sql, known(&["id", "url", "text", "width", "height"])).unwrap();
    let batch = rows(0, given);
    condition
        .met(&visible_batch(&batch, condition.schema()).unwrap())
        .unwrap()
}

fn sides(width: i32, height: i32) -> Row {
    Row {
        sides: Some((width, height)),
        ..Row::default()
    }
}

#[test]
fn the_aspect_is_the_longer_side_over_the_shorter() {
    let rows = [
        sides(300, 100),
        sides(100, 299),
        sides(100, 100),
        Row::default(),
    ];
    assert_eq!(met("aspect < 3", &rows), [false, true, true, false]);
    assert_eq!(
        met("aspect >= 1 and width > 100", &rows),
        [true, false, false, false]
    );
}

#[test]
fn null_is_not_met() {
    let rows = [
        Row {
            text: Some("abc"),
            ..Row::default()
        },
        Row::default(),
    ];
    assert_eq!(met("length(text) between 3 and 300", &rows), [true, false]);
    assert_eq!(
        met("text is null or length(text) > 3", &rows),
        [false, true]
    );
    assert_eq!(met("null", &rows), [false, false]);
}

#[test]
fn functions_and_keywords_go_in_any_case() {
    let rows = [Row {
        text: Some("ABC"),
        ..Row::default()
    }];
    for sql in [
        "LENGTH(text) = 3",
        "lower(text) = 'abc'",
        "text LIKE 'A%'",
        "regexp_like(text, '^A')",
        "starts_with(id, 's:')",
        "not (text = 'x')",
    ] {
        assert_eq!(met(sql, &rows), [true], "{sql}");
    }
}

#[test]
fn names_are_taken_as_they_are_written() {
    Condition::plan("NSFW = 'UNLIKELY'", known(&["NSFW"])).unwrap();
    Condition::plan("\"NSFW\" = 'UNLIKELY'", known(&["NSFW"])).unwrap();
}

fn refused(sql: &str) -> String {
    Condition::plan(sql, known(&["id", "url", "text"]))
        .unwrap_err()
        .to_string()
}

#[test]
fn what_is_no_condition_is_refused() {
    assert_eq!(
        refused("length(text)"),
        "`length(text)` gives Int32, expected a condition that is true or false"
    );
}

#[test]
fn a_column_that_is_not_known_yet_is_refused_with_those_that_are() {
    assert_eq!(
        refused("aspect < 3"),
        "`aspect < 3` cannot be used: there is no column aspect; known here: id, url, text"
    );
}

#[test]
fn what_is_no_sql_is_refused() {
    let message = refused("length(text) >");
    assert!(
        message.starts_with("`length(text) >` cannot be used: "),
        "{message}"
    );
    assert!(
        message.ends_with("; known here: id, url, text"),
        "{message}"
    );
}

#[test]
fn conditions_that_nothing_can_meet_are_found() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("match", DataType::Float32, true),
        Field::new("width", DataType::Int32, true),
        Field::new("text", DataType::Utf8, true),
    ]));
    let bounds = [
        Bounds {
            column: "match",
            least: 0.0,
            most: 1.0,
        },
        Bounds {
            column: "width",
            least: 64.0,
            most: f64::from(i32::MAX),
        },
    ];
    let can_be_met = |sql: &str| {
        let condition = Condition::plan(sql, Arc::clone(&schema)).unwrap();
        condition.can_be_met(&bounds)
    };
    for sql in [
        "match > 0.5",
        "match >= 1",
        "match > 0.9 and width > 100",
        "width <= 64",
        "text = 'x'",
        "text like '%x%' and match > 0.1",
        "match > 2 or width > 100",
        "abs(match) > 2",
    ] {
        assert!(can_be_met(sql), "{sql}");
    }
    for sql in [
        "match > 1",
        "match > 1.5",
        "match < 0",
        "width < 64",
        "width > 200 and width < 100",
    ] {
        assert!(!can_be_met(sql), "{sql}");
    }
}
