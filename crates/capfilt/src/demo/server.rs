//! The web in small: an HTTP server on loopback with good pictures and bad ones.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::pictures::Pictures;

/// Longer than the pipeline waits.
const SLOW: Duration = Duration::from_mins(1);

/// A PNG of one white pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\
    \0\0\0\x0cIDATx\x9cc\xf8\xff\xff?\0\x05\xfe\x02\xfe\r\xefF\xb8\0\0\0\0IEND\xaeB`\x82";

/// A PNG that says it has 60,000 times 60,000 pixels: 10 GB, were it believed.
const BOMB: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea`\0\0\xea`\x08\x02\0\0\0\x0f\xb0\xe2\x15\
    \0\0\0\x0cIDATx\x9cc`\xa0=\0\0\0d\0\x01\x86d<5\0\0\0\0IEND\xaeB`\x82";

const PNG: HeaderValue = HeaderValue::from_static("image/png");
const JPEG: HeaderValue = HeaderValue::from_static("image/jpeg");

/// What goes wrong at one URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// The answer is this status and a page about it.
    Status(u16),
    /// A page, called a picture.
    Page,
    /// Half of a picture.
    Truncated,
    /// A few bytes that declare billions of pixels.
    Bomb,
    /// No bytes.
    Empty,
    /// One pixel.
    Pixel,
    /// It takes a minute.
    Slow,
    /// It never ends.
    Endless,
    /// It redirects to itself.
    Loop,
    /// It redirects to where a cloud keeps the machine's secrets.
    Metadata,
    /// The site's robots.txt disallows it.
    Disallowed,
    /// Its answer says that it is not for training.
    NoAi,
    /// The rights to mine it are reserved.
    Reserved,
    /// A good picture, called another format. It does no harm.
    Mislabelled,
    /// A good picture behind a redirect. It does no harm.
    Moved,
}

const DISALLOWED: &str = "/trouble/disallowed.png";

/// Every trouble there is, with its path and its text.
pub(crate) const TROUBLES: [(&str, &str, Trouble); 18] = [
    (
        "/trouble/missing.png",
        "A picture that is missing",
        Trouble::Status(404),
    ),
    (
        "/trouble/gone.png",
        "A picture that was taken away",
        Trouble::Status(410),
    ),
    (
        "/trouble/private.png",
        "A private picture",
        Trouble::Status(403),
    ),
    (
        "/trouble/overloaded.png",
        "A picture on a server that fails",
        Trouble::Status(503),
    ),
    (
        "/trouble/page.jpg",
        "A page that is called a picture",
        Trouble::Page,
    ),
    (
        "/trouble/truncated.png",
        "Half of a picture",
        Trouble::Truncated,
    ),
    (
        "/trouble/bomb.png",
        "A small file of many pixels",
        Trouble::Bomb,
    ),
    (
        "/trouble/empty.png",
        "A picture of no bytes",
        Trouble::Empty,
    ),
    ("/trouble/pixel.png", "A tracking pixel", Trouble::Pixel),
    ("/trouble/slow.png", "A slow picture", Trouble::Slow),
    (
        "/trouble/endless.png",
        "A picture that never ends",
        Trouble::Endless,
    ),
    (
        "/trouble/loop.png",
        "A picture that is always elsewhere",
        Trouble::Loop,
    ),
    (
        "/trouble/metadata.png",
        "A picture that is a trap",
        Trouble::Metadata,
    ),
    (
        DISALLOWED,
        "A picture that robots.txt disallows",
        Trouble::Disallowed,
    ),
    (
        "/trouble/noai.png",
        "A picture that is not for training",
        Trouble::NoAi,
    ),
    (
        "/trouble/reserved.png",
        "A picture whose rights are reserved",
        Trouble::Reserved,
    ),
    (
        "/trouble/mislabelled.gif",
        "A PNG that is called a GIF",
        Trouble::Mislabelled,
    ),
    (
        "/trouble/moved.png",
        "A picture that has moved",
        Trouble::Moved,
    ),
];

/// A running server; it stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    _running: JoinSet<io::Result<()>>,
}

/// What is served.
struct Site {
    pictures: HashMap<String, Bytes>,
    troubles: HashMap<&'static str, Trouble>,
    /// Path and bytes of a good picture.
    example: (String, Bytes),
}

impl Server {
    /// Serves `pictures` at `port` if there is one and it is free, else at any free one.
    pub(crate) async fn start(pictures: &Pictures, port: Option<u16>) -> io::Result<Self> {
        let bind = async |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = match bind(port.unwrap_or(0)).await {
            Err(_) if port.is_some() => bind(0).await?,
            listener => listener?,
        };
        let address = listener.local_addr()?;
        let example = pictures.example();
        let site = Arc::new(Site {
            pictures: pictures
                .iter()
                .map(|one| (one.path.clone(), one.png.clone()))
                .collect(),
            troubles: TROUBLES
                .into_iter()
                .map(|(path, _, trouble)| (path, trouble))
                .collect(),
            example: example
                .map(|one| (one.path.clone(), one.png.clone()))
                .unwrap_or_default(),
        });
        let router = Router::new().fallback(answer).with_state(site);
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            _running: running,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn answer(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    match (site.pictures.get(uri.path()), site.troubles.get(uri.path())) {
        (Some(png), _) => picture(PNG, png.clone()),
        (None, Some(trouble)) => trouble.answer(&site, uri.path()).await,
        (None, None) if uri.path() == "/robots.txt" => {
            format!("user-agent: *\ndisallow: {DISALLOWED}\n").into_response()
        }
        (None, None) => Trouble::Status(404).answer(&site, uri.path()).await,
    }
}

fn picture(content_type: HeaderValue, bytes: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], bytes.into()).into_response()
}

impl Trouble {
    /// Whether the picture can be had all the same.
    pub(crate) const fn is_harmless(self) -> bool {
        matches!(self, Self::Mislabelled | Self::Moved)
    }

    async fn answer(self, site: &Site, path: &str) -> Response {
        let (example, bytes) = &site.example;
        match self {
            Self::Status(status) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND);
                (status, format!("<html>{status}</html>")).into_response()
            }
            Self::Page => picture(JPEG, "<html><title>Sign in to see this</title></html>"),
            Self::Truncated => picture(PNG, bytes.slice(..bytes.len() / 2)),
            Self::Bomb => picture(PNG, BOMB),
            Self::Empty => picture(PNG, ""),
            Self::Pixel => picture(PNG, PIXEL),
            Self::Slow => {
                tokio::time::sleep(SLOW).await;
                picture(PNG, bytes.clone())
            }
            Self::Endless => {
                let chunk = Bytes::from_static(&[0; 16 << 10]);
                let chunks = stream::repeat_with(move || Ok::<_, io::Error>(chunk.clone()));
                picture(PNG, Body::from_stream(chunks))
            }
            Self::Loop => redirect(path),
            Self::Metadata => redirect("http://169.254.169.254/latest/meta-data/"),
            Self::Disallowed => picture(PNG, bytes.clone()),
            Self::NoAi => ([("x-robots-tag", "noai")], picture(PNG, bytes.clone())).into_response(),
            Self::Reserved => {
                ([("tdm-reservation", "1")], picture(PNG, bytes.clone())).into_response()
            }
            Self::Mislabelled => picture(HeaderValue::from_static("image/gif"), bytes.clone()),
            Self::Moved => redirect(example),
        }
    }
}

fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to.to_owned())]).into_response()
}

#[cfg(test)]
mod tests;
