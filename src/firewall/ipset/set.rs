//! The kernel set of one address family.

mod size;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use ipnet::IpNet;

use super::listing::{Header, SetEntry};
use super::timeout;
use super::tool::Tool;
use crate::config::SET_TIMEOUT_MAX;
use crate::firewall::body::{Faults, Origin};
use crate::firewall::change::SLACK;
use crate::firewall::family::Family;
use crate::firewall::filter::Chain;
use crate::firewall::{Error, FoundBlock, Refused, Verified};
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// A block longer than the kernel can count is renewed when the kernel has counted off this many seconds.
const RENEWAL: u64 = 86_400;

/// The set of one address family, as far as it is known without asking.
#[derive(Debug)]
pub(super) struct Set {
    family: Family,
    pub name: String,
    /// Where a set that replaces this one is made.
    draft: String,
    /// `ipset.maxelem`.
    least: u32,
    /// Most entries it takes, and how many it holds at most.
    maxelem: u32,
    entries: usize,
    /// Entries that others have added.
    pub others: usize,
}

impl Set {
    pub(super) fn new(family: Family, name: &str, least: u32) -> Set {
        let draft = format!("{name}~{}", if family == Family::V4 { 4 } else { 6 });
        let name = family.set_name(name);
        Set { family, name, draft, least, maxelem: least, entries: 0, others: 0 }
    }

    /// Whether a set that is there can be used as it is. A larger one than was asked for has grown.
    pub(super) fn is_sound(&self, header: &Header) -> bool {
        header.kind == "hash:net" && header.timeout && !header.odd && header.maxelem >= self.least
    }

    /// Whether a set under this name was made by us, or by the Perl program.
    pub(super) fn is_ours(&self, header: &Header) -> bool {
        self.check_ours(header).is_ok()
    }

    /// Creates the set or takes over what is there, in it or in the chain, and leads the chain to it.
    pub(super) fn set_up(
        &mut self,
        tool: &Tool,
        chain: &mut Chain,
        found: &[Origin],
    ) -> Result<Vec<FoundBlock>, Error> {
        let headers = tool.headers()?;
        let there = headers.get(&self.name);
        let mut held: HashMap<IpNet, SetEntry> = HashMap::new();
        // Rules of the backend `iptables`.
        held.extend(found.iter().filter_map(Origin::net).map(|net| (net, SetEntry::for_ever(net))));
        // Left by a replacement that was cut short while the draft was in force.
        if found.contains(&Origin::Set(self.draft.clone())) {
            held.extend(self.read(tool, &self.draft)?);
        }
        let mut present = HashMap::new();
        if let Some(header) = there {
            self.check_ours(header)?;
            present = self.read(tool, &self.name)?;
        }
        let adopted: Vec<SetEntry> = held.into_values().filter(|held| !present.contains_key(&held.net)).collect();
        match there {
            Some(header) if self.is_sound(header) => {
                self.note(header);
                self.make_room(tool, adopted.len())?;
                tool.run(&additions(&self.name, adopted.iter().cloned()))?;
            }
            Some(header) => {
                let all: Vec<SetEntry> = adopted.iter().chain(present.values()).cloned().collect();
                self.replace(tool, chain, header, &all)?;
            }
            None => {
                self.maxelem = self.roomy(adopted.len());
                self.fill(tool, &self.name, &adopted)?;
            }
        }
        self.entries = adopted.len() + present.len();
        chain.mend(&chain.of_set(&self.name))?;
        if headers.contains_key(&self.draft) {
            // It is no more, if it has been swapped in meanwhile.
            let _ = tool.run(&format!("destroy {}\n", self.draft));
        }
        let all = adopted.into_iter().chain(present.into_values()).filter(|held| !held.exempt);
        Ok(all.map(|held| FoundBlock { net: held.net, remaining: held.remaining }).collect())
    }

    /// Makes set and chain what the book says, and says what they were not. What others have added to the set stays, for
    /// as long as they said: whoever types `ipset add sipban 192.0.2.1` means it. `header` is what the set is like now.
    pub(super) fn verify(
        &mut self,
        tool: &Tool,
        chain: &mut Chain,
        header: Option<&Header>,
        closely: bool,
        book: &Book,
        now: UnixTime,
    ) -> Verified {
        let family = self.family;
        let lost = |error: &Error| -> Vec<Refused> {
            let ours = family.only(book.iter().map(|(net, _)| net));
            ours.map(|net| Refused { net, why: error.0.clone() }).collect()
        };
        if let Some(error) = header.and_then(|header| self.check_ours(header).err()) {
            return Verified { lost: lost(&error), ..Verified::failed(error) };
        }
        let mended = match header {
            Some(header) if self.is_sound(header) && !closely => {
                self.note(header);
                Ok(Vec::new())
            }
            header => self.mend(tool, chain, header, book, now),
        };
        let mut verified = match mended {
            Ok(mended) => Verified { mended, ..Verified::default() },
            Err(error) => {
                let mut lost = lost(&error);
                match self.read(tool, &self.name) {
                    Ok(held) => lost.retain(|lost| held.get(&lost.net).is_none_or(|held| held.exempt)),
                    // Nothing is known of a set that was there.
                    Err(_) if header.is_some() => lost.clear(),
                    Err(_) => {}
                }
                return Verified { lost, ..Verified::failed(error) };
            }
        };
        match chain.mend(&chain.of_set(&self.name)) {
            Ok(mended) => verified.mended.extend(mended),
            Err(unmended) => {
                let set = Origin::Set(self.name.clone());
                if unmended.in_force.is_some_and(|there| !there.contains(&set)) {
                    verified.lost = lost(&unmended.error);
                }
                verified.failed.push(unmended.error);
            }
        }
        verified
    }

    fn mend(
        &mut self,
        tool: &Tool,
        chain: &mut Chain,
        header: Option<&Header>,
        book: &Book,
        now: UnixTime,
    ) -> Result<Vec<String>, Error> {
        let mut faults = Faults::none(self.family);
        match header {
            Some(header) if self.is_sound(header) => self.note(header),
            Some(header) => {
                let held: Vec<SetEntry> = self.read(tool, &self.name)?.into_values().collect();
                self.replace(tool, chain, header, &held)?;
                faults.add(format_args!("type of set {}", self.name));
            }
            None => {
                self.maxelem = self.roomy(0);
                self.fill(tool, &self.name, &[])?;
                faults.add(format_args!("set {}", self.name));
            }
        }
        let held = self.read(tool, &self.name)?;
        self.entries = held.len();
        let (mut wanted, mut known, mut missing, mut early) = (0, 0, 0, 0);
        let mut text = String::new();
        for (net, block) in book.iter().filter(|(net, _)| Family::of(net) == self.family) {
            wanted += 1;
            let there = held.get(&net).filter(|held| !held.exempt);
            known += usize::from(there.is_some());
            let due = timeout(block.end, now);
            match there {
                // About to be freed.
                None if block.end <= now + SLACK => continue,
                None => missing += 1,
                Some(SetEntry { remaining: Some(seconds), .. }) if is_early(*seconds, due) => early += 1,
                Some(SetEntry { remaining: Some(seconds), .. }) if *seconds <= due + SLACK => continue,
                // It stays for too long: nobody was unprotected, so there is nothing to tell.
                Some(_) => {}
            }
            let _ = writeln!(text, "add {} {net} timeout {due}", self.name);
        }
        self.others = held.len() - known;
        faults.add_missing(missing, wanted);
        if early > 0 {
            faults.add(format_args!("the end of {early} blocks"));
        }
        self.make_room(tool, missing)?;
        if !text.is_empty() {
            tool.run(&text)?;
            self.see(tool, missing + early)?;
        }
        self.entries += missing;
        Ok(faults.into_texts())
    }

    /// Sees by the set's own header that entries were added: a program may say that it did what it did not.
    fn see(&self, tool: &Tool, added: usize) -> Result<(), Error> {
        let there = tool.headers()?.get(&self.name).map(|header| header.entries.unwrap_or(added));
        match there {
            Some(entries) if entries >= added => Ok(()),
            _ => Err(Error(format!(
                "`{tool}` ended with success, but set {} does not hold what it was given",
                self.name
            ))),
        }
    }

    fn read(&self, tool: &Tool, name: &str) -> Result<HashMap<IpNet, SetEntry>, Error> {
        Ok(tool.entries(name)?.into_iter().map(|held| (held.net, held)).collect())
    }

    /// That a set that is there under our name is one of ours, or of the Perl program.
    fn check_ours(&self, header: &Header) -> Result<(), Error> {
        let kind = matches!(&header.kind[..], "hash:net" | "hash:ip");
        if kind && header.family == self.inet() && !header.odd {
            return Ok(());
        }
        let (name, Header { kind, family, .. }) = (&self.name, header);
        let what = format!("set {name} ({kind}, family {family}) is not one that holds blocks, so it is of another");
        Err(Error(format!("{what} program; choose another ipset.set_name")))
    }

    fn inet(&self) -> &'static str {
        match self.family {
            Family::V4 => "inet",
            Family::V6 => "inet6",
        }
    }
}

impl SetEntry {
    fn for_ever(net: IpNet) -> SetEntry {
        SetEntry { net, remaining: None, exempt: false, counted: None }
    }
}

/// Networks of a set that block.
pub(super) fn blocked(held: Vec<SetEntry>) -> HashSet<IpNet> {
    held.into_iter().filter(|held| !held.exempt).map(|held| held.net).collect()
}

fn is_early(remaining: u64, due: u64) -> bool {
    let slack = if due == SET_TIMEOUT_MAX { RENEWAL } else { SLACK };
    remaining + slack < due
}

fn additions(set: &str, held: impl IntoIterator<Item = SetEntry>) -> String {
    held.into_iter().fold(String::new(), |mut text, held| {
        let _ = writeln!(text, "add {set} {held}");
        text
    })
}
