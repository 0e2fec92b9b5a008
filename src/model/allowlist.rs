//! A set of networks that says with one binary search whether it holds an address or meets a network.
//!
//! PURE: no clock, no I/O.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A fixed set of networks of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist {
    /// First and last address of each network, sorted and disjoint, IPv4 addresses as their number.
    v4: Vec<(u32, u32)>,
    /// The same for IPv6.
    v6: Vec<(u128, u128)>,
}

impl Allowlist {
    /// Whether `address` is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.meets(&IpNet::from(address))
    }

    /// Whether any of the networks shares an address with `net`.
    pub fn meets(&self, net: &IpNet) -> bool {
        self.meeting(net).is_some()
    }

    /// The network that shares an address with `net`: the widest of those around it, or else the first one in it.
    pub fn meeting(&self, net: &IpNet) -> Option<IpNet> {
        match net {
            IpNet::V4(net) => {
                let (first, last) = meeting(&self.v4, net.network().to_bits(), net.broadcast().to_bits())?;
                IpNet::new(Ipv4Addr::from_bits(first).into(), (first ^ last).leading_zeros() as u8).ok()
            }
            IpNet::V6(net) => {
                let (first, last) = meeting(&self.v6, net.network().to_bits(), net.broadcast().to_bits())?;
                IpNet::new(Ipv6Addr::from_bits(first).into(), (first ^ last).leading_zeros() as u8).ok()
            }
        }
    }
}

impl FromIterator<IpNet> for Allowlist {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Allowlist {
        let mut list = Allowlist::default();
        for net in nets {
            match net {
                IpNet::V4(net) => list.v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => list.v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        merge(&mut list.v4);
        merge(&mut list.v6);
        list
    }
}

fn meeting<N: Ord + Copy>(ranges: &[(N, N)], first: N, last: N) -> Option<(N, N)> {
    let next = ranges.partition_point(|&(_, end)| end < first);
    ranges.get(next).copied().filter(|&(start, _)| start <= last)
}

/// Keeps the widest. Two networks are apart, or one is in the other.
fn merge<N: Ord + Copy>(ranges: &mut Vec<(N, N)>) {
    ranges.sort_unstable_by_key(|&(start, end)| (start, Reverse(end)));
    ranges.dedup_by(|next, kept| next.1 <= kept.1);
    ranges.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(nets: &[&str]) -> Allowlist {
        nets.iter().map(|net| net.parse::<IpNet>().unwrap()).collect()
    }

    #[test]
    fn a_network_holds_its_first_and_last_address_and_no_neighbour() {
        let list = list(&["10.1.0.0/16", "2001:db8::/64"]);
        for inside in ["10.1.0.0", "10.1.255.255", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"] {
            assert!(list.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.0.255.255", "10.2.0.0", "2001:db7:ffff::", "2001:db8:0:1::"] {
            assert!(!list.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_network_is_met_from_within_and_from_around() {
        let list = list(&["2001:db8::5/128"]);
        assert!(list.meets(&"2001:db8::/64".parse().unwrap()));
        assert!(list.meets(&"2001:db8::5/128".parse().unwrap()));
        assert!(!list.meets(&"2001:db8:0:1::/64".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_network(
            nets in proptest::collection::vec((any::<u32>(), 8u8..=32), 0..20),
            asked in (any::<u32>(), 8u8..=32),
        ) {
            let net = |(bits, len): (u32, u8)| IpNet::new(IpAddr::from(bits.to_be_bytes()), len).unwrap().trunc();
            let nets: Vec<IpNet> = nets.into_iter().map(net).collect();
            let asked = net(asked);
            let list: Allowlist = nets.iter().copied().collect();
            let obvious = nets.iter().any(|n| n.contains(&asked) || asked.contains(n));
            prop_assert_eq!(list.meets(&asked), obvious);
            let around = nets.iter().filter(|n| n.contains(&asked)).min_by_key(|n| n.prefix_len());
            match list.meeting(&asked) {
                Some(met) if around.is_some() => prop_assert_eq!(Some(&met), around),
                Some(met) => prop_assert!(asked.contains(&met) && nets.contains(&met)),
                None => prop_assert!(!obvious),
            }
        }
    }
}
