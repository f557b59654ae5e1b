//! Content types.

use super::*;

fn typed(value: &[u8]) -> Vec<u8> {
    ok(&[b"Content-Type: ", value, b"\r\n"].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_types() {
    let html = Outcome::ContentType;
    check(vec![
        taken("image/jpeg", typed(b"image/jpeg")),
        taken("IMAGE/JPEG", typed(b"IMAGE/JPEG")),
        taken("image/jpg", typed(b"image/jpg")),
        taken("image/pjpeg", typed(b"image/pjpeg")),
        taken("with a charset", typed(b"image/jpeg; charset=utf-8")),
        taken(
            "with a charset and no semicolon",
            typed(b"image/jpeg charset=utf-8"),
        ),
        taken("a list", typed(b"image/jpeg, image/jpeg")),
        taken("a list with another", typed(b"text/html, image/jpeg")),
        taken(
            "application/octet-stream",
            typed(b"application/octet-stream"),
        ),
        taken("binary/octet-stream", typed(b"binary/octet-stream")),
        taken("text/plain", typed(b"text/plain")),
        taken(
            "text/plain;charset",
            typed(b"text/plain;charset=ISO-8859-1"),
        ),
        taken("missing", ok(b"")),
        taken("empty", typed(b"")),
        taken("img/jpeg", typed(b"img/jpeg")),
        taken("image", typed(b"image")),
        taken("jpg", typed(b"jpg")),
        taken(".jpg", typed(b".jpg")),
        taken("picture/x", typed(b"picture/x")),
        taken("unknown/unknown", typed(b"unknown/unknown")),
        taken("quoted", typed(b"\"image/jpeg\"")),
        taken("said twice in one", typed(b"Content-Type: image/jpeg")),
        taken("garbage", typed(b"%%% \xe4 \xff")),
        taken("of a form", typed(b"multipart/form-data")),
        taken(
            "two, one of them good",
            ok(b"Content-Type: text/html\r\nContent-Type: image/jpeg\r\n"),
        ),
        only_curl("text/html", html, typed(b"text/html")),
        only_curl("TEXT/HTML", html, typed(b"TEXT/HTML; charset=utf-8")),
        only_curl("quoted text/html", html, typed(b"\"text/html\"")),
        only_curl("text/html and a comma", html, typed(b"text/html,")),
        only_curl("text/html and a comma in quotes", html, {
            typed(b"text/html; a=\"b, c\"")
        }),
        only_curl("text/html and no type", html, {
            ok(b"Content-Type: text/html\r\nContent-Type: jpg\r\n")
        }),
        only_curl("text/css", html, typed(b"text/css")),
        only_curl("video/mp4", html, typed(b"video/mp4")),
        only_curl("audio/mpeg", html, typed(b"audio/mpeg")),
        only_curl(
            "multipart/x-mixed-replace",
            html,
            typed(b"multipart/x-mixed-replace; boundary=x"),
        ),
        only_curl("two, none of them good", html, {
            ok(b"Content-Type: text/html\r\nContent-Type: text/css\r\n")
        }),
    ])
    .await;
}
