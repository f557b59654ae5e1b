//! From a host name to addresses that may be reached.
//!
//! The addresses that a name resolves to are judged here, between the answer and the connection,
//! and the connection goes to just those: a name cannot be looked up once for the check and again,
//! with another answer, for the connection.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::FetchError;
use crate::address::Networks;

/// Names that are looked up at once.
const PARALLEL: usize = 128;
/// Answers that are kept.
const CACHED: u64 = 100_000;
/// Answers are kept at least this long, so that a host with many pictures is looked up once, ...
const SHORTEST: Duration = Duration::from_mins(1);
/// ... and at most this long.
const LONGEST: Duration = Duration::from_hours(1);
/// One question to one server, and how often it is asked.
const QUESTION: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// Turns host names into addresses.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of `name`; an error where there are none.
    fn lookup(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>>>;
}

/// DNS: the name servers of the system or those of a pipeline, and nobody else's. Answers are
/// cached, also those that there is no such name.
#[derive(Clone)]
pub(crate) struct Dns {
    /// Nothing where the system names no server: each look-up then says so.
    resolver: Option<TokioResolver>,
    parallel: Arc<Semaphore>,
}

impl Dns {
    /// A resolver that asks `servers`, or the system's where there are none.
    pub(crate) fn new(servers: &[IpAddr]) -> Result<Self, FetchError> {
        if !servers.is_empty() {
            let servers = servers.iter().copied().map(NameServerConfig::udp_and_tcp);
            return Self::asking(ResolverConfig::from_name_servers(servers.collect()));
        }
        match TokioResolver::builder_tokio() {
            Ok(builder) => Self::built(Some(builder)),
            Err(error) => {
                tracing::warn!(%error, "this system names no DNS server: no name will resolve");
                Self::built(None)
            }
        }
    }

    fn asking(config: ResolverConfig) -> Result<Self, FetchError> {
        let provider = TokioRuntimeProvider::default();
        Self::built(Some(TokioResolver::builder_with_config(config, provider)))
    }

    fn built(builder: Option<ResolverBuilder<TokioRuntimeProvider>>) -> Result<Self, FetchError> {
        let resolver = builder.map(|mut builder| {
            let options = builder.options_mut();
            options.timeout = QUESTION;
            options.attempts = ATTEMPTS;
            // One question for most hosts, and no attempts over a network that may not be there.
            options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
            options.cache_size = CACHED;
            options.positive_min_ttl = Some(SHORTEST);
            options.negative_min_ttl = Some(SHORTEST);
            options.positive_max_ttl = Some(LONGEST);
            options.negative_max_ttl = Some(LONGEST);
            options.try_tcp_on_error = true;
            builder.build()
        });
        let resolver = resolver.transpose();
        Ok(Self {
            resolver: resolver.map_err(|error| FetchError::Dns(error.to_string()))?,
            parallel: Arc::new(Semaphore::new(PARALLEL)),
        })
    }
}

impl Lookup for Dns {
    fn lookup(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>>> {
        let Self { resolver, parallel } = self.clone();
        // Absolute: a search list would have somebody's short name mean a host of this network.
        let name = format!("{}.", name.trim_end_matches('.'));
        async move {
            let resolver = resolver.ok_or("this system names no DNS server")?;
            let _turn = parallel.acquire().await?;
            let found = resolver.lookup_ip(name).await?;
            Ok(found.iter().collect())
        }
        .boxed()
    }
}

/// A [`Lookup`] whose forbidden answers are left out: what the HTTP client connects by.
#[derive(Clone)]
pub(crate) struct Guard {
    lookup: Arc<dyn Lookup>,
    networks: Networks,
}

/// All addresses of a name are forbidden.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address that may be reached: {address} is {kind}")]
pub(crate) struct ForbiddenAddress {
    address: IpAddr,
    kind: &'static str,
}

impl Guard {
    pub(crate) fn new(lookup: Arc<dyn Lookup>, networks: Networks) -> Self {
        Self { lookup, networks }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.lookup.lookup(name.as_str());
        let networks = self.networks.clone();
        async move {
            let mut allowed = Vec::new();
            let mut refused = None;
            for address in found.await? {
                match networks.forbidden(address) {
                    None => allowed.push(SocketAddr::new(address, 0)),
                    Some(kind) => refused = Some(ForbiddenAddress { address, kind }),
                }
            }
            match (allowed.is_empty(), refused) {
                (true, Some(refused)) => Err(refused.into()),
                (true, None) => Err("the name has no addresses".into()),
                (false, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
