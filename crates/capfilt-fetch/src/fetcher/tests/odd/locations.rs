//! Where redirects lead.

use super::*;

fn to(location: &[u8]) -> Vec<u8> {
    status_to("302 Found", location)
}

fn status_to(status: &str, location: &[u8]) -> Vec<u8> {
    let first = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: ");
    [first.as_bytes(), location, b"\r\n\r\n"].concat()
}

/// What a row asks for in the end, by us and by curl; nothing where it is not followed.
type Led = Option<&'static str>;

/// Fetches each answer, and notes what is asked for next.
async fn check_led(rows: &[(&str, Vec<u8>, Led, Led)]) {
    let answers = rows.iter().map(|(_, answer, ..)| (answer.clone(), false));
    let server = OddServer::start(answers.collect()).await;
    let fetcher = Fetcher::new(&bare()).unwrap();
    let mut wrong = String::new();
    for (number, (name, _, ours, curls)) in rows.iter().enumerate() {
        let fetched = fetcher.fetch(&server.url(number)).await;
        let led = server.targets().pop();
        let curl = match curl(server.url(number)).await {
            Some(_) => server.targets().pop(),
            None => curls.map(str::to_owned),
        };
        if std::env::var_os("CAPFILT_ODD_TABLE").is_some() {
            eprintln!(
                "TABLE|Location {name}|{curl:?}|{led:?}|{:?}",
                fetched.detail
            );
        }
        // curl escapes in lower case.
        let same = match (&curl, curls) {
            (Some(curl), Some(curls)) => curl.eq_ignore_ascii_case(curls),
            (curl, curls) => curl.is_none() && curls.is_none(),
        };
        if led.as_deref() != *ours || !same {
            writeln!(wrong, "{name}: got {led:?}, curl {curl:?}: {fetched:?}").unwrap();
        }
        if led.is_some() {
            assert_eq!(
                fetched.body.as_deref(),
                Some(PICTURE),
                "{name}: {fetched:?}"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locations() {
    let both = |name, answer, led| (name, answer, Some(led), Some(led));
    check_led(&[
        both("absolute path", to(b"/to/a.jpg"), "/to/a.jpg"),
        both("relative", to(b"to/a.jpg"), "/to/a.jpg"),
        both("relative with dots", to(b"./x/../to/a.jpg"), "/to/a.jpg"),
        both("only a query", to(b"?x=1"), "/3?x=1"),
        both("fragment", to(b"/to/a.jpg#top"), "/to/a.jpg"),
        both("Latin-1", to(b"/to/caf\xe9.jpg"), "/to/caf%E9.jpg"),
        both(
            "Latin-1 in the query",
            to(b"/to/a.jpg?q=caf\xe9"),
            "/to/a.jpg?q=caf%E9",
        ),
        both("UTF-8", to("/to/café.jpg".as_bytes()), "/to/caf%C3%A9.jpg"),
        both(
            "percent signs stay",
            to(b"/to/caf%e9.jpg"),
            "/to/caf%e9.jpg",
        ),
        both(
            "Latin-1 and UTF-8",
            to(b"/to/\xe9\xc3\xa9.jpg"),
            "/to/%E9%C3%A9.jpg",
        ),
        both("a space", to(b"/to/a b.jpg"), "/to/a%20b.jpg"),
        both("spaces around", to(b"   /to/a.jpg  "), "/to/a.jpg"),
        both(
            "300",
            status_to("300 Multiple Choices", b"/to/a.jpg"),
            "/to/a.jpg",
        ),
        both("303", status_to("303 See Other", b"/to/a.jpg"), "/to/a.jpg"),
        both(
            "308",
            status_to("308 Permanent Redirect", b"/to/a.jpg"),
            "/to/a.jpg",
        ),
        (
            "space before the colon",
            b"HTTP/1.1 302 Found\r\nLocation : /to/a.jpg\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Some("/to/a.jpg"),
            None,
        ),
        both(
            "no length, no body",
            b"HTTP/1.1 302 Found\r\nLocation: /to/a.jpg\r\n\r\n".to_vec(),
            "/to/a.jpg",
        ),
        (
            "a plus for curl",
            to(b"/to/a.jpg?q=a b"),
            Some("/to/a.jpg?q=a%20b"),
            Some("/to/a.jpg?q=a+b"),
        ),
        (
            "folded",
            to(b"/to/a\r\n b.jpg"),
            Some("/to/a%20b.jpg"),
            Some("/to/a"),
        ),
        ("a tab", to(b"/to/a\tb.jpg"), Some("/to/ab.jpg"), None),
        ("empty", to(b""), None, None),
        (
            "missing",
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            None,
            None,
        ),
        ("a control byte", to(b"/to/a\x01b.jpg"), None, None),
        ("a NUL", to(b"/to/a\0b.jpg"), None, None),
        (
            "a bare carriage return",
            to(b"/to/a\rX-Smuggled: 1.jpg"),
            None,
            Some("/to/a"),
        ),
        (
            "another scheme",
            to(b"ftp://127.0.0.1/to/a.jpg"),
            None,
            None,
        ),
        ("no URL", to(b"http://"), None, None),
        (
            "Latin-1 in the host",
            to(b"http://caf\xe9.test/to/a.jpg"),
            None,
            None,
        ),
    ])
    .await;
}
