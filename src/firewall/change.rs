//! A change: what of it is to be done, and what became of it. The same for every backend.

use std::collections::{BTreeSet, HashSet};

use ipnet::IpNet;

use super::Error;
use super::family::Family;
use super::run::Failure;
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// At most 16 refused entries are looked for one by one. More of them are no culprits: the reason lies elsewhere, and
/// the rest of the change need not try it all again.
pub(super) const MAX_CULPRITS: usize = 16;

/// At most this many seconds may the kernel end an entry earlier or later than the book. Its seconds are whole ones, and
/// the daemon may have been busy between reading the clock and writing the entry.
pub(super) const SLACK: u64 = 5;

/// Changes to make in one transaction for each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What to block, each with its end.
    pub add: Vec<(IpNet, UnixTime)>,
    /// What to free.
    pub remove: Vec<IpNet>,
}

/// A part of a change that the kernel did not take.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The entry that was to be added or removed.
    pub net: IpNet,
    /// Why: command line, exit status and standard error.
    pub why: String,
}

/// One entry of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Add(IpNet, UnixTime),
    Remove(IpNet),
}

impl Step {
    pub(super) fn net(self) -> IpNet {
        match self {
            Step::Add(net, _) | Step::Remove(net) => net,
        }
    }

    pub(super) fn removes(self) -> bool {
        matches!(self, Step::Remove(_))
    }

    pub(super) fn refused(self, why: &str) -> Refused {
        Refused { net: self.net(), why: why.to_owned() }
    }
}

/// What of a change is to be done, removals first: each entry once, an addition rather than a removal, nothing removed
/// that is not there. And what of it cannot be done at all. `unguarded` says why a family has no rules.
pub(super) fn settle(
    book: &Book,
    change: &Change,
    unguarded: impl Fn(Family) -> Option<Error>,
) -> (Vec<Step>, Vec<Refused>) {
    let mut refused = Vec::new();
    let mut added: Vec<(IpNet, UnixTime)> = Vec::with_capacity(change.add.len());
    for (net, end) in change.add.iter().map(|(net, end)| (net.trunc(), *end)) {
        if net.prefix_len() == 0 {
            refused.push(Step::Add(net, end).refused("a block of all addresses would leave nobody to serve"));
        } else if let Some(error) = unguarded(Family::of(&net)) {
            refused.push(Step::Add(net, end).refused(&error.0));
        } else {
            added.push((net, end));
        }
    }
    added.sort_by_key(|(net, _)| *net);
    added.dedup_by_key(|(net, _)| *net);
    let is_added = |net: &IpNet| added.binary_search_by_key(net, |(net, _)| *net).is_ok();
    // Where a family has no rules, nothing is in force and nothing need be removed.
    let removed = change.remove.iter().map(IpNet::trunc).filter(|net| unguarded(Family::of(net)).is_none());
    let removed: BTreeSet<IpNet> = removed.filter(|net| book.get(net).is_some() && !is_added(net)).collect();
    let removals = removed.into_iter().map(Step::Remove);
    (removals.chain(added.iter().map(|(net, end)| Step::Add(*net, *end))).collect(), refused)
}

/// Those whose outcome the kernel does not show, given what it holds; all of them where it cannot be read.
pub(super) fn not_in_effect(steps: &[Step], held: Option<&HashSet<IpNet>>, why: &str) -> Vec<Refused> {
    let failed = steps.iter().filter(|step| match (step, held) {
        (_, None) => true,
        (Step::Add(net, _), Some(held)) => !held.contains(net),
        (Step::Remove(net), Some(held)) => held.contains(net),
    });
    failed.map(|step| step.refused(why)).collect()
}

/// Why steps were not done.
#[derive(Debug)]
pub(super) struct Undone {
    pub why: String,
    /// Whether it is certain that none of them was.
    pub certain: bool,
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Undone {
        Undone { why: failure.to_string(), certain: failure.is_verdict() }
    }
}

/// Whoever can be given steps.
pub(super) trait Taker {
    /// Does all of the steps, or none; of different kinds it may do those of one.
    fn commit(&mut self, steps: &[Step]) -> Result<(), Undone>;

    /// What is in force now; `None` if that cannot be seen.
    fn held(&self) -> Option<HashSet<IpNet>>;
}

/// Does the steps, divided until each culprit is alone, and says what was refused.
pub(super) fn divide(taker: &mut impl Taker, steps: &[Step]) -> Vec<Refused> {
    let mut refused = Vec::new();
    halve(taker, steps, &mut refused);
    refused
}

fn halve(taker: &mut impl Taker, steps: &[Step], refused: &mut Vec<Refused>) {
    if steps.is_empty() {
        return;
    }
    let Err(Undone { why, certain }) = taker.commit(steps) else { return };
    if !certain {
        refused.extend(not_in_effect(steps, taker.held().as_ref(), &why));
    } else if steps.len() == 1 || refused.len() >= MAX_CULPRITS {
        refused.extend(steps.iter().map(|step| step.refused(&why)));
    } else {
        let (one, other) = steps.split_at(steps.len() / 2);
        halve(taker, one, refused);
        halve(taker, other, refused);
    }
}
