use super::*;

#[test]
fn a_passed_column_named_like_ours_is_renamed_and_the_others_are_not() {
    let names = [
        "nsfw",
        "image",
        "width",
        "input_width",
        "captions",
        ".row",
        "score",
    ];
    assert_eq!(
        passed_names(names),
        [
            "nsfw",
            "input_image",
            "input_input_width",
            "input_width",
            "input_captions",
            "input_.row",
            "score"
        ]
    );
}

#[test]
fn scored_has_the_columns_of_the_contract_in_order() {
    let passed = vec![nullable("nsfw", DataType::Utf8)];
    let scored = scored(&passed);
    let names: Vec<_> = scored
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names[..10], SCORED[..10]);
    assert_eq!(names.last(), Some(&"nsfw"));
}

#[test]
fn views_and_dictionaries_become_plain_at_any_depth() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8View));
    let nested = DataType::List(nullable(
        "element",
        DataType::Struct(Fields::from(vec![
            nullable("a", dictionary),
            nullable("b", DataType::BinaryView),
            nullable("c", DataType::LargeUtf8),
        ])),
    ));
    let plain = DataType::List(nullable(
        "element",
        DataType::Struct(Fields::from(vec![
            nullable("a", DataType::Utf8),
            nullable("b", DataType::Binary),
            nullable("c", DataType::LargeUtf8),
        ])),
    ));
    assert_eq!(plain_type(&nested), plain);
}
