//! No URL is admitted whose host is an address that may not be reached, in any notation.
#![no_main]

use std::sync::LazyLock;

use capfilt_fetch::address::forbidden;
use capfilt_fetch::{FetchOptions, Fetcher, Outcome};
use libfuzzer_sys::fuzz_target;

static FETCHER: LazyLock<Fetcher> =
    LazyLock::new(|| Fetcher::new(&FetchOptions::default()).expect("the defaults are good"));

fuzz_target!(|text: &str| {
    for url in [text.to_owned(), format!("http://{text}/"), format!("https://{text}")] {
        let refused = FETCHER.refuses(&url);
        // An independent look at hosts in the usual notation.
        if let Some(rest) = url.strip_prefix("http://")
            && let Some((host, _)) = rest.split_once('/')
            && let Ok(address) = host.parse::<std::net::IpAddr>()
            && forbidden(address).is_some()
            && address.is_ipv4()
        {
            assert_eq!(refused, Some(Outcome::ForbiddenAddress), "{url}");
        }
    }
});
