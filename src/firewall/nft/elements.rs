//! Blocks as elements of the sets: how they come and go.

use std::collections::{BTreeSet, HashSet};
use std::fmt::{Display, Write};

use ipnet::IpNet;

use super::sets::{List, Networks, Set};
use super::{Nft, is_too_long, shown, timeout};
use crate::firewall::change::{Step, Taker};
use crate::firewall::run::Failure;
use crate::firewall::{Error, Refused};
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

    /// The text of these steps, and the networks as they are then. What is there already is removed and added, because
    /// before Linux 6.12 to add it again does not change its end; what is removed is added before, because it may have
    /// ended by itself, and what is not there cannot be removed.
    pub(super) fn text(&self, book: &Book, steps: &[Step], now: UnixTime) -> (String, Networks) {
        let mut networks = self.networks.clone();
        let (mut removed, mut renewed, mut added) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wide, mut narrow) = (Vec::new(), Vec::new());
        for step in steps {
            let net = step.net();
            match step {
                Step::Add(..) if Set::of(&net).has_ranges() => wide.push(net),
                Step::Remove(_) if Set::of(&net).has_ranges() => narrow.push(net),
                Step::Remove(_) => removed.push((net, Some(1))),
                Step::Add(_, end) => {
                    let entry = (net, Some(timeout(*end, now)));
                    added.push(entry);
                    renewed.extend(book.get(&net).map(|_| entry));
                }
            }
        }
        let (gone, come) = networks.change(&wide, &narrow);
        let doomed: Vec<(IpNet, Option<u64>)> = removed.into_iter().chain(renewed).collect();
        let freed: Vec<IpNet> = doomed.iter().map(|(net, _)| *net).collect();
        let list = List::Blocks;
        let hosts = self.additions(list, &doomed) + &self.removals(list, &freed) + &self.additions(list, &added);
        (hosts + &self.ranges(list, &gone, &come, &networks), networks)
    }

    /// The text that makes ranges go and come. Before 1.0 nft does not see that one that goes makes room for one that
    /// comes, and so for a wider one the whole set is written anew.
    pub(super) fn ranges(
        &self,
        list: List,
        gone: &BTreeSet<IpNet>,
        come: &BTreeSet<IpNet>,
        networks: &Networks,
    ) -> String {
        let mut text = String::new();
        for set in [Set::Networks4, Set::Networks6] {
            let ours =
                |nets: &BTreeSet<IpNet>| nets.iter().filter(|net| Set::of(net) == set).copied().collect::<Vec<_>>();
            let lasting = |nets: Vec<IpNet>| nets.into_iter().map(|net| (net, None)).collect::<Vec<_>>();
            let (gone, come) = (ours(gone), ours(come));
            if gone.is_empty() || come.is_empty() {
                text += &self.removals(list, &gone);
                text += &self.additions(list, &lasting(come));
            } else {
                let _ = writeln!(text, "flush set inet {} {}", self.plan.table, list.name(set));
                text += &self.additions(list, &lasting(networks.widest().filter(|net| Set::of(net) == set).collect()));
            }
        }
        text
    }

    /// Learns of networks that others have added, before ours change beside them.
    pub(super) fn heed_networks_of_others(&mut self) {
        for set in [Set::Networks4, Set::Networks6] {
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

    /// After a success that did not change the kernel: what was to be added and is not there.
    pub(super) fn not_added(&self, steps: &[Step]) -> Vec<Refused> {
        let why = self.idle();
        let is_there = |step: &&Step| {
            let (set, net) = (Set::of(&step.net()), step.net());
            set.has_ranges() || shown::element(&self.netlink, &self.plan.table, set, &net).is_ok()
        };
        steps.iter().filter(|step| !step.removes() && !is_there(step)).map(|step| step.refused(&why.0)).collect()
    }

    /// Makes these changes, in as few transactions as the kernel takes. Says whether the kernel changed.
    pub(super) fn commit_steps(&mut self, book: &Book, steps: &[Step], now: UnixTime) -> Result<bool, Failure> {
        let mut changed = false;
        let mut done = 0;
        while done < steps.len() {
            let some = &steps[done..(done + self.max_elements).min(steps.len())];
            let (text, networks) = self.text(book, some, now);
            match self.commit(&text) {
                Ok(did) => changed |= did,
                Err(failure) if is_too_long(&failure) && some.len() > 1 => {
                    self.max_elements = some.len().div_ceil(2);
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            self.networks = networks;
            done += some.len();
        }
        Ok(changed)
    }
}

/// Steps that are tried in parts.
pub(super) struct Attempt<'a> {
    pub nft: &'a mut Nft,
    pub book: &'a Book,
    pub now: UnixTime,
}

impl Taker for Attempt<'_> {
    fn commit(&mut self, steps: &[Step]) -> Result<(), Failure> {
        self.nft.commit_steps(self.book, steps, self.now).map(drop)
    }

    fn held(&self) -> Option<HashSet<IpNet>> {
        self.nft.held().ok()
    }
}
