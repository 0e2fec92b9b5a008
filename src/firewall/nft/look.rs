//! Whether the table is what it should be: its structure often, its elements seldom.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;

use super::netlink::NoAnswer;
use super::sets::{List, Networks, Set};
use super::{CLOSE_LOOK_EVERY, Nft, timeout};
use crate::firewall::body::Faults;
use crate::firewall::change::{SLACK, Step, not_in_effect};
use crate::firewall::family::Family;
use crate::firewall::{Error, Refused, Verified};
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// At most one part in 50 of the time is spent on looking at elements.
const SHARE: u32 = 50;

impl Nft {
    /// Looks at the structure, and at the elements where others may have touched them and it takes no too large a part of
    /// the time, or in any case.
    pub(super) fn look(&mut self, book: &Book, now: UnixTime, closely: bool) -> Verified {
        let mended = match self.look_at_structure() {
            Ok(mended) => mended,
            Err(trouble) => return trouble.with_all_lost(book),
        };
        let repaired = !mended.is_empty();
        let mut verified = Verified { mended, ..Verified::default() };
        if repaired || closely || (self.elements_in_doubt && self.clock.now().monotonic >= self.next_elements) {
            verified.join(self.look_at_elements(book, now));
            verified.join(self.look_at_admitted());
        }
        verified
    }

    /// Makes all but the elements what it should be, and says what it was not.
    pub(super) fn look_at_structure(&mut self) -> Result<Vec<String>, Trouble> {
        let before = self.netlink.generation().ok();
        let faults = match self.show() {
            Ok(shown) => self.sound.lacking(&shown),
            Err(NoAnswer::NotThere) => vec![format!("table inet {}", self.plan.table)],
            Err(no_answer) => return Err(Trouble::Unread(no_answer.into())),
        };
        if faults.is_empty() {
            // What changes from now on is seen at the next look.
            self.generation = before;
            return Ok(faults);
        }
        let was = self.sound.clone();
        self.elements_in_doubt = true;
        match self.make() {
            Ok(()) if was == self.sound => Ok(faults),
            made => {
                self.sound = was;
                Err(Trouble::Unmended(made.err().unwrap_or_else(|| self.idle())))
            }
        }
    }

    pub(super) fn look_at_elements(&mut self, book: &Book, now: UnixTime) -> Verified {
        let began = self.clock.now().monotonic;
        let held = match self.all_blocks() {
            Ok(held) => held,
            Err(error) => return Verified::failed(error),
        };
        let ended = self.clock.now().monotonic;
        self.next_elements = ended + (ended - began) * SHARE;
        self.elements_in_doubt = false;
        self.until_close_look = CLOSE_LOOK_EVERY;
        let mut verified = Verified::default();
        let steps = self.differences(book, &held, now, &mut verified.mended);
        // Networks that others have added stay, and what we add must not overlap them.
        self.networks = Networks::new(held.iter().map(|(net, _)| *net).chain(book.iter().map(|(net, _)| net)));
        let shown = Networks::new(held.iter().map(|(net, _)| *net));
        let come: BTreeSet<IpNet> = self.networks.widest().filter(|net| !shown.has(net)).collect();
        let gone: BTreeSet<IpNet> = shown.all().filter(|net| self.networks.covers(net)).collect();
        if steps.is_empty() && come.is_empty() && gone.is_empty() {
            return verified;
        }
        let networks = self.networks.clone();
        let ranges = self.change_ranges(List::Blocks, &gone, &come, &networks);
        let outcome = ranges.and_then(|_| self.commit_steps(book, &steps, now));
        match (outcome, self.held()) {
            (Ok(()), Ok(held)) if steps.iter().all(|step| held.contains(&step.net())) => {}
            (outcome, held) => {
                let error = outcome.err().map_or_else(|| self.idle(), Error::from);
                let ours: Vec<Step> = book.iter().map(|(net, block)| Step::Add(net, block.end)).collect();
                if let Ok(held) = held {
                    verified.lost = not_in_effect(&ours, Some(&held), &error.0);
                }
                verified.failed.push(error);
            }
        }
        verified
    }

    /// What is to be added or renewed, and in words what was wrong. What others have added stays, for as long as they
    /// said: whoever types `nft add element` means it.
    pub(super) fn differences(
        &self,
        book: &Book,
        held: &[(IpNet, Option<u64>)],
        now: UnixTime,
        mended: &mut Vec<String>,
    ) -> Vec<Step> {
        let there: HashMap<IpNet, Option<u64>> = held.iter().copied().collect();
        let shown = Networks::new(held.iter().map(|(net, _)| *net));
        let mut steps = Vec::new();
        for family in Family::BOTH {
            let (mut wanted, mut missing, mut early) = (0, 0, 0);
            for (net, block) in book.iter().filter(|(net, _)| Family::of(net) == family) {
                wanted += 1;
                let due = timeout(block.end, now);
                match there.get(&net) {
                    // A network around it does what it should do.
                    None if Set::of(&net).has_ranges() && shown.covers(&net) => continue,
                    // About to be freed.
                    None if block.end <= now + SLACK => continue,
                    None => missing += 1,
                    Some(_) if Set::of(&net).has_ranges() => continue,
                    Some(Some(seconds)) if seconds + SLACK < due => early += 1,
                    Some(Some(seconds)) if *seconds <= due + SLACK => continue,
                    // It stays for too long: nobody was unprotected, so there is nothing to tell.
                    Some(_) => {}
                }
                if !Set::of(&net).has_ranges() {
                    steps.push(Step::Add(net, block.end));
                }
            }
            let mut faults = Faults::none(family);
            faults.add_missing(missing, wanted);
            if early > 0 {
                faults.add(format_args!("the end of {early} blocks"));
            }
            mended.extend(faults.into_texts());
        }
        steps
    }
}

/// Why the structure of the table is not known to be right.
pub(super) enum Trouble {
    Unread(Error),
    /// It is wrong, so nobody is blocked.
    Unmended(Error),
}

impl Trouble {
    pub(super) fn error(self) -> Error {
        match self {
            Trouble::Unread(error) | Trouble::Unmended(error) => error,
        }
    }

    pub(super) fn with_all_lost(self, book: &Book) -> Verified {
        let lost = match &self {
            Trouble::Unread(_) => Vec::new(),
            Trouble::Unmended(error) => book.iter().map(|(net, _)| Refused { net, why: error.0.clone() }).collect(),
        };
        Verified { lost, ..Verified::failed(self.error()) }
    }
}
