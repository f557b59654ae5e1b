//! `Content-Encoding`: what a body is wrapped in, where what a server says of it is true.
//!
//! Servers say `gzip` of plain JPEG, name character sets, or wrap once and say so twice. So a coding
//! is undone where the bytes are of it, and what is not of it is taken as it came.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

use crate::http::{Limit, too_large};
use crate::memory::Reserved;
use crate::outcome::Outcome;
use crate::policy::Refusal;

/// What is asked for: of all that is undone, what every server has. Pictures gain nothing by it.
pub(crate) const ASKED: HeaderValue = HeaderValue::from_static("gzip");

/// Codings of one body that are undone, as curl does at most. A gzip file can hold itself.
const MOST: usize = 5;
/// Unwrapped bytes between two looks at the limits.
const PIECE: usize = 64 << 10;
/// The most memory that a decoder has beside its output: Brotli's largest window. Zstandard's is
/// kept to 8 MiB (RFC 9659); those of gzip and deflate have 32 KiB.
const WINDOW: u64 = 16 << 20;
const ZSTD_WINDOW_LOG: u32 = 23;

/// A coding that can be undone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Undoes the codings that the head of an answer says of `body`. `cut` says that `body` is only a
/// beginning, which may then end anywhere.
pub(crate) async fn undone(
    mut body: Bytes,
    cut: bool,
    headers: &HeaderMap,
    limit: Limit,
    reserved: &mut Reserved,
) -> Result<Bytes, Refusal> {
    for coding in said(headers).into_iter().rev().take(MOST) {
        let Some(decoder) = coding.decoder(&body) else {
            continue;
        };
        let beside = body.len() as u64 + coding.window();
        let (plain, ended) = read(decoder, limit, beside, reserved).await?;
        match ended {
            Ok(()) => body = plain,
            // It was not of the coding after all.
            Err(_) if !coding.is_certain(&body) => {}
            Err(_) if cut => body = plain,
            Err(error) => {
                let detail = format!("the body is damaged {}: {error}", coding.as_str());
                return Err(Refusal::new(Outcome::Broken, detail));
            }
        }
    }
    Ok(body)
}

/// The codings that a head names, in the order in which they were applied. What is none that can be
/// undone, like `identity` or `utf-8`, is left out.
fn said(headers: &HeaderMap) -> Vec<Coding> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names
        .filter_map(
            |name| match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"gzip" | b"x-gzip" => Some(Coding::Gzip),
                b"deflate" => Some(Coding::Deflate),
                b"br" => Some(Coding::Brotli),
                b"zstd" => Some(Coding::Zstd),
                _ => None,
            },
        )
        .collect()
}

impl Coding {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// What undoes the coding, if `body` may be of it.
    fn decoder(self, body: &[u8]) -> Option<Box<dyn Read + Send + '_>> {
        match self {
            Self::Gzip | Self::Zstd if !self.is_certain(body) => None,
            Self::Gzip => Some(Box::new(GzDecoder::new(body))),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(body).ok()?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).ok()?;
                Some(Box::new(decoder))
            }
            Self::Deflate if self.is_certain(body) => Some(Box::new(ZlibDecoder::new(body))),
            // Neither has a mark of its own, and Brotli reads an empty text in the first byte of a JPEG.
            Self::Deflate | Self::Brotli if is_picture(body) => None,
            Self::Deflate => Some(Box::new(DeflateDecoder::new(body))),
            // What begins so has a window of up to a GiB, which is none of RFC 7932.
            Self::Brotli if body.first().is_some_and(|first| first & 0x7f == 0x11) => None,
            Self::Brotli => Some(Box::new(brotli_decompressor::Decompressor::new(
                body, PIECE,
            ))),
        }
    }

    /// Whether `body` begins as only bodies of this coding do.
    fn is_certain(self, body: &[u8]) -> bool {
        match self {
            Self::Gzip => body.starts_with(b"\x1f\x8b\x08"),
            Self::Zstd => body.starts_with(b"\x28\xb5\x2f\xfd"),
            // The head of zlib's frame (RFC 1950, 2.2), which no picture begins like.
            Self::Deflate => body.get(..2).is_some_and(|head| {
                head[0] & 0x8f == 8 && u16::from_be_bytes([head[0], head[1]]).is_multiple_of(31)
            }),
            Self::Brotli => false,
        }
    }

    const fn window(self) -> u64 {
        match self {
            Self::Gzip | Self::Deflate => 0,
            Self::Brotli | Self::Zstd => WINDOW,
        }
    }
}

/// Whether bytes begin like a picture of a common format.
fn is_picture(bytes: &[u8]) -> bool {
    let starts: [&[u8]; 6] = [
        b"\xff\xd8\xff",
        b"\x89PNG",
        b"GIF8",
        b"BM",
        b"II*\0",
        b"MM\0*",
    ];
    let inner: [&[u8]; 2] = [b"WEBP", b"ftyp"];
    starts.iter().any(|start| bytes.starts_with(start))
        || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(inner[0]))
        || bytes.get(4..8) == Some(inner[1])
}

/// Reads what a decoder gives, no further than the limit, and how it ended. `beside` bytes are in
/// memory besides.
async fn read(
    mut decoder: Box<dyn Read + Send + '_>,
    limit: Limit,
    beside: u64,
    reserved: &mut Reserved,
) -> Result<(Bytes, std::io::Result<()>), Refusal> {
    let (Limit::All(most) | Limit::Beginning(most)) = limit;
    let mut plain = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let count = match decoder.read(&mut piece) {
            Ok(0) => return Ok((plain.into(), Ok(()))),
            Ok(count) => count,
            Err(error) => return Ok((plain.into(), Err(error))),
        };
        let size = plain.len() + count;
        if size as u64 > most {
            return match limit {
                Limit::All(most) => Err(too_large(
                    most,
                    &format!("at least {size} bytes after decompression"),
                )),
                Limit::Beginning(_) => Ok((plain.into(), Ok(()))),
            };
        }
        if size > plain.capacity() {
            let capacity = size.max(2 * plain.capacity());
            reserved.grow(beside + capacity as u64).await;
            plain.reserve_exact(capacity - plain.len());
        }
        plain.extend_from_slice(&piece[..count]);
        // Others have their turn: a large body takes long.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests;
