use arrow::array::{BinaryArray, Int32Array, UInt64Array};
use arrow::datatypes::{DataType, Field};

use super::*;
use crate::row::{image_at, schema, texts};

const URLS: [&str; 4] = [
    "https://example.org/a.jpg",
    "HTTPS://img.Example.org:443/b.jpg",
    "https://example.net/c.jpg",
    "no URL",
];

/// Rows on their way, with pictures, texts, and a column that passes through.
fn rows() -> RecordBatch {
    let passed = Arc::new(Field::new("licence", DataType::Utf8, true));
    let schema = schema(&[passed]);
    let bytes: Vec<String> = (0..URLS.len())
        .map(|row| format!("picture {row}"))
        .collect();
    let candidates: Vec<Vec<Candidate>> = URLS
        .iter()
        .map(|url| vec![crate::scan::web_candidate(Some(url), capfilt_data::Source::Web).unwrap()])
        .collect();
    let arrays = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            ROW => Arc::new(UInt64Array::from_iter_values(7..11)),
            columns::ID => Arc::new(StringArray::from_iter_values(["a", "b", "c", "d"])),
            columns::URL | columns::TEXT | "licence" => {
                Arc::new(StringArray::from_iter_values(URLS))
            }
            columns::WIDTH | columns::HEIGHT => Arc::new(Int32Array::from(vec![9; 4])),
            columns::CANDIDATES => Arc::new(candidates_array(&candidates).unwrap()),
            _ => new_null_array(field.data_type(), URLS.len()),
        }
    });
    let rows = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap();
    let image = crate::row::image_with_bytes(
        &rows,
        BinaryArray::from_iter_values(bytes.iter().map(String::as_bytes)),
    );
    replace(&rows, vec![(columns::IMAGE, image.unwrap())]).unwrap()
}

fn matched(requests: &[&str]) -> Vec<usize> {
    let mut removals = Removals::default();
    removals.add(requests.iter().map(|text| text.parse().unwrap()));
    let matches = removals.matches(&rows());
    (0..matches.len())
        .filter(|row| !matches[*row].is_empty())
        .collect()
}

#[test]
fn every_form_finds_its_rows() {
    assert_eq!(matched(&["id:c"]), [2]);
    assert_eq!(matched(&["url:https://img.example.org/b.jpg"]), [1]);
    assert_eq!(matched(&["domain:example.org"]), [0, 1]);
    assert_eq!(matched(&["domain:img.example.org"]), [1]);
    let digest = capfilt_data::footer::hex_digest(b"picture 3");
    assert_eq!(matched(&[&format!("sha256:{digest}"), "id:a"]), [0, 3]);
    let digest = capfilt_data::footer::hex_digest(b"no URL");
    assert_eq!(matched(&[&format!("url-sha256:{digest}")]), [3]);
    assert_eq!(
        matched(&["id:e", "url:https://example.org/", "domain:ample.org"]),
        [0; 0]
    );
}

#[test]
fn of_a_row_that_is_taken_out_only_the_id_is_left() {
    let mut removals = Removals::default();
    removals.add(["url:https://example.org/a.jpg".parse().unwrap()]);
    let before = rows();
    let after = removals.without(&before).unwrap();
    assert_eq!(after.slice(1, 3), before.slice(1, 3));
    for (field, column) in after.schema().fields().iter().zip(after.columns()) {
        let is_left = match field.name().as_str() {
            ROW | columns::ID | columns::REJECT | columns::DETAIL | columns::STAGE => true,
            columns::CANDIDATES => !column.as_list::<i32>().value(0).is_empty(),
            _ => column.is_valid(0),
        };
        let expected = [
            ROW,
            columns::ID,
            columns::REJECT,
            columns::DETAIL,
            columns::STAGE,
        ];
        assert_eq!(
            is_left,
            expected.contains(&field.name().as_str()),
            "{field}"
        );
    }
    assert!(image_at(&after, 0).unwrap().is_none());
    assert_eq!(texts(&after, columns::REJECT).unwrap().value(0), "removed");
    // Once taken out, it matches nothing, and stays as it is.
    assert_eq!(removals.without(&after).unwrap(), after);
}
