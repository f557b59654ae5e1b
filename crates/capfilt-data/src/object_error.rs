//! What stores answer, in words that people can act on, and without anything secret: of an answer
//! only its code and message are told, of a request nothing.

use std::io;

use object_store::Error;

/// A store that refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} `{url}`: {what}")]
struct Refused {
    verb: &'static str,
    url: String,
    what: String,
}

/// Whether the same may go better in a moment.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Generic { .. })
        && !matches!(
            Trouble::of(error),
            Trouble::Credentials | Trouble::Region | Trouble::Bucket | Trouble::Conditions
        )
}

/// What people can do something about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    Missing,
    Bucket,
    Credentials,
    Denied,
    Region,
    Changed,
    Conditions,
    Other,
}

impl Trouble {
    fn of(error: &Error) -> Self {
        let text = error.to_string();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match element(&text, "Code").unwrap_or_default() {
            "NoSuchBucket" | "ContainerNotFound" => return Self::Bucket,
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => return Self::Region,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "AuthenticationFailed" => return Self::Credentials,
            "NotImplemented" => return Self::Conditions,
            _ => {}
        }
        match error {
            Error::NotFound { .. } => Self::Missing,
            Error::PermissionDenied { .. } => Self::Denied,
            Error::Unauthenticated { .. } => Self::Credentials,
            Error::Precondition { .. } => Self::Changed,
            Error::NotImplemented { .. } | Error::NotSupported { .. } => Self::Conditions,
            _ if says(&["Received redirect without LOCATION"]) => Self::Region,
            // Without credentials the client asks the machine's cloud for some.
            _ if says(&["://169.254.", "://metadata.google."]) => Self::Credentials,
            _ => Self::Other,
        }
    }

    const fn kind(self) -> io::ErrorKind {
        match self {
            Self::Missing => io::ErrorKind::NotFound,
            Self::Denied | Self::Credentials => io::ErrorKind::PermissionDenied,
            Self::Conditions => io::ErrorKind::Unsupported,
            // A bucket that is not there is no file that is not there yet.
            Self::Bucket | Self::Region | Self::Changed | Self::Other => io::ErrorKind::Other,
        }
    }

    fn advice(self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let bucket = rest.split('/').next().unwrap_or_default();
        let endpoint = match scheme {
            "gs" => "the network",
            "az" => "AZURE_STORAGE_ACCOUNT_NAME",
            _ => "AWS_ENDPOINT_URL",
        };
        match self {
            Self::Missing => "there is no such object".to_owned(),
            Self::Bucket => format!("there is no bucket `{bucket}`; make it, or mend its name"),
            Self::Credentials => {
                format!(
                    "no credentials that are accepted; set {}",
                    variables(scheme)
                )
            }
            Self::Denied => "access denied; the credentials need to list the bucket and to read \
                             and write its objects"
                .to_owned(),
            Self::Region => format!("the bucket `{bucket}` is in another region; set AWS_REGION"),
            Self::Changed => "it was changed meanwhile".to_owned(),
            Self::Conditions => "the store cannot do that".to_owned(),
            Self::Other => format!(
                "the store did not answer as it should, also when asked again; look at {endpoint}, or \
                 run the same command again later, finished pieces stay"
            ),
        }
    }
}

/// The variables that credentials come from.
pub(crate) fn variables(scheme: &str) -> &'static str {
    match scheme {
        "gs" => "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
        "az" => {
            "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN"
        }
        _ => {
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN too where they are \
             temporary)"
        }
    }
}

/// What an error of the store at `url` means to people.
pub(crate) fn refused(url: &str, verb: &'static str, error: &Error) -> io::Error {
    let trouble = Trouble::of(error);
    let mut what = trouble.advice(url);
    if trouble != Trouble::Missing {
        what = format!("{what} ({})", told(&error.to_string()));
    }
    let refused = Refused {
        verb,
        url: url.to_owned(),
        what,
    };
    io::Error::new(trouble.kind(), refused)
}

/// A run that does not hold its output any more.
pub(crate) fn lease_lost(url: &str) -> io::Error {
    io::Error::other(format!(
        "the lock on the output in `{url}` could not be renewed in time, and another run may have \
         taken it; nothing more is written. Run the same command again"
    ))
}

/// The text of an XML element.
fn element<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// A store's code and message; where it sent none, what the client says, without the queries of
/// URLs, which may carry signatures.
fn told(text: &str) -> String {
    if let Some(code) = element(text, "Code") {
        return match element(text, "Message") {
            Some(message) => format!("{code}: {message}"),
            None => code.to_owned(),
        };
    }
    let words = text.split_whitespace().map(|word| {
        let is_url = word.contains("://");
        let end = word.find('?').filter(|_| is_url);
        end.map_or(word, |end| &word[..end])
    });
    let mut short: String = words.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = short.char_indices().nth(300) {
        short.truncate(end);
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
