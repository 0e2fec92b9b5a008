//! Addresses and networks as people write and read them.
//!
//! PURE: no clock, no I/O.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::LazyLock;

use ipnet::IpNet;

use crate::model::allowlist::Allowlist;
use crate::model::quote::quoted;

/// An address, written without its `/32` or `/128`, or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain(pub IpNet);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl FromStr for Plain {
    type Err = ();

    /// `192.0.2.1`, `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, the same for IPv6. Bits behind the prefix go.
    fn from_str(text: &str) -> Result<Plain, ()> {
        let net = match text.split_once('/') {
            None => text.parse::<IpAddr>().ok().map(IpNet::from),
            Some((address, mask)) if mask.contains(['.', ':']) => {
                let parts = address.parse().ok().zip(mask.parse().ok());
                parts.and_then(|(address, mask)| IpNet::with_netmask(address, mask).ok())
            }
            Some(_) => text.parse().ok(),
        };
        net.map(|net| Plain(unmapped(net.trunc()))).ok_or(())
    }
}

/// `::ffff:192.0.2.0/120` is `192.0.2.0/24`: Asterisk reports such peers as IPv4, and the kernel shows their packets to
/// the IPv4 rules.
fn unmapped(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().filter(|_| v6.prefix_len() >= MAPPED);
    v4.and_then(|v4| IpNet::new(v4.into(), v6.prefix_len() - MAPPED).ok()).unwrap_or(net)
}

/// Whether a network is wider than anybody would block on purpose: beyond this it is a slip of the finger.
pub fn is_too_wide(net: &IpNet) -> bool {
    net.prefix_len() < widest(net)
}

/// The shortest prefix of a network of this kind that can be blocked.
pub fn widest(net: &IpNet) -> u8 {
    match net {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 16,
    }
}

/// Whether this is an IPv6 address that others reach, and so tells a /64 of ours.
pub fn is_global_ipv6(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unspecified() && !v6.is_unicast_link_local())
}

/// Whether a network holds IPv6 addresses that stand for IPv4 ones. There a /64 is no customer's: it holds the whole
/// IPv4 internet behind a translator, or all who use the same relay. A translator may also have a prefix of its network's
/// own, which nobody can tell from others.
pub fn holds_translated(net: &IpNet) -> bool {
    static PREFIXES: LazyLock<Allowlist> = LazyLock::new(|| {
        let prefixes = [
            "64:ff9b::/96",    // NAT64, RFC 6052
            "64:ff9b:1::/48",  // NAT64 within a network, RFC 8215
            "::ffff:0:0:0/96", // SIIT, RFC 2765
            "::/96",           // IPv4-compatible, RFC 4291
            "2001::/32",       // Teredo, RFC 4380: the /64 is that of a server
        ];
        prefixes.into_iter().filter_map(|prefix| prefix.parse::<IpNet>().ok()).collect()
    });
    PREFIXES.meets(net)
}

/// Reads an address, or a host name, which is given back in small letters and without the dot at the end. `None` for
/// what is neither. A name that ends in a number is a mistyped address.
pub fn host(text: &str) -> Option<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit());
    is_name.then_some(name)
}

/// What a person names in a list: an address or network, or a host whose addresses are to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetOrHost {
    /// An address (as a network of one) or a network, truncated (no bits behind the prefix).
    Net(IpNet),
    /// A host name, in small letters.
    Host(String),
}

impl FromStr for NetOrHost {
    type Err = String;

    /// What a [`Plain`] is read from, or a host name.
    fn from_str(text: &str) -> Result<NetOrHost, String> {
        let net = text.parse().ok().map(|Plain(net)| NetOrHost::Net(net));
        net.or_else(|| host(text).map(NetOrHost::Host))
            .ok_or_else(|| format!("{} is no address, network or host name", quoted(text)))
    }
}

impl fmt::Display for NetOrHost {
    /// An address without its prefix length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetOrHost::Net(net) => Plain(*net).fmt(f),
            NetOrHost::Host(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_to_write_an_address_is_shown_in_one() {
        for (written, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("2001:db8::1/ffff:ffff::", "2001:db8::/32"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0.0.0.0/80", "::/80"),
        ] {
            assert_eq!(written.parse::<Plain>().map(|net| net.to_string()).as_deref(), Ok(shown), "{written}");
        }
        for text in ["", "192.0.2", "192.0.2.1/33", "192.0.2.0/255.0.255.0", "192.0.2.0/", "fe80::1%eth0", "pbx"] {
            assert_eq!(text.parse::<Plain>(), Err(()), "{text}");
        }
    }

    #[test]
    fn translated_addresses_are_told_from_others() {
        let holds = |net: &str| holds_translated(&net.parse().unwrap());
        for net in ["64:ff9b::/64", "64:ff9b:1:2::/64", "::ffff:0:0:0/96", "::/64", "2001:0:5ef5:79fd::/64", "64::/16"]
        {
            assert!(holds(net), "{net}");
        }
        for net in ["2001:db8::/64", "64:ff9b:2::/64", "2002:cb00:7107::/48", "2001:1::/64", "0.0.0.0/0"] {
            assert!(!holds(net), "{net}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(address in any::<IpAddr>(), length in 0u8..=128) {
            let length = length.min(IpNet::from(address).max_prefix_len());
            let net = Plain(unmapped(IpNet::new(address, length).unwrap().trunc()));
            prop_assert_eq!(net.to_string().parse(), Ok(net));
        }
    }
}
