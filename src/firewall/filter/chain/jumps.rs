//! The rules of others' chains that lead to ours.

use super::Chain;
use crate::firewall::Error;
use crate::firewall::filter::listing::Listing;

/// What our jumps say to FreePBX's firewall. It takes a rule of INPUT before its own for an invader, and begins anew with
/// all chains emptied, unless the text of the rule holds `fail2ban` or `f2b`.
const FREEPBX_COMMENT: &str = "-m comment --comment sipban-f2b ";

impl Chain {
    /// Leads other traffic through the chain. Where that is only more of it, as when an attack is seen on another
    /// port and every millisecond counts, the rules there are stay and need not be listed.
    pub(in crate::firewall::filter) fn set_jumps(&mut self, jumps: Vec<String>) -> Result<(), Error> {
        let old = std::mem::replace(&mut self.wanted_jumps, jumps);
        let text = if old.iter().all(|jump| self.wanted_jumps.contains(jump)) {
            let more: Vec<String> = self.wanted_jumps.iter().filter(|jump| !old.contains(jump)).cloned().collect();
            Ok(self.insertions(&more))
        } else {
            self.list().map(|listing| self.new_jumps(&listing))
        };
        match text.and_then(|text| Ok(self.commit(&text)?)) {
            Ok(()) => self.jumps_to_learn = true,
            Err(error) => {
                self.wanted_jumps = old;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes our jumps, and what does without a chain what they do.
    pub(super) fn without_jumps(&self, listing: &Listing) -> String {
        listing
            .jumps
            .iter()
            .chain(&listing.leftovers)
            .map(|jump| format!("-D {} {jump}\n", self.place.hook()))
            .collect()
    }

    pub(super) fn new_jumps(&self, listing: &Listing) -> String {
        self.without_jumps(listing) + &self.insertions(&self.wanted_jumps)
    }

    /// Jumps at the head of the place, in this order.
    fn insertions(&self, jumps: &[String]) -> String {
        let hook = self.place.hook();
        jumps.iter().rev().map(|jump| format!("-I {hook} 1 {}\n", self.as_made(jump))).collect()
    }

    /// A jump as it is told to iptables here.
    fn as_made(&self, jump: &str) -> String {
        match jump.rsplit_once("-j ") {
            Some((matches, to)) if self.beside_freepbx => format!("{matches}{FREEPBX_COMMENT}-j {to}"),
            _ => jump.to_owned(),
        }
    }

    /// Whether these are our jumps, word for word: then an earlier process made them.
    pub(super) fn are_ours(&self, jumps: &[String]) -> bool {
        self.wanted_jumps.iter().map(|jump| self.as_made(jump)).eq(jumps.iter().cloned())
    }

    /// From now on our jumps are to stand before those of FreePBX's firewall, if that has come.
    pub(super) fn heed_freepbx(&mut self, listing: &Listing) {
        if listing.freepbx && !self.beside_freepbx {
            self.beside_freepbx = true;
            self.listed_jumps = None;
        }
    }

    /// Whether another program had undone the jumps when they were looked at last.
    pub(in crate::firewall::filter) fn was_undone(&self) -> bool {
        self.undone
    }
}
