//! How large a set is, and how one takes the place of another.

use super::{Set, additions};
use crate::firewall::Error;
use crate::firewall::filter::Chain;
use crate::firewall::ipset::listing::{Header, SetEntry};
use crate::firewall::ipset::tool::Tool;

/// Seconds after which an entry ends that was added by hand without a time: `ipset add sipban 192.0.2.1`.
const BY_HAND: u64 = 86_400;

impl Set {
    /// Sees to it that the set takes so many more entries: one that is about to be full is replaced by a larger one,
    /// without a packet noticing.
    pub(in crate::firewall::ipset) fn make_room(&mut self, tool: &Tool, more: usize) -> Result<(), Error> {
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
        let held: Vec<SetEntry> = self.read(tool, &self.name)?.into_values().collect();
        if let Err(error) = self.fill(tool, &self.draft, &held).and_then(|()| self.swap(tool)) {
            self.maxelem = old;
            return Err(error);
        }
        log::warn!("SET => {} grown to {}", self.name, self.maxelem);
        Ok(())
    }

    /// What the kernel says of its size.
    pub(in crate::firewall::ipset) fn note(&mut self, header: &Header) {
        self.maxelem = header.maxelem;
        self.entries = header.entries.unwrap_or(self.entries);
    }

    /// So many more are being added.
    pub(in crate::firewall::ipset) fn expect(&mut self, more: usize) {
        self.entries += more;
    }

    /// Nine tenths full is full: then there is time to make it larger before it is.
    fn fits(&self, maxelem: u32, entries: usize) -> bool {
        entries as u64 * 10 <= u64::from(maxelem) * 9
    }

    /// What is asked for, doubled until so many entries fit.
    pub(super) fn roomy(&self, entries: usize) -> u32 {
        let mut maxelem = self.maxelem.max(self.least);
        while !self.fits(maxelem, entries) && maxelem < u32::MAX {
            maxelem = maxelem.saturating_mul(2);
        }
        maxelem
    }

    /// Makes a set as it should be, of that name, with these entries.
    pub(super) fn fill(&self, tool: &Tool, name: &str, held: &[SetEntry]) -> Result<(), Error> {
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
        let held = held.iter().map(|held| SetEntry { counted: held.counted.filter(|_| counts), ..held.clone() });
        Ok(tool.run(&additions(name, held))?)
    }

    /// Puts the draft in the place of the set. Rules lead to a set by its name, and so to the new one from now on.
    fn swap(&self, tool: &Tool) -> Result<(), Error> {
        let Set { name, draft, .. } = self;
        Ok(tool.run(&format!("swap {draft} {name}\ndestroy {draft}\n"))?)
    }

    /// Replaces a set that is not as it should be by one that is, with the same entries. What is in force stays so.
    pub(super) fn replace(
        &mut self,
        tool: &Tool,
        chain: &mut Chain,
        old: &Header,
        held: &[SetEntry],
    ) -> Result<(), Error> {
        self.maxelem = self.roomy(held.len());
        self.fill(tool, &self.draft, held)?;
        if old.kind == "hash:net" {
            return self.swap(tool);
        }
        // Sets of different types cannot be swapped: the draft is in force while the set is made anew. This also
        // removes the rule of the Perl program, without which the set could not be destroyed.
        chain.mend(&chain.of_set(&self.draft))?;
        tool.destroy(&self.name)?;
        self.fill(tool, &self.name, held)?;
        chain.mend(&chain.of_set(&self.name))?;
        tool.destroy(&self.draft)
    }
}
