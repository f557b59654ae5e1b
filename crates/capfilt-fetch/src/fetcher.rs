//! From a URL to bytes, within the limits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use url::Url;

use crate::address::Networks;
use crate::clock::Clock;
use crate::file::Folder;
use crate::hosts::{Hosts, Slot};
use crate::http::{Connect, Head, Http, Limit};
use crate::memory::Memory;
use crate::opt_out::host_key;
use crate::options::FetchOptions;
use crate::origins::{File, MAX_FILE, MAX_REDIRECTS, Origins};
use crate::outcome::{Fetched, Outcome};
use crate::policy::{Policy, Reference, Refusal};
use crate::resolve::{Dns, Guard, Lookup};
use crate::retry::{RetryBudget, backoff};
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
    hosts: Hosts,
    origins: Origins,
    memory: Memory,
    retries: RetryBudget,
    http: Http,
    folder: Option<Folder>,
    #[cfg(feature = "cloud")]
    stores: crate::object::Stores,
}

/// Room for pictures where they go: whoever takes them may have only so much.
pub trait Room: Send + Sync {
    /// Whether there is room for this picture now.
    fn is_free(&self) -> bool;

    /// Waits until there is, or nearly so.
    fn wait(&self) -> BoxFuture<'_, ()>;
}

/// There always is.
struct Unlimited;

impl Room for Unlimited {
    fn is_free(&self) -> bool {
        true
    }

    fn wait(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What is known so far; outlives an attempt that a deadline cuts off.
struct Trace {
    clock: Clock,
    attempts: u32,
    status: Option<u16>,
    final_url: Option<String>,
    bytes: u64,
}

/// Where one request led.
enum Hop {
    Picture(Bytes),
    To(Url),
}

impl Fetcher {
    /// A fetcher with connections of its own. It makes none yet.
    pub fn new(options: &FetchOptions) -> Result<Self, FetchError> {
        Self::with_lookup(options, Arc::new(Dns::new(&options.name_servers)?))
    }

    /// A fetcher that has host names looked up by `lookup` instead of DNS. What it finds is judged
    /// like any other address.
    pub fn with_lookup(
        options: &FetchOptions,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, FetchError> {
        Self::connected(options, lookup, &|builder, guard| {
            builder.dns_resolver(guard)
        })
    }

    fn connected(
        options: &FetchOptions,
        lookup: Arc<dyn Lookup>,
        connect: Connect<'_>,
    ) -> Result<Self, FetchError> {
        let folder = options.folder.as_deref();
        let folder = folder.map(|folder| Folder::new(folder, options.max_size.0));
        let guard = Guard::new(lookup, Networks::new(&options.allow_networks));
        #[cfg(not(feature = "cloud"))]
        if !options.buckets.is_empty() {
            return Err(FetchError::NoCloud);
        }
        let policy = Policy::new(options)?;
        Ok(Self {
            shared: Arc::new(Shared {
                hosts: Hosts::new(options),
                origins: Origins::new(),
                memory: Memory::new(options.memory),
                retries: RetryBudget::new(),
                http: Http::new(options, &guard, connect)?,
                folder: folder.transpose()?,
                #[cfg(feature = "cloud")]
                stores: crate::object::Stores::new(&policy.buckets, options)?,
                policy,
                options: options.clone(),
            }),
        })
    }

    /// Why `url` would be refused by a look at it alone, if it would.
    pub fn refuses(&self, url: &str) -> Option<Outcome> {
        self.shared
            .policy
            .admit(url)
            .err()
            .map(|refusal| refusal.outcome)
    }

    /// Fetches one URL. It always ends: within the timeout once it has a slot, memory and the
    /// origin's rules, each of which it waits for in turn. Dropping the future ends the request
    /// and frees the slot.
    pub async fn fetch(&self, url: &str) -> Fetched {
        self.fetch_into(url, &Unlimited).await
    }

    /// Fetches one URL once there is room for it. Many more rows may wait than have room: those
    /// that do go by their hosts, not by their order.
    pub async fn fetch_into(&self, url: &str, room: &dyn Room) -> Fetched {
        let shared = &*self.shared;
        let mut trace = Trace::new(shared);
        let result = match shared.policy.admit(url) {
            Ok(reference) => shared.fetch(reference, room, &mut trace).await,
            Err(refusal) => Err(refusal),
        };
        trace.end(result)
    }
}

impl Shared {
    async fn fetch(
        &self,
        reference: Reference<'_>,
        room: &dyn Room,
        trace: &mut Trace,
    ) -> Result<Bytes, Refusal> {
        if !matches!(reference, Reference::Http(_) | Reference::Data(_)) {
            room.wait().await;
        }
        let url = match reference {
            Reference::Http(url) => return Box::pin(self.attempts(&url, room, trace)).await,
            Reference::Data(url) => {
                trace.attempts = 1;
                return data_url::read(url, self.options.max_size.0);
            }
            Reference::File(path) => {
                let _slot = self.hosts.enter_no_host().await;
                trace.attempts = 1;
                let timeout = self.options.timeout;
                let read = Box::pin(self.read_file(&path));
                return trace.clock.within(timeout, "file", read).await?;
            }
            Reference::Object(url) => url,
        };
        Box::pin(self.read_object(&url, trace)).await
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

    #[cfg(feature = "cloud")]
    async fn read_object(&self, url: &Url, trace: &mut Trace) -> Result<Bytes, Refusal> {
        let _slot = self.hosts.enter_no_host().await;
        trace.attempts = 1;
        trace.final_url = Some(url.to_string());
        let mut reserved = self.memory.reserve();
        self.stores
            .read(url, &mut reserved, &mut trace.clock, &mut trace.bytes)
            .await
    }

    #[cfg(not(feature = "cloud"))]
    #[expect(clippy::unused_async, reason = "it is with the feature `cloud`")]
    async fn read_object(&self, _: &Url, _: &mut Trace) -> Result<Bytes, Refusal> {
        Err(Refusal::new(
            Outcome::SchemeNotAllowed,
            "this program was built without object stores",
        ))
    }

    /// A slot of `host` that is held while there is room. One that comes without is handed on.
    async fn enter(&self, host: &str, room: &dyn Room) -> Result<Slot, Refusal> {
        loop {
            room.wait().await;
            let slot = self.hosts.enter(host).await?;
            if room.is_free() {
                return Ok(slot);
            }
        }
    }

    async fn attempts(
        &self,
        url: &Url,
        room: &dyn Room,
        trace: &mut Trace,
    ) -> Result<Bytes, Refusal> {
        self.retries.save();
        let mut last: Option<Refusal> = None;
        loop {
            let before = trace.attempts;
            let refusal = match self.attempt(url, room, trace).await {
                Ok(body) => return Ok(body),
                // Not asked again after all: what it answered before says more.
                Err(refusal) if trace.attempts == before => return Err(last.unwrap_or(refusal)),
                Err(refusal) => refusal,
            };
            let again = self.policy.tries_again(refusal.outcome, trace.attempts);
            if !(again && self.retries.spend() && trace.clock.wait(backoff(trace.attempts)).await) {
                return Err(refusal);
            }
            last = Some(refusal);
        }
    }

    /// One attempt, with all its redirects. Every hop waits for its own host: the slot of the one
    /// before is free by then, so that no two rows wait for each other.
    async fn attempt(
        &self,
        url: &Url,
        room: &dyn Room,
        trace: &mut Trace,
    ) -> Result<Bytes, Refusal> {
        let mut url = url.clone();
        let mut host = host_of(&url);
        let mut slot = self.enter(&host, room).await?;
        trace.attempts += 1;
        trace.status = None;
        trace.final_url = None;
        trace.bytes = 0;
        let mut hops = 0;
        loop {
            let reserved = self.rules(&url).await?;
            let mut pause = None;
            // Boxed: thousands wait above, and none of them needs the room of a request yet.
            let hop = Box::pin(self.hop(&url, hops, reserved, trace, &mut pause));
            let result = hop.await;
            let outcome = match &result {
                Ok(_) => Outcome::Ok,
                Err(refusal) => refusal.outcome,
            };
            slot.report(outcome, pause);
            match result? {
                Hop::Picture(body) => return Ok(body),
                Hop::To(next) => url = next,
            }
            hops += 1;
            let next_host = host_of(&url);
            if next_host != host {
                drop(slot);
                host = next_host;
                slot = self.enter(&host, room).await?;
            }
        }
    }

    /// Whether the origin's rules let `url` be asked for, and whether they reserve the rights to it.
    async fn rules(&self, url: &Url) -> Result<bool, Refusal> {
        let ask = |file| self.policy_file(file);
        if self.options.robots_txt {
            Box::pin(self.origins.robots(url, ask)).await?;
        }
        Ok(self.options.tdm_reservation && Box::pin(self.origins.reserves(url, ask)).await)
    }

    async fn hop(
        &self,
        url: &Url,
        hops: u32,
        reserved: bool,
        trace: &mut Trace,
        pause: &mut Option<Duration>,
    ) -> Result<Hop, Refusal> {
        let head = self.http.get(url, &mut trace.clock).await?;
        trace.status = Some(head.status());
        trace.final_url = Some(url.to_string());
        let most = self.options.max_redirects;
        let answer = self.judge(url, &head, hops, most);
        if let Err(refusal) = &answer
            && refusal.outcome.is_transient()
        {
            *pause = head.pause();
        }
        if let Some(next) = answer? {
            return Ok(Hop::To(next));
        }
        self.policy.admit_answer(head.headers(), reserved)?;
        let mut memory = self.memory.reserve();
        let limit = Limit::All(self.options.max_size.0);
        let body = self
            .http
            .body(head, limit, &mut memory, &mut trace.clock, &mut trace.bytes);
        body.await.map(Hop::Picture)
    }

    /// What the head of any answer says: where to look instead after `hops` of at most `most`
    /// redirects, or that a body follows.
    fn judge(&self, url: &Url, head: &Head, hops: u32, most: u32) -> Result<Option<Url>, Refusal> {
        if let Some(address) = head.peer() {
            self.policy.admit_address(address)?;
        }
        if let Some(location) = head.location() {
            return self.policy.redirect(url, location, hops, most).map(Some);
        }
        match Outcome::of_status(head.status()) {
            Outcome::Ok if head.is_part() => Err(Refusal::new(
                Outcome::UnexpectedStatus,
                "HTTP status 206: a part, which was not asked for",
            )),
            Outcome::Ok => Ok(None),
            outcome => {
                let detail = format!("HTTP status {}", head.status());
                Err(Refusal::new(outcome, detail))
            }
        }
    }

    /// An origin's robots.txt or `tdmrep.json`, within the limits that pictures have.
    async fn policy_file(&self, mut url: Url) -> File {
        let mut clock = Clock::new(self.options.timeout);
        let mut hops = 0;
        loop {
            match self.policy_hop(&url, hops, &mut clock).await {
                Ok(Hop::Picture(content)) => return File::Content(content),
                Ok(Hop::To(next)) => url = next,
                Err(refusal) => return File::refused(refusal),
            }
            hops += 1;
        }
    }

    async fn policy_hop(&self, url: &Url, hops: u32, clock: &mut Clock) -> Result<Hop, Refusal> {
        let head = self.http.get(url, clock).await?;
        if let Some(next) = self.judge(url, &head, hops, MAX_REDIRECTS)? {
            return Ok(Hop::To(next));
        }
        let mut memory = self.memory.reserve();
        let limit = Limit::Beginning(MAX_FILE);
        let body = self
            .http
            .body(head, limit, &mut memory, clock, &mut 0)
            .await;
        body.map(Hop::Picture)
    }
}

fn host_of(url: &Url) -> String {
    host_key(url.host_str().unwrap_or_default())
}

impl Trace {
    fn new(shared: &Shared) -> Self {
        Self {
            clock: Clock::new(shared.options.timeout),
            attempts: 0,
            status: None,
            final_url: None,
            bytes: 0,
        }
    }

    fn end(self, result: Result<Bytes, Refusal>) -> Fetched {
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
            ms: u64::try_from(self.clock.used().as_millis()).unwrap_or(u64::MAX),
            body,
            detail,
        }
    }
}

#[cfg(test)]
mod tests;
