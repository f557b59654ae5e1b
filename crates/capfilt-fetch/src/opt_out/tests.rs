use fs_err as fs;

use super::*;

fn lists(domains: &str, urls: &str) -> Result<OptOuts, FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("domains"), folder.path().join("urls"));
    fs::write(&first, domains).unwrap();
    fs::write(&second, urls).unwrap();
    OptOuts::read(&[first], &[second])
}

#[test]
fn a_domain_stands_for_itself_and_what_is_below() {
    let lists = lists("# asked us\n\nExample.org\n*.bücher.example\n", "").unwrap();
    for (url, domain) in [
        ("http://example.org/a.jpg", Some("example.org")),
        ("https://img.example.org:8443/a.jpg", Some("example.org")),
        ("https://example.org./a.jpg", Some("example.org")),
        (
            "https://shop.xn--bcher-kva.example/",
            Some("xn--bcher-kva.example"),
        ),
        ("http://notexample.org/", None),
        ("http://example.org.evil.net/", None),
        ("http://org/", None),
    ] {
        assert_eq!(lists.domain(&Url::parse(url).unwrap()), domain, "{url}");
    }
}

#[test]
fn a_url_is_known_by_the_digest_of_either_form() {
    let written = "http://EXAMPLE.org/a b.jpg";
    let parsed = Url::parse(written).unwrap();
    // `printf URL | sha256sum` of the two forms.
    let digests = [
        (
            written,
            "ee5e984e978ecef34ee4ed462db2823801b44fa080005ffbb36211307be13097",
        ),
        (
            "http://example.org/a%20b.jpg",
            "4b56106edfaad3f2cea13046ce0f520cbb002d7eea9110cdc5c49e696d800b48",
        ),
    ];
    for (listed, digest) in digests {
        let lists = lists("", &digest.to_uppercase()).unwrap();
        assert!(lists.has_url(written, &parsed), "{listed}");
        let other = Url::parse("http://example.org/b.jpg").unwrap();
        assert!(!lists.has_url(other.as_str(), &other));
    }
}

#[test]
fn a_bad_entry_is_refused_with_its_line() {
    let error = lists("", "# digests\nabc\n").unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("`abc`"),
        "{error}"
    );
    for domain in [
        "exa mple",
        "https://example.org/",
        "example.org/a.jpg",
        "me@example.org",
    ] {
        let error = lists(&format!("{domain}\n"), "").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}

#[test]
fn a_list_that_is_not_there_is_an_error() {
    let missing = PathBuf::from("no/such/list");
    let error = OptOuts::read(&[missing], &[]).unwrap_err();
    assert!(error.to_string().contains("no/such/list"), "{error}");
}

#[test]
fn lists_are_known_by_what_stands_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let list = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (one, other) = (list("one", "example.org\n"), list("other", "example.net\n"));
    let digest = |domains: &[PathBuf], urls: &[PathBuf]| digest(domains, urls).unwrap();
    assert_eq!(digest(&[], &[]), None);
    let both = digest(&[one.clone(), other.clone()], &[]);
    assert_eq!(both.as_ref().map(String::len), Some(64));
    assert_eq!(
        both,
        digest(&[other.clone(), list("moved", "example.org\n")], &[])
    );
    for others in [
        digest(&[], &[]),
        digest(std::slice::from_ref(&one), &[]),
        digest(&[one.clone(), other.clone(), one.clone()], &[]),
        digest(std::slice::from_ref(&one), std::slice::from_ref(&other)),
        digest(&[one, list("changed", "example.com\n")], &[]),
    ] {
        assert_ne!(both, others);
    }
    let missing = folder.path().join("missing");
    let error = super::digest(&[], &[missing]).unwrap_err();
    assert!(
        error.to_string().contains("cannot read the list"),
        "{error}"
    );
}
