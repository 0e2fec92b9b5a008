//! One line of the journal.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::block::{Block, Port, Proof, Reason};
use crate::model::clock::UnixTime;
use crate::model::memory::{Home, Memory, Offence};

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A block is in force, or one that was has changed.
    Block(IpNet, Block),
    /// A block has gone.
    Unblock(IpNet),
    /// What the judge is to remember.
    Remember(Memory),
    /// An attack came in on a local port.
    Port(Port),
}

/// Bytes that the checksum takes behind the text: a blank, `#`, eight digits.
const SUM: usize = 10;

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
            Record::Remember(Memory::Home(Home { place, account, last })) => {
                write!(text, "home {place} {} {}", last.0, encode(account))
            }
            Record::Remember(Memory::Offence(net, Offence { blocks, seconds, end, home })) => {
                let whose = if *home { "home" } else { "stranger" };
                write!(text, "offence {net} {blocks} {seconds} {} {whose}", end.0)
            }
            Record::Port(Port::Udp(port)) => write!(text, "port udp {port}"),
            Record::Port(Port::Tcp(port)) => write!(text, "port tcp {port}"),
        };
        let sum = checksum(&text.as_bytes()[start..]);
        written.and_then(|()| writeln!(text, " #{sum:08x}")).expect("writing to a String does not fail");
    }

    /// Reads a line without its end of line; `None` if it is not exactly as [`Record::push_line`] writes one.
    pub(super) fn parse(line: &[u8]) -> Option<Record> {
        let (text, sum) = std::str::from_utf8(line).ok()?.split_at_checked(line.len().checked_sub(SUM)?)?;
        if u32::from_str_radix(sum.strip_prefix(" #")?, 16) != Ok(checksum(text.as_bytes())) {
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
            "home" => {
                let mut words = rest.splitn(3, ' ');
                let place = words.next()?.parse().ok()?;
                let last = UnixTime(words.next()?.parse().ok()?);
                let account = decode(words.next()?)?;
                Some(Record::Remember(Memory::Home(Home { place, account, last })))
            }
            "offence" => {
                let mut words = rest.split(' ');
                let net = words.next()?.parse().ok()?;
                let blocks = words.next()?.parse().ok()?;
                let seconds = words.next()?.parse().ok()?;
                let end = UnixTime(words.next()?.parse().ok()?);
                let home = words.next()? == "home";
                Some(Record::Remember(Memory::Offence(net, Offence { blocks, seconds, end, home })))
            }
            // Of SIPban 2.0: an address that logged in, whatever the account.
            "trust" => {
                let (address, login) = rest.split_once(' ')?;
                let (place, last) = (place_of(address.parse().ok()?), UnixTime(login.parse().ok()?));
                Some(Record::Remember(Memory::Home(Home { place, account: Box::default(), last })))
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

/// The network of an address that counts as one source.
fn place_of(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { 32 } else { 64 };
    IpNet::new(address, length).unwrap_or(address.into()).trunc()
}

/// An account's name as one word, with `%` and two digits for every byte that is no plain letter, digit or sign.
fn encode(account: &[u8]) -> String {
    let mut word = String::with_capacity(account.len());
    for byte in account {
        if byte.is_ascii_graphic() && !b"%#".contains(byte) {
            word.push(char::from(*byte));
        } else {
            let _ = write!(word, "%{byte:02x}");
        }
    }
    word
}

fn decode(word: &str) -> Option<Box<[u8]>> {
    let mut account = Vec::with_capacity(word.len());
    let mut bytes = word.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        account.push(if byte == b'%' { (digit()? * 16 + digit()?) as u8 } else { byte });
    }
    Some(account.into())
}

/// FNV-1a over 32 bits. It notices every change of a single byte, and all but one in 2^32 of other damage.
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
            (any_net(), proptest::collection::vec(any::<u8>(), 0..20), time()).prop_map(|(place, account, last)| {
                Record::Remember(Memory::Home(Home { place, account: account.into(), last }))
            }),
            (any_net(), any::<u32>(), any::<u64>(), time(), any::<bool>()).prop_map(
                |(net, blocks, seconds, end, home)| {
                    Record::Remember(Memory::Offence(net, Offence { blocks, seconds, end, home }))
                }
            ),
        ]
    }

    #[test]
    fn a_login_that_an_older_release_noted_is_a_home_of_an_account_without_a_name() {
        let read = |text: &str| Record::parse(format!("{text} #{:08x}", checksum(text.as_bytes())).as_bytes());
        let home = |place: &str| {
            let home = Home { place: place.parse().unwrap(), account: Box::default(), last: UnixTime(7) };
            Some(Record::Remember(Memory::Home(home)))
        };
        assert_eq!(read("trust 198.51.100.4 7"), home("198.51.100.4/32"));
        assert_eq!(read("trust 2001:db8::1 7"), home("2001:db8::/64"));
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
