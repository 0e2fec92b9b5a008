//! The whole journal, on a disk that may be full, and with others who meddle with its file.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::record::tests::any_record;
use super::tail::tests::full_disk;
use super::*;
use crate::model::block::{Block, Reason};
use crate::model::clock::{Clock, UnixTime};
use crate::model::memory::{Home, Memory};

fn block(net: &str, end: u64) -> (IpNet, Block) {
    (net.parse().unwrap(), Block::new(UnixTime(1), UnixTime(end), Reason::InvalidAccount))
}

fn blocked(net: &str, end: u64) -> Record {
    let (net, block) = block(net, end);
    Record::Block(net, block)
}

fn open(path: &Path) -> (Journal, Recovered) {
    Journal::open(path).unwrap()
}

/// Ticks until the journal is in order again.
fn tend_until(journal: &mut Journal, book: &Book, done: impl Fn(&Journal) -> bool) {
    let clock = Clock::start();
    while !done(journal) {
        let _ = journal.tend(book, []);
        assert!(clock.now().monotonic < Duration::from_secs(20), "{}", journal.describe());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lib/sipban/bans");
    let (mut journal, recovered) = open(&path);
    assert_eq!(recovered, Recovered::default());
    let home = Home { place: "198.51.100.4/32".parse().unwrap(), account: (*b"1000").into(), last: UnixTime(5) };
    let home = Memory::Home(home);
    journal.append([blocked("203.0.113.7/32", 10), blocked("2001:db8::/64", 20)]).unwrap();
    journal.append([Record::Remember(home.clone()), blocked("203.0.113.7/32", 30)]).unwrap();
    journal.append([Record::Unblock("2001:db8::/64".parse().unwrap())]).unwrap();
    drop(journal);
    let (_, recovered) = open(&path);
    let expected =
        Recovered { blocks: vec![block("203.0.113.7/32", 30)], memories: vec![home], ports: vec![], problems: vec![] };
    assert_eq!(recovered, expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_journal_cut_anywhere_gives_its_whole_lines_and_takes_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let (mut journal, _) = open(&path);
    let all: Vec<_> = (1..=3_u64).map(|n| block(&format!("203.0.113.{n}/32"), n)).collect();
    journal.append(all.iter().map(|(net, block)| Record::Block(*net, *block))).unwrap();
    drop(journal);
    let text = fs::read(&path).unwrap();
    for cut in 0..=text.len() {
        fs::write(&path, &text[..cut]).unwrap();
        let lines = text[..cut].iter().filter(|byte| **byte == b'\n').count();
        let mut expected = all[..lines.saturating_sub(1)].to_vec();
        let (mut journal, recovered) = open(&path);
        assert_eq!(recovered.blocks, expected, "cut at {cut}");
        expected.push(block("203.0.113.9/32", 9));
        journal.append([blocked("203.0.113.9/32", 9)]).unwrap();
        drop(journal);
        let recovered = open(&path).1;
        assert_eq!(recovered, Recovered { blocks: expected, ..Recovered::default() }, "cut at {cut}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_no_journal_is_kept_and_its_whole_records_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let mut text = String::from("\0\0\0\0\n");
    blocked("203.0.113.7/32", 10).push_line(&mut text);
    fs::write(&path, &text).unwrap();
    let (_journal, recovered) = open(&path);
    assert_eq!(recovered.blocks, [block("203.0.113.7/32", 10)]);
    assert!(recovered.problems[0].contains("bans.damaged-1"), "{:?}", recovered.problems);
    assert_eq!(fs::read_to_string(folder.path().join("bans.damaged-1")).unwrap(), text);
    drop(_journal);
    assert_eq!(open(&path).1.blocks, [block("203.0.113.7/32", 10)]);
}

#[test]
fn a_later_version_a_device_and_a_journal_in_use_are_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    fs::write(&path, "sipban-journal 2\nx\n").unwrap();
    assert!(matches!(Journal::open(&path), Err(Error::Version { version, .. }) if version == "2"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "sipban-journal 2\nx\n");
    fs::remove_file(&path).unwrap();
    assert!(
        matches!(Journal::open(Path::new("/dev/null")), Err(Error::Io { source, .. }) if source.to_string().contains("a device"))
    );
    let _journal = open(&path);
    assert!(matches!(Journal::open(&path), Err(Error::InUse(_))));
}

#[test]
fn after_a_failed_write_it_catches_up_with_all_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let (mut journal, _) = open(&path);
    let mut book = Book::default();
    journal.current.as_mut().unwrap().file = full_disk();
    for (n, end) in [(7, 10), (8, 20)] {
        let (net, block) = block(&format!("203.0.113.{n}/32"), end);
        book.insert(net, block);
        let error = journal.append([Record::Block(net, block)]).unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
    }
    assert!(journal.describe().contains("NOT COMPLETE: No space left"), "{}", journal.describe());
    tend_until(&mut journal, &book, |journal| journal.next.is_some());
    // The old file still fails, the next one takes it.
    assert!(journal.append([blocked("203.0.113.9/32", 30)]).is_err());
    tend_until(&mut journal, &book, |journal| journal.behind.is_none());
    journal.append([blocked("203.0.113.10/32", 40)]).unwrap();
    drop(journal);
    let expected = [(7, 10), (8, 20), (9, 30), (10, 40)].map(|(n, end)| block(&format!("203.0.113.{n}/32"), end));
    assert_eq!(open(&path).1, Recovered { blocks: expected.into(), ..Recovered::default() });
}

#[test]
fn what_one_file_refuses_the_next_one_gets_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let (mut journal, _) = open(&path);
    journal.current.as_mut().unwrap().file = full_disk();
    journal.append([blocked("203.0.113.7/32", 10)]).unwrap_err();
    let mut book = Book::default();
    let (net, first) = block("203.0.113.7/32", 10);
    book.insert(net, first);
    tend_until(&mut journal, &book, |journal| journal.next.is_some());
    // Several pieces.
    let many: Vec<Record> = (0..10_000).map(|n| blocked(&format!("10.0.{}.{}/32", n / 256, n % 256), 30)).collect();
    assert!(journal.append(&many).is_err());
    tend_until(&mut journal, &book, |journal| journal.behind.is_none());
    drop(journal);
    assert_eq!(open(&path).1.blocks.len(), 10_001);
}

#[test]
fn a_clean_stop_writes_what_was_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let (mut journal, _) = open(&path);
    journal.current.as_mut().unwrap().file = full_disk();
    let (net, block) = block("203.0.113.7/32", 10);
    journal.append([Record::Block(net, block)]).unwrap_err();
    let mut book = Book::default();
    book.insert(net, block);
    journal.close(&book, []).unwrap();
    assert_eq!(open(&path).1.blocks, [(net, block)]);
}

#[test]
fn a_file_that_somebody_put_in_its_place_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let (mut journal, _) = open(&path);
    durable::replace(&path, 0o600, |out| std::io::Write::write_all(out, b"a backup")).unwrap();
    tend_until(&mut journal, &Book::default(), |_| fs::read_to_string(&path).is_ok_and(|text| text == HEADER));
    assert_eq!(fs::read_to_string(folder.path().join("bans.damaged-1")).unwrap(), "a backup");
}

#[test]
fn a_removed_file_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let (mut journal, _) = open(&path);
    let mut book = Book::default();
    let (net, block) = block("203.0.113.7/32", 10);
    book.insert(net, block);
    fs::remove_file(&path).unwrap();
    tend_until(&mut journal, &book, |_| path.exists());
    drop(journal);
    assert_eq!(open(&path).1.blocks, [(net, block)]);
}

#[test]
fn a_journal_that_has_grown_is_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bans");
    let (mut journal, _) = open(&path);
    let records = vec![Record::Unblock("203.0.113.7/32".parse().unwrap()); SLACK + 1];
    journal.append(&records).unwrap();
    let grown = fs::metadata(&path).unwrap().len();
    tend_until(&mut journal, &Book::default(), |_| fs::metadata(&path).unwrap().len() < grown);
    assert_eq!(fs::read_to_string(&path).unwrap(), HEADER);
    assert!(journal.behind.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_journal_recovers_to_what_its_records_add_up_to(
        records in proptest::collection::vec(any_record(), 0..40), batch in 1..10_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bans");
        let (mut journal, _) = open(&path);
        let (mut blocks, mut homes, mut offences, mut ports) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), Vec::new());
        for record in &records {
            match record.clone() {
                Record::Block(net, block) => drop(blocks.insert(net, block)),
                Record::Unblock(net) => drop(blocks.remove(&net)),
                Record::Remember(Memory::Home(home)) => {
                    drop(homes.insert((home.place, home.account.clone()), Memory::Home(home)));
                }
                Record::Remember(Memory::Offence(net, offence)) => {
                    drop(offences.insert(net, Memory::Offence(net, offence)));
                }
                Record::Port(port) if !ports.contains(&port) => ports.push(port),
                Record::Port(_) => {}
            }
        }
        for batch in records.chunks(batch) {
            journal.append(batch).unwrap();
        }
        drop(journal);
        let recovered = open(&path).1;
        prop_assert_eq!(recovered.blocks, blocks.into_iter().collect::<Vec<_>>());
        prop_assert_eq!((recovered.ports, recovered.problems), (ports, vec![]));
        let sorted = |memories: Vec<Memory>| {
            let mut texts: Vec<String> = memories.iter().map(|memory| format!("{memory:?}")).collect();
            texts.sort_unstable();
            texts
        };
        let memories = homes.into_values().chain(offences.into_values()).collect();
        prop_assert_eq!(sorted(recovered.memories), sorted(memories));
    }
}
