//! The file of what is remembered of the fleet: how far each stream was read, the members' own
//! addresses, votes, pardons and tombstones.
//!
//! It stands beside the journal, with `.fleet` behind its name. Text, one record a line:
//! ```text
//! read NAME ID
//! addresses NAME ADDRESS [ADDRESS...]
//! vote NAME NET END REASON
//! pardon NET END
//! tombstone NET END
//! ```
//! A line that is none of these is passed over and counted.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::file;
use crate::fleet::sign::MOST_ADDRESSES;
use crate::fleet::votes::Memory;
use crate::model::clock::UnixTime;
use crate::model::member::is_name;
use crate::model::net::Plain;
use crate::state::durable;

/// The file that belongs to this journal.
pub fn beside(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".fleet");
    name.into()
}

/// Reads the file; nothing if there is none. Also says how many lines were no record.
///
/// # Errors
/// If it is there and cannot be read.
pub fn load(path: &Path) -> io::Result<(Vec<Memory>, usize)> {
    let bytes = match file::read(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        read => read?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let (mut memories, mut strange) = (Vec::new(), 0);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match record(line) {
            Some(memory) => memories.push(memory),
            None => strange += 1,
        }
    }
    Ok((memories, strange))
}

/// The content of the file.
pub fn text(memories: impl Iterator<Item = Memory>) -> Vec<u8> {
    [b"# What SIPban knows of its fleet. Written by the daemon.\n".to_vec(), lines(memories)].concat()
}

/// Replaces the file.
///
/// # Errors
/// If it cannot be written; the old one is then as it was.
pub fn save(path: &Path, text: &[u8]) -> io::Result<()> {
    durable::replace(path, 0o600, |out| out.write_all(text))
}

/// Adds one record to the file, on the disk when this returns.
///
/// # Errors
/// If it cannot be written. What the file held stays readable.
pub fn add(path: &Path, memory: Memory) -> io::Result<()> {
    let mut file = file::open_with(path, File::options().create(true).append(true).mode(0o600))?;
    // A line that was cut short, as by a full disk, must not take this one along.
    let line = [b"\n".as_slice(), &lines([memory].into_iter())].concat();
    file.write_all(&line)?;
    file.sync_data()
}

fn lines(memories: impl Iterator<Item = Memory>) -> Vec<u8> {
    let mut text = String::new();
    for memory in memories {
        // Writing to a string does not fail.
        let _ = match memory {
            Memory::Read(name, id) => writeln!(text, "read {name} {id}"),
            Memory::Addresses(name, addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                writeln!(text, "addresses {name} {}", addresses.join(" "))
            }
            Memory::Vote(name, net, end, reason) => writeln!(text, "vote {name} {} {} {reason}", Plain(net), end.0),
            Memory::Pardon(net, end) => writeln!(text, "pardon {} {}", Plain(net), end.0),
            Memory::Tombstone(net, end) => writeln!(text, "tombstone {} {}", Plain(net), end.0),
        };
    }
    text.into_bytes()
}

fn record(line: &str) -> Option<Memory> {
    let (kind, rest) = line.split_once(' ')?;
    let (first, rest) = rest.split_once(' ')?;
    let net = |text: &str| text.parse().ok().map(|Plain(net)| net);
    let end = |text: &str| text.parse().ok().map(UnixTime);
    let name = || is_name(first).then(|| first.to_owned());
    match kind {
        "read" => Some(Memory::Read(name()?, rest.parse().ok()?)),
        "addresses" => {
            let addresses = rest.split(' ').take(MOST_ADDRESSES).map(str::parse).collect::<Result<_, _>>();
            Some(Memory::Addresses(name()?, addresses.ok()?))
        }
        "vote" => {
            let mut words = rest.splitn(3, ' ');
            let (held, until, reason) = (net(words.next()?)?, end(words.next()?)?, words.next()?.parse().ok()?);
            Some(Memory::Vote(name()?, held, until, reason))
        }
        "pardon" => Some(Memory::Pardon(net(first)?, end(rest)?)),
        "tombstone" => Some(Memory::Tombstone(net(first)?, end(rest)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::place::Id;
    use crate::model::block::Reason;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_reads_back_and_a_torn_line_takes_nothing_else_along() {
        let net = |text: &str| text.parse::<Plain>().unwrap().0;
        let known = vec![
            Memory::Read("pbx1".into(), Id { milliseconds: 7, number: 2 }),
            Memory::Addresses("pbx1".into(), vec!["198.18.1.2".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
            Memory::Vote("pbx1".into(), net("198.51.100.7"), UnixTime(60), Reason::InvalidAccount),
            Memory::Vote("pbx2".into(), net("2001:db8::/64"), UnixTime(61), Reason::Manual),
            Memory::Pardon(net("198.51.100.0/24"), UnixTime(62)),
            Memory::Tombstone(net("198.51.100.8"), UnixTime(63)),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("bans"));
        assert_eq!(load(&path).unwrap(), (Vec::new(), 0));
        let mut written = text(known.clone().into_iter());
        written.extend(b"vote pbx1 198.51");
        save(&path, &written).unwrap();
        let late = Memory::Tombstone(net("198.51.100.9"), UnixTime(64));
        add(&path, late.clone()).unwrap();
        assert_eq!(load(&path).unwrap(), ([known, vec![late]].concat(), 1));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(read|addresses|vote|pardon|tombstone)?( [a-z0-9./:-]{0,12}){0,5}") {
            let _ = record(&line);
        }
    }
}
