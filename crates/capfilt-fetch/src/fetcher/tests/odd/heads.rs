//! First lines and header lines.

use super::*;

fn first(line: &[u8]) -> Vec<u8> {
    with(&[line, b"\r\n"].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_lines() {
    check(vec![
        taken("no reason", first(b"HTTP/1.1 200")),
        taken("empty reason", first(b"HTTP/1.1 200 ")),
        taken("Latin-1 in the reason", first(b"HTTP/1.1 200 \xe9t\xe9")),
        taken("long reason", first(&[b"HTTP/1.1 200 ", &[b'x'; 5_000][..]].concat())),
        taken("HTTP/1.0", first(b"HTTP/1.0 200 OK")),
        only_ours("a blank line first", first(b"\r\nHTTP/1.1 200 OK")),
        taken("no headers at all", as_is(b"HTTP/1.0 200 OK\r\n\r\n")),
        taken("bare line feeds", {
            let length = format!("HTTP/1.1 200 OK\nContent-Length: {}\n\n", PICTURE.len());
            as_is(length.as_bytes())
        }),
        taken("100 first", first(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")),
        taken(
            "103 with a header first",
            first(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK"),
        ),
        taken("102, 100 and 103 first", {
            first(b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK")
        }),
        only_curl("two spaces", Outcome::Broken, first(b"HTTP/1.1  200 OK")),
        only_curl("control byte in the reason", Outcome::Broken, first(b"HTTP/1.1 200 O\x01K")),
        only_curl("HTTP/2 over plain text", Outcome::Broken, first(b"HTTP/2 200 OK")),
        refused("HTTP/1.2", Outcome::Broken, first(b"HTTP/1.2 200 OK")),
        only_curl("lower case", Outcome::Broken, first(b"http/1.1 200 ok")),
        refused("ICY", Outcome::Broken, first(b"ICY 200 OK")),
        refused("no head", Outcome::Broken, PICTURE.to_vec()),
        refused("four digits", Outcome::Broken, first(b"HTTP/1.1 2000 OK")),
        refused("closed in the head", Outcome::Broken, b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        refused("closed at once", Outcome::Broken, Vec::new()),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lines() {
    let long = |bytes: usize| [b"X-Long: ", &vec![b'x'; bytes][..], b"\r\n"].concat();
    let many = |lines: usize, bytes: usize| {
        let line = [b"X-Many: ", &vec![b'x'; bytes][..], b"\r\n"].concat();
        ok(&line.repeat(lines))
    };
    check(vec![
        taken("folded", ok(b"X-Folded: one\r\n two\r\n\tthree\r\n")),
        taken("folded with an empty line", ok(b"X-Folded:\r\n one\r\n")),
        taken("space before the colon", ok(b"X-Space : one\r\n")),
        taken("tab before the colon", ok(b"X-Space\t: one\r\n")),
        only_ours("no colon", ok(b"this is no header\r\n")),
        taken("no name", ok(b": one\r\n")),
        taken("a name with spaces", ok(b"X Spaced Name: one\r\n")),
        taken("a name in brackets", ok(b"<X-Name>: one\r\n")),
        taken("a name in Latin-1", ok(b"X-\xc4: one\r\n")),
        taken("a value in Latin-1", ok(b"X-Value: \xe4\xf6\xfc\r\n")),
        taken("a value in UTF-8", ok("X-Value: äöü €\r\n".as_bytes())),
        taken("a control byte in a value", ok(b"X-Value: a\x01b\x7fc\r\n")),
        taken("no value", ok(b"X-Value:\r\n")),
        taken("no space after the colon", ok(b"X-Value:one\r\n")),
        taken(
            "a name of 2,000 bytes",
            ok(&[&[b'x'; 2_000][..], b": one\r\n"].concat()),
        ),
        only_ours("space before the first header", ok(b" X-First: one\r\n")),
        only_ours(
            "PHP's warning before the headers",
            ok(b"<br />\n<b>Warning</b>: x in <b>a.php</b>\n"),
        ),
        only_curl(
            "a bare carriage return",
            Outcome::Broken,
            ok(b"X-Value: a\rb\r\n"),
        ),
        refused("NUL in a value", Outcome::Broken, ok(b"X-Value: a\0b\r\n")),
        refused("NUL in a name", Outcome::Broken, ok(b"X-\0: a\r\n")),
        taken("150 headers", many(150, 4)),
        taken("300 headers", many(300, 4)),
        taken("900 headers", many(900, 4)),
        taken("60 kB in one header", ok(&long(60_000))),
        taken("200 kB of headers", many(100, 2_000)),
        taken("500 cookies", {
            let cookies = (0..500).map(|n| format!("Set-Cookie: c{n}=v; Path=/\r\n"));
            ok(cookies.collect::<String>().as_bytes())
        }),
        refused("1 MB of headers", Outcome::Broken, many(500, 2_000)),
        only_curl("5,000 headers", Outcome::Broken, many(5_000, 4)),
    ])
    .await;
}

/// What a header says still counts where its line is odd.
#[tokio::test]
async fn odd_lines_still_say_what_they_say() {
    let rows = [
        (&b"X-Robots-Tag : noai\r\n"[..], Outcome::RobotsTag),
        (b"X-Robots-Tag:\r\n noai\r\n", Outcome::RobotsTag),
        (
            b"X-Robots-Tag: unavailable_after: x,\r\n\tnoai\r\n",
            Outcome::RobotsTag,
        ),
        (b"TDM-Reservation\t: 1\r\n", Outcome::TdmReserved),
        (b"Content-Type : text/html\r\n", Outcome::ContentType),
    ];
    let answers = rows.iter().map(|(lines, _)| (ok(lines), false)).collect();
    let server = OddServer::start(answers).await;
    let options = FetchOptions {
        robots_txt: false,
        ..options()
    };
    let fetcher = Fetcher::new(&options).unwrap();
    for (number, (lines, outcome)) in rows.iter().enumerate() {
        let fetched = fetcher.fetch(&server.url(number)).await;
        let lines = lines.escape_ascii();
        assert_eq!(fetched.outcome, *outcome, "{lines}: {fetched:?}");
    }
}

/// A robots.txt behind an odd head is followed, and does not close its origin.
#[tokio::test]
async fn the_rules_of_a_site_are_read_behind_odd_heads() {
    let rules = b"User-agent: *\nDisallow: /private\n";
    let head = b"HTTP/1.1 200 OK\r\nno header\r\nX : y\r\nContent-Encoding: gzip\r\n";
    let answer = with_body(head, rules);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4_096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let usual = ok(b"");
            let of_rules = head[..read].starts_with(b"GET /robots.txt ");
            let _sent = stream
                .write_all(if of_rules { &answer } else { &usual })
                .await;
            let _closed = stream.shutdown().await;
        }
    });
    let options = FetchOptions {
        tdm_reservation: false,
        ..options()
    };
    let fetcher = Fetcher::new(&options).unwrap();
    for (path, outcome) in [
        ("a.jpg", Outcome::Ok),
        ("private/a.jpg", Outcome::RobotsTxt),
    ] {
        let fetched = fetcher.fetch(&format!("http://{address}/{path}")).await;
        assert_eq!(fetched.outcome, outcome, "{path}: {fetched:?}");
    }
}
