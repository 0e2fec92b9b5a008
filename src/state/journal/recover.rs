//! Reading a journal, however damaged, in bounded memory.

use std::collections::HashMap;
use std::io::{self, BufRead};

use ipnet::IpNet;

use super::record::Record;
use super::{HEADER, TAG};
use crate::model::block::{Block, Port};
use crate::model::clock::UnixTime;
use crate::model::memory::{Home, Memory, Offence};
use crate::state::lines::{Problems, each_line};

/// What a file says.
#[derive(Debug)]
pub(super) struct Found {
    /// What kind of file it is.
    pub tag: Tag,
    /// What its whole lines add up to.
    pub blocks: HashMap<IpNet, Block>,
    pub memories: Memories,
    pub ports: Vec<Port>,
    /// Number of lines that are records.
    pub records: usize,
    /// Length in bytes up to the end of the last whole line.
    pub whole: u64,
    /// Bytes behind that.
    pub torn: u64,
    /// Damaged lines, in words.
    pub problems: Vec<String>,
}

/// The latest of each kind.
#[derive(Debug, Default)]
pub(super) struct Memories {
    homes: HashMap<(IpNet, Box<[u8]>), UnixTime>,
    offences: HashMap<IpNet, Offence>,
}

impl Memories {
    fn enter(&mut self, memory: Memory) {
        match memory {
            Memory::Home(Home { place, account, last }) => drop(self.homes.insert((place, account), last)),
            Memory::Offence(net, offence) => drop(self.offences.insert(net, offence)),
        }
    }

    pub(super) fn into_vec(self) -> Vec<Memory> {
        let homes = self.homes.into_iter().map(|((place, account), last)| Memory::Home(Home { place, account, last }));
        let offences = self.offences.into_iter().map(|(net, offence)| Memory::Offence(net, offence));
        homes.chain(offences).collect()
    }
}

/// What the first line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// A journal of our version.
    Ours,
    /// Nothing, or a part of our own first line: a file whose writing never got further.
    Unwritten,
    /// A journal of another version.
    Version(String),
    /// Not a journal, or one whose first line is damaged.
    Foreign,
}

/// At most this many damaged lines are named one by one.
const MOST_PROBLEMS: usize = 10;

/// The longest line that is read, in bytes. Ours have at most about 500, most of it the name of an account.
const LONGEST_LINE: u64 = 1024;

/// Reads to the end. Lines that check themselves are taken even from a file that is not ours by its tag: if only
/// its beginning is damaged, that is all that is lost.
pub(super) fn recover(input: impl BufRead) -> io::Result<Found> {
    let mut found = Found {
        tag: Tag::Unwritten,
        blocks: HashMap::new(),
        memories: Memories::default(),
        ports: Vec::new(),
        records: 0,
        whole: 0,
        torn: 0,
        problems: Vec::new(),
    };
    let mut problems = Problems::at_most(MOST_PROBLEMS);
    // Of an over-long line each piece but perhaps the last is damaged.
    each_line(input, LONGEST_LINE, |number, line| {
        found.torn += line.len() as u64;
        let text = line.strip_suffix(b"\n");
        if text.is_some() {
            found.whole += std::mem::take(&mut found.torn);
        }
        if number == 1 {
            found.tag = tag(line);
        }
        match text.and_then(Record::parse) {
            Some(record) => found.enter(record),
            // The tag; or an empty line, left by an append behind a line that a full disk cut off.
            None if number == 1 || text == Some(b"") => {}
            None => problems.add(|| {
                let what = if text.is_some() { "damaged" } else { "cut off" };
                format!("line {number} is {what}, it is left out")
            }),
        }
    })?;
    found.problems = problems.told();
    Ok(found)
}

impl Found {
    fn enter(&mut self, record: Record) {
        self.records += 1;
        match record {
            Record::Block(net, block) => drop(self.blocks.insert(net, block)),
            Record::Unblock(net) => drop(self.blocks.remove(&net)),
            Record::Remember(memory) => self.memories.enter(memory),
            Record::Port(port) if !self.ports.contains(&port) => self.ports.push(port),
            Record::Port(_) => {}
        }
    }
}

fn tag(line: &[u8]) -> Tag {
    let version = || std::str::from_utf8(line).ok()?.strip_prefix(TAG)?.strip_suffix('\n');
    if line == HEADER.as_bytes() {
        Tag::Ours
    } else if HEADER.as_bytes().starts_with(line) {
        Tag::Unwritten
    } else {
        match version() {
            Some(version) if version.parse::<u32>().is_ok() => Tag::Version(version.into()),
            _ => Tag::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_line_tells_what_a_file_is() {
        for (text, expected) in [
            ("", Tag::Unwritten),
            ("sipban-jou", Tag::Unwritten),
            ("sipban-journal 1", Tag::Unwritten),
            ("sipban-journal 1\n", Tag::Ours),
            ("sipban-journal 27\n", Tag::Version("27".into())),
            ("sipban-journal 1?\n", Tag::Foreign),
            ("root:x:0:0:root\n", Tag::Foreign),
            ("\n", Tag::Foreign),
        ] {
            assert_eq!(recover(text.as_bytes()).unwrap().tag, expected, "{text:?}");
        }
    }

    #[test]
    fn a_hole_of_zeros_costs_the_lines_it_covers_and_no_other() {
        let mut text = String::from(HEADER);
        let home =
            |last| Home { place: "192.0.2.1/32".parse().unwrap(), account: (*b"1000").into(), last: UnixTime(last) };
        Record::Remember(Memory::Home(home(7))).push_line(&mut text);
        text.push_str(&"\0".repeat(100_000));
        text.push('\n');
        Record::Remember(Memory::Home(home(8))).push_line(&mut text);
        let found = recover(text.as_bytes()).unwrap();
        assert_eq!(found.memories.into_vec(), [Memory::Home(home(8))]);
        assert_eq!(found.records, 2);
        assert_eq!(found.problems.len(), MOST_PROBLEMS + 1);
        assert_eq!((found.whole, found.torn), (text.len() as u64, 0));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it_nor_become_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let found = recover(&bytes[..]).unwrap();
            prop_assert_eq!(found.records, 0);
            prop_assert_eq!(found.whole + found.torn, bytes.len() as u64);
        }
    }
}
