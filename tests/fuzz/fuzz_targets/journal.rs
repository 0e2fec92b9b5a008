//! Any bytes as a journal: what is read of it is there when it is opened again, and nothing that could not be read is
//! overwritten.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sipban::model::clock::UnixTime;
use sipban::model::memory::{Home, Memory};
use sipban::state::journal::{Error, Journal, Record};

fuzz_target!(|input: (bool, Vec<(bool, &str)>, &[u8])| {
    let (ours, lines, rest) = input;
    let mut bytes = if ours { b"sipban-journal 1\n".to_vec() } else { Vec::new() };
    for (sound, line) in lines {
        let sum = checksum(line.as_bytes());
        bytes.extend(if sound { format!("{line} #{sum:08x}\n") } else { line.to_owned() }.as_bytes());
    }
    bytes.extend(rest);
    let folder = tempfile::tempdir().expect("a folder for files");
    let path = folder.path().join("bans");
    fs::write(&path, &bytes).expect("a file to read");
    // A line without its end is what a crash left of a record: nobody was ever told that it was there.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &bytes[..=end]);
    let kept = || {
        fs::read_dir(folder.path())
            .expect("our own folder")
            .any(|file| fs::read(file.expect("our own folder").path()).is_ok_and(|content| content.starts_with(whole)))
    };

    let (mut journal, first) = match Journal::open(&path) {
        Ok(opened) => opened,
        Err(Error::Version { .. }) => return assert!(kept()),
        Err(error) => panic!("{error}"),
    };
    assert!(kept());
    let home = Home {
        place: "203.0.113.7/32".parse().expect("a network"),
        account: b"fuzzed".as_slice().into(),
        last: UnixTime(7),
    };
    let memory = Memory::Home(home.clone());
    journal.append([Record::Remember(memory.clone())]).expect("the folder can be written to");
    drop(journal);

    let (_, again) = Journal::open(&path).expect("our own journal can be opened");
    assert_eq!((again.blocks, again.ports), (first.blocks, first.ports));
    // A later login of one account at one place replaces the earlier one.
    let is_other = |memory: &Memory| {
        !matches!(memory, Memory::Home(other) if (other.place, &other.account) == (home.place, &home.account))
    };
    let expected = first.memories.into_iter().filter(is_other).chain([memory]);
    assert_eq!(sorted(again.memories), sorted(expected));
});

/// Memories come in no order.
fn sorted(memories: impl IntoIterator<Item = Memory>) -> Vec<String> {
    let mut texts: Vec<String> = memories.into_iter().map(|memory| format!("{memory:?}")).collect();
    texts.sort_unstable();
    texts
}

/// FNV-1a, as documented: the fuzzer would not find a line with a right sum by itself.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
