//! Which addresses a request may reach.
//!
//! A URL of a data set is somebody else's text: without a rule it could make this machine ask its
//! own services, its neighbours, or the metadata service of its cloud. The rule follows IANA's
//! registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890 and its updates) and is
//! stricter where a block is reachable but serves no pictures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 blocks that no request may reach, with the name of their kind.
const FORBIDDEN_V4: [(Ipv4Net, &str); 17] = [
    (v4(0, 0, 0, 0, 8), "unspecified"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved for protocols"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
    // A public address that answers only inside of Azure, with the machine's metadata.
    (v4(168, 63, 129, 16, 32), "cloud metadata"),
    // Already in 100.64.0.0/10; named for the message: Alibaba's metadata service.
    (v4(100, 100, 100, 200, 32), "cloud metadata"),
];

/// Blocks of `2000::/3` that no request may reach. Outside of `2000::/3` nothing is global unicast.
const FORBIDDEN_V6: [(Ipv6Net, &str); 4] = [
    // Teredo, ORCHID, benchmarking, anycast of protocols: what of it is reachable serves no pictures.
    (v6(0x2001, 0, 0, 23), "reserved for protocols"),
    (v6(0x2001, 0x0db8, 0, 32), "documentation"),
    // An IPv4 address in disguise, and no longer in use.
    (v6(0x2002, 0, 0, 16), "6to4"),
    (v6(0x3fff, 0, 0, 20), "documentation"),
];

const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);
const NAT64: Ipv6Net = v6(0x0064, 0xff9b, 0, 96);

/// Blocks outside of `2000::/3` that have a name worth saying.
const NAMED_V6: [(Ipv6Net, &str); 4] = [
    (v6(0xfe80, 0, 0, 10), "link-local"),
    (v6(0xfc00, 0, 0, 7), "private"),
    (v6(0xfec0, 0, 0, 10), "private"),
    (v6(0xff00, 0, 0, 8), "multicast"),
];

/// Why no request may reach `address`, or `None` where it is a public one.
///
/// IPv4 addresses inside of IPv6 ones (mapped, or behind the well-known NAT64 prefix) are judged as
/// what they are.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    FORBIDDEN_V4
        .iter()
        .rev() // single addresses before their block
        .find(|(block, _)| block.contains(&address))
        .map(|(_, kind)| *kind)
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(mapped) = embedded(address) {
        return forbidden_v4(mapped);
    }
    if GLOBAL_UNICAST.contains(&address) {
        return FORBIDDEN_V6
            .iter()
            .find(|(block, _)| block.contains(&address))
            .map(|(_, kind)| *kind);
    }
    if address.is_loopback() {
        return Some("loopback");
    }
    if address.is_unspecified() {
        return Some("unspecified");
    }
    let named = NAMED_V6.iter().find(|(block, _)| block.contains(&address));
    Some(named.map_or("reserved", |(_, kind)| *kind))
}

/// The IPv4 address that a connection to `address` would end at.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if NAT64.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    address.to_ipv4_mapped()
}

/// Networks that may be reached although they are not public.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    pub(crate) fn new(allowed: &[IpNet]) -> Self {
        Self(allowed.to_vec())
    }

    /// Why no request may reach `address`, if it is neither public nor allowed.
    pub(crate) fn forbidden(&self, address: IpAddr) -> Option<&'static str> {
        let kind = forbidden(address)?;
        let plain = match address {
            IpAddr::V6(inner) => embedded(inner).map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        let allowed = self.0.iter().any(|network| network.contains(&plain));
        (!allowed).then_some(kind)
    }
}

#[cfg(test)]
mod tests;
