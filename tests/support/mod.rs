//! What the tests of the program need around it.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

mod limit;

use limit::PerSecond;

/// An HTTP server on loopback that answers what it was told, and 404 to the rest. It has threads
/// of its own, so that a test may wait for the program meanwhile. It stops with the process.
///
/// (`server.rs` beside this is the one that misbehaves.)
pub(crate) struct FixtureServer {
    address: SocketAddr,
    routes: Arc<Mutex<Routes>>,
}

#[derive(Default)]
struct Routes {
    /// What is answered to a path: each once, in order, and the last for ever.
    answers: HashMap<String, VecDeque<Response>>,
    /// Requests of each path so far.
    requests: HashMap<String, usize>,
    /// Requests that are taken in a second, if that is limited, and what came.
    limit: Option<usize>,
    limited: PerSecond,
}

impl Routes {
    fn answer(&mut self, path: &str) -> Response {
        *self.requests.entry(path.to_owned()).or_default() += 1;
        if let Some(most) = self.limit
            && self.answers.contains_key(path)
            && !self.limited.takes(most)
        {
            return Response::status(429);
        }
        let answer = self.answers.get_mut(path).and_then(|answers| {
            if answers.len() > 1 {
                answers.pop_front()
            } else {
                answers.front().cloned()
            }
        });
        answer.unwrap_or_else(|| Response::status(404))
    }
}

/// What one path answers.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    /// How long the server thinks first.
    pub(crate) delay: Duration,
}

impl Response {
    pub(crate) fn ok(content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type: content_type.to_owned(),
            body,
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::ok("text/html", b"<html>no such page</html>".to_vec())
        }
    }

    /// The same, `delay` later.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

impl FixtureServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Arc::<Mutex<Routes>>::default();
        let shared = Arc::clone(&routes);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let routes = Arc::clone(&shared);
                // A client that goes away ends its thread and nothing else.
                thread::spawn(move || drop(serve(&stream, &routes)));
            }
        });
        Self { address, routes }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn put(&self, path: &str, response: Response) {
        self.put_each(path, [response]);
    }

    /// Answers each request of `path` in turn, and all further ones as the last.
    pub(crate) fn put_each(&self, path: &str, responses: impl IntoIterator<Item = Response>) {
        let answers = responses.into_iter().collect();
        let mut routes = self.routes.lock().unwrap();
        routes.answers.insert(path.to_owned(), answers);
    }

    /// Takes only so many requests in a second from now on: the others get 429, and not a word of when
    /// to come again.
    pub(crate) fn limit(&self, most: usize) {
        self.routes.lock().unwrap().limit = Some(most);
    }

    /// Requests beyond the limit.
    pub(crate) fn refused(&self) -> usize {
        self.routes.lock().unwrap().limited.refused
    }

    /// How often `path` was asked for.
    pub(crate) fn requests(&self, path: &str) -> usize {
        let routes = self.routes.lock().unwrap();
        routes.requests.get(path).copied().unwrap_or(0)
    }
}

fn serve(mut stream: &TcpStream, routes: &Mutex<Routes>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 0 && header != "\r\n" {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or("/");
        let response = routes.lock().unwrap().answer(path);
        thread::sleep(response.delay);
        let head = format!(
            "HTTP/1.1 {} As Asked\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            response.status,
            response.content_type,
            response.body.len()
        );
        stream.write_all(&[head.as_bytes(), &response.body].concat())?;
    }
}
