use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

/// IANA's IPv4 special-purpose registry (last updated 2025-10), whether it may be reached by us, and
/// the blocks that are special by other registries (multicast).
const REGISTRY_V4: [(&str, bool); 27] = [
    ("0.0.0.0/8", false),
    ("0.0.0.0/32", false),
    ("10.0.0.0/8", false),
    ("100.64.0.0/10", false),
    ("127.0.0.0/8", false),
    ("169.254.0.0/16", false),
    ("172.16.0.0/12", false),
    ("192.0.0.0/24", false),
    ("192.0.0.0/29", false),
    ("192.0.0.8/32", false),
    // Globally reachable by the registry; anycast of protocols, so none of ours.
    ("192.0.0.9/32", false),
    ("192.0.0.10/32", false),
    ("192.0.0.170/32", false),
    ("192.0.0.171/32", false),
    ("192.0.2.0/24", false),
    ("192.31.196.0/24", true),
    ("192.52.193.0/24", true),
    ("192.88.99.0/24", false),
    ("192.88.99.2/32", false),
    ("192.168.0.0/16", false),
    ("192.175.48.0/24", true),
    ("198.18.0.0/15", false),
    ("198.51.100.0/24", false),
    ("203.0.113.0/24", false),
    ("240.0.0.0/4", false),
    ("255.255.255.255/32", false),
    ("224.0.0.0/4", false),
];

/// The same for IPv6, with multicast and the deprecated site-local and IPv4-compatible blocks.
const REGISTRY_V6: [(&str, bool); 28] = [
    ("::1/128", false),
    ("::/128", false),
    ("64:ff9b:1::/48", false),
    ("100::/64", false),
    ("100:0:0:1::/64", false),
    ("2001::/23", false),
    ("2001::/32", false),
    ("2001:1::1/128", false),
    ("2001:1::2/128", false),
    ("2001:1::3/128", false),
    ("2001:2::/48", false),
    ("2001:3::/32", false),
    ("2001:4:112::/48", false),
    ("2001:10::/28", false),
    ("2001:20::/28", false),
    ("2001:30::/28", false),
    ("2001:db8::/32", false),
    ("2002::/16", false),
    ("2620:4f:8000::/48", true),
    ("3fff::/20", false),
    ("5f00::/16", false),
    ("fc00::/7", false),
    ("fe80::/10", false),
    ("fec0::/10", false),
    ("ff00::/8", false),
    ("::/96", false),
    ("4000::/3", false),
    ("8000::/1", false),
];

/// The first and last address of a block, and the ones just outside of it.
fn edges(block: IpNet) -> [IpAddr; 2] {
    match block {
        IpNet::V4(block) => [block.network().into(), block.broadcast().into()],
        IpNet::V6(block) => [block.network().into(), block.broadcast().into()],
    }
}

#[test]
fn every_special_purpose_block_has_its_answer() {
    for (block, reachable) in REGISTRY_V4.into_iter().chain(REGISTRY_V6) {
        for address in edges(block.parse().unwrap()) {
            assert_eq!(
                forbidden(address).is_none(),
                reachable,
                "{address} of {block}"
            );
        }
    }
}

#[test]
fn neighbours_of_forbidden_blocks_are_public() {
    for address in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "3ffe::",
        "3fff:1000::",
        "2606:4700::1111",
    ] {
        assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
    }
}

#[test]
fn metadata_services_are_named() {
    for (address, kind) in [
        ("169.254.169.254", "link-local"),
        ("169.254.170.2", "link-local"),
        ("168.63.129.16", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("192.0.0.192", "reserved for protocols"),
        ("fd00:ec2::254", "private"),
        ("fd20:ce::254", "private"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
    ] {
        assert_eq!(forbidden(address.parse().unwrap()), Some(kind), "{address}");
    }
}

#[test]
fn an_allow_list_opens_just_its_networks_in_every_notation() {
    let networks = Networks::new(&["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()]);
    for (address, allowed) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("64:ff9b::10.1.2.3", true),
        ("10.2.0.1", false),
        ("::1", true),
        ("127.0.0.1", false),
        ("93.184.216.34", true),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(networks.forbidden(address).is_none(), allowed, "{address}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Judged bit by bit, apart from the tables of the code.
    #[test]
    fn ipv4_agrees_with_the_registry(bits: u32) {
        let address = Ipv4Addr::from(bits);
        let special = REGISTRY_V4
            .iter()
            .filter(|(_, reachable)| !reachable)
            .any(|(block, _)| block.parse::<IpNet>().unwrap().contains(&IpAddr::V4(address)));
        let metadata = address == Ipv4Addr::new(168, 63, 129, 16);
        prop_assert_eq!(forbidden(address.into()).is_some(), special || metadata);
        // Whatever disguise it comes in, the answer is the same.
        prop_assert_eq!(forbidden(address.to_ipv6_mapped().into()), forbidden(address.into()));
        let nat64 = Ipv6Addr::from((0x0064_ff9b_u128 << 96) | u128::from(bits));
        prop_assert_eq!(forbidden(nat64.into()), forbidden(address.into()));
    }

    #[test]
    fn special_ipv4_blocks_are_forbidden(block in 0..REGISTRY_V4.len(), bits: u32) {
        let (block, reachable) = REGISTRY_V4[block];
        let IpNet::V4(block) = block.parse().unwrap() else { unreachable!() };
        let host = bits & u32::from(block.hostmask());
        let address = Ipv4Addr::from(u32::from(block.network()) | host);
        prop_assert_eq!(forbidden(address.into()).is_none(), reachable);
    }

    #[test]
    fn special_ipv6_blocks_are_forbidden(block in 0..REGISTRY_V6.len(), bits: u128) {
        let (block, reachable) = REGISTRY_V6[block];
        let IpNet::V6(block) = block.parse().unwrap() else { unreachable!() };
        let host = bits & u128::from(block.hostmask());
        let address = Ipv6Addr::from(u128::from(block.network()) | host);
        prop_assert_eq!(forbidden(address.into()).is_none(), reachable, "{}", address);
    }

    #[test]
    fn nothing_outside_of_global_unicast_is_reached(bits: u128) {
        let address = Ipv6Addr::from(bits);
        let global = bits >> 125 == 0b001;
        let carries_v4 = bits >> 32 == 0xffff || bits >> 32 == 0x0064_ff9b_u128 << 64;
        prop_assume!(!global && !carries_v4);
        prop_assert!(forbidden(address.into()).is_some());
    }
}
