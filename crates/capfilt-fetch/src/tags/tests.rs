use reqwest::header::HeaderValue;

use super::*;

#[test]
fn scoped_and_unscoped_directives() {
    for (value, refusing) in [
        // What Google, DeviantArt and img2dataset document.
        ("noindex", Some("noindex")),
        ("noai", Some("noai")),
        ("noimageai, noai", Some("noimageai")),
        ("noimageindex", Some("noimageindex")),
        ("noml", Some("noml")),
        ("none", Some("none")),
        ("all", None),
        ("nofollow, noarchive, nosnippet", None),
        ("NoAI", Some("noai")),
        ("  nofollow ,noindex ", Some("noindex")),
        ("googlebot: nofollow", None),
        ("googlebot: noindex", None),
        ("otherbot: noindex, nofollow", None),
        ("capfilt: noai", Some("noai")),
        ("CapFilt:noindex", Some("noindex")),
        ("*: noindex", Some("noindex")),
        ("capfilt: nofollow, noai", Some("noai")),
        // A name governs what follows it, up to the next name.
        ("BadBot: noindex, nofollow, googlebot: nofollow", None),
        ("BadBot: noindex, capfilt: noml", Some("noml")),
        ("capfilt: nofollow, BadBot: noai", None),
        ("noai, googlebot: nofollow", Some("noai")),
        // Values after a colon are no names.
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", None),
        (
            "unavailable_after: 25 Jun 2010 15:00:00 PST, noindex",
            Some("noindex"),
        ),
        ("max-image-preview:none", None),
        ("max-snippet: 20, noai", Some("noai")),
        ("googlebot: max-snippet: 20, noindex", None),
        // Not ours to guess.
        ("noaix", None),
        ("no ai", None),
        ("", None),
        (":", None),
        (",,:,", None),
        (": noai", None),
    ] {
        assert_eq!(refusal(value), refusing, "{value}");
    }
}

#[test]
fn every_value_of_the_header_counts() {
    let mut headers = HeaderMap::new();
    assert_eq!(refused_by(&headers), None);
    headers.append("x-robots-tag", HeaderValue::from_static("nofollow"));
    headers.append(
        "X-Robots-Tag",
        HeaderValue::from_static("googlebot: noindex"),
    );
    assert_eq!(refused_by(&headers), None);
    headers.append("x-robots-tag", HeaderValue::from_static("noai"));
    assert_eq!(refused_by(&headers), Some("noai"));
    let mut headers = HeaderMap::new();
    let bytes = HeaderValue::from_bytes(b"\xff\xfe, noml").unwrap();
    headers.append("x-robots-tag", bytes);
    assert_eq!(refused_by(&headers), Some("noml"));
}
