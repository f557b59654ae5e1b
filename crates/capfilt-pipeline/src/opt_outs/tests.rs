use super::*;

const DETAIL: &str = "a list of opt-outs has `example.org`";

/// What a list with this domain says.
fn says(
    list: &str,
    url: &str,
    final_url: Option<&str>,
    detail: Option<&str>,
    attempts: i32,
) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let domains = folder.path().join("domains.txt");
    fs_err::write(&domains, list).unwrap();
    let options = FetchOptions {
        opt_out_domains: vec![domains],
        ..FetchOptions::default()
    };
    let check = OptOutCheck::new(&options).unwrap();
    verdict(&check, (url, final_url), detail, attempts)
}

#[test]
fn a_row_is_held_against_the_lists_by_its_url() {
    let url = "http://img.example.org/a.png";
    let named = |attempts| Verdict::Named(DETAIL.to_owned(), attempts);
    assert_eq!(says("", url, Some(url), None, 1), Verdict::Nothing);
    // It came in, failed, or left for another entry of a list.
    assert_eq!(says("example.org", url, Some(url), None, 2), named(0));
    assert_eq!(says("example.org", url, None, None, 0), named(0));
    let other = Some("a list of opt-outs has `img.example.org`");
    assert_eq!(says("example.org", url, None, other, 0), named(0));
    assert_eq!(
        says("example.org", url, None, Some(DETAIL), 0),
        Verdict::Nothing
    );
    assert_eq!(
        says("example.net", url, None, Some(DETAIL), 0),
        Verdict::Released
    );
}

#[test]
fn a_row_is_held_against_the_lists_by_where_redirects_led() {
    let url = "http://short.example/1";
    let led = Some("https://img.example.org/a.png");
    let named = Verdict::Named(DETAIL.to_owned(), 1);
    assert_eq!(says("example.net", url, led, None, 1), Verdict::Nothing);
    assert_eq!(says("example.org", url, led, None, 1), named);
    // The host is not stored, but the list's domain.
    assert_eq!(
        says("example.org", url, None, Some(DETAIL), 1),
        Verdict::Nothing
    );
    assert_eq!(
        says("example.net", url, None, Some(DETAIL), 1),
        Verdict::Released
    );
}
