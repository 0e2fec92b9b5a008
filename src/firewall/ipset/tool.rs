//! The program ipset, and how it is spoken with.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::listing::{self, Header, SetEntry};
use crate::firewall::Error;
use crate::firewall::run::spare::Spare;
use crate::firewall::run::{Failure, Program};

/// A set that is still in use is tried to be destroyed at most 50 times, with this pause in between: nf_tables lets go of
/// it a moment after the rule has gone.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// ipset, found and ready.
#[derive(Debug)]
pub(super) struct Tool {
    ipset: Program,
    restore: Spare,
    /// Name and version, such as `ipset v7.17`.
    pub version: String,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ipset.fmt(f)
    }
}

impl Tool {
    pub(super) fn find(folder: Option<&Path>) -> Result<Tool, Error> {
        let ipset = Program::find("ipset", folder)?;
        let version = ipset.run(&["-V"], "")?.stdout;
        let version = version.trim().split(',').next().unwrap_or_default().to_owned();
        Ok(Tool { restore: Spare::new(ipset.clone(), &["restore", "-exist"]), ipset, version })
    }

    /// What all sets of the machine are like, by name. Asking for one would make a failure of its absence.
    pub(super) fn headers(&self) -> Result<HashMap<String, Header>, Error> {
        Ok(listing::headers(&self.ipset.run(&["list", "-t"], "")?.stdout))
    }

    pub(super) fn entries(&self, set: &str) -> Result<Vec<SetEntry>, Error> {
        Ok(listing::entries(&self.ipset.run(&["save", set], "")?.stdout))
    }

    /// Starts a process ahead for the next change.
    pub(super) fn prepare(&mut self) {
        self.restore.prepare();
    }

    /// Adds and removes entries, by the process that was started ahead. Lines that were said before say nothing new.
    pub(super) fn change(&mut self, lines: &str) -> Result<(), Failure> {
        self.restore.feed(lines)
    }

    /// Has any commands carried out, in order; those before a failure may be in effect.
    pub(super) fn run(&self, lines: &str) -> Result<(), Failure> {
        self.ipset.run(&["restore", "-exist"], lines).map(drop)
    }

    /// Destroys a set that no rule leads to any more.
    pub(super) fn destroy(&self, set: &str) -> Result<(), Error> {
        for _ in 1..TRIES {
            if self.run(&format!("destroy {set}\n")).is_ok() {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        Ok(self.run(&format!("destroy {set}\n"))?)
    }
}
