//! One request, and the forms in which it can be written.

use std::fmt;
use std::str::FromStr;

use capfilt_data::footer::{digest, hex};
use capfilt_fetch::opt_out::{self, A_DIGEST, A_DOMAIN};
use serde::{Deserialize, Serialize};

/// What a request names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Form {
    /// The row with an id.
    Id,
    /// Rows with a URL, also after redirects.
    Url,
    /// Rows with a URL at a domain or below it, also after redirects.
    Domain,
    /// Rows with a picture of a digest.
    Picture,
}

impl Form {
    /// Before the digest in the text of a request.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id-sha256",
            Self::Url => "url-sha256",
            Self::Domain => "domain-sha256",
            Self::Picture => "sha256",
        }
    }
}

/// A request to take rows out, as the digest of what it names.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Request {
    form: Form,
    digest: [u8; 32],
}

/// A text that is no request.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("got `{got}`, expected {expected}")]
pub struct RequestError {
    got: String,
    expected: &'static str,
}

/// The forms of a request.
const FORMS: &str = "`id:..`, `url:..`, `domain:..` or `sha256:..` of a picture (or `url-sha256:..`, \
                     `domain-sha256:..`, `id-sha256:..`)";

impl Request {
    /// The request for what `value` names, which stands in the form that is compared.
    pub(super) fn of(form: Form, value: &str) -> Self {
        Self::digested(form, digest(value.as_bytes()))
    }

    /// The request for what has this digest.
    pub(super) const fn digested(form: Form, digest: [u8; 32]) -> Self {
        Self { form, digest }
    }

    /// What it names.
    pub const fn form(&self) -> Form {
        self.form
    }
}

impl FromStr for Request {
    type Err = RequestError;

    /// From `id:`, `url:` or `domain:` and a value, `sha256:` and the digest of a picture, or the text
    /// of a request.
    fn from_str(text: &str) -> Result<Self, RequestError> {
        let refuse = |expected| RequestError {
            got: text.chars().take(80).collect(),
            expected,
        };
        let (form, value) = text.split_once(':').ok_or_else(|| refuse(FORMS))?;
        let value = value.trim();
        if value.is_empty() {
            return Err(refuse(FORMS));
        }
        let digested = |form| {
            let digest = opt_out::digest_of(value).ok_or_else(|| refuse(A_DIGEST))?;
            Ok(Self::digested(form, digest))
        };
        match form.trim() {
            "id" => Ok(Self::of(Form::Id, value)),
            "url" => {
                let normal = opt_out::normal(value)
                    .ok_or_else(|| refuse("a URL like `https://example.org/a.jpg`"))?;
                Ok(Self::of(Form::Url, &normal))
            }
            "domain" => {
                let domain = opt_out::domain(value).ok_or_else(|| refuse(A_DOMAIN))?;
                Ok(Self::of(Form::Domain, &domain))
            }
            "sha256" => digested(Form::Picture),
            "id-sha256" => digested(Form::Id),
            "url-sha256" => digested(Form::Url),
            "domain-sha256" => digested(Form::Domain),
            _ => Err(refuse(FORMS)),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.form.as_str(), hex(&self.digest))
    }
}

impl TryFrom<String> for Request {
    type Error = RequestError;

    fn try_from(text: String) -> Result<Self, RequestError> {
        text.parse()
    }
}

impl From<Request> for String {
    fn from(request: Request) -> Self {
        request.to_string()
    }
}

#[cfg(test)]
mod tests;
