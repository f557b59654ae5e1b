use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::*;
use crate::options::Scheme;
use crate::units::{ByteSize, Timeout};

#[path = "../../../../tests/support/server.rs"]
mod server;

use server::{Files, Server};

mod guard;
mod hostile;
mod odd;
mod politeness;
mod suspension;

const LIMIT: u64 = 100_000;

fn options() -> FetchOptions {
    FetchOptions {
        timeout: Timeout(Duration::from_millis(1_500)),
        max_size: ByteSize(LIMIT),
        retries: 1,
        // A host is suspended for 10 ms at first.
        host_wait: Timeout(Duration::from_millis(640)),
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..FetchOptions::default()
    }
}

/// Fetches one path and asserts that it ended within the deadline.
async fn fetch(server: &Server, path: &str) -> Fetched {
    fetch_url(&options(), &server.url(path)).await
}

async fn fetch_url(options: &FetchOptions, url: &str) -> Fetched {
    let client = Fetcher::new(options).unwrap();
    let start = Instant::now();
    let fetched = client.fetch(url).await;
    assert!(
        start.elapsed() < options.timeout.0 + Duration::from_millis(500),
        "{fetched:?}"
    );
    assert_eq!(
        fetched.body.is_some(),
        fetched.outcome == Outcome::Ok,
        "{fetched:?}"
    );
    assert_eq!(
        fetched.detail.is_none(),
        fetched.outcome == Outcome::Ok,
        "{fetched:?}"
    );
    assert!(fetched.bytes <= LIMIT + 65_536, "{fetched:?}");
    fetched
}

#[tokio::test]
async fn every_answer_has_its_outcome_within_the_deadline() {
    let server = Server::start().await;
    for (path, outcome, status, attempts) in [
        ("/ok", Outcome::Ok, Some(200), 1),
        ("/empty", Outcome::Ok, Some(200), 1),
        ("/no-content", Outcome::UnexpectedStatus, Some(204), 1),
        ("/html", Outcome::Ok, Some(200), 1),
        ("/page", Outcome::ContentType, Some(200), 1),
        ("/noai", Outcome::RobotsTag, Some(200), 1),
        ("/reserved", Outcome::TdmReserved, Some(200), 1),
        ("/gzip-bomb", Outcome::TooLarge, Some(200), 1),
        ("/asks-a-second", Outcome::Ok, Some(200), 2),
        ("/asks-an-hour", Outcome::ServerError, Some(503), 1),
        ("/redirect", Outcome::Ok, Some(200), 1),
        ("/declares-too-little", Outcome::Ok, Some(200), 1),
        ("/missing", Outcome::NotFound, Some(404), 1),
        ("/status/400", Outcome::UnexpectedStatus, Some(400), 1),
        ("/status/403", Outcome::Forbidden, Some(403), 1),
        ("/status/410", Outcome::Gone, Some(410), 1),
        ("/status/429", Outcome::TooManyRequests, Some(429), 5),
        ("/status/500", Outcome::ServerError, Some(500), 2),
        ("/not-modified", Outcome::UnexpectedStatus, Some(304), 1),
        ("/redirect-nowhere", Outcome::UnexpectedStatus, Some(302), 1),
        ("/loop", Outcome::TooManyRedirects, Some(301), 1),
        ("/to-file", Outcome::SchemeNotAllowed, Some(302), 1),
        ("/silent", Outcome::TimedOut, None, 1),
        ("/slow-head", Outcome::TimedOut, None, 1),
        ("/slow-body", Outcome::TimedOut, Some(200), 1),
        ("/endless", Outcome::TooLarge, Some(200), 1),
        ("/declares-much", Outcome::TooLarge, Some(200), 1),
        ("/declares-too-much", Outcome::Broken, Some(200), 2),
        ("/declares-twice", Outcome::Broken, None, 2),
        ("/endless-head", Outcome::Broken, None, 2),
        ("/reset", Outcome::Broken, None, 2),
        ("/reset-body", Outcome::Broken, Some(200), 2),
        ("/not-http", Outcome::Broken, None, 2),
    ] {
        let fetched = fetch(&server, path).await;
        assert_eq!(
            (fetched.outcome, fetched.status, fetched.attempts),
            (outcome, status, attempts),
            "{path}: {fetched:?}"
        );
    }
}

#[tokio::test]
async fn the_bytes_come_whole_with_where_they_came_from() {
    let server = Server::start().await;
    let fetched = fetch(&server, "/redirect").await;
    assert_eq!(fetched.body.as_deref(), Some(Server::body()));
    assert_eq!(fetched.bytes, Server::body().len() as u64);
    assert_eq!(fetched.final_url, Some(server.url("/ok")));
    assert_eq!(
        fetch(&server, "/declares-too-little").await.body.as_deref(),
        Some(&b"longe"[..])
    );
}

#[tokio::test]
async fn a_declared_size_over_the_limit_is_refused_before_the_body() {
    let server = Server::start().await;
    let fetched = fetch(&server, "/declares-much").await;
    assert_eq!(fetched.bytes, 0);
    assert_eq!(
        fetched.detail.as_deref(),
        Some("99999999999 bytes declared, at most 100000 allowed")
    );
}

#[tokio::test]
async fn a_body_as_large_as_the_limit_is_taken() {
    let server = Server::start().await;
    let size = Server::body().len() as u64;
    let exact = FetchOptions {
        max_size: ByteSize(size),
        ..options()
    };
    assert_eq!(
        fetch_url(&exact, &server.url("/ok")).await.outcome,
        Outcome::Ok
    );
    let less = FetchOptions {
        max_size: ByteSize(size - 1),
        ..options()
    };
    assert_eq!(
        fetch_url(&less, &server.url("/ok")).await.outcome,
        Outcome::TooLarge
    );
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again() {
    let server = Server::start().await;
    for path in ["/flaky", "/reset-once"] {
        let fetched = fetch(&server, path).await;
        assert_eq!(
            (fetched.outcome, fetched.attempts),
            (Outcome::Ok, 2),
            "{path}"
        );
    }
    let once = FetchOptions {
        retries: 0,
        ..options()
    };
    let server = Server::start().await;
    let fetched = fetch_url(&once, &server.url("/flaky")).await;
    assert_eq!(
        (fetched.outcome, fetched.attempts),
        (Outcome::ServerError, 1)
    );
}

#[tokio::test]
async fn a_redirect_counts_against_its_limit() {
    let server = Server::start().await;
    let none = FetchOptions {
        max_redirects: 0,
        ..options()
    };
    let fetched = fetch_url(&none, &server.url("/redirect")).await;
    assert_eq!(fetched.outcome, Outcome::TooManyRedirects);
    fetch(&server, "/loop").await;
    assert_eq!(server.seen().requests["/loop"], 6);
}

#[tokio::test]
async fn connections_are_used_again_and_nothing_is_carried_along() {
    let server = Server::start().await;
    let fetcher = Fetcher::new(&options()).unwrap();
    for path in ["/cookie", "/ok", "/missing", "/ok"] {
        fetcher.fetch(&server.url(path)).await;
    }
    let seen = server.seen();
    // The page of the 404 is not read, so that connection is not used again.
    assert!(seen.connections <= 2, "{seen:?}");
    let head = seen.last_head.to_lowercase();
    assert!(
        head.contains(concat!("user-agent: capfilt/", env!("CARGO_PKG_VERSION"))),
        "{head}"
    );
    for header in ["cookie:", "authorization:", "referer:"] {
        assert!(!head.contains(header), "{head}");
    }
}

#[tokio::test]
async fn one_host_gets_no_more_requests_at_once_than_it_may() {
    let server = Server::start().await;
    let options = FetchOptions {
        per_host: NonZeroUsize::new(3).unwrap(),
        ..options()
    };
    let client = Fetcher::new(&options).unwrap();
    let url = server.url("/a-while");
    let mut tasks = JoinSet::new();
    for _ in 0..12 {
        let (client, url) = (client.clone(), url.clone());
        tasks.spawn(async move { client.fetch(&url).await });
    }
    while let Some(fetched) = tasks.join_next().await {
        let fetched = fetched.unwrap();
        // Twelve take four turns: waiting for one does not count against the deadline.
        assert_eq!(fetched.outcome, Outcome::Ok);
        assert!(fetched.ms < 1_000, "{fetched:?}");
    }
    assert_eq!(server.seen().most, 3);
}

#[tokio::test]
async fn a_dead_port_and_a_dead_name_are_told_apart() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fetched = fetch_url(&options(), &format!("http://{address}/")).await;
    assert_eq!(
        (fetched.outcome, fetched.attempts),
        (Outcome::Connect, 2),
        "{fetched:?}"
    );
    // `.invalid` never resolves (RFC 6761); a resolver may take its time to say so.
    let fetched = fetch_url(&options(), "http://no-such-host.invalid/").await;
    assert!(
        matches!(fetched.outcome, Outcome::Dns | Outcome::TimedOut),
        "{fetched:?}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_a_handshake_times_out() {
    let server = Server::start().await;
    let url = server.url("/ok").replace("http://", "https://");
    let fetched = fetch_url(&options(), &url).await;
    // It waits for more of what it takes for a request: its robots.txt cannot be had.
    assert_eq!(fetched.outcome, Outcome::RobotsUnreachable, "{fetched:?}");
    let bare = FetchOptions {
        robots_txt: false,
        tdm_reservation: false,
        ..options()
    };
    let fetched = fetch_url(&bare, &url).await;
    assert_eq!(fetched.outcome, Outcome::TimedOut, "{fetched:?}");
}

#[tokio::test]
async fn a_refused_url_makes_no_attempt() {
    for url in ["", "no url", "ftp://example.org/", "file:///etc/hostname"] {
        let fetched = fetch_url(&options(), url).await;
        assert_eq!((fetched.attempts, fetched.status), (0, None), "{url}");
        assert!(
            matches!(fetched.outcome, Outcome::BadUrl | Outcome::SchemeNotAllowed),
            "{url}"
        );
    }
}

#[tokio::test]
async fn data_urls_are_decoded_within_the_limit() {
    let data = |url: &'static str| async move { fetch_url(&options(), url).await };
    let fetched = data("data:image/png;base64,aGVsbG8=").await;
    assert_eq!(fetched.body.as_deref(), Some(&b"hello"[..]));
    assert_eq!((fetched.status, fetched.final_url), (None, None));
    assert_eq!(data("data:,a%20b").await.body.as_deref(), Some(&b"a b"[..]));
    assert_eq!(data("data:,").await.body.as_deref(), Some(&b""[..]));
    assert_eq!(
        data("data:image/png;base64,&&&").await.outcome,
        Outcome::BadUrl
    );
    assert_eq!(data("data:image/png").await.outcome, Outcome::BadUrl);
    let large = format!("data:;base64,{}", "AAAA".repeat(50_000));
    assert_eq!(
        fetch_url(&options(), &large).await.outcome,
        Outcome::TooLarge
    );
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_read_from_the_named_folder_only() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("pictures");
    let within = |name: &str| folder.join(name);
    fs_err::create_dir_all(within("sub dir")).unwrap();
    fs_err::write(outside.path().join("secret"), "secret").unwrap();
    fs_err::write(within("sub dir/a.png"), "picture").unwrap();
    fs_err::write(within("large"), vec![0; 100_001]).unwrap();
    fs_err::os::unix::fs::symlink("sub dir/a.png", within("good-link")).unwrap();
    fs_err::os::unix::fs::symlink("../secret", within("bad-link")).unwrap();
    fs_err::os::unix::fs::symlink(outside.path(), within("bad-folder")).unwrap();
    fs_err::create_dir(outside.path().join("pictures-too")).unwrap();
    fs_err::write(outside.path().join("pictures-too/b"), "neighbour").unwrap();

    let options = FetchOptions {
        folder: Some(folder.clone().into()),
        ..options()
    };
    for (name, outcome) in [
        ("sub%20dir/a.png", Outcome::Ok),
        ("good-link", Outcome::Ok),
        ("sub%20dir/../good-link", Outcome::Ok),
        ("missing.png", Outcome::NotFound),
        ("sub%20dir/a.png/b", Outcome::NotFound),
        ("large", Outcome::TooLarge),
        ("sub%20dir", Outcome::Forbidden),
        ("../secret", Outcome::OutsideFolder),
        ("%2e%2e/secret", Outcome::OutsideFolder),
        ("..%2fsecret", Outcome::OutsideFolder),
        ("bad-link", Outcome::OutsideFolder),
        ("bad-folder/secret", Outcome::OutsideFolder),
        ("../pictures-too/b", Outcome::OutsideFolder),
        ("a%00b", Outcome::BadUrl),
    ] {
        let fetched = fetch_url(&options, &format!("file://{}/{name}", folder.display())).await;
        assert_eq!(fetched.outcome, outcome, "{name}: {fetched:?}");
    }
    let elsewhere = fetch_url(&options, "file://server/share/a.png").await;
    assert_eq!(elsewhere.outcome, Outcome::BadUrl);
}

#[test]
fn a_folder_that_is_none_is_refused_by_name() {
    let options = FetchOptions {
        folder: Some(PathBuf::from("/no/such/folder").into()),
        ..options()
    };
    let error = Fetcher::new(&options).unwrap_err();
    assert!(error.to_string().contains("`/no/such/folder`"), "{error}");
}

#[tokio::test]
async fn nothing_is_listed_that_is_not_allowed() {
    let server = Server::start().await;
    let options = FetchOptions {
        schemes: vec![Scheme::Data],
        ..options()
    };
    let fetched = fetch_url(&options, &server.url("/ok")).await;
    assert_eq!(fetched.outcome, Outcome::SchemeNotAllowed);
    assert_eq!(server.seen().connections, 0);
}
