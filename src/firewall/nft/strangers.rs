//! PURE: the shield in the words of `nft`. All of it is in chains and sets of its own, which are there only while it is.
//!
//! A dynamic set keeps a bucket for each stranger. It holds `shield.shed` packets and is filled again within
//! [`PERIOD`] seconds; a packet that finds it empty is shed. To look a stranger up in such a set would empty his bucket,
//! so whether there is room for him is asked of another set. That has half the size: where it has room, so have those with
//! the buckets.

use std::fmt::Write;

use super::sets::{List, Set};
use super::words::Features;
use crate::config::{ShieldConfig, ShieldMode};
use crate::firewall::scope::SIP;
use crate::firewall::shield::{CROWD, Excess, MOST_LISTED, PACKET_BYTES, PERIOD, STRANGERS};

/// The chain that tells who is a stranger.
pub(super) const SHIELD: &str = "shield";

/// The chain that measures each stranger.
const MEASURE: &str = "measure";

/// The chain for what is too much.
const SHED: &str = "shed";

pub(super) const CHAINS: [&str; 3] = [SHIELD, MEASURE, SHED];

/// The sets of those who lose packets, of both address families.
pub(super) const LOSERS: [(&str, Excess); 4] = [
    ("shed4", Excess::Datagrams),
    ("shed6", Excess::Datagrams),
    ("syn4", Excess::Connections),
    ("syn6", Excess::Connections),
];

/// Seconds after which a stranger who sends nothing is counted no longer. His bucket is full again by then.
const FORGOTTEN: u64 = 2 * PERIOD;

/// An address family: its digit, its type in nft, what a stranger is known by.
const FAMILIES: [(char, &str, &str); 2] =
    [('4', "ipv4_addr", "ip saddr"), ('6', "ipv6_addr", "ip6 saddr & ffff:ffff:ffff:ffff::")];

/// The sets that packets fill, with digits behind: what they are, seconds until an element ends, and most elements.
const SETS: [(&str, u64, u32); 5] = [
    ("known", FORGOTTEN, STRANGERS),
    ("rate", FORGOTTEN, 2 * STRANGERS),
    ("bytes", FORGOTTEN, 2 * STRANGERS),
    ("shed", PERIOD, MOST_LISTED),
    ("syn", PERIOD, MOST_LISTED),
];

/// The names of all sets but those of the ports and the blocks.
pub(super) fn sets() -> impl Iterator<Item = String> {
    let counting =
        FAMILIES.into_iter().flat_map(|(digit, ..)| SETS.map(|(set, ..)| set).map(|set| format!("{set}{digit}")));
    Set::ALL.into_iter().map(|set| List::Admitted.name(set)).chain(counting)
}

/// Chains and sets, with the elements that they have already; the rules are replaced. Where all traffic is led through
/// our chain, only that to SIP ports is measured. Without counters it is not known how many packets a stranger lost.
pub(super) fn structure(table: &str, shield: ShieldConfig, all_traffic: bool, features: Features) -> String {
    let mut text = String::new();
    for set in Set::ALL {
        let kind = if set.is_v4() { "ipv4_addr" } else { "ipv6_addr" };
        let ranges = if set.has_ranges() { " flags interval;" } else { "" };
        let _ = writeln!(text, "add set inet {table} {} {{ type {kind};{ranges} }}", List::Admitted.name(set));
    }
    for (digit, kind, _) in FAMILIES {
        for (set, timeout, size) in SETS {
            let counter = if timeout == PERIOD && features.counters { " counter;" } else { "" };
            let flags = format!("flags dynamic,timeout; timeout {timeout}s; size {size};{counter}");
            let _ = writeln!(text, "add set inet {table} {set}{digit} {{ type {kind}; {flags} }}");
        }
    }
    for chain in CHAINS {
        let _ = writeln!(text, "add chain inet {table} {chain}\nflush chain inet {table} {chain}");
    }
    let mut say = |chain: &str, rule: &str| {
        let _ = writeln!(text, "add rule inet {table} {chain} {rule}");
    };
    for protocol in ["udp", "tcp"].into_iter().filter(|_| all_traffic) {
        say(SHIELD, &format!("{protocol} dport != {}-{} return", SIP.start(), SIP.end()));
    }
    for set in Set::ALL {
        say(SHIELD, &format!("{} return", set.lookup(List::Admitted)));
    }
    if features.local {
        say(SHIELD, "fib daddr type != local return");
    }
    say(SHIELD, "meta l4proto != udp meta l4proto != tcp return");
    // Of TCP only the first packet of a connection counts.
    say(SHIELD, "tcp flags & (syn | ack) != syn return");
    let (packets, bytes) = limits(shield.shed);
    for (digit, _, source) in FAMILIES {
        say(SHIELD, &format!("update @known{digit} {{ {source} }} goto {MEASURE}"));
        say(MEASURE, &format!("update @rate{digit} {{ {source} limit rate over {packets} }} goto {SHED}"));
        say(MEASURE, &format!("update @bytes{digit} {{ {source} limit rate over {bytes} }} goto {SHED}"));
        say(SHED, &format!("meta l4proto udp update @shed{digit} {{ {source} }}"));
        say(SHED, &format!("meta l4proto tcp update @syn{digit} {{ {source} }}"));
    }
    let (all_packets, _) = limits(shield.shed.saturating_mul(CROWD));
    say(SHIELD, &format!("limit rate over {all_packets} goto {SHED}"));
    if shield.mode == ShieldMode::On {
        say(SHED, "drop");
    }
    text
}

/// So many packets in [`PERIOD`] seconds, and their bytes, in the words of nft.
fn limits(shed: u32) -> (String, String) {
    let shed = u64::from(shed);
    let bytes = shed * PACKET_BYTES;
    // The kernel's bucket of bytes holds those of a second beside the burst.
    let (a_second, burst) = (bytes / PERIOD, bytes - bytes / PERIOD);
    let packets = format!("{}/minute burst {shed} packets", shed * 60 / PERIOD);
    (packets, format!("{a_second} bytes/second burst {burst} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_may_come_in_ten_seconds_and_is_full_again_after_ten() {
        let (packets, bytes) = limits(60);
        assert_eq!(packets, "360/minute burst 60 packets");
        assert_eq!(bytes, "9000 bytes/second burst 81000 bytes");
    }

    #[test]
    fn counting_drops_nothing() {
        let text = |mode| {
            structure("t", ShieldConfig { mode, shed: 60, patience: 60, scanners: false }, false, Features::TRIED[0])
        };
        assert!(text(ShieldMode::On).ends_with("add rule inet t shed drop\n"));
        assert!(!text(ShieldMode::Count).contains("drop"));
    }
}
