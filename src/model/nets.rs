//! A set of networks, which says with one binary search whether it holds an address or meets a network, and the
//! arithmetic of such sets.
//!
//! PURE: no clock, no I/O.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A fixed set of networks of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nets {
    /// First and last address of each network, sorted and disjoint, IPv4 addresses as their number.
    v4: Vec<(u32, u32)>,
    /// The same for IPv6.
    v6: Vec<(u128, u128)>,
}

impl Nets {
    /// How many networks there are. Those that are within others are not counted.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The networks, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.v4.iter().filter_map(|range| net4(*range)).chain(self.v6.iter().filter_map(|range| net6(*range)))
    }

    /// What is left of the networks without all that is in `others`, in the order of their addresses. A network that has
    /// a part of `others` in it becomes several.
    pub fn without<'a>(&'a self, others: &'a Nets) -> impl Iterator<Item = IpNet> + 'a {
        self.iter().flat_map(|net| {
            let mut left = Vec::new();
            cut(net, others, &mut left);
            left
        })
    }

    /// How many networks are in only one of both.
    pub fn differences(&self, other: &Nets) -> usize {
        let (gone, come) = differences(self.iter(), other.iter());
        gone.len() + come.len()
    }

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
            IpNet::V4(net) => net4(meeting(&self.v4, net.network().to_bits(), net.broadcast().to_bits())?),
            IpNet::V6(net) => net6(meeting(&self.v6, net.network().to_bits(), net.broadcast().to_bits())?),
        }
    }
}

/// What is only in the first of two sorted lists of networks, of which none meets another of its list, and what is only in
/// the second.
pub fn differences(old: impl Iterator<Item = IpNet>, new: impl Iterator<Item = IpNet>) -> (Vec<IpNet>, Vec<IpNet>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(one), Some(other)) if one == other => {
                old.next();
                new.next();
            }
            (Some(one), other) if other.is_none_or(|other| one < other) => gone.extend(old.next()),
            (None, None) => return (gone, come),
            _ => come.extend(new.next()),
        }
    }
}

/// Adds to `left` what remains of `net` without `others`: halves of halves, as far down as it takes.
fn cut(net: IpNet, others: &Nets, left: &mut Vec<IpNet>) {
    match others.meeting(&net) {
        None => left.push(net),
        Some(other) if other.contains(&net) => {}
        Some(_) => {
            // There are two, because something narrower is in it.
            for half in net.subnets(net.prefix_len() + 1).into_iter().flatten() {
                cut(half, others, left);
            }
        }
    }
}

fn net4((first, last): (u32, u32)) -> Option<IpNet> {
    IpNet::new(Ipv4Addr::from_bits(first).into(), (first ^ last).leading_zeros() as u8).ok()
}

fn net6((first, last): (u128, u128)) -> Option<IpNet> {
    IpNet::new(Ipv6Addr::from_bits(first).into(), (first ^ last).leading_zeros() as u8).ok()
}

impl FromIterator<IpNet> for Nets {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Nets {
        let mut list = Nets::default();
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

    fn list(nets: &[&str]) -> Nets {
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

    fn texts(nets: impl Iterator<Item = IpNet>) -> Vec<String> {
        nets.map(|net| net.to_string()).collect()
    }

    #[test]
    fn a_host_is_cut_out_of_a_network() {
        let nets = list(&["45.10.0.0/29", "45.10.1.1/32", "2a00::/126"]);
        let left = nets.without(&list(&["45.10.0.5/32", "45.10.1.1/32", "2a00::/127"])).collect::<Vec<_>>();
        assert_eq!(texts(left.iter().copied()), ["45.10.0.0/30", "45.10.0.4/32", "45.10.0.6/31", "2a00::2/127"]);
        assert_eq!(nets.without(&list(&["0.0.0.0/0", "::/0"])).count(), 0);
        assert_eq!(texts(nets.without(&Nets::default())), texts(nets.iter()));
    }

    proptest! {
        #[test]
        fn what_is_left_holds_every_address_that_only_the_others_do_not(
            nets in proptest::collection::vec((any::<u8>(), 24u8..=32), 0..12),
            others in proptest::collection::vec((any::<u8>(), 24u8..=32), 0..12),
        ) {
            let net = |(last, len): (u8, u8)| IpNet::new([45, 10, 0, last].into(), len).unwrap().trunc();
            let (nets, others): (Vec<IpNet>, Vec<IpNet>) =
                (nets.into_iter().map(net).collect(), others.into_iter().map(net).collect());
            let (set, without): (Nets, Nets) = (nets.iter().copied().collect(), others.iter().copied().collect());
            let left: Vec<IpNet> = set.without(&without).collect();
            for last in 0..=255 {
                let address = IpAddr::from([45, 10, 0, last]);
                let holds = |nets: &[IpNet]| nets.iter().filter(|net| net.contains(&address)).count();
                prop_assert_eq!(holds(&left), usize::from(holds(&nets) > 0 && holds(&others) == 0), "{}", address);
            }
            prop_assert!(left.is_sorted());
        }

        #[test]
        fn differences_are_those_of_sets(
            old in proptest::collection::btree_set(0u8..32, 0..20),
            new in proptest::collection::btree_set(0u8..32, 0..20),
        ) {
            let nets = |lasts: &std::collections::BTreeSet<u8>| -> Vec<IpNet> {
                lasts.iter().map(|last| IpAddr::from([45, 10, 0, *last]).into()).collect()
            };
            let (gone, come) = differences(nets(&old).into_iter(), nets(&new).into_iter());
            prop_assert_eq!(gone, nets(&(&old - &new)));
            prop_assert_eq!(come, nets(&(&new - &old)));
        }

        #[test]
        fn agrees_with_asking_every_network(
            nets in proptest::collection::vec((any::<u32>(), 8u8..=32), 0..20),
            asked in (any::<u32>(), 8u8..=32),
        ) {
            let net = |(bits, len): (u32, u8)| IpNet::new(IpAddr::from(bits.to_be_bytes()), len).unwrap().trunc();
            let nets: Vec<IpNet> = nets.into_iter().map(net).collect();
            let asked = net(asked);
            let list: Nets = nets.iter().copied().collect();
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
