//! One line of the journal.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::block::{Block, Port, Proof, Reason};
use crate::model::clock::UnixTime;

/// One thing to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A block is in force, or one that was has changed.
    Block(IpNet, Block),
    /// A block has gone.
    Unblock(IpNet),
    /// An address logged in with a password.
    Trust(IpAddr, UnixTime),
    /// An attack came in on a local port.
    Port(Port),
}

impl Record {
    /// Appends the line of this record, its end of line included.
    pub(super) fn push_line(&self, text: &mut String) {
        let start = text.len();
        let written = match self {
            Record::Block(net, Block { since, end, reason, proof }) => {
                let (repeated, shaken) = match proof {
                    Proof::Claimed | Proof::Ordered => ("", ""),
                    Proof::Repeated => ("+", ""),
                    Proof::Shaken => ("", "+"),
                };
                write!(text, "block {net} {repeated}{} {shaken}{} {reason}", since.0, end.0)
            }
            Record::Unblock(net) => write!(text, "unblock {net}"),
            Record::Trust(address, login) => write!(text, "trust {address} {}", login.0),
            Record::Port(Port::Udp(port)) => write!(text, "port udp {port}"),
            Record::Port(Port::Tcp(port)) => write!(text, "port tcp {port}"),
        };
        let sum = checksum(&text.as_bytes()[start..]);
        written.and_then(|()| writeln!(text, " #{sum:08x}")).expect("writing to a String does not fail");
    }

    /// Reads a line without its end of line; `None` if it is not exactly as [`Record::push_line`] writes one.
    pub(super) fn parse(line: &[u8]) -> Option<Record> {
        let (text, sum) = std::str::from_utf8(line).ok()?.rsplit_once(" #")?;
        if sum.len() != 8 || u32::from_str_radix(sum, 16) != Ok(checksum(text.as_bytes())) {
            return None;
        }
        let (what, rest) = text.split_once(' ')?;
        match what {
            "block" => {
                let mut words = rest.splitn(4, ' ');
                let net = words.next()?.parse().ok()?;
                let (since, end) = (words.next()?, words.next()?);
                // The sum is right, so a reason that is not known is one of a later release: keep the block.
                let reason = words.next()?.parse().unwrap_or(Reason::Adopted);
                let proof = match (since.starts_with('+'), end.starts_with('+')) {
                    (_, true) => Proof::Shaken,
                    (true, false) => Proof::Repeated,
                    (false, false) => Proof::of(reason),
                };
                // A number may have a sign, which releases that do not know its meaning read over.
                let (since, end) = (UnixTime(since.parse().ok()?), UnixTime(end.parse().ok()?));
                Some(Record::Block(net, Block { since, end, reason, proof }))
            }
            "unblock" => Some(Record::Unblock(rest.parse().ok()?)),
            "trust" => {
                let (address, login) = rest.split_once(' ')?;
                Some(Record::Trust(address.parse().ok()?, UnixTime(login.parse().ok()?)))
            }
            "port" => match rest.split_once(' ')? {
                ("udp", port) => Some(Record::Port(Port::Udp(port.parse().ok()?))),
                ("tcp", port) => Some(Record::Port(Port::Tcp(port.parse().ok()?))),
                _ => None,
            },
            _ => None,
        }
    }
}

/// FNV-1a over 32 bits: notices every single changed byte, and all but one in 2^32 of other damages.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn any_net() -> impl Strategy<Value = IpNet> {
        (any::<IpAddr>(), 0u8..=32).prop_map(|(address, len)| IpNet::new(address, len).unwrap().trunc())
    }

    pub fn any_record() -> impl Strategy<Value = Record> {
        let time = || any::<u64>().prop_map(UnixTime);
        prop_oneof![
            (any_net(), time(), time(), 0..Reason::ALL.len(), 0..3_usize).prop_map(
                |(net, since, end, reason, proof)| {
                    let block = Block::new(since, end, Reason::ALL[reason]);
                    Record::Block(net, Block { proof: block.proof.max(Proof::ALL[proof]), ..block })
                }
            ),
            any_net().prop_map(Record::Unblock),
            (any::<IpAddr>(), time()).prop_map(|(address, login)| Record::Trust(address, login)),
        ]
    }

    #[test]
    fn a_line_looks_as_documented() {
        let block = Block::new(UnixTime(1_560_340_915), UnixTime(1_560_427_315), Reason::FailedAcl);
        for (proof, expected) in [
            (Proof::Claimed, "block 203.0.113.7/32 1560340915 1560427315 Failed ACL #1a8dbb00\n"),
            (Proof::Repeated, "block 203.0.113.7/32 +1560340915 1560427315 Failed ACL #b48b4067\n"),
            (Proof::Shaken, "block 203.0.113.7/32 1560340915 +1560427315 Failed ACL #b0f29f0d\n"),
        ] {
            let mut line = String::new();
            Record::Block("203.0.113.7/32".parse().unwrap(), Block { proof, ..block }).push_line(&mut line);
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn two_lines_merged_into_one_are_no_record() {
        let mut line = String::new();
        Record::Unblock("203.0.113.7/32".parse().unwrap()).push_line(&mut line);
        let line = line.trim_end();
        assert!(Record::parse(line.as_bytes()).is_some());
        for cut in 1..line.len() {
            assert_eq!(Record::parse(format!("{}{line}", &line[..cut]).as_bytes()), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn a_line_reads_back_and_no_changed_byte_goes_unnoticed(
            record in any_record(), place in any::<prop::sample::Index>(), other in any::<u8>(),
        ) {
            let mut line = String::new();
            record.push_line(&mut line);
            let mut line = line.trim_end().as_bytes().to_vec();
            prop_assert_eq!(Record::parse(&line), Some(record));
            let place = place.index(line.len());
            prop_assume!(!line[place].eq_ignore_ascii_case(&other));
            line[place] = other;
            prop_assert_eq!(Record::parse(&line), None);
        }
    }
}
