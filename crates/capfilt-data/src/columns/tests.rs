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
        passed_names(names, []),
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

#[test]
fn columns_of_one_name_are_numbered() {
    let names = ["x", "x", "x_2", "x", "text", "text", "URL", "url"];
    assert_eq!(
        passed_names(names, []),
        [
            "x",
            "x_3",
            "x_2",
            "x_4",
            "input_text",
            "input_text_2",
            "URL",
            "input_url"
        ]
    );
    // A folder's key is in the output already, and there may be a column of its name.
    assert_eq!(
        passed_names(["a", "lang", "input_id"], ["split", "lang", "id"]),
        [
            "a",
            "lang",
            "input_id",
            "input_split",
            "input_lang",
            "input_input_id"
        ]
    );
    let doubted = same_but_for_case(["a", "URL", "b"]);
    assert_eq!(doubted, Some(("url".to_owned(), "URL".to_owned())));
    assert_eq!(same_but_for_case(["a", "b"]), None);
}

#[test]
fn what_datasets_knows_of_a_column_goes_along_under_its_new_name() {
    let known = r#"{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "text": {"dtype": "string", "_type": "Value"}}}}"#;
    let fields = vec![
        nullable("label", DataType::Int64),
        nullable("plain", DataType::Int64),
    ];
    let metadata = HashMap::from([(HUGGING_FACE.to_owned(), known.to_owned())]);
    let input = Schema::new_with_metadata(fields, metadata);
    let mut passed = with_own_features(&input);
    passed[0] = Arc::new(Field::clone(&passed[0]).with_name("input_label"));
    for schema in [scored(&passed), dataset(&passed)] {
        let features: serde_json::Value =
            serde_json::from_str(&schema.metadata()[HUGGING_FACE]).unwrap();
        let features = &features["info"]["features"];
        assert_eq!(features["input_label"]["names"][1], "dog");
        assert_eq!(features["image"]["_type"], "Image");
        assert!(features.get("text").is_none());
        assert!(
            schema
                .field_with_name("input_label")
                .unwrap()
                .metadata()
                .is_empty()
        );
        // A file of ours says the same again.
        let again = with_own_features(&schema);
        assert!(
            again
                .iter()
                .any(|field| field.metadata() == passed[0].metadata())
        );
    }
    let metadata = scored(&[nullable("plain", DataType::Int64)])
        .metadata()
        .clone();
    assert_eq!(metadata[HUGGING_FACE], IMAGE_FEATURE);
}
