//! What origins ask for is done, and they are asked once.

use super::*;

fn files(robots: &str, tdm: &str) -> Files {
    Files::from([
        ("/robots.txt", ("200 OK", robots.as_bytes().to_vec())),
        (
            "/.well-known/tdmrep.json",
            ("200 OK", tdm.as_bytes().to_vec()),
        ),
    ])
}

async fn outcomes(fetcher: &Fetcher, server: &Server, paths: &[&str]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for path in paths {
        outcomes.push(fetcher.fetch(&server.url(path)).await.outcome);
    }
    outcomes
}

#[tokio::test]
async fn an_origin_is_asked_for_its_rules_once() {
    let robots = "user-agent: *\ndisallow: /status/\n";
    let tdm = r#"[{"location": "/a-while", "tdm-reservation": 1}]"#;
    let server = Server::with_files(files(robots, tdm)).await;
    let fetcher = Fetcher::new(&options()).unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let fetcher = fetcher.clone();
        let url = server.url(["/ok", "/status/200", "/a-while"][number % 3]);
        tasks.spawn(async move { (number % 3, fetcher.fetch(&url).await.outcome) });
    }
    while let Some(done) = tasks.join_next().await {
        let (kind, outcome) = done.unwrap();
        let expected = [Outcome::Ok, Outcome::RobotsTxt, Outcome::TdmReserved];
        assert_eq!(outcome, expected[kind]);
    }
    let seen = server.seen();
    assert_eq!(seen.requests["/robots.txt"], 1);
    assert_eq!(seen.requests["/.well-known/tdmrep.json"], 1);
    assert!(!seen.requests.contains_key("/status/200"));
}

#[tokio::test]
async fn each_rule_has_its_switch() {
    let tdm = r#"[{"location": "/", "tdm-reservation": 1}]"#;
    let paths = ["/ok", "/noai", "/reserved", "/not-reserved"];
    let (ok, robots, tag, reserved) = (
        Outcome::Ok,
        Outcome::RobotsTxt,
        Outcome::RobotsTag,
        Outcome::TdmReserved,
    );
    for (switches, expected) in [
        ((true, true, true), [robots; 4]),
        // The header has the last word over the file.
        ((false, true, true), [reserved, tag, reserved, ok]),
        ((false, false, true), [reserved, reserved, reserved, ok]),
        ((false, true, false), [ok, tag, ok, ok]),
        ((false, false, false), [ok; 4]),
    ] {
        let server = Server::with_files(files("user-agent: capfilt\ndisallow: /", tdm)).await;
        let (robots_txt, x_robots_tag, tdm_reservation) = switches;
        let options = FetchOptions {
            robots_txt,
            x_robots_tag,
            tdm_reservation,
            ..options()
        };
        let fetcher = Fetcher::new(&options).unwrap();
        assert_eq!(
            outcomes(&fetcher, &server, &paths).await,
            expected,
            "{switches:?}"
        );
        let asked = |path: &str| server.seen().requests.contains_key(path);
        assert_eq!(asked("/robots.txt"), robots_txt);
        let asks_tdm = tdm_reservation && !robots_txt;
        assert_eq!(asked("/.well-known/tdmrep.json"), asks_tdm);
    }
}

/// RFC 9309, section 2.3.1.
#[tokio::test]
async fn what_becomes_of_robots_txt_decides() {
    for (status, expected) in [
        ("404 Not Found", Outcome::Ok),
        ("403 Forbidden", Outcome::Ok),
        ("410 Gone", Outcome::Ok),
        ("429 Too Many", Outcome::Ok),
        ("500 Failed", Outcome::RobotsUnreachable),
        ("503 Later", Outcome::RobotsUnreachable),
        ("302 Found\r\nLocation: /allows", Outcome::Ok),
        ("301 Moved\r\nLocation: /forbids", Outcome::RobotsTxt),
        ("301 Moved\r\nLocation: /robots.txt", Outcome::Ok),
    ] {
        let server = Server::with_files(Files::from([
            (
                "/robots.txt",
                (status, b"user-agent: *\ndisallow: /".to_vec()),
            ),
            ("/allows", ("200 OK", b"user-agent: *\nallow: /".to_vec())),
            (
                "/forbids",
                ("200 OK", b"user-agent: *\ndisallow: /".to_vec()),
            ),
        ]))
        .await;
        let fetched = fetch(&server, "/ok").await;
        assert_eq!(fetched.outcome, expected, "{status}: {fetched:?}");
        if status.ends_with("/robots.txt") {
            assert_eq!(server.seen().requests["/robots.txt"], 6);
        }
    }
}

#[tokio::test]
async fn a_robots_txt_without_end_is_read_so_far() {
    let mut robots = b"user-agent: *\ndisallow: /ok\n".to_vec();
    robots.resize(4 << 20, b'#');
    let server = Server::with_files(Files::from([("/robots.txt", ("200 OK", robots))])).await;
    assert_eq!(fetch(&server, "/ok").await.outcome, Outcome::RobotsTxt);
    assert_eq!(fetch(&server, "/flaky").await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_redirect_is_judged_by_the_rules_of_where_it_leads() {
    let target = Server::with_files(files("user-agent: *\ndisallow: /ok", "[]")).await;
    let server = Server::start().await;
    let fetched = fetch(&server, &format!("/to/{}", target.url("/ok"))).await;
    assert_eq!(fetched.outcome, Outcome::RobotsTxt, "{fetched:?}");
    assert_eq!(fetched.status, Some(302));
    assert!(!target.seen().requests.contains_key("/ok"));
}

#[tokio::test]
async fn a_pause_that_a_host_asks_for_is_kept_by_all() {
    let server = Server::start().await;
    let fetcher = Fetcher::new(&options()).unwrap();
    let start = Instant::now();
    let first = fetcher.fetch(&server.url("/asks-a-second")).await;
    assert_eq!((first.outcome, first.attempts), (Outcome::Ok, 2));
    assert!(start.elapsed() >= Duration::from_secs(1));
    // Waiting because the host said so is not the row's time.
    assert!(first.ms < 900, "{first:?}");

    let hour = fetcher.fetch(&server.url("/asks-an-hour")).await;
    assert_eq!((hour.outcome, hour.attempts), (Outcome::ServerError, 1));
    let next = fetcher.fetch(&server.url("/ok")).await;
    assert_eq!((next.outcome, next.attempts), (Outcome::TooManyRequests, 0));
    assert!(next.detail.unwrap().contains("asks to wait"));
    assert!(!server.seen().requests.contains_key("/ok"));
}

#[tokio::test]
async fn the_user_agent_says_whom_to_ask() {
    let server = Server::start().await;
    let contact = FetchOptions {
        contact: Some("https://example.org/crawler".to_owned()),
        ..options()
    };
    fetch_url(&contact, &server.url("/ok")).await;
    let head = server.seen().last_head;
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!("capfilt/{version} (+https://example.org/crawler)");
    assert!(head.contains(&expected), "{head}");
    for bad in ["", "a\r\nX: y", "me (there)"] {
        let options = FetchOptions {
            contact: Some(bad.to_owned()),
            ..options()
        };
        assert!(Fetcher::new(&options).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn opt_outs_make_no_request() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("domains.txt");
    fs_err::write(&list, "example.org\n").unwrap();
    let options = FetchOptions {
        opt_out_domains: vec![list],
        ..options()
    };
    let fetched = fetch_url(&options, "http://img.example.org/a.jpg").await;
    assert_eq!((fetched.outcome, fetched.attempts), (Outcome::OptedOut, 0));
    let redirect = server.url("/to/http://example.org/a.jpg");
    let fetched = fetch_url(&options, &redirect).await;
    assert_eq!((fetched.outcome, fetched.attempts), (Outcome::OptedOut, 1));
}
