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
//! begin that it failed many times ([`Proof`](crate::model::block::Proof)). A later line on the same network or address
//! replaces an earlier one. The eight digits are a checksum (FNV-1a) of what stands before ` #`. A line counts only with
//! its end of line and its right sum, so neither a line cut off by a crash, nor two run into one, nor a hole of zeros is
//! taken for a record.
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

mod opening;
mod record;
mod recover;
mod sync;
mod tail;

use std::borrow::Borrow;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

pub use opening::Recovered;
pub use record::Record;

use crate::failure::Failure;
use crate::model::book::Book;
use crate::state::durable;
use sync::Syncer;
use tail::{Tail, set_aside, write_beside, write_through};

const TAG: &str = "sipban-journal ";
const VERSION: &str = "1";
const HEADER: &str = "sipban-journal 1\n";

/// At most this many bytes, and a line, are put together before they are written.
const PIECE: usize = 256 * 1024;

/// A journal is rewritten when it has twice as many records as when it was last rewritten, and this many more.
const SLACK: usize = 4096;

/// At most this many ticks pass between two tries to rewrite it.
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
    /// Appends the records, with one `write` for each `PIECE` bytes.
    ///
    /// # Errors
    /// If they could not be written. The journal is then behind until [`Journal::tend`] says otherwise.
    pub fn append<R: Borrow<Record>>(&mut self, records: impl IntoIterator<Item = R>) -> Result<(), Error> {
        let mut lines = String::new();
        let mut count = 0;
        let mut appended = Ok(());
        for record in records {
            record.borrow().push_line(&mut lines);
            count += 1;
            if lines.len() >= PIECE {
                // A file that is prepared beside one that fails gets every piece all the same.
                appended = appended.and(self.append_lines(&lines, std::mem::take(&mut count)));
                lines.clear();
            }
        }
        if count > 0 { appended.and(self.append_lines(&lines, count)) } else { appended }
    }

    fn append_lines(&mut self, lines: &str, records: usize) -> Result<(), Error> {
        if let Some((tail, _)) = &mut self.next {
            if tail.append(lines, records).is_err() {
                // The old file is still there; another try follows.
                self.drop_next();
            }
        }
        let written = match &mut self.current {
            Some(tail) => tail.append(lines, records).map(|()| self.syncer.soon(&tail.file, false)),
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
mod tests;
