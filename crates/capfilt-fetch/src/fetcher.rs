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
use crate::hosts::{Hosts, Slot, Wait, first_suspension};
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
/// One row is asked for so often again, after its pauses, where its host says that requests come too
/// fast: more, and it is about the row.
const MOST_TOO_FAST: u32 = 4;

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
    answer: Answer,
    /// Whether the last answer was that requests come too fast.
    was_too_fast: bool,
}

/// What the last attempt brought.
#[derive(Default)]
struct Answer {
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
                origins: Origins::new(first_suspension(options.host_wait.0)),
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
    /// origin's rules, each of which it waits for in turn, and within `host-wait` where its host is
    /// suspended. Dropping the future ends the request and frees the slot.
    pub async fn fetch(&self, url: &str) -> Fetched {
        self.fetch_into(url, &Unlimited, false).await
    }

    /// Fetches one URL once there is room for it. Many more rows may wait than have room: those
    /// that do go by their hosts, not by their order. One that `was_asked` for before waits for a
    /// suspended host until that was probed once, and no longer: what it was answered may well be
    /// about the picture and not about the host.
    pub async fn fetch_into(&self, url: &str, room: &dyn Room, was_asked: bool) -> Fetched {
        let shared = &*self.shared;
        let mut trace = Trace::new(shared);
        let wait = if was_asked {
            Wait::ForProbe
        } else {
            Wait::ForHost
        };
        let result = match shared.policy.admit(url) {
            Ok(reference) => shared.fetch(reference, (room, wait), &mut trace).await,
            Err(refusal) => Err(refusal),
        };
        trace.end(result)
    }
}

impl Shared {
    async fn fetch(
        &self,
        reference: Reference<'_>,
        (room, wait): (&dyn Room, Wait),
        trace: &mut Trace,
    ) -> Result<Bytes, Refusal> {
        if !matches!(reference, Reference::Http(_) | Reference::Data(_)) {
            room.wait().await;
        }
        let url = match reference {
            Reference::Http(url) => {
                return Box::pin(self.attempts(&url, (room, wait), trace)).await;
            }
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
        trace.answer.final_url = Some(url.to_string());
        let mut reserved = self.memory.reserve();
        self.stores
            .read(
                url,
                &mut reserved,
                &mut trace.clock,
                &mut trace.answer.bytes,
            )
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
    async fn enter(&self, host: &str, (room, wait): (&dyn Room, Wait)) -> Result<Slot, Refusal> {
        loop {
            room.wait().await;
            let slot = self.hosts.enter(host, wait).await?;
            if room.is_free() {
                return Ok(slot);
            }
        }
    }

    async fn attempts(
        &self,
        url: &Url,
        (room, wait): (&dyn Room, Wait),
        trace: &mut Trace,
    ) -> Result<Bytes, Refusal> {
        self.retries.save();
        let mut last: Option<(Refusal, Answer)> = None;
        let (mut wait, mut too_fast) = (wait, 0);
        loop {
            let before = trace.attempts;
            let refusal = match self.attempt(url, (room, wait), trace).await {
                Ok(body) => return Ok(body),
                Err(refusal) => refusal,
            };
            let was_asked = trace.attempts > before && refusal.outcome != Outcome::HostSuspended;
            if let (false, Some((refusal, answer))) = (was_asked, last) {
                // Not asked again after all: what it answered before says more.
                trace.answer = answer;
                return Err(refusal);
            }
            if trace.attempts == before {
                return Err(refusal);
            }
            if std::mem::take(&mut trace.was_too_fast) {
                if too_fast == MOST_TOO_FAST {
                    return Err(refusal);
                }
                too_fast += 1;
                wait = Wait::ForHost;
            } else {
                let asked = trace.attempts - too_fast;
                let again = self.policy.tries_again(refusal.outcome, asked);
                let pause = backoff(trace.attempts);
                if !(again && self.retries.spend() && trace.clock.wait(pause).await) {
                    return Err(refusal);
                }
                wait = Wait::No;
            }
            last = Some((refusal, std::mem::take(&mut trace.answer)));
        }
    }

    /// One attempt, with all its redirects. Every hop waits for its own host: the slot of the one
    /// before is free by then, so that no two rows wait for each other.
    async fn attempt(
        &self,
        url: &Url,
        room: (&dyn Room, Wait),
        trace: &mut Trace,
    ) -> Result<Bytes, Refusal> {
        let mut url = url.clone();
        let mut host = host_of(&url);
        let mut slot = self.enter(&host, room).await?;
        trace.attempts += 1;
        trace.answer = Answer::default();
        let mut hops = 0;
        loop {
            let reserved = match self.rules(&url).await {
                Ok(reserved) => reserved,
                Err(refusal) => {
                    // Without its rules, nobody would ask the host and find out that it is down.
                    if refusal.outcome != Outcome::RobotsTxt {
                        slot.report(refusal.outcome, None, trace.attempts > 1);
                    }
                    return Err(refusal);
                }
            };
            let mut pause = None;
            // Boxed: thousands wait above, and none of them needs the room of a request yet.
            let hop = Box::pin(self.hop(&url, hops, reserved, trace, &mut pause));
            let result = hop.await;
            let outcome = match &result {
                Ok(_) => Outcome::Ok,
                Err(refusal) => refusal.outcome,
            };
            trace.was_too_fast = slot.report(outcome, pause, trace.attempts > 1);
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
        trace.answer.status = Some(head.status());
        trace.answer.final_url = Some(url.to_string());
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
        let body = self.http.body(
            head,
            limit,
            &mut memory,
            &mut trace.clock,
            &mut trace.answer.bytes,
        );
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
            answer: Answer::default(),
            was_too_fast: false,
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
            status: self.answer.status,
            bytes: body
                .as_ref()
                .map_or(self.answer.bytes, |body| body.len() as u64),
            attempts: self.attempts,
            final_url: self.answer.final_url,
            ms: u64::try_from(self.clock.used().as_millis()).unwrap_or(u64::MAX),
            body,
            detail,
        }
    }
}

#[cfg(test)]
mod tests;
