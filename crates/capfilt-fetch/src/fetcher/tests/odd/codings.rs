//! `Content-Encoding`, true and false.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Brotli without compression (RFC 7932): a window of 64 KiB, one stored meta-block, an empty last.
fn brotli(bytes: &[u8]) -> Vec<u8> {
    let head = u32::try_from(bytes.len() - 1).unwrap() << 4 | 1 << 20;
    [&head.to_le_bytes()[..3], bytes, &[3]].concat()
}

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    let lines = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n");
    with_body(lines.as_bytes(), body)
}

fn cut(body: &[u8]) -> &[u8] {
    &body[..body.len() - 9]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn true_codings() {
    let twice = gzip(&gzip(PICTURE));
    let in_brotli = brotli(&gzip(PICTURE));
    let (gzip, zlib, raw, zstd, brotli) = (
        gzip(PICTURE),
        zlib(PICTURE),
        raw_deflate(PICTURE),
        zstd(PICTURE),
        brotli(PICTURE),
    );
    let mut spoilt = gzip.clone();
    spoilt[40..60].fill(0xff);
    let mut wrong_sum = gzip.clone();
    let at = gzip.len() - 6;
    wrong_sum[at] ^= 1;
    check(vec![
        taken("gzip", coded("gzip", &gzip)),
        taken("x-gzip", coded("x-gzip", &gzip)),
        taken("GZip", coded("GZip", &gzip)),
        taken("gzip until the end of the connection", {
            [
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
                &gzip[..],
            ]
            .concat()
        }),
        taken("deflate with zlib's frame", coded("deflate", &zlib)),
        taken("deflate without", coded("deflate", &raw)),
        taken("br", coded("br", &brotli)),
        taken("zstd", coded("zstd", &zstd)),
        taken("gzip twice", coded("gzip, gzip", &twice)),
        taken("gzip in br, two lines", {
            coded("gzip\r\nContent-Encoding: br", &in_brotli)
        }),
        taken("identity and gzip", coded("identity, gzip", &gzip)),
        only_curl(
            "gzip, cut at the end",
            Outcome::Broken,
            coded("gzip", cut(&gzip)),
        ),
        refused("gzip, spoilt", Outcome::Broken, coded("gzip", &spoilt)),
        refused(
            "gzip with another sum",
            Outcome::Broken,
            coded("gzip", &wrong_sum),
        ),
        refused("zlib, cut", Outcome::Broken, coded("deflate", cut(&zlib))),
        refused("zstd, cut", Outcome::Broken, coded("zstd", cut(&zstd))),
        refused("gzip, closed before the length", Outcome::Broken, {
            let answer = coded("gzip", &gzip);
            answer[..answer.len() - 3].to_vec()
        }),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_codings() {
    let said = |coding: &str| coded(coding, PICTURE);
    let gzip = gzip(PICTURE);
    check(vec![
        taken("said gzip", said("gzip")),
        taken("said x-gzip", said("x-gzip")),
        taken("said deflate", said("deflate")),
        taken("said br", said("br")),
        taken("said zstd", said("zstd")),
        taken("said compress", said("compress")),
        taken("said utf-8", said("utf-8")),
        taken("said UTF-8, gzip", said("UTF-8, gzip")),
        taken("said identity", said("identity")),
        taken("said none", said("none")),
        taken("said jpeg", said("jpeg")),
        taken("said aws-chunked", said("aws-chunked")),
        taken("said nothing", said("")),
        taken("said Latin-1", coded("gz\u{e9}p", PICTURE)),
        taken(
            "said ten",
            said("br, gzip, br, gzip, br, gzip, br, gzip, br, gzip"),
        ),
        only_ours("said gzip twice, once true", coded("gzip, gzip", &gzip)),
        only_ours("said utf-8 and gzip, one true", coded("utf-8, gzip", &gzip)),
        only_ours("said gzip in two lines, once true", {
            coded("gzip\r\nContent-Encoding: gzip", &gzip)
        }),
        only_ours("said br, was gzip", coded("br, gzip", &gzip)),
    ])
    .await;
}

/// Whatever the coding, no more is made of a body than a picture may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs() {
    let zeros = vec![0; 64 << 20];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("deflate", raw_deflate(&zeros)),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ];
    let answers = bombs
        .iter()
        .map(|(coding, body)| (coded(coding, body), false));
    let server = OddServer::start(answers.collect()).await;
    let large = FetchOptions {
        max_size: ByteSize(1 << 20),
        ..bare()
    };
    let fetcher = Fetcher::new(&large).unwrap();
    for (number, (coding, _)) in bombs.iter().enumerate() {
        let fetched = fetcher.fetch(&server.url(number)).await;
        assert_eq!(fetched.outcome, Outcome::TooLarge, "{coding}: {fetched:?}");
    }
}
