//! The gate that every block passes, whoever asks for it: an event, the console, a dump, the journal at start.
//!
//! INVARIANT: a [`Plan`] holds no block that did not pass the [`Gate`].
//!
//! PURE: no clock, no I/O.

use std::collections::HashSet;

use ipnet::IpNet;

use super::pending::Pending;
use crate::firewall::Change;
use crate::model::block::{Block, Proof};
use crate::model::book::Book;
use crate::model::net::{Plain, is_too_wide};
use crate::protection::Protection;

/// What decides whether an address or network is blocked.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// Who is never blocked.
    pub protection: &'a Protection,
    /// What is in force.
    pub book: &'a Book,
    /// What the kernel refused. A block that is to be freed covers nobody.
    pub pending: &'a Pending,
    /// At most this many blocks are to be in force.
    pub most: usize,
}

/// Why an address or network is not blocked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is protected, or something in it is; the label says what.
    #[error("{0} is protected")]
    Protected(String),
    /// Nobody blocks such a network on purpose.
    #[error("the network is too wide to block")]
    TooWide,
    /// This block covers it.
    #[error("{} is blocked already", Plain(*.0))]
    Covered(IpNet),
    /// As many blocks as the firewall bears are in force, and this one may not take the place of another.
    #[error("there is no room: {0} blocks are in force")]
    NoRoom(usize),
}

/// What kind of block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A new one. Whoever is covered by another block needs none, even if that one ends sooner. Where there is no room,
    /// it takes the place of one that is not surer.
    New,
    /// One of before: from a dump, from the journal, or refused once. It makes a block of the same network that ends
    /// sooner longer, and stays beside a wider one. Where there is no room, it takes nobody's place.
    Again,
}

/// Whom to block and whom to free, between judging and enforcing.
#[derive(Debug, Default)]
pub struct Plan {
    blocks: Book,
    frees: Vec<(IpNet, &'static str)>,
}

impl Gate<'_> {
    /// Why this address or network must not be blocked, whatever else is in force.
    pub fn forbids(&self, net: &IpNet) -> Option<Denied> {
        if let Some(label) = self.protection.label(net) {
            return Some(Denied::Protected(label));
        }
        is_too_wide(net).then_some(Denied::TooWide)
    }

    fn decide(&self, plan: &Plan, asked: Asked, net: &IpNet, block: &Block) -> Result<(), Denied> {
        if let Some(denied) = self.forbids(net) {
            return Err(denied);
        }
        let is_enough = |(by, held): &(IpNet, Block)| asked == Asked::New || (by == net && held.end >= block.end);
        let held = self.book.around(net).filter(|(by, _)| !self.pending.is_to_be_freed(by));
        if let Some((by, _)) = held.chain(plan.blocks.around(net)).find(is_enough) {
            return Err(Denied::Covered(by));
        }
        if self.has_room(plan, asked, net, block) { Ok(()) } else { Err(Denied::NoRoom(self.most)) }
    }

    fn has_room(&self, plan: &Plan, asked: Asked, net: &IpNet, block: &Block) -> bool {
        let held = self.book.len() + plan.blocks.len();
        if held < self.most + plan.frees.len() || self.book.get(net).is_some() {
            return true;
        }
        let gives_way = |(_, held): (IpNet, Block)| held.proof < Proof::Ordered && held.proof <= block.proof;
        asked == Asked::New && plan.blocks.len() < self.most && self.book.least_sure().next().is_some_and(gives_way)
    }
}

impl Plan {
    /// Blocks an address or network, if it passes the gate.
    ///
    /// # Errors
    /// Says why it did not pass.
    pub fn block(&mut self, gate: &Gate<'_>, asked: Asked, net: IpNet, block: Block) -> Result<(), Denied> {
        gate.decide(self, asked, &net, &block)?;
        // What is known for sure of an address stays known.
        let proof = gate.book.get(&net).map_or(block.proof, |held| held.proof.max(block.proof));
        self.blocks.insert(net, Block { proof, ..block });
        Ok(())
    }

    /// Frees an address or network; the log tells why.
    pub fn free(&mut self, net: IpNet, why: &'static str) {
        self.frees.push((net, why));
    }

    /// Frees those that are least sure to be of attackers, and of equally sure ones those that end soonest, until no
    /// more blocks are in force than the firewall bears; never the administrator's own. Returns whether any had to go.
    ///
    /// What the plan blocks is not counted before the kernel took it, so for one turn there may be more.
    pub fn make_room(&mut self, gate: &Gate<'_>) -> bool {
        if gate.book.len() <= gate.most {
            return false;
        }
        let going: HashSet<IpNet> = self.frees.iter().map(|(net, _)| *net).chain(gate.pending.frees()).collect();
        let over = gate.book.len().saturating_sub(gate.most + going.len());
        let stays = |(net, block): &(IpNet, Block)| block.proof == Proof::Ordered || going.contains(net);
        let least_sure = gate.book.least_sure().filter(|held| !stays(held)).take(over);
        let before = self.frees.len();
        self.frees.extend(least_sure.map(|(net, _)| (net, "No Room")));
        self.frees.len() > before
    }

    /// Takes out again whom it would block although he is protected by now.
    pub fn spare(&mut self, protection: &Protection) {
        let spared: Vec<IpNet> =
            self.blocks.iter().map(|(net, _)| net).filter(|net| protection.allowlist().meets(net)).collect();
        for net in spared {
            self.blocks.remove(&net);
        }
    }

    /// Whether it blocks this address or network, or one around it.
    pub fn covers(&self, net: &IpNet) -> bool {
        self.blocks.covering(net).is_some()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.frees.is_empty()
    }

    /// What it would change in the kernel.
    pub fn change(&self) -> Change {
        Change {
            add: self.blocks.iter().map(|(net, block)| (net, block.end)).collect(),
            remove: self.frees.iter().map(|(net, _)| *net).collect(),
        }
    }

    /// Whom to block.
    pub fn blocks(&self) -> impl Iterator<Item = (IpNet, Block)> + '_ {
        self.blocks.iter()
    }

    /// Whom to block, the rest of the plan forgotten.
    pub fn into_blocks(self) -> Book {
        self.blocks
    }

    /// Whom to free, and why.
    pub fn frees(&self) -> impl Iterator<Item = (IpNet, &'static str)> + '_ {
        self.frees.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use super::*;
    use crate::model::block::Reason;
    use crate::model::clock::{Now, UnixTime};
    use crate::owner::pending::Attempt;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn until(end: u64, proof: Proof) -> Block {
        Block { proof, ..Block::new(UnixTime(0), UnixTime(end), Reason::InvalidAccount) }
    }

    fn book(blocks: &[(&str, u64, Proof)]) -> Book {
        let mut book = Book::default();
        blocks.iter().for_each(|(held, end, proof)| book.insert(net(held), until(*end, *proof)));
        book
    }

    /// A gate before this book, with nobody but loopback protected and nothing refused.
    fn gate(book: &Book, most: usize) -> Gate<'_> {
        static PROTECTION: LazyLock<Protection> = LazyLock::new(Protection::default);
        static PENDING: LazyLock<Pending> = LazyLock::new(Pending::default);
        Gate { protection: &PROTECTION, book, pending: &PENDING, most }
    }

    fn ask(book: &Book, most: usize, asked: Asked, wanted: (&str, u64, Proof)) -> Result<(), Denied> {
        let (held, end, proof) = wanted;
        Plan::default().block(&gate(book, most), asked, net(held), until(end, proof))
    }

    #[test]
    fn what_is_protected_or_too_wide_does_not_pass() {
        let nothing = Book::default();
        for asked in [Asked::New, Asked::Again] {
            let loopback = ask(&nothing, 9, asked, ("127.0.0.1/32", 9, Proof::Ordered));
            assert_eq!(loopback, Err(Denied::Protected("127.0.0.0/8".into())));
            assert_eq!(ask(&nothing, 9, asked, ("8.0.0.0/7", 9, Proof::Ordered)), Err(Denied::TooWide));
            assert_eq!(ask(&nothing, 9, asked, ("8.0.0.0/8", 9, Proof::Claimed)), Ok(()));
        }
    }

    #[test]
    fn a_new_block_needs_nothing_around_it_and_one_of_before_no_longer_one_of_its_own() {
        let held = book(&[("203.0.113.0/24", 50, Proof::Claimed), ("203.0.113.7/32", 70, Proof::Claimed)]);
        let ask = |asked, end| ask(&held, 9, asked, ("203.0.113.7/32", end, Proof::Claimed));
        assert_eq!(ask(Asked::New, 90), Err(Denied::Covered(net("203.0.113.0/24"))));
        assert_eq!(ask(Asked::Again, 90), Ok(()));
        assert_eq!(ask(Asked::Again, 70), Err(Denied::Covered(net("203.0.113.7/32"))));
    }

    #[test]
    fn where_there_is_no_room_a_new_block_takes_the_place_of_one_that_is_not_surer() {
        let held = book(&[("203.0.113.1/32", 50, Proof::Shaken), ("203.0.113.2/32", 70, Proof::Ordered)]);
        let ask = |most, asked, proof| ask(&held, most, asked, ("203.0.113.7/32", 90, proof));
        assert_eq!(ask(3, Asked::Again, Proof::Claimed), Ok(()));
        assert_eq!(ask(2, Asked::New, Proof::Claimed), Err(Denied::NoRoom(2)));
        assert_eq!(ask(2, Asked::New, Proof::Shaken), Ok(()));
        assert_eq!(ask(2, Asked::Again, Proof::Shaken), Err(Denied::NoRoom(2)));
    }

    #[test]
    fn a_block_that_is_to_be_freed_covers_nobody() {
        let held = book(&[("203.0.113.7/32", 50, Proof::Claimed)]);
        let mut pending = Pending::default();
        let now = Now { wall: UnixTime(0), monotonic: Duration::ZERO };
        pending.put(net("203.0.113.7/32"), Attempt::Free("Flush"), now, 9);
        for (asked, end) in [(Asked::New, 60), (Asked::Again, 50)] {
            let gate = Gate { pending: &pending, ..gate(&held, 1) };
            let wanted = until(end, Proof::Claimed);
            assert_eq!(Plan::default().block(&gate, asked, net("203.0.113.7/32"), wanted), Ok(()));
        }
    }

    #[test]
    fn the_administrators_blocks_stay_when_there_is_no_other() {
        let held = book(&[("203.0.113.1/32", 50, Proof::Ordered), ("203.0.113.2/32", 70, Proof::Ordered)]);
        let full = ask(&held, 2, Asked::New, ("203.0.113.7/32", 90, Proof::Ordered));
        assert_eq!(full, Err(Denied::NoRoom(2)));
        let gate = gate(&held, 1);
        assert!(!Plan::default().make_room(&gate));
    }

    #[test]
    fn room_is_made_once_and_by_the_least_sure() {
        let shown = [("203.0.113.1/32", 50, Proof::Shaken), ("203.0.113.2/32", 90, Proof::Claimed)];
        let held = book(&[&shown[..], &[("203.0.113.3/32", 70, Proof::Claimed)]].concat());
        let gate = gate(&held, 1);
        let mut plan = Plan::default();
        plan.free(net("203.0.113.2/32"), "Timeout Unblock");
        assert!(plan.make_room(&gate));
        assert!(!plan.make_room(&gate));
        let freed: Vec<_> = plan.frees().collect();
        assert_eq!(freed, [(net("203.0.113.2/32"), "Timeout Unblock"), (net("203.0.113.3/32"), "No Room")]);
    }

    #[test]
    fn a_plan_is_no_larger_than_what_the_firewall_bears() {
        let nothing = Book::default();
        let gate = gate(&nothing, 5);
        let mut plan = Plan::default();
        let block = |n: u8| {
            plan.block(
                &gate,
                Asked::New,
                IpNet::from(std::net::IpAddr::from([203, 0, 113, n])),
                until(9, Proof::Shaken),
            )
        };
        assert_eq!((0..100).map(block).filter(Result::is_ok).count(), 5);
    }
}
