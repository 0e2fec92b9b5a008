//! The kernel set of one IP version.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use ipnet::IpNet;

use super::listing::{Header, Held};
use super::tool::Tool;
use super::{LONGEST, timeout};
use crate::firewall::filter::{Family, Source, Version};
use crate::firewall::{Entry, Error};
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// Seconds by which the kernel may end an entry earlier or later than the book. Its seconds are whole ones, and the
/// daemon may have been busy between reading the clock and writing the entry.
const SLACK: u64 = 5;

/// A block longer than the kernel can count is renewed when the kernel has counted off this many seconds.
const RENEWAL: u64 = 86_400;

/// Seconds after which an entry ends that was added by hand without a time: `ipset add sipban 192.0.2.1`.
const BY_HAND: u64 = 86_400;

/// The set of one IP version, as far as it is known without asking.
#[derive(Debug)]
pub(super) struct Set {
    version: Version,
    pub name: String,
    /// Where a set that replaces this one is made. At most 31 characters.
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
    pub(super) fn new(version: Version, name: &str, least: u32) -> Set {
        let draft = format!("{name:.29}~{}", if version == Version::V4 { 4 } else { 6 });
        let name = version.set_name(name);
        Set { version, name, draft, least, maxelem: least, entries: 0, others: 0 }
    }

    /// The whole body of our chain.
    pub(super) fn body(&self) -> [Source; 1] {
        [Source::Set(self.name.clone())]
    }

    /// Whether a set that is there can be used as it is. A larger one than was asked for has grown.
    pub(super) fn is_sound(&self, header: &Header) -> bool {
        header.kind == "hash:net" && header.timeout && !header.odd && header.maxelem >= self.least
    }

    /// Creates the set or takes over what is there, in it or in the chain, and leads the chain to it.
    pub(super) fn set_up(&mut self, tool: &Tool, family: &mut Family, chain: &[Source]) -> Result<Vec<Entry>, Error> {
        let headers = tool.headers()?;
        let there = headers.get(&self.name);
        let mut held: HashMap<IpNet, Held> = HashMap::new();
        // Rules of the backend `iptables`.
        held.extend(chain.iter().filter_map(Source::net).map(|net| (net, Held::for_ever(net))));
        // Left by a replacement that was cut short while the draft was in force.
        if chain.contains(&Source::Set(self.draft.clone())) {
            held.extend(self.read(tool, &self.draft)?);
        }
        let mut present = HashMap::new();
        if let Some(header) = there {
            self.check_ours(header)?;
            present = self.read(tool, &self.name)?;
        }
        let adopted: Vec<Held> = held.into_values().filter(|held| !present.contains_key(&held.net)).collect();
        match there {
            Some(header) if self.is_sound(header) => {
                self.note(header);
                self.make_room(tool, adopted.len())?;
                tool.run(&additions(&self.name, adopted.iter().cloned()))?;
            }
            Some(header) => {
                let all: Vec<Held> = adopted.iter().chain(present.values()).cloned().collect();
                self.replace(tool, family, header, &all)?;
            }
            None => {
                self.maxelem = self.roomy(adopted.len());
                self.fill(tool, &self.name, &adopted)?;
            }
        }
        self.entries = adopted.len() + present.len();
        family.mend(&self.body())?;
        if headers.contains_key(&self.draft) {
            // It is no more, if it has been swapped in meanwhile.
            let _ = tool.run(&format!("destroy {}\n", self.draft));
        }
        let all = adopted.into_iter().chain(present.into_values()).filter(|held| !held.exempt);
        Ok(all.map(|held| Entry { net: held.net, remaining: held.remaining }).collect())
    }

    /// Makes the set what the book says, and says what it was not. What others have added stays, for as long as they
    /// said: whoever types `ipset add sipban 192.0.2.1` means it.
    pub(super) fn mend(
        &mut self,
        tool: &Tool,
        family: &mut Family,
        header: Option<&Header>,
        book: &Book,
        now: UnixTime,
    ) -> Result<Vec<String>, Error> {
        let mut faults = Vec::new();
        let version = self.version.name();
        let mut fault = |what: String| faults.push(format!("{what} ({version})"));
        match header {
            Some(header) if self.is_sound(header) => self.note(header),
            Some(header) => {
                self.check_ours(header)?;
                let held: Vec<Held> = self.read(tool, &self.name)?.into_values().collect();
                self.replace(tool, family, header, &held)?;
                fault(format!("type of set {}", self.name));
            }
            None => {
                self.maxelem = self.roomy(0);
                self.fill(tool, &self.name, &[])?;
                fault(format!("set {}", self.name));
            }
        }
        let held = self.read(tool, &self.name)?;
        self.entries = held.len();
        let (mut wanted, mut known, mut missing, mut early) = (0, 0, 0, 0);
        let mut text = String::new();
        for (net, block) in book.by_end().filter(|(net, _)| Version::of(net) == self.version) {
            wanted += 1;
            let there = held.get(&net).filter(|held| !held.exempt);
            known += usize::from(there.is_some());
            let due = timeout(block.end, now);
            match there {
                // About to be freed.
                None if block.end <= now + SLACK => continue,
                None => missing += 1,
                Some(Held { remaining: Some(seconds), .. }) if is_early(*seconds, due) => early += 1,
                Some(Held { remaining: Some(seconds), .. }) if *seconds <= due + SLACK => continue,
                // It stays for too long: nobody was unprotected, so there is nothing to tell.
                Some(_) => {}
            }
            let _ = writeln!(text, "add {} {net} timeout {due}", self.name);
        }
        self.others = held.len() - known;
        if missing > 0 {
            fault(format!("{missing} of {wanted} blocks"));
        }
        if early > 0 {
            fault(format!("the end of {early} blocks"));
        }
        self.make_room(tool, missing)?;
        if !text.is_empty() {
            tool.run(&text)?;
        }
        self.entries += missing;
        Ok(faults)
    }

    /// Sees to it that the set takes so many more entries: one that is about to be full is replaced by a larger one,
    /// without a packet noticing.
    pub(super) fn make_room(&mut self, tool: &Tool, more: usize) -> Result<(), Error> {
        if self.fits(self.maxelem, self.entries + more) {
            return Ok(());
        }
        // Entries have ended by themselves since they were counted.
        let header = tool.headers()?.remove(&self.name).ok_or_else(|| Error(format!("set {} is gone", self.name)))?;
        self.note(&header);
        if header.entries.is_none() {
            self.entries = tool.entries(&self.name)?.len();
        }
        if self.fits(self.maxelem, self.entries + more) {
            return Ok(());
        }
        let old = self.maxelem;
        self.maxelem = self.roomy(self.entries + more);
        let held: Vec<Held> = self.read(tool, &self.name)?.into_values().collect();
        if let Err(error) = self.fill(tool, &self.draft, &held).and_then(|()| self.swap(tool)) {
            self.maxelem = old;
            return Err(error);
        }
        log::warn!("SET => {} grown to {}", self.name, self.maxelem);
        Ok(())
    }

    /// What the kernel says of its size.
    pub(super) fn note(&mut self, header: &Header) {
        self.maxelem = header.maxelem;
        self.entries = header.entries.unwrap_or(self.entries);
    }

    /// So many more are being added.
    pub(super) fn expect(&mut self, more: usize) {
        self.entries += more;
    }

    fn read(&self, tool: &Tool, name: &str) -> Result<HashMap<IpNet, Held>, Error> {
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
        match self.version {
            Version::V4 => "inet",
            Version::V6 => "inet6",
        }
    }

    /// Nine tenths full is full: then there is time to make it larger before it is.
    fn fits(&self, maxelem: u32, entries: usize) -> bool {
        entries as u64 * 10 <= u64::from(maxelem) * 9
    }

    /// What is asked for, doubled until so many entries fit.
    fn roomy(&self, entries: usize) -> u32 {
        let mut maxelem = self.maxelem.max(self.least);
        while !self.fits(maxelem, entries) && maxelem < u32::MAX {
            maxelem = maxelem.saturating_mul(2);
        }
        maxelem
    }

    /// Makes a set as it should be, of that name, with these entries.
    fn fill(&self, tool: &Tool, name: &str, held: &[Held]) -> Result<(), Error> {
        // What an earlier attempt left, unless a rule leads to it. Then it is used.
        let _ = tool.run(&format!("destroy {name}\n"));
        let hashsize = (held.len() / 4).next_power_of_two().max(1024);
        let (inet, maxelem) = (self.inet(), self.maxelem);
        let create =
            format!("create {name} hash:net family {inet} hashsize {hashsize} maxelem {maxelem} timeout {BY_HAND}");
        // Counters came with ipset 6.18 and Linux 3.10; they cost 16 bytes an entry.
        let counts = tool.run(&format!("{create} counters\n")).is_ok();
        if !counts {
            tool.run(&format!("{create}\n"))?;
        }
        let held = held.iter().map(|held| Held { counted: held.counted.filter(|_| counts), ..held.clone() });
        Ok(tool.run(&additions(name, held))?)
    }

    /// Puts the draft in the place of the set. Rules lead to a set by its name, and so to the new one from now on.
    fn swap(&self, tool: &Tool) -> Result<(), Error> {
        let Set { name, draft, .. } = self;
        Ok(tool.run(&format!("swap {draft} {name}\ndestroy {draft}\n"))?)
    }

    /// Replaces a set that is not as it should be by one that is, with the same entries. What is in force stays so.
    fn replace(&mut self, tool: &Tool, family: &mut Family, old: &Header, held: &[Held]) -> Result<(), Error> {
        self.maxelem = self.roomy(held.len());
        self.fill(tool, &self.draft, held)?;
        if old.kind == "hash:net" {
            return self.swap(tool);
        }
        // Sets of different types cannot be swapped: the draft is in force while the set is made anew. This also
        // removes the rule of the Perl program, without which the set could not be destroyed.
        family.mend(&[Source::Set(self.draft.clone())])?;
        tool.destroy(&self.name)?;
        self.fill(tool, &self.name, held)?;
        family.mend(&self.body())?;
        tool.destroy(&self.draft)
    }
}

impl Held {
    fn for_ever(net: IpNet) -> Held {
        Held { net, remaining: None, exempt: false, counted: None }
    }
}

/// Networks of a set that block.
pub(super) fn blocked(held: Vec<Held>) -> HashSet<IpNet> {
    held.into_iter().filter(|held| !held.exempt).map(|held| held.net).collect()
}

fn is_early(remaining: u64, due: u64) -> bool {
    let slack = if due == LONGEST { RENEWAL } else { SLACK };
    remaining + slack < due
}

fn additions(set: &str, held: impl IntoIterator<Item = Held>) -> String {
    held.into_iter().fold(String::new(), |mut text, held| {
        let _ = writeln!(text, "add {set} {held}");
        text
    })
}
