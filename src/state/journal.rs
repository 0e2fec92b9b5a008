//! The journal: the file in which blocks survive a crash, a power loss and a full disk.
//!
//! # Format
//! Text, a record a line. The first line is `sipban-journal 1`, the tag and the version. Then, oldest first:
//! ```text
//! block 203.0.113.7/32 1560340915 1560427315 Failed ACL #1a8dbb00    network, begin, end, reason
//! unblock 203.0.113.7/32 #f501a8f0                                   network
//! home 198.51.100.4/32 1560340915 1000 #...                          where an account lives, last login, account
//! offence 203.0.113.7/32 2 345600 1560772915 stranger #...           blocks, length and end of the last, of whom
//! port udp 5070 #...                                                 local port that was attacked
//! ```
//! Times are unix times. A `+` before the end of a block says that the address finished a handshake, one before its
//! begin that it failed many times ([`Proof`](crate::model::block::Proof)). A later line on the same network or address replaces an earlier one. The eight digits are
//! a checksum (FNV-1a) of what stands before ` #`. A line counts only with its end of line and its right sum, so
//! neither a line cut off by a crash, nor two run into one, nor a hole of zeros is taken for a record.
//!
//! # What holds
//! INVARIANT: a record for which [`Journal::append`] returned `Ok` survives `kill -9` at once, because it is in the
//! kernel, and a power loss a second later, because the thread `journal-sync` has then brought it to the disk. The
//! owner never waits for the disk.
//!
//! INVARIANT: at every moment there is a complete file under the journal's name. A shorter one is prepared beside
//! it, gets every record the old one gets, and takes its place only when it is on the disk.
//!
//! INVARIANT: nothing that could not be read is overwritten.

mod record;
mod recover;
mod sync;
mod tail;

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use nix::fcntl::Flock;

pub use record::Record;

use crate::failure::Failure;
use crate::file;
use crate::model::block::Block;
use crate::model::block::Port;
use crate::model::book::Book;
use crate::model::memory::Memory;
use crate::state::durable;
use recover::{Found, Tag, recover};
use sync::Syncer;
use tail::{Tail, lock, set_aside, write_beside, write_through};

const TAG: &str = "sipban-journal ";
const VERSION: &str = "1";
const HEADER: &str = "sipban-journal 1\n";

/// A journal is rewritten when it has this many records more than twice those it had when last rewritten.
const SLACK: usize = 4096;

/// Most ticks between two tries to rewrite it.
const LONGEST_PAUSE: u32 = 8;

/// The open journal. Dropping it waits until all of it is on the disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    syncer: Syncer,
    /// The file under the journal's name; `None` while none can be written.
    current: Option<Tail>,
    /// The file to replace it, and the request whose completion says that it is on the disk.
    next: Option<(Tail, u64)>,
    /// Number of records when last rewritten.
    base: usize,
    /// Why the file does not hold everything, if so.
    behind: Option<String>,
    /// Ticks to wait before the next try to rewrite it, and the pause after that one.
    wait: u32,
    pause: u32,
}

/// What a journal held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Blocks, those that have ended too, in the order of their networks.
    pub blocks: Vec<(IpNet, Block)>,
    /// What the judge remembers.
    pub memories: Vec<Memory>,
    /// Local ports that were attacked.
    pub ports: Vec<Port>,
    /// What was wrong and what was done about it, in words; a bounded number.
    pub problems: Vec<String>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot {doing} the journal {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Path of the journal.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by a later release.
    #[error(
        "the journal {} has version {version}, this sipban knows version {VERSION}: start the release that wrote it, \
         or move the file away",
        path.display()
    )]
    Version {
        /// Path of the journal.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// Another process has it open.
    #[error("the journal {} is in use: another sipban is running, stop it first", .0.display())]
    InUse(PathBuf),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::CANNOT_CREATE, error)
    }
}

impl Journal {
    /// Opens the journal and says what it holds; makes it, and its folder, if it is missing. A file that is no
    /// journal is set aside as `NAME.damaged-N`. A journal that can be read but not written is no error, because
    /// the PBX must be guarded also when its disk is full: the journal is then behind, see [`Journal::tend`].
    ///
    /// # Errors
    /// If it cannot be read, is in use, or was written by a later release; or if its folder cannot be made.
    pub fn open(path: &Path) -> Result<(Journal, Recovered), Error> {
        let failed = |doing| move |source| Error::Io { doing, path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(failed("make the folder of"))?;
        }
        let syncer = Syncer::start(path.to_owned()).map_err(failed("start the thread that syncs"))?;
        let mut journal = Journal {
            path: path.to_owned(),
            syncer,
            current: None,
            next: None,
            base: 0,
            behind: None,
            wait: 0,
            pause: 1,
        };
        let recovered = journal.recover()?;
        Ok((journal, recovered))
    }

    /// Appends the records with one `write`.
    ///
    /// # Errors
    /// If they could not be written. The journal is then behind until [`Journal::tend`] says otherwise.
    pub fn append(&mut self, records: &[Record]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let mut batch = String::new();
        records.iter().for_each(|record| record.push_line(&mut batch));
        if let Some((tail, _)) = &mut self.next {
            if tail.append(&batch, records.len()).is_err() {
                // The old file is still there; another try follows.
                self.drop_next();
            }
        }
        let written = match &mut self.current {
            Some(tail) => tail.append(&batch, records.len()).map(|()| self.syncer.soon(&tail.file, false)),
            None => Err(io::Error::other(self.behind.clone().unwrap_or_default())),
        };
        written.map(drop).map_err(|source| self.fall_behind("write", source))
    }

    /// Keeps the journal in order: to be called once a second. Writes it anew if it is behind, if it has grown, or
    /// if somebody removed or changed the file; that takes a few calls, of which none waits for the disk.
    /// `book` and `others` are everything to be remembered, whatever was appended included.
    /// Returns true when the journal was behind and has caught up.
    ///
    /// # Errors
    /// If the disk failed or the file cannot be written anew. It will be tried again.
    pub fn tend(&mut self, book: &Book, others: impl IntoIterator<Item = Record>) -> Result<bool, Error> {
        let done = match self.syncer.done() {
            Ok(done) => done,
            Err(source) => {
                self.drop_next();
                self.behind.get_or_insert_with(|| source.to_string());
                return Err(self.pause("bring to the disk", source));
            }
        };
        match self.next.take() {
            Some((tail, request)) if request <= done => return self.adopt(tail),
            waiting @ Some(_) => {
                self.next = waiting;
                return Ok(false);
            }
            None => {}
        }
        self.look_after_file();
        let grown = self.current.as_ref().is_some_and(|tail| tail.records > 2 * self.base + SLACK);
        if self.behind.is_none() && !grown {
            return Ok(false);
        }
        if self.wait > 0 {
            self.wait -= 1;
            return Ok(false);
        }
        match write_beside(&self.path, everything(book, others)) {
            Ok(tail) => {
                let request = self.syncer.soon(&tail.file, false);
                self.next = Some((tail, request));
                Ok(false)
            }
            Err(source) => Err(self.pause("write anew", source)),
        }
    }

    /// Closes the journal at a clean stop: all there is to remember is on the disk after that.
    ///
    /// # Errors
    /// If the journal was behind and could not catch up even now.
    pub fn close(mut self, book: &Book, others: impl IntoIterator<Item = Record>) -> Result<(), Error> {
        self.drop_next();
        self.look_after_file();
        if let Err(source) = self.syncer.done() {
            self.fall_behind("bring to the disk", source);
        }
        if self.behind.is_some() {
            write_through(&self.path, everything(book, others)).map_err(|source| self.error("write anew", source))?;
        }
        Ok(())
    }

    /// One line for `status`.
    pub fn describe(&self) -> String {
        let path = self.path.display();
        match (&self.behind, &self.current) {
            (Some(why), _) => format!("{path}, NOT COMPLETE: {why}"),
            (None, Some(tail)) => format!("{path}, {} records", tail.records),
            (None, None) => format!("{path}, not written yet"),
        }
    }

    fn recover(&mut self) -> Result<Recovered, Error> {
        let (file, unwritable) = self.open_file()?;
        let content: &mut dyn BufRead = match &file {
            Some(file) => &mut BufReader::with_capacity(64 * 1024, &**file),
            None => &mut io::empty(),
        };
        let Found { tag, blocks, memories, ports, records, whole, torn, problems } =
            recover(content).map_err(|source| self.error("read", source))?;
        let mut recovered =
            Recovered { blocks: blocks.into_iter().collect(), memories: memories.into_vec(), ports, problems };
        recovered.blocks.sort_unstable_by_key(|(net, _)| *net);
        self.base = recovered.blocks.len() + recovered.memories.len() + recovered.ports.len();
        match (tag, file) {
            (Tag::Version(version), _) => return Err(Error::Version { path: self.path.clone(), version }),
            (Tag::Ours, Some(file)) if unwritable.is_none() => {
                let mut tail = Tail { file: Arc::new(file), length: whole, records, torn: torn > 0 };
                tail.mend();
                self.current = Some(tail);
            }
            (Tag::Foreign, _) => {
                let aside = set_aside(&self.path).map_err(|source| self.error("set aside", source))?;
                recovered.problems.insert(0, format!("no journal, or damaged: kept as {}", aside.display()));
                self.begin(&mut recovered);
            }
            _ => match unwritable {
                Some(source) => recovered.problems.push(self.fall_behind("write", source).to_string()),
                None => self.begin(&mut recovered),
            },
        }
        Ok(recovered)
    }

    /// Opens and locks the file if there is one; to read it only, and with the cause, if it cannot be written.
    fn open_file(&self) -> Result<(Option<Flock<File>>, Option<io::Error>), Error> {
        let (file, unwritable) = match file::open_with(&self.path, File::options().read(true).append(true)) {
            Ok(file) => (file, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
            Err(error) => (file::open(&self.path).map_err(|source| self.error("read", source))?, Some(error)),
        };
        let file = lock(file).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => Error::InUse(self.path.clone()),
            _ => self.error("lock", source),
        })?;
        Ok((Some(file), unwritable))
    }

    /// Makes the file, with what was recovered. A failure is one more problem.
    fn begin(&mut self, recovered: &mut Recovered) {
        let blocks = recovered.blocks.iter().map(|(net, block)| Record::Block(*net, *block));
        let memories = recovered.memories.iter().cloned().map(Record::Remember);
        let ports = recovered.ports.iter().map(|port| Record::Port(*port));
        match write_through(&self.path, blocks.chain(memories).chain(ports)) {
            Ok(tail) => self.current = Some(tail),
            Err(source) => recovered.problems.push(self.fall_behind("make", source).to_string()),
        }
    }

    fn adopt(&mut self, tail: Tail) -> Result<bool, Error> {
        if let Err(source) = fs::rename(durable::beside(&self.path), &self.path) {
            return Err(self.pause("rename the new content of", source));
        }
        self.syncer.soon(&tail.file, true);
        self.base = tail.records;
        self.current = Some(tail);
        self.pause = 1;
        Ok(self.behind.take().is_some())
    }

    /// Notices a file that somebody removed, replaced or changed.
    fn look_after_file(&mut self) {
        let Some(tail) = &self.current else { return };
        let Ok(ours) = tail.file.metadata() else { return };
        let why = match fs::metadata(&self.path) {
            Ok(there) if there.ino() != ours.ino() || there.dev() != ours.dev() => match set_aside(&self.path) {
                Ok(aside) => format!("the file was replaced; the other one is kept as {}", aside.display()),
                Err(_) => "the file was replaced".into(),
            },
            Ok(there) if there.len() != tail.length && !tail.torn => "the file was changed".into(),
            Ok(_) => return,
            Err(error) => format!("the file is gone: {error}"),
        };
        self.behind.get_or_insert(why);
    }

    fn fall_behind(&mut self, doing: &'static str, source: io::Error) -> Error {
        self.behind.get_or_insert_with(|| source.to_string());
        self.error(doing, source)
    }

    /// Lets some ticks pass before the next try: each of them may write the whole book.
    fn pause(&mut self, doing: &'static str, source: io::Error) -> Error {
        self.wait = self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.error(doing, source)
    }

    fn error(&self, doing: &'static str, source: io::Error) -> Error {
        Error::Io { doing, path: self.path.clone(), source }
    }

    fn drop_next(&mut self) {
        if self.next.take().is_some() {
            // If it stays, it is overwritten by the next try.
            let _ = fs::remove_file(durable::beside(&self.path));
        }
    }
}

fn everything(book: &Book, others: impl IntoIterator<Item = Record>) -> impl Iterator<Item = Record> {
    let blocks = book.by_end().map(|(net, block)| Record::Block(net, block));
    blocks.chain(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::Reason;
    use crate::model::clock::Clock;
    use crate::model::clock::UnixTime;
    use crate::model::memory::Home;
    use proptest::prelude::*;
    use record::tests::any_record;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;
    use tail::tests::full_disk;

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
        journal.append(&[blocked("203.0.113.7/32", 10), blocked("2001:db8::/64", 20)]).unwrap();
        journal.append(&[Record::Remember(home.clone()), blocked("203.0.113.7/32", 30)]).unwrap();
        journal.append(&[Record::Unblock("2001:db8::/64".parse().unwrap())]).unwrap();
        drop(journal);
        let (_, recovered) = open(&path);
        let expected = Recovered {
            blocks: vec![block("203.0.113.7/32", 30)],
            memories: vec![home],
            ports: vec![],
            problems: vec![],
        };
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
        journal.append(&all.iter().map(|(net, block)| Record::Block(*net, *block)).collect::<Vec<_>>()).unwrap();
        drop(journal);
        let text = fs::read(&path).unwrap();
        for cut in 0..=text.len() {
            fs::write(&path, &text[..cut]).unwrap();
            let lines = text[..cut].iter().filter(|byte| **byte == b'\n').count();
            let mut expected = all[..lines.saturating_sub(1)].to_vec();
            let (mut journal, recovered) = open(&path);
            assert_eq!(recovered.blocks, expected, "cut at {cut}");
            expected.push(block("203.0.113.9/32", 9));
            journal.append(&[blocked("203.0.113.9/32", 9)]).unwrap();
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
            let error = journal.append(&[Record::Block(net, block)]).unwrap_err();
            assert!(error.to_string().contains("No space left"), "{error}");
        }
        assert!(journal.describe().contains("NOT COMPLETE: No space left"), "{}", journal.describe());
        tend_until(&mut journal, &book, |journal| journal.next.is_some());
        // The old file still fails, the next one takes it.
        assert!(journal.append(&[blocked("203.0.113.9/32", 30)]).is_err());
        tend_until(&mut journal, &book, |journal| journal.behind.is_none());
        journal.append(&[blocked("203.0.113.10/32", 40)]).unwrap();
        drop(journal);
        let expected = [(7, 10), (8, 20), (9, 30), (10, 40)].map(|(n, end)| block(&format!("203.0.113.{n}/32"), end));
        assert_eq!(open(&path).1, Recovered { blocks: expected.into(), ..Recovered::default() });
    }

    #[test]
    fn a_clean_stop_writes_what_was_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bans");
        let (mut journal, _) = open(&path);
        journal.current.as_mut().unwrap().file = full_disk();
        let (net, block) = block("203.0.113.7/32", 10);
        journal.append(&[Record::Block(net, block)]).unwrap_err();
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
}
