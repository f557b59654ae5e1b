use super::*;

fn allowed(robots: &str, path: &str) -> bool {
    let url = Url::parse(&format!("http://example.com{path}")).unwrap();
    Rules::parse(robots.as_bytes()).check(&url).is_ok()
}

/// RFC 9309, section 5.1, with our name in the place of each of its crawlers.
#[test]
fn the_simple_example_of_the_rfc() {
    let file = |name: &str| {
        "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n\n\
         User-Agent: foobot\nDisallow:/\nAllow:/example/page.html\nAllow:/example/allowed.gif\n\n\
         User-Agent: barbot\nUser-Agent: bazbot\nDisallow: /example/page.html\n\n\
         User-Agent: quxbot\n\nEOF"
            .replace(name, "capfilt")
    };
    for (name, path, expected) in [
        ("nobody", "/example/page.html", false),
        ("nobody", "/publications/a.jpg", true),
        ("nobody", "/other/a.gif", false),
        ("nobody", "/other/a.gif?x", true),
        ("nobody", "/other/a.jpg", true),
        ("foobot", "/example/page.html", true),
        ("foobot", "/example/allowed.gif", true),
        ("foobot", "/example/other.gif", false),
        ("foobot", "/publications/", false),
        ("barbot", "/example/page.html", false),
        ("barbot", "/example/allowed.gif", true),
        ("bazbot", "/example/page.html", false),
        // It has a group without rules, so that the group for all does not count.
        ("quxbot", "/example/page.html", true),
    ] {
        assert_eq!(
            allowed(&file(name), path),
            expected,
            "as {name}: {path}\n{}",
            file(name)
        );
    }
}

/// RFC 9309, section 5.2.
#[test]
fn the_longest_match_wins() {
    let file = "User-Agent: capfilt\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif";
    assert!(!allowed(file, "/example/page/disallowed.gif"));
    assert!(allowed(file, "/example/page/allowed.gif"));
    let equal = "User-Agent: *\nDisallow: /page\nAllow: /page";
    assert!(allowed(equal, "/page"));
}

/// RFC 9309, section 2.2.1: groups of one name are one, names compare without case.
#[test]
fn groups_of_one_name_are_merged() {
    let file = "user-agent: CAPFILT\ndisallow: /foo\ndisallow: /bar\n\n\
                user-agent: other\ndisallow: /qux\n\n\
                user-agent: capfilt\ndisallow: /baz";
    for (path, expected) in [
        ("/foo", false),
        ("/bar", false),
        ("/baz", false),
        ("/qux", true),
    ] {
        assert_eq!(allowed(file, path), expected, "{path}");
    }
}

/// RFC 9309, section 2.2.2: octets are compared in their percent-encoded form.
#[test]
fn paths_are_compared_by_octets() {
    for (rule, path, matches) in [
        ("/foo/bar?baz=quz", "/foo/bar?baz=quz", true),
        (
            "/foo/bar?baz=https://foo.bar",
            "/foo/bar?baz=https://foo.bar",
            true,
        ),
        ("/foo/bar/ツ", "/foo/bar/%E3%83%84", true),
        ("/foo/bar/%E3%83%84", "/foo/bar/%E3%83%84", true),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz", true),
        ("/Foo", "/foo", false),
    ] {
        let file = format!("user-agent: *\ndisallow: {rule}");
        assert_eq!(!allowed(&file, path), matches, "{rule} against {path}");
    }
}

/// RFC 9309, section 2.2.3.
#[test]
fn special_characters() {
    for (rule, path, matches) in [
        ("/path # comment", "/path/x", true),
        ("/this/path/exactly$", "/this/path/exactly", true),
        ("/this/path/exactly$", "/this/path/exactly/not", false),
        ("/this/*/exactly", "/this/path/exactly", true),
        ("*", "/anything", true),
        ("", "/anything", false),
    ] {
        let file = format!("user-agent: *\ndisallow: {rule}");
        assert_eq!(!allowed(&file, path), matches, "{rule} against {path}");
    }
}

#[test]
fn only_the_first_500_kib_count() {
    let mut file = "user-agent: *\ndisallow: /early\n".to_owned();
    file.push_str(&"# padding\n".repeat(60_000));
    file.push_str("disallow: /late\n");
    assert!(!allowed(&file, "/early"));
    assert!(allowed(&file, "/late"));
}

#[test]
fn rubbish_is_no_rule() {
    for file in ["", "\0\0\0", "<html>disallow</html>", "disallow: /", "%%%"] {
        assert!(allowed(file, "/a.jpg"), "{file:?}");
    }
}

#[test]
fn the_reason_names_group_and_rule() {
    let url = Url::parse("http://example.com/private/a.jpg").unwrap();
    let rules = Rules::parse(b"user-agent: *\ndisallow: /private/");
    let refusal = rules.check(&url).unwrap_err();
    assert_eq!(refusal.outcome, Outcome::RobotsTxt);
    assert_eq!(refusal.detail, "disallowed for `*`: `/private/`");
}

#[test]
fn a_host_that_does_not_answer_keeps_its_own_reason() {
    for (outcome, expected) in [
        (Outcome::Dns, Outcome::Dns),
        (Outcome::Connect, Outcome::Connect),
        (Outcome::ServerError, Outcome::RobotsUnreachable),
        (Outcome::TimedOut, Outcome::RobotsUnreachable),
    ] {
        let rules = Rules::unreachable(&Refusal::new(outcome, "why"));
        let url = Url::parse("http://example.com/").unwrap();
        assert_eq!(rules.check(&url).unwrap_err().outcome, expected);
    }
}
