//! An HTTP server on loopback that behaves as badly as its paths say, over plain sockets: what it
//! must do wrong, an HTTP library would not let it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

mod limit;

use limit::PerSecond;

/// A running server; it stops when dropped.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

/// Files that the server has besides its usual paths: by path, the status and the body.
pub(crate) type Files = HashMap<&'static str, (&'static str, Vec<u8>)>;

/// What the clients did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Connections accepted.
    pub(crate) connections: usize,
    /// Requests per path.
    pub(crate) requests: HashMap<String, usize>,
    /// The head of the last request, as it came.
    pub(crate) last_head: String,
    /// Requests in flight now, and the most there were.
    pub(crate) now: usize,
    pub(crate) most: usize,
    /// Requests of `/limited/..`.
    pub(crate) limited: PerSecond,
}

const BODY: &[u8] = b"these bytes are the picture";

/// A gzip head, and a block that stands for 64 KiB of zeros and may be repeated for ever.
const GZIP_HEAD: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";
const GZIP_ZEROS: &[u8] = &[
    0xec, 0xc1, 0x01, 0x01, 0x00, 0x00, 0x00, 0x80, 0x90, 0xfe, 0xaf, 0xee, 0x08, 0x0a, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6a, 0x00, 0x00,
    0x00, 0xff, 0xff,
];

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with_files(Files::new()).await
    }

    /// A server with some files of its own, each with its status.
    pub(crate) async fn with_files(files: Files) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), files).await
    }

    /// The same at this address.
    pub(crate) async fn at(address: std::net::SocketAddr, files: Files) -> Self {
        let files = Arc::new(files);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = Arc::clone(&seen);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let (shared, files) = (Arc::clone(&shared), Arc::clone(&files));
                clients.spawn(async move {
                    // The client going away in the middle is what these paths are for.
                    let _gone = serve(stream, shared, files).await;
                });
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// What `/ok` answers.
    pub(crate) fn body() -> &'static [u8] {
        BODY
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Seen>>,
    files: Arc<Files>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let (count, takes) = {
            let mut seen = seen.lock().unwrap();
            seen.last_head = head;
            seen.now += 1;
            seen.most = seen.most.max(seen.now);
            let count = seen.requests.entry(path.clone()).or_default();
            *count += 1;
            let count = *count;
            (
                count,
                takes(&path).is_none_or(|most| seen.limited.takes(most)),
            )
        };
        let result = match files.get(path.as_str()) {
            Some((status, body)) => full(&mut stream, status, "", body).await,
            None if !takes => full(&mut stream, "429 Too Many", "", b"").await,
            None => answer(&mut stream, &path, count).await,
        };
        seen.lock().unwrap().now -= 1;
        if !result? {
            return Ok(());
        }
    }
}

/// How many requests of this path are taken in a second, if that is limited.
fn takes(path: &str) -> Option<usize> {
    path.strip_prefix("/limited/")?.parse().ok()
}

/// Answers one request; false where the connection is to be closed.
async fn answer(stream: &mut TcpStream, path: &str, count: usize) -> std::io::Result<bool> {
    match path {
        "/a-while" => pause(100).await,
        "/flaky" if count == 1 => return full(stream, "503 Later", "", b"").await,
        "/asks-a-second" if count == 1 => {
            return full(stream, "429 Too Many", "Retry-After: 1\r\n", b"").await;
        }
        "/asks-an-hour" => return full(stream, "503 Later", "Retry-After: 3600\r\n", b"").await,
        "/reset-once" if count == 1 => return reset(stream),
        _ => {}
    }
    match path {
        "/ok" | "/a-while" | "/flaky" | "/reset-once" | "/asks-a-second" => {
            full(stream, "200 OK", "", BODY).await
        }
        "/once" => full(stream, "200 OK", "Connection: close\r\n", BODY)
            .await
            .map(|_| false),
        "/page" => {
            let head = "Content-Type: text/html; charset=utf-8\r\n";
            full(stream, "200 OK", head, b"<html></html>").await
        }
        "/noai" => full(stream, "200 OK", "X-Robots-Tag: noai\r\n", BODY).await,
        "/reserved" => full(stream, "200 OK", "TDM-Reservation: 1\r\n", BODY).await,
        "/not-reserved" => full(stream, "200 OK", "TDM-Reservation: 0\r\n", BODY).await,
        "/empty" => full(stream, "200 OK", "", b"").await,
        "/html" => {
            full(
                stream,
                "200 OK",
                "Content-Type: image/jpeg\r\n",
                b"<html></html>",
            )
            .await
        }
        "/cookie" => full(stream, "200 OK", "Set-Cookie: a=b\r\n", BODY).await,
        "/redirect" => full(stream, "302 Found", "Location: /ok\r\n", b"").await,
        "/redirect-nowhere" => full(stream, "302 Found", "", b"").await,
        "/loop" => full(stream, "301 Moved Permanently", "Location: /loop\r\n", b"").await,
        "/to-file" => {
            full(
                stream,
                "302 Found",
                "Location: file:///etc/hostname\r\n",
                b"",
            )
            .await
        }
        "/no-content" => raw(stream, b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .map(|()| true),
        "/not-modified" => raw(stream, b"HTTP/1.1 304 Not Modified\r\n\r\n")
            .await
            .map(|()| true),
        _ => {
            if path.starts_with("/limited/") {
                full(stream, "200 OK", "", BODY).await
            } else if let Some(status) = path.strip_prefix("/status/") {
                full(stream, &format!("{status} As Asked"), "", b"a page").await
            } else if let Some(failures) = path.strip_prefix("/fails/") {
                let fails = failures
                    .parse()
                    .is_ok_and(|failures: usize| count <= failures);
                let status = if fails { "500 Failed" } else { "200 OK" };
                full(stream, status, "", BODY).await
            } else if let Some(location) = path.strip_prefix("/to/") {
                let head = format!("Location: {location}\r\n");
                full(stream, "302 Found", &head, b"").await
            } else {
                misbehave(stream, path).await
            }
        }
    }
}

/// What no HTTP library would send.
async fn misbehave(stream: &mut TcpStream, path: &str) -> std::io::Result<bool> {
    match path {
        "/silent" => pause(60_000).await,
        "/slow-head" => {
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" {
                raw(stream, &[*byte]).await?;
                pause(100).await;
            }
        }
        "/slow-body" => {
            raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await?;
            loop {
                raw(stream, b"x").await?;
                pause(50).await;
            }
        }
        "/endless" => {
            raw(
                stream,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await?;
            let chunk = [&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat();
            loop {
                raw(stream, &chunk).await?;
            }
        }
        "/gzip-bomb" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
            raw(stream, head).await?;
            raw(stream, GZIP_HEAD).await?;
            loop {
                raw(stream, GZIP_ZEROS).await?;
            }
        }
        "/endless-head" => {
            raw(stream, b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                raw(stream, b"X-More: and more and more and more\r\n").await?;
            }
        }
        "/declares-much" => {
            raw(
                stream,
                b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            )
            .await?;
            pause(60_000).await;
        }
        "/declares-too-much" => {
            raw(
                stream,
                b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
            )
            .await?;
        }
        "/declares-too-little" => {
            raw(
                stream,
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlonger than five",
            )
            .await?;
        }
        "/declares-twice" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n1234567";
            raw(stream, head).await?;
        }
        "/reset" => return reset(stream),
        "/reset-body" => {
            raw(
                stream,
                b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome",
            )
            .await?;
            pause(50).await;
            return reset(stream);
        }
        "/not-http" => raw(stream, b"220 mail.example.org ESMTP\r\n").await?,
        _ => return full(stream, "404 Not Found", "", b"<html>no such page</html>").await,
    }
    Ok(false)
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn raw(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await
}

async fn full(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<bool> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    Ok(true)
}

/// Closes with RST instead of FIN.
fn reset(stream: &TcpStream) -> std::io::Result<bool> {
    stream.set_zero_linger()?;
    Ok(false)
}
