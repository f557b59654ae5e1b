//! What the tests of the program need around it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// An HTTP server on loopback that answers what it was told, and 404 to the rest. It has threads
/// of its own, so that a test may wait for the program meanwhile. It stops with the process.
///
/// (`server.rs` beside this is the one that misbehaves.)
pub(crate) struct FixtureServer {
    address: SocketAddr,
    routes: Arc<Mutex<HashMap<String, Response>>>,
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
}

impl FixtureServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Arc::<Mutex<HashMap<String, Response>>>::default();
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
        self.routes
            .lock()
            .unwrap()
            .insert(path.to_owned(), response);
    }
}

fn serve(mut stream: &TcpStream, routes: &Mutex<HashMap<String, Response>>) -> std::io::Result<()> {
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
        let response = routes
            .lock()
            .unwrap()
            .get(path)
            .cloned()
            .unwrap_or_else(|| Response {
                status: 404,
                ..Response::ok("text/html", b"<html>no such page</html>".to_vec())
            });
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
