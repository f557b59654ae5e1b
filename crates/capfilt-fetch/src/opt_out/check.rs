//! Lists of opt-outs, held against rows that were fetched before: without a request, as a fetch would
//! say it.

use url::Url;

use crate::FetchError;
use crate::options::FetchOptions;
use crate::outcome::Outcome;
use crate::policy::{Policy, Refusal};

/// What the lists of a fetch say of rows that were fetched before.
#[derive(Debug)]
pub struct OptOutCheck(Policy);

impl OptOutCheck {
    /// Reads the lists of `options`.
    pub fn new(options: &FetchOptions) -> Result<Self, FetchError> {
        Policy::new(options).map(Self)
    }

    /// The detail with which a row of `url` would leave as opted out before any request; nothing for
    /// one that would not, or would leave for what is found out before that.
    pub fn of_url(&self, url: &str) -> Option<String> {
        opted_out(self.0.admit(url).err()?)
    }

    /// The same for `url`, which redirects led to: what a fetch looks at there is its host alone.
    pub fn of_redirect(&self, url: &str) -> Option<String> {
        opted_out(self.0.admit_http(Url::parse(url).ok()?).err()?)
    }

    /// Whether a row that left with `detail` would still: as opted out, after some requests, for the
    /// host that redirects led to. That host is not stored, the domain of the list is.
    pub fn still_names(&self, detail: &str) -> bool {
        let domain = detail.split('`').nth(1);
        domain.is_some_and(|domain| self.0.opt_outs.has_domain(domain))
    }
}

fn opted_out(refusal: Refusal) -> Option<String> {
    (refusal.outcome == Outcome::OptedOut).then_some(refusal.detail)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use sha2::{Digest, Sha256};

    use super::super::hex;
    use super::*;

    fn check(domains: &str, urls: &[&str]) -> OptOutCheck {
        let folder = tempfile::tempdir().unwrap();
        let list = |name: &str, text: String| -> PathBuf {
            let path = folder.path().join(name);
            fs_err::write(&path, text).unwrap();
            path
        };
        let digests = urls
            .iter()
            .map(|url| hex(&Sha256::digest(url.as_bytes())) + "\n");
        OptOutCheck::new(&FetchOptions {
            opt_out_domains: vec![list("domains", domains.to_owned())],
            opt_out_urls: vec![list("urls", digests.collect())],
            ..FetchOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn a_url_is_named_as_a_fetch_would_say() {
        let check = check("example.org\n", &["http://a.example/1.png"]);
        for (url, detail) in [
            (
                "http://img.example.org/a.png",
                Some("a list of opt-outs has `example.org`"),
            ),
            (
                "http://a.example/1.png",
                Some("a list of opt-outs has the URL"),
            ),
            (
                " http://a.example/1.png ",
                Some("a list of opt-outs has the URL"),
            ),
            ("http://a.example/2.png", None),
            // These leave for what is found out first.
            ("ftp://example.org/a.png", None),
            ("no url", None),
        ] {
            assert_eq!(check.of_url(url).as_deref(), detail, "{url}");
        }
    }

    #[test]
    fn where_a_redirect_led_only_its_host_counts() {
        let check = check("example.org\n", &["http://a.example/1.png"]);
        assert!(check.of_redirect("http://example.org/b.png").is_some());
        assert!(check.of_redirect("http://a.example/1.png").is_none());
        assert!(check.of_redirect("s3://example.org/b.png").is_none());
        assert!(check.still_names("a list of opt-outs has `example.org`"));
        assert!(!check.still_names("a list of opt-outs has `example.net`"));
        assert!(!check.still_names(""));
    }
}
