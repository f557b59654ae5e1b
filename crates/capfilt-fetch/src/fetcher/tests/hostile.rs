//! Servers that mean no good, in numbers and in TLS.

use std::collections::HashSet;
use std::net::IpAddr;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Everybody lives here, but one name is never answered.
struct Everybody {
    dead: &'static str,
}

impl Lookup for Everybody {
    fn lookup(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>>> {
        if name == self.dead {
            std::future::pending().boxed()
        } else {
            async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) }.boxed()
        }
    }
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = fs_err::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_host_of_ten_thousand_holds_nobody_up() {
    const HOSTS: usize = 10_000;
    let server = Server::start().await;
    let options = FetchOptions {
        timeout: Timeout(Duration::from_secs(20)),
        // Each host is new here: a picture each, and no rules.
        robots_txt: false,
        tdm_reservation: false,
        ..options()
    };
    let lookup = Arc::new(Everybody {
        dead: "host-77.test",
    });
    let fetcher = Fetcher::with_lookup(&options, lookup).unwrap();
    let before = resident();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..HOSTS {
        let fetcher = fetcher.clone();
        let url = format!("http://host-{number}.test:{}/once", server.port());
        tasks.spawn(async move { (number, fetcher.fetch(&url).await) });
    }
    let mut alive = HashSet::new();
    let mut last_alive = start.elapsed();
    while let Some(done) = tasks.join_next().await {
        let (number, fetched) = done.unwrap();
        if number == 77 {
            assert_eq!(fetched.outcome, Outcome::TimedOut, "{fetched:?}");
        } else {
            assert_eq!(fetched.outcome, Outcome::Ok, "{number}: {fetched:?}");
            assert!(alive.insert(number));
            last_alive = start.elapsed();
        }
    }
    assert_eq!(alive.len(), HOSTS - 1);
    // The others were done long before the dead one's connection was given up.
    assert!(last_alive < Duration::from_mins(1), "{last_alive:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 300 << 20, "{} MiB more", grown >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_end_are_bounded_together() {
    let server = Server::start().await;
    let options = FetchOptions {
        concurrency: NonZeroUsize::new(200).unwrap(),
        per_host: NonZeroUsize::new(200).unwrap(),
        max_size: ByteSize(4 << 20),
        memory: ByteSize(16 << 20),
        timeout: Timeout(Duration::from_mins(1)),
        robots_txt: false,
        tdm_reservation: false,
        ..options()
    };
    let fetcher = Fetcher::new(&options).unwrap();
    let before = resident();
    let mut most = 0;
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let fetcher = fetcher.clone();
        let path = ["/endless", "/gzip-bomb"][number % 2];
        let url = server.url(path);
        tasks.spawn(async move { fetcher.fetch(&url).await });
    }
    while let Some(done) = tasks.join_next().await {
        let fetched = done.unwrap();
        assert_eq!(fetched.outcome, Outcome::TooLarge, "{fetched:?}");
        most = most.max(resident().saturating_sub(before));
    }
    // 200 bodies of 4 MiB would be 800: the budget, one body, and the sockets' buffers.
    assert!(most < 250 << 20, "{} MiB more", most >> 20);
}

#[tokio::test]
async fn a_certificate_that_nobody_signed_is_refused_unless_the_host_is_named() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["here.test".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4_096];
            let _read = stream.read(&mut request).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _sent = stream.write_all(answer).await;
            let _closed = stream.shutdown().await;
        }
    });
    let lookup = Arc::new(Everybody { dead: "" });
    let url = format!("https://here.test:{port}/a.jpg");
    let fetcher = Fetcher::with_lookup(&options(), Arc::clone(&lookup) as _).unwrap();
    let fetched = fetcher.fetch(&url).await;
    assert_eq!(
        (fetched.outcome, fetched.attempts),
        (Outcome::Tls, 1),
        "{fetched:?}"
    );

    let named = FetchOptions {
        unverified_hosts: vec!["Here.test".to_owned()],
        robots_txt: false,
        tdm_reservation: false,
        ..options()
    };
    let fetcher = Fetcher::with_lookup(&named, Arc::clone(&lookup) as _).unwrap();
    let fetched = fetcher.fetch(&url).await;
    assert_eq!(fetched.body.as_deref(), Some(&b"ok"[..]), "{fetched:?}");
    let other = fetcher.fetch(&url.replace("here", "there")).await;
    assert_eq!(other.outcome, Outcome::Tls, "{other:?}");
}

#[tokio::test]
async fn every_deadline_has_its_own_reason() {
    let server = Server::start().await;
    let short = Timeout(Duration::from_millis(300));
    let first_byte = FetchOptions {
        first_byte_timeout: short,
        ..options()
    };
    let fetched = fetch_url(&first_byte, &server.url("/silent")).await;
    assert_eq!(fetched.outcome, Outcome::TimedOut);
    assert_eq!(fetched.detail.as_deref(), Some("no answer within 300ms"));
    let fetched = fetch_url(&first_byte, &server.url("/slow-body")).await;
    assert_eq!(
        fetched.detail.as_deref(),
        Some("not finished within 1500ms")
    );
    let idle = FetchOptions {
        idle_timeout: Timeout(Duration::from_millis(20)),
        ..options()
    };
    let fetched = fetch_url(&idle, &server.url("/slow-body")).await;
    assert_eq!(
        fetched.detail.as_deref(),
        Some("no further bytes within 20ms")
    );
}
