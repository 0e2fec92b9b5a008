//! What a member tells the others: one entry of its stream, or one of its live blocks.
//!
//! An entry of a stream is a list of fields, in this order when SIPban writes it:
//!
//! | field | value |
//! | --- | --- |
//! | `v` | `1`, the version of this form |
//! | `is` | `block`, `unblock`, `pardon`, `unpardon` or `whole` |
//! | `net` | address or network; none for `whole` |
//! | `reason` | of a block: as in the log |
//! | `for` | of a block or a pardon: seconds from the time of the entry's ID, which is the server's |
//!
//! A live block is a member of a sorted set, `NET|REASON`, whose score is its end. A pardon is one with the reason
//! `pardon`.
//!
//! PURE: no clock, no I/O.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::block::Reason;
use crate::model::member::ADMIN;
use crate::model::net::{Plain, holds_translated, is_too_wide};

/// At most this many bytes are read of one live block or one field.
const MOST_TEXT: usize = 100;

const VERSION: &str = "1";
const PARDON: &str = "pardon";

/// One entry of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The origin blocks this address or network.
    Block {
        /// Whom.
        net: IpNet,
        /// Why.
        reason: Reason,
        /// Seconds from the time of the entry.
        seconds: u64,
    },
    /// The origin blocks it no more.
    Unblock(IpNet),
    /// Nobody's block of it counts. Only [`ADMIN`] can say so.
    Pardon {
        /// Whom.
        net: IpNet,
        /// Seconds from the time of the entry.
        seconds: u64,
    },
    /// The pardon is taken back.
    Unpardon(IpNet),
    /// The set of live blocks is complete: what it lacks is blocked no more.
    Whole,
}

/// One member of the set of live blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Whom.
    pub net: IpNet,
    /// Why; `None` for a pardon.
    pub reason: Option<Reason>,
}

/// Why an entry counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not of the form that this version reads.
    #[error("entries that this version of SIPban does not read")]
    Form,
    /// Only [`ADMIN`] may say this.
    #[error("networks or pardons, which only the origin {ADMIN} may name")]
    Rank,
    /// It names what no attacker of several PBXs can be.
    #[error("addresses that are nobody's on the internet")]
    Nobody,
}

impl Entry {
    /// Reads the fields of an entry that stood in the stream of this origin. A field that is not known is passed over.
    ///
    /// # Errors
    /// Says why it counts for nothing.
    pub fn read<'a>(origin: &str, fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Entry, Unfit> {
        let (mut version, mut is, mut net, mut reason, mut seconds) = ("", "", "", "", "");
        for (name, value) in fields {
            let place = match name {
                b"v" => &mut version,
                b"is" => &mut is,
                b"net" => &mut net,
                b"reason" => &mut reason,
                b"for" => &mut seconds,
                _ => continue,
            };
            *place = text(value).ok_or(Unfit::Form)?;
        }
        if version != VERSION {
            return Err(Unfit::Form);
        }
        if is == "whole" {
            return Ok(Entry::Whole);
        }
        let Plain(net) = net.parse().map_err(|()| Unfit::Form)?;
        let lasts = || seconds.parse::<u64>().map_err(|_| Unfit::Form);
        let entry = match is {
            "block" => Entry::Block { net, reason: reason_of(reason), seconds: lasts()? },
            "unblock" => Entry::Unblock(net),
            "pardon" => Entry::Pardon { net, seconds: lasts()? },
            "unpardon" => Entry::Unpardon(net),
            _ => return Err(Unfit::Form),
        };
        let is_pardon = matches!(entry, Entry::Pardon { .. } | Entry::Unpardon(_));
        may_name(origin, &net, is_pardon)?;
        Ok(entry)
    }

    /// The same, its seconds counted from `now` instead of from the time it was written, both in milliseconds. `None`
    /// if they have passed.
    pub fn since(self, written: u64, now: u64) -> Option<Entry> {
        let left = |seconds: u64| {
            let end = written.saturating_add(seconds.saturating_mul(1_000));
            Some(end.saturating_sub(now).div_ceil(1_000).min(seconds)).filter(|left| *left > 0)
        };
        match self {
            Entry::Block { net, reason, seconds } => Some(Entry::Block { net, reason, seconds: left(seconds)? }),
            Entry::Pardon { net, seconds } => Some(Entry::Pardon { net, seconds: left(seconds)? }),
            other => Some(other),
        }
    }

    /// Its fields and their values.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let (is, net, reason, seconds) = match self {
            Entry::Block { net, reason, seconds } => ("block", Some(net), Some(reason), Some(seconds)),
            Entry::Unblock(net) => ("unblock", Some(net), None, None),
            Entry::Pardon { net, seconds } => (PARDON, Some(net), None, Some(seconds)),
            Entry::Unpardon(net) => ("unpardon", Some(net), None, None),
            Entry::Whole => ("whole", None, None, None),
        };
        let mut fields = vec![("v", VERSION.to_owned()), ("is", is.to_owned())];
        fields.extend(net.map(|net| ("net", Plain(*net).to_string())));
        fields.extend(reason.map(|reason| ("reason", reason.to_string())));
        fields.extend(seconds.map(|seconds| ("for", seconds.to_string())));
        fields
    }
}

impl Live {
    /// Reads a member of the set of this origin.
    ///
    /// # Errors
    /// Says why it counts for nothing.
    pub fn read(origin: &str, member: &[u8]) -> Result<Live, Unfit> {
        let (net, reason) = text(member).and_then(|text| text.split_once('|')).ok_or(Unfit::Form)?;
        let Plain(net) = net.parse().map_err(|()| Unfit::Form)?;
        let live = Live { net, reason: (reason != PARDON).then(|| reason_of(reason)) };
        may_name(origin, &net, live.reason.is_none())?;
        Ok(live)
    }

    /// As it stands in the set.
    pub fn member(&self) -> String {
        format!("{}|{}", Plain(self.net), self.reason.map_or(PARDON, Reason::text))
    }
}

/// Whether a member may tell others of this address: it means the same to all of them, and is a single one.
pub fn is_for_all(net: &IpNet) -> bool {
    is_somebodys(net) && is_single(net)
}

fn may_name(origin: &str, net: &IpNet, is_pardon: bool) -> Result<(), Unfit> {
    match origin {
        ADMIN if is_too_wide(net) => Err(Unfit::Rank),
        ADMIN => Ok(()),
        _ if is_pardon || !is_single(net) => Err(Unfit::Rank),
        _ if !is_somebodys(net) => Err(Unfit::Nobody),
        _ => Ok(()),
    }
}

fn is_single(net: &IpNet) -> bool {
    match net {
        IpNet::V4(_) => net.prefix_len() == 32,
        IpNet::V6(_) => net.prefix_len() >= 64,
    }
}

/// Whether an address is the same machine wherever it is seen: no private one, which is another's in each network.
fn is_somebodys(net: &IpNet) -> bool {
    let is_nobodys = match net.addr() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b); // RFC 6598
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || is_shared || a == 0 || a >= 224
        }
        IpAddr::V6(v6) => {
            let is_in = |bits: u16, of: u16| v6.segments()[0] & of == bits;
            let is_local = is_in(0xfc00, 0xfe00) || is_in(0xfe80, 0xffc0) || is_in(0xff00, 0xff00);
            is_local || v6.is_loopback() || v6.is_unspecified() || holds_translated(net)
        }
    };
    !is_nobodys
}

/// A newer version may have reasons that this one does not know.
fn reason_of(text: &str) -> Reason {
    text.parse().unwrap_or(Reason::Adopted)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MOST_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse::<Plain>().unwrap().0
    }

    fn read(origin: &str, fields: &[(&str, &str)]) -> Result<Entry, Unfit> {
        Entry::read(origin, fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn block(origin: &str, net: &str) -> Result<Entry, Unfit> {
        read(origin, &[("v", "1"), ("is", "block"), ("net", net), ("reason", "Invalid Account"), ("for", "60")])
    }

    #[test]
    fn what_is_written_reads_back() {
        let net = net("198.51.100.7");
        for entry in [
            Entry::Block { net, reason: Reason::ChallengeFailed, seconds: 86_400 },
            Entry::Unblock(net),
            Entry::Pardon { net, seconds: 60 },
            Entry::Unpardon(net),
            Entry::Whole,
        ] {
            let fields = entry.fields();
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert_eq!(Entry::read(ADMIN, fields), Ok(entry));
        }
        for reason in Reason::ALL.into_iter().map(Some).chain([None]) {
            let live = Live { net, reason };
            assert_eq!(Live::read(ADMIN, live.member().as_bytes()), Ok(live));
        }
    }

    #[test]
    fn seconds_count_from_the_time_of_the_entry_by_the_servers_clock_alone() {
        let block = |seconds| Entry::Block { net: net("198.51.100.7"), reason: Reason::FailedAcl, seconds };
        let left = |seconds, now| block(seconds).since(1_000_000, now);
        assert_eq!(left(60, 1_000_000), Some(block(60)));
        assert_eq!(left(60, 1_030_000), Some(block(30)));
        assert_eq!(left(60, 1_060_000), None);
        // An ID from the future gives no more time.
        assert_eq!(left(60, 0), Some(block(60)));
        assert!(left(u64::MAX, 0).is_some());
        assert_eq!(Entry::Whole.since(0, u64::MAX), Some(Entry::Whole));
    }

    #[test]
    fn a_network_is_for_the_admin_alone_to_name() {
        for wide in ["198.51.100.0/24", "198.51.100.0/31", "2001:db9::/63", "0.0.0.0/0", "::/0"] {
            assert_eq!(block("pbx1", wide), Err(Unfit::Rank), "{wide}");
        }
        assert!(block("pbx1", "2001:db9::/64").is_ok());
        assert!(block(ADMIN, "198.51.100.0/24").is_ok());
        for wide in ["0.0.0.0/0", "::/0", "128.0.0.0/1"] {
            assert_eq!(block(ADMIN, wide), Err(Unfit::Rank), "{wide}");
        }
    }

    #[test]
    fn nobody_names_what_is_another_machine_at_each_member() {
        for address in [
            "192.168.1.7",
            "10.0.0.1",
            "172.16.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::/64",
            "ff02::1",
            "64:ff9b::/64",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(block("pbx1", address), Err(Unfit::Nobody), "{address}");
            assert!(!is_for_all(&net(address)), "{address}");
        }
    }

    #[test]
    fn a_pardon_is_the_admins_alone() {
        let pardon = [("v", "1"), ("is", "pardon"), ("net", "198.51.100.7"), ("for", "60")];
        assert_eq!(read("pbx1", &pardon), Err(Unfit::Rank));
        assert!(read(ADMIN, &pardon).is_ok());
        assert_eq!(Live::read("pbx1", b"198.51.100.7|pardon"), Err(Unfit::Rank));
    }

    #[test]
    fn what_is_of_another_form_counts_for_nothing() {
        let good = [("v", "1"), ("is", "block"), ("net", "198.51.100.7"), ("reason", "x"), ("for", "60")];
        assert!(read("pbx1", &good).is_ok());
        for (changed, value) in [(0, "2"), (0, ""), (1, "blocks"), (2, "198.51.100"), (4, "-1"), (4, ""), (4, "1e9")] {
            let mut fields = good;
            fields[changed].1 = value;
            assert_eq!(read("pbx1", &fields), Err(Unfit::Form), "{fields:?}");
        }
        let long = "x".repeat(MOST_TEXT + 1);
        assert_eq!(read("pbx1", &[("v", "1"), ("reason", &long)]), Err(Unfit::Form));
        assert_eq!(read("pbx1", &[]), Err(Unfit::Form));
    }

    #[test]
    fn what_a_newer_version_adds_is_passed_over() {
        let fields = [("v", "1"), ("is", "block"), ("net", "198.51.100.7"), ("for", "60"), ("proof", "x")];
        let fields = [&fields[..], &[("reason", "Something New")]].concat();
        let reason = Reason::Adopted;
        assert_eq!(read("pbx1", &fields), Ok(Entry::Block { net: net("198.51.100.7"), reason, seconds: 60 }));
    }

    proptest! {
        #[test]
        fn no_fields_panic(fields in proptest::collection::vec(("v|is|net|reason|for|x", any::<Vec<u8>>()), 0..8)) {
            let _ = Entry::read("pbx1", fields.iter().map(|(name, value)| (name.as_bytes(), &value[..])));
        }

        #[test]
        fn no_member_panics(member in any::<Vec<u8>>()) {
            let _ = Live::read("pbx1", &member);
        }
    }
}
