//! Opening a journal: what it holds, and whether it can be written on.

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use nix::fcntl::Flock;

use super::record::Record;
use super::recover::{Found, Tag, recover};
use super::sync::Syncer;
use super::tail::{Tail, lock, set_aside, write_through};
use super::{Error, Journal};
use crate::file;
use crate::model::block::{Block, Port};
use crate::model::memory::Memory;

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
}
