//! Blocks as elements of the sets: how they come and go.

use std::collections::{BTreeSet, HashSet};
use std::fmt::{Display, Write};
use std::io;

use ipnet::IpNet;

use super::batch::Batch;
use super::netlink::{self, ROOM};
use super::sets::{Key, List, Networks, Set};
use super::{Nft, is_too_long, timeout};
use crate::firewall::Error;
use crate::firewall::change::{Step, Taker, Undone};
use crate::firewall::lists::PIECE;
use crate::firewall::run::Failure;
use crate::model::book::Book;
use crate::model::clock::UnixTime;

impl Nft {
    /// Elements with the seconds that are left. Networks among them must not overlap.
    pub(super) fn additions(&self, list: List, nets: &[(IpNet, Option<u64>)]) -> String {
        let mut text = String::with_capacity(32 * nets.len());
        for set in Set::ALL {
            let ours = nets.iter().filter(|(net, _)| Set::of(net) == set);
            self.say(&mut text, "add", &list.name(set), ours.map(|(net, seconds)| set.element(net, *seconds)));
        }
        text
    }

    pub(super) fn removals(&self, list: List, nets: &[IpNet]) -> String {
        let mut text = String::new();
        for set in Set::ALL {
            let ours = nets.iter().filter(|net| Set::of(net) == set);
            self.say(&mut text, "delete", &list.name(set), ours.map(|net| set.element(net, None)));
        }
        text
    }

    pub(super) fn say(&self, text: &mut String, verb: &str, set: &str, elements: impl Iterator<Item = impl Display>) {
        let mut elements = elements.peekable();
        if elements.peek().is_none() {
            return;
        }
        let _ = write!(text, "{verb} element inet {} {set} {{ ", self.plan.table);
        for element in elements {
            let _ = write!(text, "{element}, ");
        }
        text.push_str("}\n");
    }

    /// Has nft make ranges go and come, and says whether the kernel changed. Before 1.0 nft does not see that one that goes
    /// makes room for one that comes, and so for a wider one the whole set is written anew.
    pub(super) fn change_ranges(
        &mut self,
        list: List,
        gone: &BTreeSet<IpNet>,
        come: &BTreeSet<IpNet>,
        networks: &Networks,
    ) -> Result<bool, Unmade> {
        let lasting = |nets: &[IpNet]| nets.iter().map(|net| (*net, None)).collect::<Vec<_>>();
        let mut changed = false;
        for set in Set::OF_RANGES {
            let ours =
                |nets: &BTreeSet<IpNet>| nets.iter().filter(|net| Set::of(net) == set).copied().collect::<Vec<_>>();
            let (gone, come) = (ours(gone), ours(come));
            if gone.is_empty() || come.is_empty() {
                changed |= in_pieces(&gone, |some| self.commit(&self.removals(list, some)))?;
                changed |= in_pieces(&come, |some| self.commit(&self.additions(list, &lasting(some))))?;
            } else {
                let all: Vec<IpNet> = networks.widest().filter(|net| Set::of(net) == set).collect();
                let flush = format!("flush set inet {} {}\n", self.plan.table, list.name(set));
                changed |= self.commit(&(flush + &self.additions(list, &lasting(&all))))?;
            }
        }
        Ok(changed)
    }

    /// Learns of networks that others have added, before ours change beside them.
    pub(super) fn heed_networks_of_others(&mut self) {
        for set in Set::OF_RANGES {
            // What cannot be read is not there, as far as is known; the kernel refuses what overlaps.
            let held = self.nets(List::Blocks, set).unwrap_or_default();
            let new: Vec<IpNet> = held.into_iter().map(|(net, _)| net).collect();
            self.networks.change(&new, &[]);
        }
    }

    /// What is held, and what a network that is held covers.
    pub(super) fn held(&self) -> Result<HashSet<IpNet>, Error> {
        let mut held: HashSet<IpNet> = self.all_blocks()?.into_iter().map(|(net, _)| net).collect();
        let shown = Networks::new(held.iter().copied());
        held.extend(self.networks.all().filter(|net| shown.covers(net)));
        Ok(held)
    }

    /// Makes these changes, in as few transactions as the kernel takes: of addresses first.
    pub(super) fn commit_steps(&mut self, book: &Book, steps: &[Step], now: UnixTime) -> Result<(), Unmade> {
        let (ranges, addresses): (Vec<Step>, Vec<Step>) =
            steps.iter().partition(|step| Set::of(&step.net()).has_ranges());
        for some in addresses.chunks(ROOM) {
            self.commit_addresses(book, some, now)?;
        }
        if ranges.is_empty() { Ok(()) } else { self.commit_ranges(&ranges) }
    }

    /// What is there already is removed and added, because before Linux 6.12 to add it again does not change its end; what
    /// is removed is added before, because it may have ended by itself, and what is not there cannot be removed.
    fn commit_addresses(&mut self, book: &Book, steps: &[Step], now: UnixTime) -> io::Result<()> {
        let doomed = |step: &Step| match step {
            Step::Remove(net) => Some((*net, Some(1))),
            Step::Add(net, end) => book.get(net).map(|_| (*net, Some(timeout(*end, now)))),
        };
        let doomed: Vec<(IpNet, Option<u64>)> = steps.iter().filter_map(doomed).collect();
        let lasting = |step: &Step| match step {
            Step::Remove(_) => None,
            Step::Add(net, end) => Some((*net, Some(timeout(*end, now)))),
        };
        let lasting: Vec<(IpNet, Option<u64>)> = steps.iter().filter_map(lasting).collect();
        self.commit_elements(|batch| replace(batch, List::Blocks, &doomed, &lasting))
    }

    fn commit_ranges(&mut self, steps: &[Step]) -> Result<(), Unmade> {
        self.doubt_unless(self.netlink.generation().ok());
        if self.elements_in_doubt {
            self.heed_networks_of_others();
        }
        let (removed, added): (Vec<Step>, Vec<Step>) = steps.iter().partition(|step| step.removes());
        let nets = |steps: Vec<Step>| steps.into_iter().map(Step::net).collect::<Vec<_>>();
        let mut networks = self.networks.clone();
        let (gone, come) = networks.change(&nets(added), &nets(removed));
        if !self.change_ranges(List::Blocks, &gone, &come, &networks)? && !come.is_empty() {
            let held = self.held().map_err(Unmade::Idle)?;
            if !come.iter().all(|net| held.contains(net)) {
                return Err(Unmade::Idle(self.idle()));
            }
        }
        self.networks = networks;
        Ok(())
    }
}

/// Has ranges changed through nft, in as few transactions as the kernel takes, and says whether it changed. A container
/// may allow only small ones, and then says so.
pub(super) fn in_pieces<T>(
    ranges: &[T],
    mut commit: impl FnMut(&[T]) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let (mut rest, mut most, mut changed) = (ranges, PIECE, false);
    while !rest.is_empty() {
        let (some, others) = rest.split_at(most.min(rest.len()));
        match commit(some) {
            Ok(did) => {
                changed |= did;
                rest = others;
            }
            Err(failure) if is_too_long(&failure) && some.len() > 1 => most = some.len().div_ceil(2),
            Err(failure) => return Err(failure),
        }
    }
    Ok(changed)
}

/// Deletes addresses and adds others. Those that are to go are added before, because what is not there cannot be deleted.
pub(super) fn replace(batch: &mut Batch<'_>, list: List, gone: &[(IpNet, Option<u64>)], come: &[(IpNet, Option<u64>)]) {
    fn of(set: Set, nets: &[(IpNet, Option<u64>)]) -> impl Iterator<Item = (Key, Option<u64>)> {
        let ours = nets.iter().filter(move |(net, _)| Set::of(net) == set);
        ours.map(|(net, seconds)| (Key::of(net), *seconds))
    }
    for set in Set::OF_ADDRESSES {
        let name = list.name(set);
        batch.add(&name, of(set, gone));
        batch.delete(&name, of(set, gone).map(|(key, _)| key));
        batch.add(&name, of(set, come));
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmade {
    /// nft did not make it.
    #[error(transparent)]
    Program(#[from] Failure),
    /// nft said that it did, and did not.
    #[error(transparent)]
    Idle(Error),
    /// The kernel did not take it.
    #[error("the kernel did not take it: {0}")]
    Kernel(#[from] io::Error),
}

impl Unmade {
    /// Whether it is open what became of it, and to try it again would take as long.
    pub(super) fn took_too_long(&self) -> bool {
        match self {
            Unmade::Program(failure) => failure.timed_out(),
            Unmade::Idle(_) => false,
            Unmade::Kernel(error) => netlink::leaves_open(error),
        }
    }
}

impl From<Unmade> for Error {
    fn from(unmade: Unmade) -> Error {
        Error(unmade.to_string())
    }
}

impl From<Unmade> for Undone {
    fn from(unmade: Unmade) -> Undone {
        match unmade {
            Unmade::Program(failure) => failure.into(),
            _ => Undone { why: unmade.to_string(), certain: !unmade.took_too_long() },
        }
    }
}

/// Steps that are tried in parts.
pub(super) struct Attempt<'a> {
    pub nft: &'a mut Nft,
    pub book: &'a Book,
    pub now: UnixTime,
}

impl Taker for Attempt<'_> {
    fn commit(&mut self, steps: &[Step]) -> Result<(), Undone> {
        Ok(self.nft.commit_steps(self.book, steps, self.now)?)
    }

    fn held(&self) -> Option<HashSet<IpNet>> {
        self.nft.held().ok()
    }
}
