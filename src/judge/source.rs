//! What the evidence against an address is counted under.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Evidence, Policy};
use crate::model::net::holds_translated;

/// The address itself for IPv4. For IPv6 its network of `limits.ipv6_prefix`, since a customer is given at least a
/// /64, unless somebody who must not be blocked lives there, or it is not even known where the PBX itself lives; a
/// link-local address stands for itself, and so does one that stands for an IPv4 address: its /64 holds those of
/// everybody else behind the same translator.
pub(super) fn of(evidence: &Evidence, policy: &Policy, address: IpAddr) -> IpNet {
    let alone = IpNet::from(address);
    let IpAddr::V6(v6) = address else { return alone };
    if v6.is_unicast_link_local() {
        return alone;
    }
    let Ok(around) = IpNet::new(address, policy.limits.ipv6_prefix) else { return alone };
    let around = around.trunc();
    if holds_translated(&around) {
        return alone;
    }
    let knows_own = policy.knows_own_ipv6 || evidence.knows_own_ipv6();
    let shared = policy.protected.meets(&around) || evidence.own_meets(&around);
    if shared || !knows_own { alone } else { around }
}

/// The network of the neighbours: a /24, for IPv6 a /48, what a provider gives one customer. An address that stands for an
/// IPv4 address has none: those around it are everybody's.
pub(super) fn neighbourhood(source: &IpNet) -> IpNet {
    let length = if source.addr().is_ipv4() { 24 } else { 48 };
    let around = IpNet::new(source.addr(), length.min(source.prefix_len())).unwrap_or(*source).trunc();
    if holds_translated(&around) { *source } else { around }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_network_but_for_those_behind_a_translator() {
        for (source, around) in [
            ("203.0.113.7/32", "203.0.113.0/24"),
            ("2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("64:ff9b::cb00:7107/128", "64:ff9b::cb00:7107/128"),
            ("203.0.0.0/16", "203.0.0.0/16"),
        ] {
            assert_eq!(neighbourhood(&source.parse().unwrap()), around.parse::<IpNet>().unwrap(), "{source}");
        }
    }
}
