use proptest::prelude::*;

use super::*;

fn outcome(policy: &Policy, url: &str) -> Outcome {
    match policy.admit(url) {
        Ok(_) => Outcome::Ok,
        Err(refusal) => refusal.outcome,
    }
}

#[test]
fn a_url_is_admitted_by_its_form_and_scheme() {
    let policy = Policy::new(&FetchOptions::default()).unwrap();
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
    })
    .unwrap();
    assert_eq!(outcome(&policy, "https://example.org/"), Outcome::Ok);
    assert_eq!(
        outcome(&policy, "http://example.org/"),
        Outcome::SchemeNotAllowed
    );
    assert_eq!(outcome(&policy, "data:,x"), Outcome::SchemeNotAllowed);
}

#[test]
fn credentials_and_fragments_are_not_sent() {
    let policy = Policy::new(&FetchOptions::default()).unwrap();
    let Ok(Reference::Http(url)) = policy.admit("http://me:secret@example.org/a?b#c") else {
        panic!("admitted as http");
    };
    assert_eq!(url.as_str(), "http://example.org/a?b");
    let next = policy
        .redirect(&url, b"https://you@example.net/z", 0, 5)
        .unwrap();
    assert_eq!(next.as_str(), "https://example.net/z");
}

#[test]
fn redirects_are_counted_and_keep_to_the_schemes() {
    let policy = Policy::new(&FetchOptions::default()).unwrap();
    let from = Url::parse("http://example.org/a/b").unwrap();
    assert_eq!(
        policy.redirect(&from, b"../c", 1, 2).unwrap().as_str(),
        "http://example.org/c"
    );
    let refused = |location: &[u8], hops| {
        policy
            .redirect(&from, location, hops, 2)
            .unwrap_err()
            .outcome
    };
    assert_eq!(refused(b"/c", 2), Outcome::TooManyRedirects);
    assert_eq!(refused(b"file:///etc/passwd", 0), Outcome::SchemeNotAllowed);
    assert_eq!(refused(b"data:,x", 0), Outcome::SchemeNotAllowed);
    assert_eq!(refused(b"http://\xff", 0), Outcome::BadUrl);
}

#[test]
fn a_redirect_in_any_character_set_is_judged_like_a_url() {
    let policy = Policy::new(&FetchOptions::default()).unwrap();
    let from = Url::parse("http://example.org/a/b").unwrap();
    let led = |location: &[u8]| policy.redirect(&from, location, 0, 5);
    for (location, to) in [
        (&b"/caf\xe9?q=\xff"[..], "http://example.org/caf%E9?q=%FF"),
        ("/café".as_bytes(), "http://example.org/caf%C3%A9"),
        (b"/100%\xe9 a", "http://example.org/100%%E9%20a"),
        (b"//me:pass\xe9@example.net/x#\xe9", "http://example.net/x"),
        (b"HTTPS://EXAMPLE.net/\xe9", "https://example.net/%E9"),
    ] {
        let location_text = location.escape_ascii();
        assert_eq!(led(location).unwrap().as_str(), to, "{location_text}");
    }
    for (location, outcome) in [
        (&b"http://127.0.0.1/\xe9"[..], Outcome::ForbiddenAddress),
        (b"//169.254.169.254/\xe9", Outcome::ForbiddenAddress),
        (b"\\\\10.0.0.1/\xe9", Outcome::ForbiddenAddress),
        (b"http://\xe9@10.0.0.1/", Outcome::ForbiddenAddress),
        (b"http://\xe9.example.org/", Outcome::BadUrl),
        (b"file:///\xe9", Outcome::SchemeNotAllowed),
        (&[b"/", &vec![0xe9; 40_000][..]].concat(), Outcome::BadUrl),
    ] {
        let refusal = led(location).unwrap_err();
        assert_eq!(refusal.outcome, outcome, "{refusal:?}");
    }
}

#[test]
fn only_transient_outcomes_are_tried_again_and_not_for_ever() {
    let policy = Policy::new(&FetchOptions {
        retries: 2,
        ..FetchOptions::default()
    })
    .unwrap();
    for outcome in Outcome::ALL {
        let later = [
            Outcome::TimedOut,
            Outcome::HostSuspended,
            Outcome::RobotsUnreachable,
        ];
        let again = outcome.is_transient() && !later.contains(&outcome);
        assert_eq!(policy.tries_again(outcome, 1), again, "{outcome}");
        assert_eq!(policy.tries_again(outcome, 2), again, "{outcome}");
        assert!(!policy.tries_again(outcome, 3), "{outcome}");
    }
}

#[test]
fn literals_are_judged_in_every_notation() {
    let policy = Policy::new(&FetchOptions::default()).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "１２７.０.０.１",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "127%2e0%2e0%2e1",
        "①②⑦.⓪.⓪.①",
        "me:secret@127.0.0.1",
        "example.org@127.0.0.1",
        "127.0.0.1:8080",
        "0",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[ff02::1]",
        "[2001:db8::1]",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}/a.jpg");
            assert_eq!(outcome(&policy, &url), Outcome::ForbiddenAddress, "{url}");
            let from = Url::parse("http://example.org/").unwrap();
            let refused = policy.redirect(&from, url.as_bytes(), 0, 5).unwrap_err();
            let expected = [Outcome::ForbiddenAddress, Outcome::BadUrl];
            assert!(expected.contains(&refused.outcome), "{url}: {refused:?}");
        }
    }
    // Notations that are no host at all.
    for host in [
        "127.0.0.256",
        "0x100000000",
        "1.2.3.4.5",
        "[fe80::1%25eth0]",
        "",
        ".",
    ] {
        let url = format!("http://{host}/");
        assert_eq!(outcome(&policy, &url), Outcome::BadUrl, "{url}");
    }
    for host in [
        "93.184.216.34",
        "[2606:4700::1111]",
        "example.org",
        "127.0.0.1.example",
    ] {
        let url = format!("http://{host}/");
        assert_eq!(outcome(&policy, &url), Outcome::Ok, "{url}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever an address is written like, it gets the answer of the address.
    #[test]
    fn notations_of_one_address_get_one_answer(bits: u32, form in 0..8_usize) {
        let [a, b, c, d] = bits.to_be_bytes();
        let host = match form {
            0 => format!("{bits}"),
            1 => format!("0x{bits:x}"),
            2 => format!("0{bits:o}"),
            3 => format!("0x{a:X}.0{b:o}.{c}.{d}"),
            4 => format!("{a}.{}", bits & 0x00ff_ffff),
            5 => format!("{a}.{b}.0x{:x}.", bits & 0xffff),
            6 => format!("{a}.{b}.{c}.{d}").chars().map(full_width).collect(),
            _ => format!("[::ffff:{a:x}{b:02x}:{c:x}{d:02x}]"),
        };
        let policy = Policy::new(&FetchOptions::default()).unwrap();
        let expected = match crate::address::forbidden(bits.to_be_bytes().into()) {
            Some(_) => Outcome::ForbiddenAddress,
            None => Outcome::Ok,
        };
        prop_assert_eq!(outcome(&policy, &format!("http://{host}/a")), expected, "{}", host);
    }

    #[test]
    fn nothing_that_is_written_breaks_it(url in any::<String>(), location: Vec<u8>) {
        let policy = Policy::new(&FetchOptions::default()).unwrap();
        let _any = policy.admit(&url).is_ok();
        let from = Url::parse("http://example.org/a").unwrap();
        let _any = policy.redirect(&from, &location, 0, 1).is_ok();
    }
}

fn full_width(c: char) -> char {
    match c {
        '0'..='9' => char::from_u32(u32::from(c) - u32::from('0') + u32::from('０')).unwrap(),
        _ => '。',
    }
}

#[test]
fn objects_are_read_below_named_buckets_only() {
    let with = |buckets: &[&str]| {
        Policy::new(&FetchOptions {
            buckets: buckets.iter().map(|&bucket| bucket.to_owned()).collect(),
            ..FetchOptions::default()
        })
    };
    let none = with(&[]).unwrap();
    assert_eq!(
        outcome(&none, "s3://photos/a.jpg"),
        Outcome::SchemeNotAllowed
    );
    let some = with(&["s3://photos/public", "gs://other"]).unwrap();
    for (url, expected) in [
        ("s3://photos/public/a.jpg", Outcome::Ok),
        (
            "s3://photos/public/../private/a.jpg",
            Outcome::OutsideFolder,
        ),
        ("s3://photos/publicity/a.jpg", Outcome::OutsideFolder),
        ("s3://photos/a.jpg", Outcome::OutsideFolder),
        ("s3://secrets/public/a.jpg", Outcome::OutsideFolder),
        ("gs://photos/public/a.jpg", Outcome::OutsideFolder),
        ("gs://other/a.jpg", Outcome::Ok),
        ("az://other/a.jpg", Outcome::OutsideFolder),
    ] {
        assert_eq!(outcome(&some, url), expected, "{url}");
    }
    for bad in ["photos", "http://photos/", "s3:///a", "s3:photos"] {
        let error = with(&[bad]).unwrap_err().to_string();
        assert!(error.contains("names no bucket"), "{bad}: {error}");
    }
}

#[test]
fn content_types_are_accepted_by_pattern() {
    let policy = Policy::new(&FetchOptions::default()).unwrap();
    for (declared, accepted) in [
        (None, true),
        (Some(""), true),
        (Some("image/jpeg"), true),
        (Some("IMAGE/PNG; charset=binary"), true),
        (Some("application/octet-stream"), true),
        (Some("text/plain"), true),
        (Some("text/html; charset=utf-8"), false),
        (Some("video/mp4"), false),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(declared) = declared {
            headers.insert(CONTENT_TYPE, declared.parse().unwrap());
        }
        let answer = policy.admit_answer(&headers, false);
        assert_eq!(answer.is_ok(), accepted, "{declared:?}");
    }
    let all = FetchOptions {
        content_types: vec!["*".to_owned()],
        ..FetchOptions::default()
    };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, "text/html".parse().unwrap())]);
    let answer = Policy::new(&all).unwrap().admit_answer(&headers, false);
    assert_eq!(answer, Ok(()));
}
