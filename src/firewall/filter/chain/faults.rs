//! What is not as it should be with chain and jumps, and in which words it is told.

use std::collections::HashSet;

use super::Chain;
use crate::firewall::body::{Body, Faults, Origin};
use crate::firewall::filter::listing::{Contents, Listing};

/// What is not as it should be.
#[derive(Clone)]
pub(super) struct Wrong {
    pub jumps: Faults,
    pub chain: Faults,
    /// With the chains of the shield.
    pub shield: Faults,
    /// Whether rules of the Perl program are left.
    leftovers: bool,
}

impl Wrong {
    pub(super) fn is_none(&self) -> bool {
        self.chain.is_empty() && self.jumps.is_empty() && self.shield.is_empty() && !self.leftovers
    }

    pub(super) fn jumps_stay(&self) -> bool {
        self.jumps.is_empty() && !self.leftovers
    }
}

impl Chain {
    pub(super) fn faults(&self, listing: &Listing, wanted: &Body) -> Wrong {
        Wrong {
            jumps: self.jump_faults(listing),
            chain: self.chain_faults(listing, wanted),
            shield: self.shield_faults(listing),
            leftovers: !listing.leftovers.is_empty(),
        }
    }

    fn chain_faults(&self, listing: &Listing, wanted: &Body) -> Faults {
        let name = &self.name;
        let mut faults = Faults::none(self.family);
        let missing_chain = Contents { returns_last: true, ..Default::default() };
        let chain = listing.chain.as_ref().unwrap_or_else(|| {
            faults.add(format_args!("chain {name}"));
            &missing_chain
        });
        if chain.body.shield != wanted.shield && listing.chain.is_some() {
            let what = if wanted.shield { "the way to" } else { "a way to" };
            faults.add(format_args!("{what} the shield in {name}"));
        }
        let wanted: HashSet<&Origin> = wanted.blocks.iter().collect();
        let blocks = &chain.body.blocks;
        let there = blocks.iter().filter(|origin| wanted.contains(origin)).count();
        match self.set.as_ref() {
            Some(set) if there < wanted.len() => faults.add(format_args!("rule of set {set}")),
            _ => faults.add_missing(wanted.len() - there, wanted.len()),
        }
        let surplus = blocks.len() - there + chain.doubles + chain.strays.len();
        if surplus > 0 {
            faults.add(format_args!("{surplus} rules too many in {name}"));
        }
        if chain.other_target > 0 {
            faults.add(format_args!("the target of {} blocks", chain.other_target));
        }
        if !chain.returns_last {
            faults.add(format_args!("RETURN at the end of {name}"));
        }
        faults
    }

    fn jump_faults(&self, listing: &Listing) -> Faults {
        let sorted = |jumps: &[String]| {
            let mut jumps = jumps.to_vec();
            jumps.sort_unstable();
            jumps
        };
        let as_wanted = self.listed_jumps.as_ref().is_some_and(|wanted| sorted(wanted) == sorted(&listing.jumps));
        let mut faults = Faults::none(self.family);
        match &listing.bypass {
            _ if !as_wanted => faults.add(format_args!("jump to {} in {}", self.name, self.place.hook())),
            Some(rule) => faults.add(format_args!("jump to {} in {} before `{rule}`", self.name, self.place.hook())),
            None => {}
        }
        faults
    }

    /// What goes when the rules are made what they should be, and what should go and cannot, in words.
    pub(super) fn removals(&self, listing: &Listing) -> Vec<String> {
        let name = &self.name;
        let strays = listing.chain.iter().flat_map(|chain| &chain.strays);
        let strays = strays.map(|rule| format!("removed `{rule}` from chain {name}, which holds blocks only"));
        let leftovers = listing.leftovers.iter();
        let leftovers = leftovers.map(|rule| {
            format!("removed `{rule}` from INPUT, a leftover of the Perl program: chain {name} blocks now")
        });
        let staying = self.shield_that_stays(listing).filter(|_| !self.is_shielded());
        strays.chain(leftovers).chain(staying).collect()
    }
}
