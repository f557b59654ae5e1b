//! Where a body ends, and statuses without one.

use super::*;

/// The picture in chunks, with what follows each size and the whole.
fn chunked(lines: &[u8], extension: &[u8], trailers: &[u8]) -> Vec<u8> {
    let (one, two) = PICTURE.split_at(100);
    let chunk = |bytes: &[u8]| {
        let size = format!("{:X}", bytes.len());
        [size.as_bytes(), extension, b"\r\n", bytes, b"\r\n"].concat()
    };
    let last = [b"0", extension, b"\r\n", trailers, b"\r\n"].concat();
    [lines, b"\r\n", &chunk(one), &chunk(two), &last].concat()
}

fn status(line: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\n{headers}\r\n").into_bytes()
}

/// The picture behind a `Content-Length` of these words.
fn length(words: &str) -> Vec<u8> {
    as_is(format!("HTTP/1.1 200 OK\r\nContent-Length: {words}\r\n\r\n").as_bytes())
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths() {
    let size = PICTURE.len();
    let (twice, less) = (
        format!("{size}\r\nContent-Length: {size}"),
        format!("{size}\r\nContent-Length: 5"),
    );
    check(vec![
        taken(
            "until the end of the connection",
            as_is(b"HTTP/1.1 200 OK\r\n\r\n"),
        ),
        taken("spaces around", length(&format!("   {size}  "))),
        taken("zeros before", length(&format!("000{size}"))),
        taken("twice the same", length(&twice)),
        taken("a list of the same", length(&format!("{size}, {size}"))),
        taken("less than is sent", [ok(b""), b"more".to_vec()].concat()),
        only_curl("a plus", Outcome::Broken, length(&format!("+{size}"))),
        only_curl(
            "words after",
            Outcome::Broken,
            length(&format!("{size} bytes")),
        ),
        refused("twice, not the same", Outcome::Broken, length(&less)),
        refused("negative", Outcome::Broken, length("-1")),
        refused("no number", Outcome::Broken, length("abc")),
        refused(
            "more than is sent",
            Outcome::Broken,
            length(&(size + 1).to_string()),
        ),
        only_curl(
            "a number beyond all",
            Outcome::Broken,
            length("99999999999999999999999"),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers() {
    let size = PICTURE.len();
    let cut = |mut answer: Vec<u8>, bytes: usize| {
        answer.truncate(answer.len() - bytes);
        answer
    };
    check(vec![
        taken("chunked", chunked(CHUNKED, b"", b"")),
        taken(
            "chunk extensions",
            chunked(CHUNKED, b" ; name=\"a b\";other", b""),
        ),
        taken("spaces after a chunk's size", chunked(CHUNKED, b"  ", b"")),
        taken(
            "trailers",
            chunked(CHUNKED, b"", b"X-Digest: abc\r\nX-More: d\r\n"),
        ),
        refused(
            "odd trailers",
            Outcome::Broken,
            chunked(CHUNKED, b"", b"no header\r\nX : y\r\n"),
        ),
        taken("chunked and a length", {
            chunked(&[CHUNKED, b"Content-Length: 5\r\n"].concat(), b"", b"")
        }),
        taken("chunked and a great length", {
            chunked(
                &[CHUNKED, b"Content-Length: 99999999999\r\n"].concat(),
                b"",
                b"",
            )
        }),
        taken(
            "Chunked",
            chunked(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n",
                b"",
                b"",
            ),
        ),
        taken("identity", ok(b"Transfer-Encoding: identity\r\n")),
        held(only_ours(
            "identity, kept open",
            ok(b"Transfer-Encoding: identity\r\n"),
        )),
        taken("identity, no length", {
            as_is(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n")
        }),
        refused("identity, less than the length", Outcome::Broken, {
            cut(ok(b"Transfer-Encoding: identity\r\n"), 1)
        }),
        held(taken("kept open after the length", ok(b""))),
        held(taken(
            "kept open after the last chunk",
            chunked(CHUNKED, b"", b""),
        )),
        only_curl("chunked in HTTP/1.0", Outcome::Broken, {
            chunked(
                b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
                b"",
                b"",
            )
        }),
        refused(
            "closed in a chunk",
            Outcome::Broken,
            cut(chunked(CHUNKED, b"", b""), 20),
        ),
        refused(
            "closed before the last chunk",
            Outcome::Broken,
            cut(chunked(CHUNKED, b"", b""), 5),
        ),
        refused(
            "closed in the last chunk",
            Outcome::Broken,
            cut(chunked(CHUNKED, b"", b""), 3),
        ),
        refused("no size of a chunk", Outcome::Broken, {
            [CHUNKED, b"\r\nxyz\r\n", PICTURE].concat()
        }),
        refused(
            "closed before the length",
            Outcome::Broken,
            cut(ok(b""), size / 2),
        ),
        held(refused(
            "silent before the length",
            Outcome::TimedOut,
            cut(ok(b""), 1),
        )),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses() {
    let size = PICTURE.len();
    let part = |range: String| {
        with(format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\n").as_bytes())
    };
    check(vec![
        taken("203", with(b"HTTP/1.1 203 Non-Authoritative\r\n")),
        taken("299", with(b"HTTP/1.1 299 Other\r\n")),
        taken(
            "206 of the whole",
            part(format!("bytes 0-{}/{size}", size - 1)),
        ),
        only_curl("206 of a part", Outcome::UnexpectedStatus, {
            part(format!("bytes 0-{}/{}", size - 1, size * 2))
        }),
        only_curl("206 of a later part", Outcome::UnexpectedStatus, {
            part(format!("bytes 5-{}/{}", size + 4, size + 5))
        }),
        only_curl("206 of who knows what", Outcome::UnexpectedStatus, {
            with(b"HTTP/1.1 206 Partial Content\r\n")
        }),
        refused(
            "204",
            Outcome::UnexpectedStatus,
            status("204 No Content", ""),
        ),
        refused("204 with a length", Outcome::UnexpectedStatus, {
            with(b"HTTP/1.1 204 No Content\r\n")
        }),
        refused("205", Outcome::UnexpectedStatus, {
            status("205 Reset Content", "Content-Length: 0\r\n")
        }),
        refused(
            "304",
            Outcome::UnexpectedStatus,
            status("304 Not Modified", ""),
        ),
        refused("101", Outcome::UnexpectedStatus, {
            status(
                "101 Switching Protocols",
                "Upgrade: x\r\nConnection: upgrade\r\n",
            )
        }),
        only_curl("300 without a place", Outcome::UnexpectedStatus, {
            with(b"HTTP/1.1 300 Multiple Choices\r\n")
        }),
        refused(
            "600",
            Outcome::UnexpectedStatus,
            with(b"HTTP/1.1 600 Own\r\n"),
        ),
        refused(
            "418",
            Outcome::UnexpectedStatus,
            with(b"HTTP/1.1 418 Teapot\r\n"),
        ),
    ])
    .await;
}

/// An empty answer comes as one: whoever decodes has a reason for it.
#[tokio::test]
async fn an_empty_body_is_no_picture() {
    let answer = status(
        "200 OK",
        "Content-Length: 0\r\nContent-Type: image/jpeg\r\n",
    );
    let server = OddServer::start(vec![(answer, false)]).await;
    let fetched = fetch_url(&bare(), &server.url(0)).await;
    assert_eq!((fetched.outcome, fetched.bytes), (Outcome::Ok, 0));
}
