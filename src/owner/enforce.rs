//! Enforce, commit, tell: a plan is carried out in the kernel, what the kernel took is written down, and then told.

use std::collections::HashSet;

use ipnet::IpNet;
use log::{Level, info};

use super::Owner;
use super::gate::{Gate, Plan};
use super::pending::Attempt;
use crate::firewall::{Change, Refused};
use crate::hook::Fact;
use crate::model::clock::Now;
use crate::model::memory::Memory;
use crate::model::net::Plain;
use crate::state::journal::{self, Record};

/// Most lines handed to the log in one piece, which it writes in one go.
const TELL: usize = 256;

impl Owner {
    /// What every block has to pass.
    pub(super) fn gate(&self) -> Gate<'_> {
        let (protection, book, pending) = (&self.protection, &self.book, &self.pending);
        Gate { protection, book, pending, most: self.firewall.capacity() }
    }

    /// Carries out a plan and returns what the kernel refused of it.
    pub(super) fn carry_out(&mut self, mut plan: Plan, now: Now) -> Vec<IpNet> {
        self.cover(now);
        let mut records: Vec<Record> = self.covered.take_new().map(Record::Port).collect();
        let memories = self.evidence.take_news();
        let homes = memories.iter().filter_map(|memory| match memory {
            Memory::Home(home) => Some(home.place),
            Memory::Offence(..) => None,
        });
        let homes: Vec<IpNet> = homes.collect();
        self.admit(&homes, now);
        self.spare_more_in_lists(&homes);
        // One may have logged in through a port that is not guarded.
        if homes.iter().any(|home| self.is_blocked_by_others(home)) {
            self.spare_others(now);
        }
        records.extend(memories.into_iter().map(Record::Remember));
        if plan.make_room(&self.gate()) {
            let most = self.firewall.capacity();
            let text = format!("ERROR => more than {most} blocks: those least sure to be of attackers make room");
            self.say_once(Level::Error, &text, now);
        }
        if plan.is_empty() && records.is_empty() {
            return Vec::new();
        }
        let refusals = if plan.is_empty() { Vec::new() } else { self.enforce(&plan.change(), now) };
        let refused: HashSet<IpNet> = refusals.iter().map(|refusal| refusal.net).collect();

        let (mut blocked, mut freed, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for (net, why) in plan.frees() {
            if refused.contains(&net) {
                self.try_later(net, Attempt::Free(why), now);
            } else if self.freed(&net) {
                records.push(Record::Unblock(net));
                freed.push((net, why));
                self.tell_hook(|| Fact::Unblock { net, why });
            }
        }
        for (net, block) in plan.blocks() {
            if refused.contains(&net) {
                self.try_later(net, Attempt::Block(block), now);
                continue;
            }
            self.pending.remove(&net);
            self.book.insert(net, block);
            self.stats.blocked(net, block.reason);
            records.push(Record::Block(net, block));
            blocked.push((net, block.reason.text()));
            self.tell_hook(|| Fact::Block { net, end: block.end, reason: block.reason });
            told.push((net, block));
            if let Some(reporter) = &self.reporter {
                reporter.tell(net, &block);
            }
        }
        self.write_journal(&records, now);
        self.tell_fleet(&told, &freed, now.wall);

        let named = self.lines.take(blocked.len() + freed.len(), now);
        let mut lines = lines(&blocked, &freed).take(named);
        for _ in 0..named.div_ceil(TELL) {
            let piece: Vec<String> = lines.by_ref().take(TELL).collect();
            info!("{}", piece.join("\n"));
        }
        self.tell_refused(&refusals, now);
        refused.into_iter().collect()
    }

    fn enforce(&mut self, change: &Change, now: Now) -> Vec<Refused> {
        let refused = self.apply(change, now);
        let took = self.clock.now().monotonic.saturating_sub(now.monotonic);
        self.stats.enforced(change.add.len() + change.remove.len(), took);
        refused
    }

    /// Notes that the kernel freed an address or network; true if it was blocked.
    pub(super) fn freed(&mut self, net: &IpNet) -> bool {
        if self.pending.is_to_be_freed(net) {
            self.pending.remove(net);
        }
        self.book.remove(net).is_some()
    }

    /// Lets wait what the kernel refused.
    pub(super) fn try_later(&mut self, net: IpNet, change: Attempt, now: Now) {
        let most = self.firewall.capacity();
        if self.pending.put(net, change, now, most).is_some() {
            let text =
                format!("ERROR => more than {most} blocks that the kernel refused: the others are not tried again");
            self.say_once(Level::Error, &text, now);
        }
    }

    /// Has the firewall make a change, and says what it found missing meanwhile.
    pub(super) fn apply(&mut self, change: &Change, now: Now) -> Vec<Refused> {
        let applied = self.firewall.apply(&self.book, change, now.wall);
        if applied.refused.is_empty() && applied.mended.is_empty() {
            self.rhythm.changed(now.monotonic);
        } else {
            self.rhythm.troubled(now.monotonic);
        }
        self.tell_repair(&applied.mended, now);
        applied.refused
    }

    pub(super) fn tell_refused(&mut self, refusals: &[Refused], now: Now) {
        for Refused { net, why } in refusals {
            let state = if self.book.get(net).is_some() { "still" } else { "not" };
            let text = format!("ERROR => {} is {state} blocked, to be tried again: {why}", Plain(*net));
            self.say_once(Level::Error, &text, now);
        }
    }

    /// Leads what was attacked through the chain, if it is not yet.
    fn cover(&mut self, now: Now) {
        let Some(scope) = self.covered.newly_covered() else { return };
        let others = self.firewall_of_others().map(|(firewall, _)| firewall.set_traffic(scope.clone()));
        match self.firewall.set_traffic(scope).and(others.unwrap_or(Ok(()))) {
            Ok(()) => {
                info!("SCOPE => {}", self.covered);
                self.lead_to_lists();
            }
            Err(why) => {
                self.covered.refused();
                let text = format!("ERROR => cannot lead {} through the chain: {why}", self.covered);
                self.say_once(Level::Error, &text, now);
            }
        }
    }

    pub(super) fn write_journal(&mut self, records: &[Record], now: Now) {
        let written = self.journal.as_mut().map_or(Ok(()), |journal| journal.append(records));
        self.tell_journal(written, now);
    }

    pub(super) fn tell_journal(&mut self, written: Result<(), journal::Error>, now: Now) {
        if let Err(why) = written {
            let text = format!("ERROR => {why}; the blocks are in force all the same");
            self.say_once(Level::Error, &text, now);
        }
    }
}

/// The lines of what was done. Where there are too many, the last are left out, so the blocks come first.
pub(super) fn lines<'a>(
    blocked: &'a [(IpNet, &'static str)],
    freed: &'a [(IpNet, &'static str)],
) -> impl Iterator<Item = String> + 'a {
    let line = |what: &'static str| move |(net, why): &(IpNet, &str)| format!("{what} => {} ({why})", Plain(*net));
    blocked.iter().map(line("BLOCK")).chain(freed.iter().map(line("UNBLOCK")))
}
