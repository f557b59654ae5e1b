use super::*;

#[test]
fn every_column_says_what_it_is_and_has_a_known_type() {
    fn walk(path: &str, schema: &Value) {
        let Some(properties) = schema["properties"].as_object() else {
            return;
        };
        for (name, column) in properties {
            let path = format!("{path}.{name}");
            assert!(
                column["description"].is_string(),
                "{path} has no description"
            );
            let known = column["type"].is_string() || column["type"].is_array();
            assert!(
                known || column["$ref"].is_string() || column["anyOf"].is_array(),
                "{path}"
            );
            walk(&path, column);
            walk(&path, &column["items"]);
        }
    }
    walk("output", &output());
    for (name, column) in input()["properties"].as_object().unwrap() {
        assert!(
            column["description"].is_string(),
            "input.{name} has no description"
        );
    }
}

#[test]
fn the_closed_sets_are_complete() {
    let output = output();
    let text = output["$defs"]["reject"].to_string();
    for reason in Reject::ALL {
        assert!(text.contains(&format!("\"{reason}\"")), "{reason}");
    }
    assert_eq!(
        output["properties"]["scored"]["properties"]["reject"]["anyOf"][0]["$ref"],
        "#/$defs/reject"
    );
}
