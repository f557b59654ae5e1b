//! Answers that are odd, and real: what curl takes, we take, unless the row says otherwise.
//!
//! Each row is written by hand and sent as it stands. `CAPFILT_CURL=curl` has curl asked as well,
//! plainly and with `--compressed`, and holds it against the column `curl`.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

mod bodies;
mod codings;
mod content_types;
mod heads;
mod locations;

/// A real picture.
const PICTURE: &[u8] = include_bytes!("../../../../../tests/golden/images/rgb-444.jpg");

/// One answer and what becomes of it.
struct Odd {
    name: &'static str,
    answer: Vec<u8>,
    /// The connection is kept open after the answer.
    held: bool,
    /// Whether curl 7.88 takes the picture.
    curl: bool,
    ours: Ours,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ours {
    Takes,
    Refuses(Outcome),
}

/// Both take the picture.
fn taken(name: &'static str, answer: Vec<u8>) -> Odd {
    Odd {
        name,
        answer,
        held: false,
        curl: true,
        ours: Ours::Takes,
    }
}

/// Neither takes it.
fn refused(name: &'static str, outcome: Outcome, answer: Vec<u8>) -> Odd {
    Odd {
        curl: false,
        ours: Ours::Refuses(outcome),
        ..taken(name, answer)
    }
}

/// Only we take it.
fn only_ours(name: &'static str, answer: Vec<u8>) -> Odd {
    Odd {
        curl: false,
        ..taken(name, answer)
    }
}

/// Only curl takes it; ARCHITECTURE.md says why.
fn only_curl(name: &'static str, outcome: Outcome, answer: Vec<u8>) -> Odd {
    Odd {
        curl: true,
        ..refused(name, outcome, answer)
    }
}

/// The connection stays open after the answer.
fn held(odd: Odd) -> Odd {
    Odd { held: true, ..odd }
}

/// The lines of a head, then the picture with its length.
fn with(lines: &[u8]) -> Vec<u8> {
    with_body(lines, PICTURE)
}

fn with_body(lines: &[u8], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    [lines, length.as_bytes(), body].concat()
}

/// The lines of a head as they are, then the picture.
fn as_is(lines: &[u8]) -> Vec<u8> {
    [lines, PICTURE].concat()
}

/// A usual first line, these lines, then the picture with its length.
fn ok(lines: &[u8]) -> Vec<u8> {
    with(&[b"HTTP/1.1 200 OK\r\n", lines].concat())
}

/// Answers `/0`, `/1`, .. and gives the picture for every other target, which it notes.
struct OddServer {
    address: std::net::SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl OddServer {
    async fn start(answers: Vec<(Vec<u8>, bool)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let (noted, answers) = (Arc::clone(&targets), Arc::new(answers));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (noted, answers) = (Arc::clone(&noted), Arc::clone(&answers));
                clients.spawn(async move {
                    while let Some(target) = asked(&mut stream).await {
                        let number = target[1..].parse::<usize>().ok();
                        let odd = number.and_then(|number| answers.get(number));
                        let usual = (ok(b"Connection: close\r\n"), false);
                        let (answer, held) = odd.unwrap_or(&usual);
                        if odd.is_none() {
                            noted.lock().unwrap().push(target);
                        }
                        let _sent = stream.write_all(answer).await;
                        if !held {
                            let _closed = stream.shutdown().await;
                        }
                    }
                });
            }
        });
        Self {
            address,
            targets,
            _tasks: tasks,
        }
    }

    fn url(&self, number: usize) -> String {
        format!("http://{}/{number}", self.address)
    }

    /// The targets that were asked for beside the answers, since the last time.
    fn targets(&self) -> Vec<String> {
        std::mem::take(&mut *self.targets.lock().unwrap())
    }
}

/// The target of the next request; nothing where the client is gone.
async fn asked(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head);
    Some(head.split(' ').nth(1).unwrap_or("/").to_owned())
}

/// Only the picture itself is asked for, once.
fn bare() -> FetchOptions {
    FetchOptions {
        robots_txt: false,
        tdm_reservation: false,
        retries: 0,
        ..options()
    }
}

/// Whether curl gets the picture, without and with `--compressed`; nothing where it is not asked.
async fn curl(url: String) -> Option<bool> {
    let curl = std::env::var_os("CAPFILT_CURL")?;
    let asked = tokio::task::spawn_blocking(move || {
        [&["-q"][..], &["-q", "--compressed"]].iter().any(|how| {
            let mut command = Command::new(&curl);
            command.args(*how).args(["-sfL", "--max-time", "2", &url]);
            let output = command.output().unwrap();
            output.status.success() && output.stdout == PICTURE
        })
    });
    Some(asked.await.unwrap())
}

/// Fetches every row and tells all that differ from what they say.
async fn check(rows: Vec<Odd>) {
    let answers = rows.iter().map(|odd| (odd.answer.clone(), odd.held));
    let server = OddServer::start(answers.collect()).await;
    let fetcher = Fetcher::new(&bare()).unwrap();
    let mut wrong = String::new();
    for (number, odd) in rows.iter().enumerate() {
        let fetched = fetcher.fetch(&server.url(number)).await;
        let ours = match fetched.outcome {
            Outcome::Ok if fetched.body.as_deref() == Some(PICTURE) => Ours::Takes,
            outcome => Ours::Refuses(outcome),
        };
        let curl = curl(server.url(number)).await.unwrap_or(odd.curl);
        if std::env::var_os("CAPFILT_ODD_TABLE").is_some() {
            eprintln!("TABLE|{}|{curl}|{ours:?}|{:?}", odd.name, fetched.detail);
        }
        if (ours, curl) != (odd.ours, odd.curl) {
            let expected = (odd.ours, odd.curl);
            writeln!(
                wrong,
                "{}: got {:?}, expected {expected:?}: {fetched:?}",
                odd.name,
                (ours, curl)
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "(ours, curl)\n{wrong}");
}
