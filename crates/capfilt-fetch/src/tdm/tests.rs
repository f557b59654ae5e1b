use reqwest::header::HeaderValue;

use super::*;

/// The example of the protocol's final report: the whole site, and two folders of it.
const EXAMPLE: &str = r#"[
  { "location": "/", "tdm-reservation": 0 },
  { "location": "/directory-a/", "tdm-reservation": 1,
    "tdm-policy": "https://provider.com/policies/policy.json" },
  { "location": "/directory-b/html/", "tdm-reservation": 1 },
  { "location": "/*.jpg$", "tdm-reservation": 1 }
]"#;

#[test]
fn the_longest_location_decides() {
    let rules = Reservations::parse(EXAMPLE.as_bytes());
    for (path, reserved) in [
        ("/", false),
        ("/index.html", false),
        ("/directory-a/x.png", true),
        ("/directory-b/x.png", false),
        ("/directory-b/html/x.png", true),
        ("/photo.jpg", true),
        ("/photo.jpg?size=1", false),
    ] {
        assert_eq!(rules.reserve(path), reserved, "{path}");
    }
}

#[test]
fn what_is_not_well_said_is_not_said() {
    for json in [
        "",
        "null",
        "{}",
        "[]",
        "[1, null, \"x\", []]",
        r#"[{"location": "/", "tdm-reservation": 2}]"#,
        r#"[{"location": "/", "tdm-reservation": null}]"#,
        r#"[{"location": "/"}]"#,
        r#"[{"tdm-reservation": 1}]"#,
        r#"[{"location": "/x\ndisallow: /", "tdm-reservation": 1}]"#,
        r#"[{"location": "x", "tdm-reservation": 1}]"#,
        "[{\"location\": \"/\", \"tdm-reservation\": 1",
    ] {
        assert!(!Reservations::parse(json.as_bytes()).reserve("/"), "{json}");
    }
    assert!(!Reservations::none().reserve("/"));
}

#[test]
fn a_bad_rule_does_not_hide_a_good_one() {
    let json = r#"[{"location": 7}, {"location": "/*", "tdm-reservation": "1", "more": true}]"#;
    assert!(Reservations::parse(json.as_bytes()).reserve("/a/b.jpg"));
}

#[test]
fn the_header_says_yes_no_or_nothing() {
    for (values, said) in [
        (&[][..], None),
        (&["1"][..], Some(true)),
        (&[" 1 "][..], Some(true)),
        (&["0"][..], Some(false)),
        (&["0", "1"][..], Some(true)),
        (&["yes"][..], None),
        (&["2"][..], None),
        (&[""][..], None),
    ] {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("TDM-Reservation", HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(header(&headers), said, "{values:?}");
    }
}
