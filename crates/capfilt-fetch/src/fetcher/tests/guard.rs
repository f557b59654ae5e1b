//! No request reaches an address that it may not reach. Should the guard be broken, these tests
//! still contact nothing: what it lets through is counted behind it, and refused.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower_layer::Layer;
use tower_service::Service;

use super::*;

type BoxError = Box<dyn Error + Send + Sync>;

/// Host names of a test: what they resolve to the first time, the second time, and so on.
#[derive(Default)]
pub(super) struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
}

impl Names {
    pub(super) fn new(names: &[(&str, &[&str])]) -> Self {
        let answers = names.iter().map(|(name, answers)| {
            let answers = answers.iter().map(|answer| {
                let addresses = answer.split_whitespace();
                addresses.map(|address| address.parse().unwrap()).collect()
            });
            ((*name).to_owned(), answers.collect())
        });
        Self {
            answers: Mutex::new(answers.collect()),
        }
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, BoxError>> {
        let mut answers = self.answers.lock().unwrap();
        let found = match answers.get_mut(name) {
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
            None => Err("no such name".into()),
        };
        async move { found }.boxed()
    }
}

/// Stands behind the guard: counts connections, lets as many through as it may, and notes every
/// address beside loopback that the guard let through.
#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Seen>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    addresses: Vec<IpAddr>,
}

#[derive(Clone)]
struct Recorded<S> {
    recorder: Recorder,
    inner: S,
}

impl<S> Layer<S> for Recorder {
    type Service = Recorded<S>;

    fn layer(&self, inner: S) -> Recorded<S> {
        Recorded {
            recorder: self.clone(),
            inner,
        }
    }
}

impl<S, R> Service<R> for Recorded<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let mut seen = self.recorder.seen.lock().unwrap();
        seen.connections += 1;
        if seen.connections > self.recorder.most {
            return async { Err("refused by the test".into()) }.boxed();
        }
        drop(seen);
        Box::pin(self.inner.call(request))
    }
}

struct RecordedNames {
    recorder: Recorder,
    guard: Arc<dyn Resolve>,
}

impl Resolve for RecordedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (recorder, found) = (self.recorder.clone(), self.guard.resolve(name));
        async move {
            let (loopback, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.await?.partition(|address| address.ip().is_loopback());
            let others = others.iter().map(SocketAddr::ip);
            recorder.seen.lock().unwrap().addresses.extend(others);
            Ok(Box::new(loopback.into_iter()) as Addrs)
        }
        .boxed()
    }
}

/// Fetches `urls` one after the other, with at most `most` connections.
async fn fetch_recorded(
    options: &FetchOptions,
    names: Names,
    most: usize,
    urls: &[String],
) -> (Vec<Fetched>, Seen) {
    let recorder = Recorder {
        most,
        ..Recorder::default()
    };
    let fetcher = Fetcher::connected(options, Arc::new(names), &|builder, guard| {
        let recorder = recorder.clone();
        let names = RecordedNames {
            recorder: recorder.clone(),
            guard,
        };
        builder.dns_resolver(names).connector_layer(recorder)
    })
    .unwrap();
    let mut fetched = Vec::new();
    for url in urls {
        fetched.push(fetcher.fetch(url).await);
    }
    (fetched, std::mem::take(&mut *recorder.seen.lock().unwrap()))
}

/// Only the picture itself is asked for.
fn bare() -> FetchOptions {
    FetchOptions {
        robots_txt: false,
        tdm_reservation: false,
        retries: 0,
        ..options()
    }
}

#[tokio::test]
async fn the_recorder_sees_what_is_let_through() {
    let urls = [
        "http://93.184.216.34/".to_owned(),
        "http://public.test/".to_owned(),
    ];
    let names = Names::new(&[("public.test", &["93.184.216.34"])]);
    let (fetched, seen) = fetch_recorded(&bare(), names, 0, &urls).await;
    assert!(
        fetched.iter().all(|one| one.outcome == Outcome::Connect),
        "{fetched:?}"
    );
    assert_eq!(seen.connections, 2);
    let names = Names::new(&[("public.test", &["93.184.216.34 127.0.0.1"])]);
    let (_, seen) = fetch_recorded(&bare(), names, 1, &urls[1..]).await;
    assert_eq!(seen.addresses, ["93.184.216.34".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn literals_make_no_connection() {
    let urls: Vec<String> = [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "https://[fd00:ec2::254]/",
        "http://[::ffff:192.168.0.1]/",
        "http://168.63.129.16/",
        "http://0/",
    ]
    .map(str::to_owned)
    .to_vec();
    for options in [bare(), options()] {
        let (fetched, seen) = fetch_recorded(&options, Names::default(), 0, &urls).await;
        for (fetched, url) in fetched.iter().zip(&urls) {
            assert_eq!(fetched.outcome, Outcome::ForbiddenAddress, "{url}");
            assert_eq!(fetched.attempts, 0, "{url}");
        }
        assert_eq!(seen.connections, 0);
    }
}

#[tokio::test]
async fn loopback_is_forbidden_unless_it_is_allowed() {
    let server = Server::start().await;
    let options = FetchOptions {
        allow_networks: Vec::new(),
        ..bare()
    };
    let url = server.url("/ok");
    let named = url.replace("127.0.0.1", "here.test");
    let names = Names::new(&[("here.test", &["127.0.0.1"])]);
    let (fetched, _) = fetch_recorded(&options, names, 9, &[url, named]).await;
    for one in fetched {
        assert_eq!(one.outcome, Outcome::ForbiddenAddress, "{one:?}");
    }
    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn redirects_pass_the_same_rules() {
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "//192.168.0.1/x",
        "http://0x0a000001/",
        "https://[::ffff:10.0.0.1]/",
        "http://me@172.16.0.1/",
        "http://inside.test/",
    ] {
        let server = Server::start().await;
        let names = Names::new(&[("inside.test", &["10.0.0.1"])]);
        let url = server.url(&format!("/to/{target}"));
        // The first hop may connect; for a name, the resolver behind the guard is what counts.
        let most = if target.contains("inside") { 2 } else { 1 };
        let (fetched, seen) = fetch_recorded(&bare(), names, most, &[url]).await;
        assert_eq!(
            fetched[0].outcome,
            Outcome::ForbiddenAddress,
            "{target}: {fetched:?}"
        );
        assert_eq!(
            (seen.connections, seen.addresses.len()),
            (most, 0),
            "{target}"
        );
        assert_eq!(server.seen().connections, 1, "{target}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gets_nowhere() {
    let server = Server::start().await;
    let names = Names::new(&[("rebind.test", &["127.0.0.1", "10.0.0.1", "169.254.169.254"])]);
    let url = format!("http://rebind.test:{}/once", server.port());
    let urls = [url.clone(), url.clone(), url];
    let (fetched, seen) = fetch_recorded(&bare(), names, 3, &urls).await;
    let outcomes: Vec<Outcome> = fetched.iter().map(|one| one.outcome).collect();
    let forbidden = Outcome::ForbiddenAddress;
    assert_eq!(outcomes, [Outcome::Ok, forbidden, forbidden], "{fetched:?}");
    assert!(seen.addresses.is_empty(), "{seen:?}");
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn the_files_of_an_origin_are_no_way_around_either() {
    let server = Server::with_files(Files::from([
        (
            "/robots.txt",
            (
                "302 Found\r\nLocation: http://10.0.0.1/robots.txt",
                Vec::new(),
            ),
        ),
        (
            "/.well-known/tdmrep.json",
            (
                "302 Found\r\nLocation: http://10.0.0.1/tdmrep.json",
                Vec::new(),
            ),
        ),
    ]))
    .await;
    let options = FetchOptions {
        per_host: NonZeroUsize::new(1).unwrap(),
        ..options()
    };
    let (fetched, seen) = fetch_recorded(&options, Names::default(), 1, &[server.url("/ok")]).await;
    // Nothing is known of what the file would allow, so nothing is.
    assert_eq!(fetched[0].outcome, Outcome::ForbiddenAddress, "{fetched:?}");
    assert_eq!(seen.connections, 1);
    assert!(!server.seen().requests.contains_key("/ok"));
}

#[tokio::test]
async fn no_proxy_of_the_environment_is_used_and_a_named_one_is() {
    let proxy = Server::with_files(Files::from([(
        "http://pictures.test/a.jpg",
        ("200 OK", b"through the proxy".to_vec()),
    )]))
    .await;
    let options = FetchOptions {
        proxy: Some(proxy.url("")),
        ..bare()
    };
    let fetched = fetch_url(&options, "http://pictures.test/a.jpg").await;
    assert_eq!(
        fetched.body.as_deref(),
        Some(&b"through the proxy"[..]),
        "{fetched:?}"
    );
    let literal = fetch_url(&options, "http://10.0.0.1/a.jpg").await;
    assert_eq!(literal.outcome, Outcome::ForbiddenAddress);
    let bad = FetchOptions {
        proxy: Some("socks5://x".to_owned()),
        ..bare()
    };
    assert!(Fetcher::new(&bad).is_err());
}
