//! Lists of what must not be fetched because somebody asked for that, and the forms in which the
//! entries of such lists are compared.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use url::Url;

use crate::FetchError;

mod check;

pub use check::OptOutCheck;

/// The lists of one fetcher.
#[derive(Debug, Default)]
pub(crate) struct OptOuts {
    domains: HashSet<String>,
    /// SHA-256 digests of URLs, sorted: a list can have many millions of entries.
    urls: Vec<[u8; 32]>,
}

impl OptOuts {
    /// Reads lists of domains and of URL digests: one entry a line; empty lines and those that
    /// begin with `#` are skipped.
    pub(crate) fn read(domains: &[PathBuf], urls: &[PathBuf]) -> Result<Self, FetchError> {
        let mut lists = Self::default();
        for path in domains {
            each_line(path, |line| {
                lists.domains.insert(domain(line).ok_or(A_DOMAIN)?);
                Ok(())
            })?;
        }
        for path in urls {
            each_line(path, |line| {
                let digest = digest_of(line).ok_or(A_DIGEST)?;
                lists.urls.push(digest);
                Ok(())
            })?;
        }
        lists.urls.sort_unstable();
        lists.urls.dedup();
        Ok(lists)
    }

    /// The domain of a list that `url`'s host is, or is below of.
    pub(crate) fn domain(&self, url: &Url) -> Option<&str> {
        if self.domains.is_empty() {
            return None;
        }
        let host = host_key(url.host_str()?);
        and_above(&host).find_map(|name| self.domains.get(name).map(String::as_str))
    }

    /// Whether a list has just this domain, as it is compared.
    pub(crate) fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// Whether a list has the digest of `url`, as it stands in the row or in its normal form.
    pub(crate) fn has_url(&self, as_written: &str, parsed: &Url) -> bool {
        let has = |url: &str| {
            let digest: [u8; 32] = Sha256::digest(url.as_bytes()).into();
            self.urls.binary_search(&digest).is_ok()
        };
        !self.urls.is_empty() && (has(as_written) || has(parsed.as_str()))
    }
}

/// What is expected of [`domain`].
pub const A_DOMAIN: &str = "a domain like `example.org`";
/// What is expected of [`digest_of`].
pub const A_DIGEST: &str = "64 hexadecimal digits (SHA-256)";

/// The domain that `text` names, as it is compared: `*.Bücher.example` is `xn--bcher-kva.example`.
/// A URL names none.
pub fn domain(text: &str) -> Option<String> {
    if text.contains(['/', '\\', '@', '?', '#']) {
        return None;
    }
    let url = Url::parse(&format!("http://{}/", text.trim_start_matches("*."))).ok()?;
    url.host_str().map(host_key)
}

/// The host of `url` and the domains above it, the host first. Nothing for a URL without a host.
pub fn domains(url: &str) -> Vec<String> {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str).map(host_key);
    let names = host.iter().flat_map(|host| and_above(host));
    names.map(str::to_owned).collect()
}

/// `url` in its normal form; nothing where it is no URL.
pub fn normal(url: &str) -> Option<String> {
    Url::parse(url).ok().map(String::from)
}

/// A host's name, and those of the domains above it.
fn and_above(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |name| Some(name.split_once('.')?.1))
}

/// A host's name as it is compared: without the dot that ends an absolute name.
pub(crate) fn host_key(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The SHA-256 digest that stands in `hex` as 64 hexadecimal digits.
pub fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(digest)
}

/// Identifies what stands in lists of domains and of URL digests, in whatever order they are named;
/// nothing where there is none.
pub(crate) fn digest(domains: &[PathBuf], urls: &[PathBuf]) -> Result<Option<String>, FetchError> {
    if domains.is_empty() && urls.is_empty() {
        return Ok(None);
    }
    let mut all = Sha256::new();
    for lists in [domains, urls] {
        let digests = lists.iter().map(|path| digest_of_file(path));
        let mut digests = digests.collect::<Result<Vec<_>, _>>()?;
        digests.sort_unstable();
        all.update((digests.len() as u64).to_le_bytes());
        for digest in digests {
            all.update(digest);
        }
    }
    Ok(Some(hex(&all.finalize())))
}

/// `digest` in hexadecimal.
fn hex(digest: &[u8]) -> String {
    let halves = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves
        .filter_map(|half| char::from_digit(u32::from(half), 16))
        .collect()
}

fn digest_of_file(path: &Path) -> Result<[u8; 32], FetchError> {
    let unreadable = |source| unreadable(path, source);
    let mut file = fs_err::File::open(path).map_err(unreadable)?;
    let mut digest = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block).map_err(unreadable)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(&block[..read]),
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> FetchError {
    FetchError::OptOutList {
        path: path.to_owned(),
        source,
    }
}

fn each_line(
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), &'static str>,
) -> Result<(), FetchError> {
    let file = fs_err::File::open(path).map_err(|source| unreadable(path, source))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| unreadable(path, source))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        take(line).map_err(|expected| FetchError::OptOutEntry {
            path: path.to_owned(),
            line: number + 1,
            got: line.chars().take(80).collect(),
            expected,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
