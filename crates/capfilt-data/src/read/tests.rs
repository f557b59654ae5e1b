use arrow::array::{
    BinaryViewArray, DictionaryArray, Int64Array, LargeBinaryArray, LargeStringArray, ListArray,
    StringViewArray,
};
use arrow::datatypes::Int8Type;

use super::*;

fn texts(array: impl Array + 'static) -> Vec<Option<String>> {
    let array: ArrayRef = Arc::new(array);
    text_column(&array)
        .unwrap()
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect()
}

#[test]
fn text_comes_out_of_every_form() {
    let expected = vec![Some("a".to_owned()), None, Some("ä\0".to_owned())];
    let plain = vec![Some("a"), None, Some("ä\0")];
    assert_eq!(texts(StringArray::from(plain.clone())), expected);
    assert_eq!(texts(LargeStringArray::from(plain.clone())), expected);
    assert_eq!(texts(StringViewArray::from(plain.clone())), expected);
    let dictionary: DictionaryArray<Int8Type> = plain.into_iter().collect();
    assert_eq!(texts(dictionary), expected);
}

#[test]
fn an_integer_id_becomes_its_digits() {
    assert_eq!(
        texts(Int64Array::from(vec![12, -3])),
        [Some("12".to_owned()), Some("-3".to_owned())]
    );
}

fn bytes(array: impl Array + 'static) -> Vec<Option<Vec<u8>>> {
    let array: ArrayRef = Arc::new(array);
    let image = image_column(&array).unwrap();
    let column = image.column(0).as_binary::<i32>().clone();
    (0..image.len())
        .map(|row| image.is_valid(row).then(|| column.value(row).to_vec()))
        .collect()
}

fn expected() -> Vec<Option<Vec<u8>>> {
    vec![Some(b"one".to_vec()), None, Some(vec![])]
}

fn binary() -> Vec<Option<&'static [u8]>> {
    vec![Some(b"one"), None, Some(b"")]
}

#[test]
fn pictures_come_out_of_every_binary_form() {
    assert_eq!(bytes(BinaryArray::from(binary())), expected());
    assert_eq!(bytes(LargeBinaryArray::from(binary())), expected());
    assert_eq!(bytes(BinaryViewArray::from(binary())), expected());
}

fn structs() -> StructArray {
    StructArray::try_new(
        vec![
            Field::new("path", DataType::Utf8View, true),
            Field::new("bytes", DataType::LargeBinary, true),
        ]
        .into(),
        vec![
            Arc::new(StringViewArray::from(vec![
                Some("1.png"),
                Some("2.png"),
                None,
            ])),
            Arc::new(LargeBinaryArray::from(binary())),
        ],
        None,
    )
    .unwrap()
}

#[test]
fn pictures_come_out_of_a_struct_whatever_the_order_of_its_fields() {
    let array: ArrayRef = Arc::new(structs());
    assert_eq!(bytes(Arc::clone(&array)), expected());
    let image = image_column(&array).unwrap();
    assert_eq!(image.column(1).as_string::<i32>().value(0), "1.png");
}

#[test]
fn the_first_element_of_a_list_is_the_picture() {
    // [[one, null], [], [null], [empty]]
    let values = take(&structs(), &UInt64Array::from(vec![0, 1, 1, 2]), None).unwrap();
    let field = Arc::new(Field::new("element", values.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0, 1, 1]);
    let lists: ArrayRef = Arc::new(ListArray::new(field, offsets, values, None));
    let got = bytes(Arc::clone(&lists));
    assert_eq!(got, [Some(b"one".to_vec()), None, None, Some(vec![])]);
    assert_eq!(bytes(lists.slice(2, 2)), [None, Some(vec![])]);
}

#[test]
fn a_column_of_another_type_is_refused_with_what_would_do() {
    let numbers: ArrayRef = Arc::new(arrow::array::Float32Array::from(vec![1.0]));
    assert_eq!(
        text_column(&numbers).unwrap_err().to_string(),
        "a column of type `Float32` cannot be used here: expected text, in plain, large, view or dictionary form"
    );
    assert!(image_column(&numbers).is_err());
    assert!(!is_image(&DataType::Utf8));
}

#[test]
fn texts_come_out_of_columns_of_texts_and_of_lists() {
    let texts = |array: ArrayRef| texts_column(&array).unwrap();
    let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let none: Vec<String> = Vec::new();
    assert_eq!(texts(plain), [vec!["a".to_owned()], none.clone()]);

    let values: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a"),
        Some("b"),
        None,
        Some("c"),
        Some("d"),
    ]));
    let expected = [
        vec!["a".to_owned(), "b".to_owned()],
        none.clone(),
        none,
        vec!["c".to_owned(), "d".to_owned()],
    ];
    // The third row is null and hides nothing; the second has a null text only.
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 1, 0, 2]);
    let nulls = NullBuffer::from(vec![true, true, false, true]);
    let list = |values: ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        let (offsets, nulls) = (offsets.clone(), Some(nulls.clone()));
        Arc::new(ListArray::new(field, offsets, values, nulls))
    };
    assert_eq!(texts(list(Arc::clone(&values))), expected);
    let field = Arc::new(Field::new("text", DataType::Utf8, true));
    let structs = StructArray::from(vec![(field, values)]);
    assert_eq!(texts(list(Arc::new(structs))), expected);

    assert!(!is_texts(&DataType::Int64));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert!(texts_column(&numbers).is_err());
}
