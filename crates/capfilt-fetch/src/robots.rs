//! What an origin's robots.txt says (RFC 9309), read by the crate `robotxt`.

use robotxt::Robots;
use url::{Position, Url};

use crate::outcome::Outcome;
use crate::policy::Refusal;
use crate::tags::PRODUCT;

/// What is known of an origin's robots.txt.
#[derive(Clone, Debug)]
pub(crate) enum Rules {
    /// It was read, or there is none and all is allowed.
    Known(Robots),
    /// It could not be had, so nothing is allowed for now (RFC 9309, 2.3.1.4).
    Unreachable(Refusal),
}

impl Rules {
    /// The rules in a file's content. Only the first 500 KiB count (RFC 9309, 2.5).
    pub(crate) fn parse(content: &[u8]) -> Self {
        Self::Known(Robots::parse(content, PRODUCT))
    }

    /// Everything is allowed: there is no file, or asking for it was answered by a 4xx.
    pub(crate) fn none() -> Self {
        Self::Known(Robots::allow_all())
    }

    /// Nothing is allowed, since asking for the file ended like this.
    pub(crate) fn unreachable(why: &Refusal) -> Self {
        // A host that does not answer at all is no matter of its robots.txt.
        let outcome = match why.outcome {
            outcome @ (Outcome::Dns
            | Outcome::Connect
            | Outcome::Tls
            | Outcome::ForbiddenAddress) => outcome,
            _ => Outcome::RobotsUnreachable,
        };
        let detail = format!("asking for /robots.txt: {}", why.detail);
        Self::Unreachable(Refusal::new(outcome, detail))
    }

    /// Whether `url` may be fetched.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Refusal> {
        match self {
            Self::Unreachable(refusal) => Err(refusal.clone()),
            Self::Known(robots) if robots.is_url_allowed(url) => Ok(()),
            Self::Known(robots) => {
                let path = &url[Position::BeforePath..Position::AfterQuery];
                let rule = robots.matching_rule(path);
                let rule = rule.map_or("/", robotxt::Rule::pattern);
                Err(Refusal::new(
                    Outcome::RobotsTxt,
                    format!("disallowed for `{}`: `{rule}`", robots.user_agent()),
                ))
            }
        }
    }

    /// Bytes that the rules take in memory, roughly.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Known(robots) => size(robots),
            Self::Unreachable(refusal) => refusal.detail.len() + 64,
        }
    }
}

/// Bytes that `robots` takes in memory, roughly.
pub(crate) fn size(robots: &Robots) -> usize {
    let rules = robots.rules().iter().map(|rule| rule.pattern().len() + 48);
    rules.sum::<usize>() + 128
}

#[cfg(test)]
mod tests;
