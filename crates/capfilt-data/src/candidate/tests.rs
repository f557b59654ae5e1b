use super::*;

fn rows() -> Vec<Vec<Candidate>> {
    let score = |by: &str, kind, value| Score {
        by: by.to_owned(),
        kind,
        value,
    };
    vec![
        vec![
            Candidate {
                text: "a \u{202e}cat\0".to_owned(),
                source: Source::Web,
                by: None,
                log_prob: None,
                scores: vec![
                    score("score", Kind::Match, 0.25),
                    score("score", Kind::Similarity, -0.5),
                ],
            },
            Candidate {
                text: String::new(),
                source: Source::Synthetic,
                by: Some("caption".to_owned()),
                log_prob: Some(-3.5),
                scores: vec![],
            },
        ],
        vec![],
        vec![Candidate {
            text: "x".repeat(100_000),
            source: Source::Human,
            by: None,
            log_prob: None,
            scores: vec![score("clip", Kind::Similarity, 1.0)],
        }],
    ]
}

#[test]
fn candidates_survive_the_way_through_arrow() {
    let array: ArrayRef = Arc::new(candidates_array(&rows()).unwrap());
    assert_eq!(read_candidates(&array).unwrap(), rows());
}

#[test]
fn a_slice_of_the_column_gives_the_rows_of_the_slice() {
    let array: ArrayRef = Arc::new(candidates_array(&rows()).unwrap());
    assert_eq!(read_candidates(&array.slice(2, 1)).unwrap(), rows()[2..]);
    assert_eq!(
        read_candidates(&array.slice(0, 0)).unwrap(),
        Vec::<Vec<Candidate>>::new()
    );
}

#[test]
fn a_source_outside_the_set_is_refused() {
    let mut array = candidates_array(&rows()).unwrap();
    let structs = array.values().as_struct();
    let mut columns = structs.columns().to_vec();
    columns[1] = Arc::new(StringArray::from(vec!["web", "robot", "human"]));
    let values = StructArray::new(structs.fields().clone(), columns, None);
    let (element, offsets, _, nulls) = array.clone().into_parts();
    array = ListArray::new(element, offsets, Arc::new(values), nulls);
    let error = read_candidates(&(Arc::new(array) as ArrayRef)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`robot` is no source: expected `web`, `synthetic` or `human`"
    );
}

#[test]
fn captions_are_read_from_columns_of_all_forms() {
    let caption = |text: &str, source| Caption {
        text: text.to_owned(),
        source,
        by: None,
        score: None,
    };
    let ours = vec![
        vec![caption("a", Source::Human), caption("b", Source::Synthetic)],
        vec![],
    ];
    let array: ArrayRef = Arc::new(captions_array(&ours).unwrap());
    assert_eq!(read_captions(&array, Source::Web).unwrap(), ours);

    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let expected = vec![vec![caption("a", Source::Human)], vec![]];
    assert_eq!(read_captions(&texts, Source::Human).unwrap(), expected);

    let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    lists.append_value([Some("a"), None]);
    lists.append_null();
    let lists: ArrayRef = Arc::new(lists.finish());
    // A missing text keeps its place.
    let expected = vec![
        vec![caption("a", Source::Web), caption("", Source::Web)],
        vec![],
    ];
    assert_eq!(read_captions(&lists, Source::Web).unwrap(), expected);

    let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    assert!(matches!(
        read_captions(&numbers, Source::Web),
        Err(ColumnError::Type { .. })
    ));
}
