//! The sets of our table, and what their elements look like.
//!
//! PURE: no clock, no I/O.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::wire::{Attributes, attribute, nested};

/// A set of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Set {
    /// IPv4 addresses.
    Hosts4,
    /// IPv6 networks of 64 bits, as most attackers on IPv6 are blocked.
    Subnets6,
    /// IPv6 addresses.
    Hosts6,
    /// IPv4 networks. A set of ranges refuses those that overlap, and its timeouts are not to be trusted in all kernels,
    /// so it has the widest of them only, and none ends by itself.
    Networks4,
    /// IPv6 networks of other lengths, likewise.
    Networks6,
}

/// What the addresses of a set are there for. There is a set of each kind for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// They are blocked.
    Blocks,
    /// The shield lets them pass.
    Admitted,
}

impl List {
    pub(super) fn name(self, set: Set) -> String {
        match self {
            List::Blocks => set.name().to_owned(),
            List::Admitted => format!("admitted_{}", set.name()),
        }
    }
}

/// An element as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// The address that the element is, or that a range begins with or ends before.
    pub address: IpAddr,
    /// Whether a range ends before it.
    pub ends: bool,
    /// Seconds until the kernel ends it; `None`: never.
    pub remaining: Option<u64>,
    /// Packets that matched, if the set counts them.
    pub packets: Option<u64>,
}

impl Set {
    pub(super) const ALL: [Set; 5] = [Set::Hosts4, Set::Subnets6, Set::Hosts6, Set::Networks4, Set::Networks6];

    /// The sets of addresses.
    pub(super) const OF_ADDRESSES: [Set; 3] = [Set::Hosts4, Set::Subnets6, Set::Hosts6];

    /// The sets of ranges.
    pub(super) const OF_RANGES: [Set; 2] = [Set::Networks4, Set::Networks6];

    /// The set that a block belongs into.
    pub(super) fn of(net: &IpNet) -> Set {
        match (net, net.prefix_len()) {
            (IpNet::V4(_), 32) => Set::Hosts4,
            (IpNet::V4(_), _) => Set::Networks4,
            (IpNet::V6(_), 128) => Set::Hosts6,
            (IpNet::V6(_), 64) => Set::Subnets6,
            (IpNet::V6(_), _) => Set::Networks6,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Set::Hosts4 => "b4",
            Set::Subnets6 => "b6",
            Set::Hosts6 => "a6",
            Set::Networks4 => "n4",
            Set::Networks6 => "n6",
        }
    }

    /// Whether its elements are ranges.
    pub(super) fn has_ranges(self) -> bool {
        matches!(self, Set::Networks4 | Set::Networks6)
    }

    pub(super) fn is_v4(self) -> bool {
        matches!(self, Set::Hosts4 | Set::Networks4)
    }

    /// The match of a packet whose source is in it, in the words of nft.
    pub(super) fn lookup(self, list: List) -> String {
        self.lookup_in(&list.name(self))
    }

    /// The same with a set of this kind that has another name.
    pub(super) fn lookup_in(self, name: &str) -> String {
        match self {
            Set::Hosts4 | Set::Networks4 => format!("ip saddr @{name}"),
            Set::Subnets6 => format!("ip6 saddr & ffff:ffff:ffff:ffff:: == @{name}"),
            Set::Hosts6 | Set::Networks6 => format!("ip6 saddr @{name}"),
        }
    }

    /// A block as an element of this set, in the words of nft, with the seconds until the kernel ends it if the set has
    /// timeouts.
    pub(super) fn element(self, net: &IpNet, seconds: Option<u64>) -> impl Display {
        if self.has_ranges() { Words::Range(*net) } else { Words::Address(net.addr(), seconds) }
    }

    /// The blocks that these elements are.
    pub(super) fn nets(self, elements: &[Element]) -> Vec<(IpNet, Option<u64>)> {
        if self.has_ranges() {
            return ranges(elements).flat_map(|(first, last)| subnets(first, last)).map(|net| (net, None)).collect();
        }
        let bits = match self {
            Set::Hosts4 => 32,
            Set::Subnets6 => 64,
            _ => 128,
        };
        let net = |element: &Element| Some((IpNet::new(element.address, bits).ok()?.trunc(), element.remaining));
        elements.iter().filter_map(net).collect()
    }

    /// The attributes that name the element of a block.
    pub(super) fn element_of(net: &IpNet) -> Vec<u8> {
        nested(3, &nested(1, &nested(1, &attribute(1, Key::of(net).as_ref()))))
    }
}

/// The key of a block's element in a set of addresses: its address.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Key {
    pub(super) fn of(net: &IpNet) -> Key {
        match net.addr() {
            IpAddr::V4(address) => Key::V4(address.octets()),
            IpAddr::V6(address) => Key::V6(address.octets()),
        }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        match self {
            Key::V4(octets) => octets,
            Key::V6(octets) => octets,
        }
    }
}

/// An element in the words of nft.
enum Words {
    Range(IpNet),
    Address(IpAddr, Option<u64>),
}

impl Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Words::Range(net) => net.fmt(f),
            Words::Address(address, None) => address.fmt(f),
            Words::Address(address, Some(seconds)) => write!(f, "{address} timeout {seconds}s"),
        }
    }
}

impl Element {
    /// Reads the elements of one message (`NFTA_SET_ELEM_LIST_ELEMENTS`).
    pub(super) fn read(message: Attributes<'_>, into: &mut Vec<Element>) {
        let list = message.within(3).into_iter().flat_map(Attributes::iter);
        into.extend(list.filter_map(|(_, element)| Element::of(Attributes(element))));
    }

    fn of(element: Attributes<'_>) -> Option<Element> {
        const RANGE_END: u32 = 1;
        let key = element.within(1)?.get(1)?;
        let address = match key.len() {
            4 => IpAddr::from(*key.first_chunk::<4>()?),
            16 => IpAddr::from(*key.first_chunk::<16>()?),
            _ => return None,
        };
        let ends = element.number(3).is_some_and(|flags| flags & RANGE_END != 0);
        // Whole seconds, and never none: what is there has not ended.
        let remaining = element.long_number(5).map(|milliseconds| milliseconds.div_ceil(1000).max(1));
        // One expression, or a list of them.
        let alone = element.within(7).into_iter();
        let listed = element.within(11).into_iter().flat_map(Attributes::iter).map(|(_, one)| Attributes(one));
        let counter = alone.chain(listed).find(|expression| expression.text(1) == Some("counter"));
        let packets = counter.and_then(|counter| counter.within(2)?.long_number(2));
        Some(Element { address, ends, remaining, packets })
    }
}

/// The ranges, first and last address, that the ends of a set of ranges make. A range without an end goes on to the
/// last address of all.
fn ranges(elements: &[Element]) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let mut ends: Vec<(IpAddr, bool)> = elements.iter().map(|element| (element.address, !element.ends)).collect();
    // Where one range ends and the next begins, the end comes first.
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = loop {
            if let (address, true) = ends.next()? {
                break address;
            }
        };
        let last = match ends.next_if(|(_, begins)| !begins) {
            Some((IpAddr::V4(end), _)) => IpAddr::from((u32::from(end).wrapping_sub(1)).to_be_bytes()),
            Some((IpAddr::V6(end), _)) => IpAddr::from((u128::from(end).wrapping_sub(1)).to_be_bytes()),
            None if first.is_ipv4() => IpAddr::from([0xff; 4]),
            None => IpAddr::from([0xff; 16]),
        };
        Some((first, last))
    })
}

fn subnets(first: IpAddr, last: IpAddr) -> Vec<IpNet> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect(),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::from).collect(),
        _ => Vec::new(),
    }
}

/// Networks to be blocked, nested as they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Networks(BTreeSet<IpNet>);

impl Networks {
    pub(super) fn new(nets: impl IntoIterator<Item = IpNet>) -> Networks {
        Networks(nets.into_iter().filter(|net| Set::of(net).has_ranges()).collect())
    }

    /// Whether a wider one covers it.
    pub(super) fn covers(&self, net: &IpNet) -> bool {
        (0..net.prefix_len()).any(|bits| IpNet::new(net.addr(), bits).is_ok_and(|wide| self.0.contains(&wide.trunc())))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn has(&self, net: &IpNet) -> bool {
        self.0.contains(net)
    }

    /// The widest ones, which are the elements of the kernel's sets.
    pub(super) fn widest(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.0.iter().copied().filter(|net| !self.covers(net))
    }

    /// Adds and removes, and says what then becomes of the elements of the kernel: which go and which come.
    pub(super) fn change(&mut self, add: &[IpNet], remove: &[IpNet]) -> (BTreeSet<IpNet>, BTreeSet<IpNet>) {
        if add.is_empty() && remove.is_empty() {
            return Default::default();
        }
        let before = self.clone();
        self.0.retain(|net| !remove.contains(net));
        self.0.extend(add);
        // Only within what came or went can anything be different.
        let touched: Vec<&IpNet> = add.iter().chain(remove).collect();
        let shown = |networks: &Networks| -> BTreeSet<IpNet> {
            let near = touched.iter().flat_map(|around| networks.within(around));
            near.filter(|net| !networks.covers(net)).collect()
        };
        let (old, new) = (shown(&before), shown(self));
        (old.difference(&new).copied().collect(), new.difference(&old).copied().collect())
    }

    fn within(&self, around: &IpNet) -> impl Iterator<Item = IpNet> {
        let last = IpNet::from(around.broadcast());
        let around = *around;
        let near: Vec<IpNet> = self.0.range(around..=last).copied().collect();
        near.into_iter().filter(move |net| around.contains(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn end(address: &str, ends: bool) -> Element {
        Element { address: address.parse().unwrap(), ends, remaining: None, packets: None }
    }

    #[test]
    fn each_block_has_its_set() {
        for (text, set, element) in [
            ("192.0.2.1/32", Set::Hosts4, "192.0.2.1"),
            ("192.0.2.0/24", Set::Networks4, "192.0.2.0/24"),
            ("2001:db8::1/128", Set::Hosts6, "2001:db8::1"),
            ("2001:db8::/64", Set::Subnets6, "2001:db8::"),
            ("2001:db8::/56", Set::Networks6, "2001:db8::/56"),
        ] {
            assert_eq!(Set::of(&net(text)), set);
            assert_eq!(set.element(&net(text), None).to_string(), element);
        }
    }

    #[test]
    fn ranges_are_read_back_as_networks_however_they_lie() {
        let elements = [
            end("255.255.255.0", false),
            end("10.0.2.0", true),
            end("10.0.1.0", true),
            end("10.0.1.0", false),
            end("10.0.0.0", false),
            end("0.0.0.0", true),
        ];
        let nets: Vec<IpNet> = Set::Networks4.nets(&elements).into_iter().map(|(net, _)| net).collect();
        assert_eq!(nets, ["10.0.0.0/24", "10.0.1.0/24", "255.255.255.0/24"].map(net));
        // By hand, somebody added 10.0.0.1-10.0.0.2.
        let odd = Set::Networks4.nets(&[end("10.0.0.1", false), end("10.0.0.3", true)]);
        assert_eq!(odd.len(), 2);
    }

    #[test]
    fn the_widest_networks_are_the_elements() {
        let mut networks = Networks::default();
        let none = BTreeSet::new;
        let (one, around, wide) = (net("203.0.113.128/25"), net("203.0.113.0/24"), net("203.0.112.0/22"));
        assert_eq!(networks.change(&[one], &[]), (none(), [one].into()));
        assert_eq!(networks.change(&[around, wide], &[]), ([one].into(), [wide].into()));
        assert_eq!(networks.change(&[], &[around]), (none(), none()));
        assert_eq!(networks.change(&[around], &[wide]), ([wide].into(), [around].into()));
        assert_eq!(networks.change(&[], &[around]), ([around].into(), [one].into()));
        assert_eq!(networks.widest().collect::<Vec<_>>(), [one]);
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        (0_u32..64, 24_u8..32)
            .prop_map(|(n, bits)| IpNet::new(IpAddr::from((n << 2).to_be_bytes()), bits).unwrap().trunc())
    }

    proptest! {
        #[test]
        fn step_by_step_the_elements_stay_the_widest(
            steps in proptest::collection::vec((proptest::collection::vec(any_net(), 0..4), proptest::collection::vec(any_net(), 0..4)), 0..12)
        ) {
            let mut networks = Networks::default();
            let mut elements: BTreeSet<IpNet> = BTreeSet::new();
            for (add, remove) in steps {
                let remove: Vec<IpNet> = remove.into_iter().filter(|net| !add.contains(net)).collect();
                let (gone, come) = networks.change(&add, &remove);
                prop_assert!(gone.iter().all(|net| elements.remove(net)));
                prop_assert!(come.iter().all(|net| elements.insert(*net)));
                prop_assert_eq!(networks.widest().collect::<BTreeSet<_>>(), elements.clone());
            }
        }
    }
}
