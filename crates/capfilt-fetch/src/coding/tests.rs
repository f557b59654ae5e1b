use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::memory::Memory;
use crate::units::ByteSize;

const LIMIT: u64 = 200_000;

/// Nothing here waits for anybody but the yields.
fn undo(body: &[u8], cut: bool, codings: &str, limit: Limit) -> Result<Bytes, Refusal> {
    let value = HeaderValue::from_str(codings).unwrap();
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, value)]);
    let mut reserved = Memory::new(ByteSize(100 << 20)).reserve();
    let body = Bytes::copy_from_slice(body);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(undone(body, cut, &headers, limit, &mut reserved).boxed())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What compresses little.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn pictures_of_every_format_come_through_false_codings() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/images");
    let mut count = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let pictures = ["jpg", "png", "gif", "webp", "bmp", "tif", "tiff"];
        if !pictures.contains(&extension.unwrap_or_default()) {
            continue;
        }
        let picture = fs_err::read(&path).unwrap();
        for codings in ["gzip", "deflate", "br", "zstd", "br, deflate, gzip, zstd"] {
            let undone = undo(&picture, false, codings, Limit::All(LIMIT));
            assert_eq!(undone, Ok(picture.clone().into()), "{path:?} {codings}");
        }
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn texts_come_through_false_codings() {
    for text in [
        "User-agent: *\nDisallow: /\n",
        "# none\n",
        "[{\"location\": \"/\"}]",
        "\n",
        "",
    ] {
        for codings in ["gzip", "deflate", "br", "zstd"] {
            let undone = undo(text.as_bytes(), false, codings, Limit::All(LIMIT));
            assert_eq!(undone, Ok(Bytes::from_static(text.as_bytes())), "{codings}");
        }
    }
}

#[test]
fn a_beginning_is_undone_as_far_as_it_goes() {
    let plain = noise(100_000);
    let wrapped = gzip(&plain);
    let begun = undo(&wrapped[..50_000], true, "gzip", Limit::Beginning(LIMIT)).unwrap();
    assert!(
        begun.len() > 40_000 && plain.starts_with(&begun),
        "{}",
        begun.len()
    );
    let refusal = undo(&wrapped[..50_000], false, "gzip", Limit::Beginning(LIMIT)).unwrap_err();
    assert_eq!(refusal.outcome, Outcome::Broken, "{refusal:?}");
    // Of more than the limit, the beginning; a picture has to come whole.
    let most = Limit::Beginning(90_000);
    let begun = undo(&wrapped, false, "gzip", most).unwrap();
    assert!(
        begun.len() > 20_000 && plain.starts_with(&begun),
        "{}",
        begun.len()
    );
    let refusal = undo(&wrapped, false, "gzip", Limit::All(90_000)).unwrap_err();
    assert_eq!(refusal.outcome, Outcome::TooLarge, "{refusal:?}");
    // What is no gzip is not replaced by nothing.
    let begun = undo(b"Disallow: /", true, "deflate", Limit::Beginning(LIMIT));
    assert_eq!(begun, Ok(Bytes::from_static(b"Disallow: /")));
}

#[test]
fn no_more_than_a_few_codings_are_undone() {
    let mut wrapped = b"plain".to_vec();
    for _ in 0..=MOST {
        wrapped = gzip(&wrapped);
    }
    let codings = vec!["gzip"; 1_000].join(",");
    let undone = undo(&wrapped, false, &codings, Limit::All(LIMIT)).unwrap();
    assert_eq!(&undone[..], gzip(b"plain"));
}

/// A stream that asks for a window of a GiB (large-window Brotli), with one stored byte.
#[test]
fn brotli_gets_no_window_beyond_its_standard() {
    let body = [0x11, 30, 0, 0, 0x08, b'x', 3];
    let undone = undo(&body, false, "br", Limit::All(LIMIT)).unwrap();
    assert_eq!(&undone[..], body);
}

/// A frame that asks for a window of 16 MiB.
#[test]
fn zstd_gets_no_window_beyond_its_standard() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&noise(1_000)).unwrap();
    let wrapped = encoder.finish().unwrap();
    let refusal = undo(&wrapped, false, "zstd", Limit::All(LIMIT)).unwrap_err();
    assert_eq!(refusal.outcome, Outcome::Broken, "{refusal:?}");
}

proptest! {
    /// Whatever comes, nothing panics and nothing grows beyond the limit.
    #[test]
    fn any_bytes_under_any_codings_are_bounded(
        start in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x78\x9c", b"\xff\xd8\xff"]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
        codings in prop::sample::select(vec!["gzip", "deflate", "br", "zstd", "br, gzip", "deflate,br,zstd"]),
        cut: bool,
    ) {
        let body = [start, &rest].concat();
        let limit = if cut { Limit::Beginning(5_000) } else { Limit::All(5_000) };
        if let Ok(undone) = undo(&body, cut, codings, limit) {
            prop_assert!(undone.len() <= 5_000);
        }
    }

    #[test]
    fn what_was_wrapped_comes_back(plain in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(&plain).unwrap();
        let wrapped = [
            ("gzip", gzip(&plain)),
            ("deflate", raw.finish().unwrap()),
            ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
            ("deflate, gzip", gzip(&flate2_zlib(&plain))),
        ];
        for (codings, body) in wrapped {
            let undone = undo(&body, false, codings, Limit::All(LIMIT));
            prop_assert_eq!(undone, Ok(plain.clone().into()), "{}", codings);
        }
    }
}

fn flate2_zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
