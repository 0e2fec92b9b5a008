//! Addresses and networks as people write and read them.
//!
//! PURE: no clock, no I/O.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

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

    proptest! {
        #[test]
        fn what_is_shown_reads_back(address in any::<IpAddr>(), length in 0u8..=128) {
            let length = length.min(IpNet::from(address).max_prefix_len());
            let net = Plain(unmapped(IpNet::new(address, length).unwrap().trunc()));
            prop_assert_eq!(net.to_string().parse(), Ok(net));
        }
    }
}
