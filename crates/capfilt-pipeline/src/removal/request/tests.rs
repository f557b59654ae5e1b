use proptest::prelude::*;

use super::*;

fn request(text: &str) -> Request {
    text.parse().unwrap()
}

#[test]
fn what_names_the_same_is_the_same_request() {
    // `printf VALUE | sha256sum`.
    for (text, canonical) in [
        (
            "url: http://EXAMPLE.org/a b.jpg",
            "url-sha256:4b56106edfaad3f2cea13046ce0f520cbb002d7eea9110cdc5c49e696d800b48",
        ),
        (
            "domain:*.Example.org.",
            "domain-sha256:bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b5",
        ),
        (
            "sha256:4B56106EDFAAD3F2CEA13046CE0F520CBB002D7EEA9110CDC5C49E696D800B48",
            "sha256:4b56106edfaad3f2cea13046ce0f520cbb002d7eea9110cdc5c49e696d800b48",
        ),
    ] {
        assert_eq!(request(text).to_string(), canonical);
        assert_eq!(request(canonical), request(text));
    }
    assert_ne!(request("id:a"), request("id:b"));
    assert_ne!(request("id:example.org"), request("domain:example.org"));
}

#[test]
fn what_is_no_request_says_what_would_be() {
    for (text, expected) in [
        ("example.org", "expected `id:..`, `url:..`, `domain:..`"),
        ("host:example.org", "expected `id:..`"),
        ("id: ", "expected `id:..`"),
        ("url:example", "expected a URL like"),
        ("domain:https://example.org/", "expected a domain like"),
        ("sha256:abc", "expected 64 hexadecimal digits"),
        ("url-sha256:+1", "expected 64 hexadecimal digits"),
    ] {
        let error = text.parse::<Request>().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&format!("got `{text}`")), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser_and_requests_are_read_as_written(text in ".{0,80}", form in 0..4_usize) {
        if let Ok(request) = text.parse::<Request>() {
            prop_assert_eq!(request.to_string().parse(), Ok(request));
        }
        let forms = [Form::Id, Form::Url, Form::Domain, Form::Picture];
        let request = Request::of(forms[form], &text);
        prop_assert_eq!(request.to_string().parse(), Ok(request));
    }
}
