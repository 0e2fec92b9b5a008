//! A journal file as it is written: lines appended, never left half.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

use super::HEADER;
use super::record::Record;
use super::sync::Locked;
use crate::state::durable;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct Tail {
    pub file: Locked,
    /// Length in bytes of the whole lines in it.
    pub length: u64,
    /// Number of records in it.
    pub records: usize,
    /// Whether a part of a line stands behind them.
    pub torn: bool,
}

impl Tail {
    /// Appends lines with one `write`. If that fails, what got written of them is cut off again.
    pub fn append(&mut self, lines: &str, records: usize) -> io::Result<()> {
        self.mend();
        // A part of a line that could not be cut off becomes a line of its own, which reading leaves out.
        let text = if self.torn { Cow::Owned(format!("\n{lines}")) } else { Cow::Borrowed(lines) };
        if let Err(error) = (&**self.file).write_all(text.as_bytes()) {
            self.torn = true;
            self.mend();
            return Err(error);
        }
        self.length = if self.torn { self.file.metadata()?.len() } else { self.length + lines.len() as u64 };
        self.torn = false;
        self.records += records;
        Ok(())
    }

    /// Cuts off a part of a line.
    pub fn mend(&mut self) {
        if self.torn {
            self.torn = self.file.set_len(self.length).is_err();
        }
    }
}

/// Writes a complete journal [beside](durable::beside) the one at `path`, without waiting for the disk.
pub(super) fn write_beside(path: &Path, records: impl Iterator<Item = Record>) -> io::Result<Tail> {
    let mut length = 0;
    let mut count = 0;
    let file = durable::write_beside(path, 0o600, |out| {
        let mut line = String::from(HEADER);
        out.write_all(line.as_bytes())?;
        length += line.len() as u64;
        for record in records {
            line.clear();
            record.push_line(&mut line);
            out.write_all(line.as_bytes())?;
            length += line.len() as u64;
            count += 1;
        }
        Ok(())
    })?;
    Ok(Tail { file: Arc::new(lock(file)?), length, records: count, torn: false })
}

/// Replaces the journal at `path` by a complete one, and waits for the disk.
pub(super) fn write_through(path: &Path, records: impl Iterator<Item = Record>) -> io::Result<Tail> {
    let tail = write_beside(path, records)?;
    tail.file.sync_data()?;
    fs::rename(durable::beside(path), path)?;
    durable::sync_folder_of(path)?;
    Ok(tail)
}

/// Keeps other processes from writing the file; [`io::ErrorKind::WouldBlock`] if one does.
pub(super) fn lock(file: File) -> io::Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
}

/// Renames a file to the first free name of `NAME.damaged-1`, `NAME.damaged-2`... and says which.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    let aside = loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        if fs::symlink_metadata(&name).is_err() {
            break PathBuf::from(name);
        }
        number += 1;
    };
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::state::journal::recover::recover;

    /// A file that takes nothing. Another test may hold its lock for a moment.
    pub fn full_disk() -> Locked {
        loop {
            if let Ok(full) = lock(File::options().append(true).open("/dev/full").unwrap()) {
                return Arc::new(full);
            }
            std::thread::yield_now();
        }
    }

    fn tail(path: &Path) -> Tail {
        write_beside(path, [].into_iter()).unwrap()
    }

    fn line(login: u64) -> String {
        let mut line = String::new();
        let port = crate::model::block::Port::Udp(login as u16);
        Record::Port(port).push_line(&mut line);
        line
    }

    #[test]
    fn a_part_of_a_line_is_cut_off_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut tail = tail(&folder.path().join("bans"));
        (&**tail.file).write_all(b"trust 192.0").unwrap();
        tail.torn = true;
        tail.append(&line(7), 1).unwrap();
        let text = fs::read_to_string(folder.path().join("bans.new")).unwrap();
        assert_eq!(text, format!("{HEADER}{}", line(7)));
        assert_eq!(tail.length, text.len() as u64);
    }

    #[test]
    fn a_full_disk_is_an_error_and_what_it_cut_off_does_not_spoil_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut tail = tail(&folder.path().join("bans"));
        let real = std::mem::replace(&mut tail.file, full_disk());
        assert_eq!(tail.append(&line(7), 1).unwrap_err().kind(), io::ErrorKind::StorageFull);
        // A device cannot be cut, so the part of a line must still count as torn.
        assert!(tail.torn);
        (&**real).write_all(b"trust 192.0").unwrap();
        tail.file = real;
        // Nor can a file whose wrong length makes the system refuse.
        tail.length = u64::MAX;
        tail.append(&line(8), 1).unwrap();
        let text = fs::read_to_string(folder.path().join("bans.new")).unwrap();
        assert_eq!(text, format!("{HEADER}trust 192.0\n{}", line(8)));
        assert_eq!(recover(text.as_bytes()).unwrap().records, 1);
        assert_eq!((tail.length, tail.torn), (text.len() as u64, false));
    }

    #[test]
    fn files_set_aside_do_not_overwrite_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bans");
        for content in ["first", "second"] {
            fs::write(&path, content).unwrap();
            set_aside(&path).unwrap();
        }
        assert_eq!(fs::read_to_string(folder.path().join("bans.damaged-1")).unwrap(), "first");
        assert_eq!(fs::read_to_string(folder.path().join("bans.damaged-2")).unwrap(), "second");
    }
}
