//! From a URL to bytes, within the limits.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use url::Url;

use crate::file::Folder;
use crate::http::Http;
use crate::options::FetchOptions;
use crate::outcome::{Fetched, Outcome};
use crate::policy::{Policy, Reference, Refusal};
use crate::slots::Slots;
use crate::{FetchError, data_url};

/// Details are for a column: longer ones are cut.
const MAX_DETAIL_CHARS: usize = 300;

/// Fetches pictures. Cheap to clone; clones share connections and limits.
#[derive(Clone, Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: FetchOptions,
    policy: Policy,
    slots: Arc<Slots>,
    http: Http,
    folder: Option<Folder>,
}

/// What is known so far; outlives an attempt that the deadline cuts off.
#[derive(Default)]
struct Trace {
    attempts: u32,
    status: Option<u16>,
    final_url: Option<String>,
    bytes: u64,
}

impl Fetcher {
    /// A fetcher with connections of its own. It makes none yet.
    pub fn new(options: &FetchOptions) -> Result<Self, FetchError> {
        let max_size = options.max_size.0;
        let folder = options
            .folder
            .as_deref()
            .map(|folder| Folder::new(folder, max_size));
        Ok(Self {
            shared: Arc::new(Shared {
                policy: Policy::new(options),
                slots: Arc::new(Slots::new(options.concurrency, options.per_host)),
                http: Http::new(max_size, options.per_host.get())?,
                folder: folder.transpose()?,
                options: options.clone(),
            }),
        })
    }

    /// Fetches one URL. It always ends: within the timeout once it has a slot. Dropping the
    /// future ends the request and frees the slot.
    pub async fn fetch(&self, url: &str) -> Fetched {
        let shared = &*self.shared;
        let reference = match shared.policy.admit(url) {
            Ok(reference) => reference,
            Err(refusal) => return Trace::default().end(Err(refusal), Instant::now()),
        };
        let host = match &reference {
            Reference::Http(url) => url.host_str().map(str::to_owned),
            Reference::File(_) | Reference::Data(_) => None,
        };
        let slot = shared.slots.take(host.as_deref()).await;
        let start = Instant::now();
        let mut trace = Trace::default();
        let timeout = shared.options.timeout;
        let result = tokio::time::timeout(timeout.0, shared.attempts(&reference, &mut trace)).await;
        drop(slot);
        let result = result.unwrap_or_else(|_| {
            Err(Refusal::new(
                Outcome::TimedOut,
                format!("not finished within {timeout}"),
            ))
        });
        trace.end(result, start)
    }
}

impl Shared {
    async fn attempts(
        &self,
        reference: &Reference<'_>,
        trace: &mut Trace,
    ) -> Result<Bytes, Refusal> {
        loop {
            trace.attempts += 1;
            trace.status = None;
            trace.final_url = None;
            trace.bytes = 0;
            let result = match reference {
                Reference::Http(url) => self.follow(url, trace).await,
                Reference::File(path) => self.read_file(path).await,
                Reference::Data(url) => data_url::read(url, self.options.max_size.0),
            };
            let pause = match &result {
                Ok(_) => None,
                Err(refusal) => self.policy.pause(refusal.outcome, trace.attempts),
            };
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return result,
            }
        }
    }

    async fn follow(&self, url: &Url, trace: &mut Trace) -> Result<Bytes, Refusal> {
        let mut url = url.clone();
        let mut hops = 0;
        loop {
            let head = self.http.get(&url).await?;
            trace.status = Some(head.status());
            trace.final_url = Some(url.to_string());
            if let Some(location) = head.location() {
                url = self.policy.redirect(&url, location, hops)?;
                hops += 1;
                continue;
            }
            return match Outcome::of_status(head.status()) {
                Outcome::Ok => self.http.body(head, &mut trace.bytes).await,
                outcome => Err(Refusal::new(
                    outcome,
                    format!("HTTP status {}", head.status()),
                )),
            };
        }
    }

    async fn read_file(&self, path: &Path) -> Result<Bytes, Refusal> {
        match &self.folder {
            Some(folder) => folder.read(path).await,
            None => Err(Refusal::new(
                Outcome::SchemeNotAllowed,
                "no `folder` is named",
            )),
        }
    }
}

impl Trace {
    fn end(self, result: Result<Bytes, Refusal>, start: Instant) -> Fetched {
        let (outcome, body, detail) = match result {
            Ok(body) => (Outcome::Ok, Some(body), None),
            Err(refusal) => {
                let detail = refusal.detail.chars().take(MAX_DETAIL_CHARS).collect();
                (refusal.outcome, None, Some(detail))
            }
        };
        Fetched {
            outcome,
            status: self.status,
            bytes: body.as_ref().map_or(self.bytes, |body| body.len() as u64),
            attempts: self.attempts,
            final_url: self.final_url,
            ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            body,
            detail,
        }
    }
}

#[cfg(test)]
mod tests;
