//! What stands in our chain, whatever tool writes it.
//!
//! PURE: no clock, no I/O.

use std::fmt;

use ipnet::IpNet;

use super::family::Family;
use crate::model::book::Book;

/// The rules of our chain, in this order: who is blocked, then the shield for all others, if there is one, then the way
/// back to the caller. The shield is in chains of its own, of which the first lets pass who is admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    /// Whom the rules block, in the order in which they are to be listed.
    pub blocks: Vec<Origin>,
    /// Whether all other packets go through the shield.
    pub shield: bool,
}

/// One rule of our chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule<'a> {
    /// Packets of this origin meet the target.
    Block(&'a Origin),
    /// All other packets go through the shield.
    Shield,
    /// All other packets go on where they came from.
    Return,
}

/// Where the packets come from that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// An address or network.
    Net(IpNet),
    /// All that are in the kernel set of this name.
    Set(String),
}

impl Body {
    /// A rule for each block of the book, the latest end first: as new blocks stand before old ones.
    pub(super) fn of_book(family: Family, book: &Book, shield: bool) -> Body {
        Body { blocks: family.only(book.by_end().rev().map(|(net, _)| net)).map(Origin::Net).collect(), shield }
    }

    /// One rule for all that are in a set.
    pub(super) fn of_set(name: &str, shield: bool) -> Body {
        Body { blocks: vec![Origin::Set(name.to_owned())], shield }
    }

    /// All rules, first to last.
    pub(super) fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        self.blocks.iter().map(Rule::Block).chain(self.shield.then_some(Rule::Shield)).chain([Rule::Return])
    }
}

impl Origin {
    pub(super) fn net(&self) -> Option<IpNet> {
        match self {
            Origin::Net(net) => Some(*net),
            Origin::Set(_) => None,
        }
    }
}

/// What is wrong with the rules of one address family, in words for the log.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    family: Family,
    found: Vec<String>,
}

impl Faults {
    pub(super) fn none(family: Family) -> Faults {
        Faults { family, found: Vec::new() }
    }

    pub(super) fn add(&mut self, what: impl fmt::Display) {
        self.found.push(format!("{what} ({})", self.family.name()));
    }

    /// So many of the blocks are not there.
    pub(super) fn add_missing(&mut self, missing: usize, wanted: usize) {
        if missing > 0 {
            self.add(format_args!("{missing} of {wanted} blocks"));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.found
    }
}
