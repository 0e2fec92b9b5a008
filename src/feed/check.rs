//! PURE: whether a list may take the place of the one before.
//!
//! Those who write such lists make mistakes: lists without an entry, half of one, the address of this machine, `0.0.0.0`,
//! and the name servers of the world have all been seen. A list with such an entry is refused as a whole: who made one
//! mistake made others.

use std::sync::LazyLock;

use ipnet::IpNet;

use crate::model::net::{Plain, is_too_wide};
use crate::model::nets::Nets;

/// At most 65,536 networks that are neither single addresses nor an IPv6 /64 has a list: nftables looks at all of them
/// to add one.
pub const MOST_NETWORKS: usize = 65_536;

/// A list of fewer entries may change as it likes: one more or less is much of it.
const FEW: usize = 20;

/// At most a quarter of all IPv4 addresses may be in a list.
const MOST_ADDRESSES: u64 = 1 << 30;

/// Networks that nobody on the Internet sends from: those of RFC 6890 and what follows it.
const BOGONS: [&str; 19] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/8",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// Name servers that everybody may use: Cloudflare, Google, Quad9, OpenDNS.
const RESOLVERS: [&str; 16] = [
    "1.1.1.1",
    "1.0.0.1",
    "8.8.8.8",
    "8.8.4.4",
    "9.9.9.9",
    "149.112.112.112",
    "208.67.222.222",
    "208.67.220.220",
    "2606:4700:4700::1111",
    "2606:4700:4700::1001",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
    "2620:fe::fe",
    "2620:fe::9",
    "2620:119:35::35",
    "2620:119:53::53",
];

static NOBODYS: LazyLock<Nets> = LazyLock::new(|| parse(&BOGONS));
static EVERYBODYS: LazyLock<Nets> = LazyLock::new(|| parse(&RESOLVERS));

/// Why one of these entries has no place in any list, if one has none. `own` are the addresses of this machine.
pub fn entries(nets: &[IpNet], own: &Nets) -> Result<(), String> {
    for net in nets {
        let what = if is_too_wide(net) {
            "wider than any list may be"
        } else if NOBODYS.meets(net) {
            "nobody on the Internet has these addresses"
        } else if EVERYBODYS.meets(net) {
            "that is a public name server"
        } else if own.meets(net) {
            "that is this machine"
        } else {
            continue;
        };
        return Err(format!("it holds {}: {what}", Plain(*net)));
    }
    Ok(())
}

/// Whether a list, of which each entry may be, may be in force after `old`, of which at most `change` percent may
/// differ.
///
/// # Errors
/// Says why not.
pub fn whole(new: &Nets, old: Option<&Nets>, change: u64) -> Result<(), String> {
    if new.is_empty() {
        return Err("it is empty".to_owned());
    }
    let networks =
        new.iter().filter(|net| !matches!((net, net.prefix_len()), (_, 128) | (IpNet::V4(_), 32) | (IpNet::V6(_), 64)));
    let networks = networks.count();
    if networks > MOST_NETWORKS {
        return Err(format!("it has {networks} networks, and there is room for {MOST_NETWORKS}"));
    }
    let v4 = new.iter().filter(|net| matches!(net, IpNet::V4(_)));
    if v4.map(|net| 1_u64 << (32 - net.prefix_len())).sum::<u64>() > MOST_ADDRESSES {
        return Err("it holds more than a quarter of all IPv4 addresses".to_owned());
    }
    let Some(old) = old.filter(|old| old.len() >= FEW) else { return Ok(()) };
    let differ = new.differences(old);
    let all = (new.len() + old.len() + differ) / 2;
    let percent = (100 * differ / all.max(1)) as u64;
    if percent >= change && differ > 0 {
        let (new, old) = (new.len(), old.len());
        return Err(format!(
            "{percent} percent of it differ from the one in force ({new} entries instead of {old}), and at {change} \
             percent it is not believed"
        ));
    }
    Ok(())
}

fn parse(nets: &[&str]) -> Nets {
    nets.iter().filter_map(|net| net.parse().ok().map(|Plain(net)| net)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse::<Plain>().unwrap().0).collect()
    }

    fn hosts(numbers: impl IntoIterator<Item = u32>) -> Nets {
        numbers.into_iter().map(|n| IpNet::from(std::net::IpAddr::from((0x2d0a_0000 + n).to_be_bytes()))).collect()
    }

    #[test]
    fn what_must_never_be_in_a_list_is_named() {
        let own: Nets = nets(&["45.10.9.9"]).into_iter().collect();
        let why = |net: &str| entries(&nets(&["45.10.1.1", net]), &own).unwrap_err();
        assert_eq!(why("0.0.0.0"), "it holds 0.0.0.0: nobody on the Internet has these addresses");
        for (net, cause) in [
            ("0.0.0.0/0", "wider"),
            ("128.0.0.0/1", "wider"),
            ("::/0", "wider"),
            ("0.0.0.0/8", "nobody"),
            ("192.168.1.0/24", "nobody"),
            ("255.255.255.255", "nobody"),
            ("fe80::1", "nobody"),
            ("8.8.8.8", "name server"),
            ("9.9.8.0/22", "name server"),
            ("2001:4860:4860::/48", "name server"),
            ("45.10.9.9", "this machine"),
            ("45.10.0.0/16", "this machine"),
        ] {
            assert!(why(net).contains(cause), "{net}: {}", why(net));
        }
        assert_eq!(entries(&nets(&["45.10.1.1", "45.11.0.0/16", "2a00:1::/32"]), &own), Ok(()));
        assert_eq!((NOBODYS.len(), EVERYBODYS.len()), (BOGONS.len(), RESOLVERS.len()));
    }

    #[test]
    fn an_empty_list_and_half_of_one_are_refused() {
        let old = hosts(0..100);
        assert_eq!(whole(&Nets::default(), None, 50).unwrap_err(), "it is empty");
        assert!(whole(&hosts(0..50), Some(&old), 50).unwrap_err().starts_with("50 percent of it differ"));
        assert!(whole(&hosts(0..200), Some(&old), 50).is_err());
        assert!(whole(&hosts(100..200), Some(&old), 100).is_err());
        for new in [hosts(0..100), hosts(0..51), hosts(0..199), hosts(10..120)] {
            assert_eq!(whole(&new, Some(&old), 50), Ok(()));
        }
        assert_eq!(whole(&hosts(0..1), Some(&hosts(5..20)), 50), Ok(()), "a few entries");
        assert_eq!(whole(&hosts(0..1), None, 50), Ok(()), "the first list");
    }

    #[test]
    fn a_list_has_a_bound_of_networks_and_of_addresses() {
        let wide = |count: u32, bits: u8| -> Nets {
            (0..count)
                .map(|n| {
                    IpNet::new(std::net::IpAddr::from(((11 << 24) + (n << (32 - bits))).to_be_bytes()), bits).unwrap()
                })
                .collect()
        };
        assert_eq!(whole(&wide(MOST_NETWORKS as u32, 30), None, 50), Ok(()));
        assert!(whole(&wide(MOST_NETWORKS as u32 + 1, 30), None, 50).unwrap_err().contains("65537 networks"));
        assert_eq!(whole(&wide(64, 8), None, 50), Ok(()));
        assert!(whole(&wide(65, 8), None, 50).unwrap_err().contains("quarter"));
    }

    proptest! {
        #[test]
        fn a_change_is_measured_as_sets_are(
            old in proptest::collection::btree_set(0u32..200, 20..100),
            new in proptest::collection::btree_set(0u32..200, 1..100),
            change in 1u64..=100,
        ) {
            let one: BTreeSet<u32> = &old ^ &new;
            let all: BTreeSet<u32> = &old | &new;
            let refused = 100 * one.len() >= change as usize * all.len();
            prop_assert_eq!(whole(&hosts(new), Some(&hosts(old)), change).is_err(), refused);
        }
    }
}
