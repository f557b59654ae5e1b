use super::*;

fn outcome(policy: &Policy, url: &str) -> Outcome {
    match policy.admit(url) {
        Ok(_) => Outcome::Ok,
        Err(refusal) => refusal.outcome,
    }
}

#[test]
fn a_url_is_admitted_by_its_form_and_scheme() {
    let policy = Policy::new(&FetchOptions::default());
    for (url, expected) in [
        ("http://example.org/a.png", Outcome::Ok),
        ("  HTTPS://example.org/ü?q=1#x \n", Outcome::Ok),
        ("data:image/png;base64,AAAA", Outcome::Ok),
        ("DATA:,x", Outcome::Ok),
        ("", Outcome::BadUrl),
        ("example.org/a.png", Outcome::BadUrl),
        ("//example.org/a.png", Outcome::BadUrl),
        ("http://", Outcome::BadUrl),
        ("http://[::1/x", Outcome::BadUrl),
        ("http://a b/", Outcome::BadUrl),
        ("http://example.org:99999/", Outcome::BadUrl),
        ("ftp://example.org/a.png", Outcome::SchemeNotAllowed),
        ("javascript:alert(1)", Outcome::SchemeNotAllowed),
        ("blob:http://example.org/1", Outcome::SchemeNotAllowed),
        ("file:///etc/passwd", Outcome::SchemeNotAllowed),
    ] {
        assert_eq!(outcome(&policy, url), expected, "{url}");
    }
    assert_eq!(
        outcome(&policy, &format!("http://a/{}", "x".repeat(40_000))),
        Outcome::BadUrl
    );
}

#[test]
fn a_scheme_that_is_not_listed_is_refused() {
    let policy = Policy::new(&FetchOptions {
        schemes: vec![Scheme::Https],
        ..FetchOptions::default()
    });
    assert_eq!(outcome(&policy, "https://example.org/"), Outcome::Ok);
    assert_eq!(
        outcome(&policy, "http://example.org/"),
        Outcome::SchemeNotAllowed
    );
    assert_eq!(outcome(&policy, "data:,x"), Outcome::SchemeNotAllowed);
}

#[test]
fn credentials_and_fragments_are_not_sent() {
    let policy = Policy::new(&FetchOptions::default());
    let Ok(Reference::Http(url)) = policy.admit("http://me:secret@example.org/a?b#c") else {
        panic!("admitted as http");
    };
    assert_eq!(url.as_str(), "http://example.org/a?b");
    let next = policy
        .redirect(&url, b"https://you@example.net/z", 0)
        .unwrap();
    assert_eq!(next.as_str(), "https://example.net/z");
}

#[test]
fn redirects_are_counted_and_keep_to_the_schemes() {
    let policy = Policy::new(&FetchOptions {
        max_redirects: 2,
        ..FetchOptions::default()
    });
    let from = Url::parse("http://example.org/a/b").unwrap();
    assert_eq!(
        policy.redirect(&from, b"../c", 1).unwrap().as_str(),
        "http://example.org/c"
    );
    let refused =
        |location: &[u8], hops| policy.redirect(&from, location, hops).unwrap_err().outcome;
    assert_eq!(refused(b"/c", 2), Outcome::TooManyRedirects);
    assert_eq!(refused(b"file:///etc/passwd", 0), Outcome::SchemeNotAllowed);
    assert_eq!(refused(b"data:,x", 0), Outcome::SchemeNotAllowed);
    assert_eq!(refused(b"http://\xff", 0), Outcome::BadUrl);
}

#[test]
fn only_transient_outcomes_are_tried_again_and_not_for_ever() {
    let policy = Policy::new(&FetchOptions {
        retries: 2,
        ..FetchOptions::default()
    });
    for outcome in Outcome::ALL {
        let again = outcome.is_transient() && outcome != Outcome::TimedOut;
        assert_eq!(policy.pause(outcome, 1).is_some(), again, "{outcome}");
        assert_eq!(policy.pause(outcome, 3), None, "{outcome}");
    }
    let second = policy.pause(Outcome::Broken, 2).unwrap();
    assert!(
        (FIRST_PAUSE..=FIRST_PAUSE * 2).contains(&second),
        "{second:?}"
    );
}
