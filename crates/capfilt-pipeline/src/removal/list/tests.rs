use super::*;

#[test]
fn requests_keep_their_lines() {
    let text = "# asked by mail\n\n id:a:7 \nurl:https://example.org/a#b\n";
    let list = RequestList::parse(text.as_bytes()).unwrap();
    let lines: Vec<(usize, &str)> = list
        .lines
        .iter()
        .map(|line| (line.number, line.text.as_str()))
        .collect();
    assert_eq!(lines, [(3, "id:a:7"), (4, "url:https://example.org/a#b")]);
}

#[test]
fn a_line_that_is_no_request_is_refused_with_its_number() {
    let error = RequestList::parse("id:a\n\nwhatever\n".as_bytes()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("line 3: got `whatever`, expected `id:..`"),
        "{error}"
    );
}

#[test]
fn a_list_that_is_no_text_or_not_there_is_refused() {
    assert!(matches!(
        RequestList::parse(b"id:\xff\n".as_slice()).unwrap_err(),
        ListErrorKind::Read(_)
    ));
    let error = RequestList::read(Path::new("no/such/list")).unwrap_err();
    assert!(error.to_string().contains("`no/such/list`"), "{error}");
}
