//! The white list file: what is never blocked, one entry a line. It is edited by hand and from the console, so
//! a change keeps every other byte of it.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use log::warn;

use crate::file;
use crate::model::net::NetOrHost;
use crate::state::durable::{self, Owner};

/// The white list and the file it stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhiteList {
    path: PathBuf,
    lines: Vec<Line>,
}

/// A line of the file that is passed over, or (without a number) what is to be told about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub what: String,
}

/// Why the white list could not be read or changed. The file and the list are as they were.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there, but cannot be read.
    #[error("cannot read the white list {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the white list {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// What was to be added or removed is no entry.
    #[error("{0}")]
    Entry(String),
}

/// One line with its end; the last one may lack it. Bytes, because a comment may be in any encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    bytes: Vec<u8>,
    entry: Option<NetOrHost>,
}

impl WhiteList {
    /// Reads the file. Lines that are no entry are returned, the others hold. A file that is not there is an empty
    /// list, and named among them.
    ///
    /// # Errors
    /// If there is a file and it cannot be read.
    pub fn load(path: &Path) -> Result<(WhiteList, Vec<LineError>), Error> {
        let mut list = WhiteList { path: path.to_owned(), lines: Vec::new() };
        let error = |line, what| LineError { file: path.to_owned(), line, what };
        let bytes = match file::read(path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == ErrorKind::NotFound => {
                return Ok((list, vec![error(None, "does not exist: the white list is empty".to_owned())]));
            }
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        let mut errors = Vec::new();
        for (number, bytes) in (1..).zip(bytes.split_inclusive(|&b| b == b'\n')) {
            let entry = read_line(bytes).unwrap_or_else(|what| {
                errors.push(error(Some(number), what));
                None
            });
            list.lines.push(Line { bytes: bytes.to_owned(), entry });
        }
        Ok((list, errors))
    }

    /// The entries, in the order of the file. One that is there twice comes twice.
    pub fn entries(&self) -> impl Iterator<Item = &NetOrHost> {
        self.lines.iter().filter_map(|line| line.entry.as_ref())
    }

    /// Adds an entry at the end of the file, and takes over what else was changed in it by hand. Returns the entry,
    /// and whether it is new.
    ///
    /// # Errors
    /// If the text is no entry, or the file cannot be read or written.
    pub fn add(&mut self, text: &str) -> Result<(NetOrHost, bool), Error> {
        let entry: NetOrHost = text.parse().map_err(Error::Entry)?;
        let mut list = self.reread()?;
        let new = list.entries().all(|other| *other != entry);
        if new {
            list.append(&entry);
            list.save()?;
        }
        *self = list;
        Ok((entry, new))
    }

    /// Takes the lines of an entry out of the file, and takes over what else was changed in it by hand. Returns the
    /// entry, and whether it was there.
    ///
    /// # Errors
    /// If the text is no entry, or the file cannot be read or written.
    pub fn remove(&mut self, text: &str) -> Result<(NetOrHost, bool), Error> {
        let entry: NetOrHost = text.parse().map_err(Error::Entry)?;
        let mut list = self.reread()?;
        let before = list.lines.len();
        list.lines.retain(|line| line.entry.as_ref() != Some(&entry));
        let found = list.lines.len() < before;
        if found {
            list.save()?;
        }
        *self = list;
        Ok((entry, found))
    }

    /// Lines that are no entry were told when the list was loaded.
    fn reread(&self) -> Result<WhiteList, Error> {
        WhiteList::load(&self.path).map(|(list, _)| list)
    }

    fn append(&mut self, entry: &NetOrHost) {
        let crlf = self.lines.first().is_some_and(|line| line.bytes.ends_with(b"\r\n"));
        let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
        if let Some(last) = self.lines.last_mut().filter(|last| !last.bytes.ends_with(b"\n")) {
            last.bytes.extend(end);
        }
        let bytes = [entry.to_string().as_bytes(), end].concat();
        self.lines.push(Line { bytes, entry: Some(entry.clone()) });
    }

    fn save(&self) -> Result<(), Error> {
        let bytes: Vec<u8> = self.lines.iter().flat_map(|line| &line.bytes).copied().collect();
        let owner = durable::replace_like_old(&self.path, 0o644, |out| out.write_all(&bytes))
            .map_err(|source| Error::Write { path: self.path.clone(), source })?;
        if owner == Owner::Ours {
            let file = self.path.display();
            warn!("WHITE LIST => {file} belongs to the user of SIPban now, who may not give it back");
        }
        Ok(())
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.what)
    }
}

/// The entry of a line, without comment, white space, the end of the line and a byte order mark.
fn read_line(bytes: &[u8]) -> Result<Option<NetOrHost>, String> {
    let code = bytes.split(|b| matches!(b, b'#' | b';')).next().unwrap_or_default();
    let text = String::from_utf8_lossy(code);
    let text = text.trim_start_matches('\u{feff}').trim();
    match text.split_once(char::is_whitespace) {
        None if text.is_empty() => Ok(None),
        None => text.parse().map(Some),
        Some((first, _)) if first.parse::<NetOrHost>().is_ok() => {
            Err("text behind the entry: one entry a line, and # before a comment".to_owned())
        }
        Some(_) => text.parse().map(Some),
    }
}

#[cfg(test)]
mod tests;
