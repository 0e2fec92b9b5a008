//! The change from one backend to another: what the old one left blocks until the new one does, and then goes.

use ipnet::IpNet;

use super::filter::Left as ChainLeft;
use super::ipset::Left as SetsLeft;
use super::nft::Left as TableLeft;
use super::shield::Shield;
use super::{Applied, Change, Error, Firewall, FoundBlock, Traffic, Verified};
use crate::config::{Backend, FirewallConfig};
use crate::model::block::{Block, Proof, Reason};
use crate::model::book::Book;
use crate::model::clock::UnixTime;
use crate::model::target::Holder;

/// A block of unknown end, until the owner says more of it: seconds.
const UNTIL_TOLD: u64 = 86_400;

/// What an earlier backend left in the kernel.
pub(super) trait Left: Send {
    /// Whom it blocks.
    fn blocks(&self) -> Result<Vec<FoundBlock>, Error>;

    /// Removes it.
    fn remove(&mut self) -> Result<(), Error>;

    /// What it is, for the log.
    fn describe(&self) -> String;
}

/// A firewall, and what those before it left.
pub(super) struct Succession {
    new: Box<dyn Firewall>,
    left: Vec<Box<dyn Left>>,
}

/// Everything that there is of the chain, the sets and the table of this configuration.
pub(super) fn everything_left(config: &FirewallConfig) -> Vec<Box<dyn Left>> {
    // A set can go when no rule of a chain speaks of it any more.
    [chain(config), sets(config), table(config)].into_iter().flatten().collect()
}

fn chain(config: &FirewallConfig) -> Option<Box<dyn Left>> {
    ChainLeft::find(config).map(|left| Box::new(left) as Box<dyn Left>)
}

fn sets(config: &FirewallConfig) -> Option<Box<dyn Left>> {
    SetsLeft::find(config).map(|left| Box::new(left) as Box<dyn Left>)
}

fn table(config: &FirewallConfig) -> Option<Box<dyn Left>> {
    TableLeft::find(config).map(|left| Box::new(left) as Box<dyn Left>)
}

impl Succession {
    /// Looks for what the backends other than `backend` may have left; touches nothing.
    pub(super) fn new(new: Box<dyn Firewall>, backend: Backend, config: &FirewallConfig) -> Succession {
        // The chain is the same for rules and sets, and each of them takes over what stands in it.
        let left = match backend {
            Backend::Nft => [chain(config), sets(config)],
            Backend::Ipset => [table(config), None],
            Backend::Iptables | Backend::Auto => [sets(config), table(config)],
        };
        Succession { new, left: left.into_iter().flatten().collect() }
    }

    /// What the backends before block, that the new one does not.
    fn missing(&self, found: &[FoundBlock]) -> Result<Vec<FoundBlock>, Error> {
        let mut known: std::collections::HashSet<IpNet> = found.iter().map(|block| block.net).collect();
        let mut missing = Vec::new();
        for left in &self.left {
            missing.extend(left.blocks()?.into_iter().filter(|block| known.insert(block.net)));
        }
        Ok(missing)
    }

    fn remove_left(&mut self) -> Vec<Error> {
        let mut failed = Vec::new();
        self.left.retain_mut(|left| match left.remove() {
            Ok(()) => {
                log::info!("BACKEND => {} of the one before is gone", left.describe());
                false
            }
            Err(error) => {
                failed.push(error);
                true
            }
        });
        failed
    }
}

impl Firewall for Succession {
    fn set_up(&mut self, now: UnixTime) -> Result<Vec<FoundBlock>, Error> {
        let mut found = self.new.set_up(now)?;
        let missing = self.missing(&found)?;
        if missing.is_empty() {
            return Ok(found);
        }
        let end = |block: &FoundBlock| now + block.remaining.unwrap_or(UNTIL_TOLD);
        let mut book = Book::default();
        for block in &found {
            let known = Block { since: now, end: end(block), reason: Reason::Adopted, proof: Proof::Claimed };
            book.insert(block.net, known);
        }
        let change = Change { add: missing.iter().map(|block| (block.net, end(block))).collect(), remove: Vec::new() };
        let refused = self.new.apply(&book, &change, now).refused;
        for refused in &refused {
            log::error!("{} is not taken over from the backend before: {}", refused.net, refused.why);
        }
        found.extend(missing.into_iter().filter(|block| refused.iter().all(|refused| refused.net != block.net)));
        Ok(found)
    }

    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Applied {
        self.new.apply(book, change, now)
    }

    fn capacity(&self) -> usize {
        self.new.capacity()
    }

    fn prepare(&mut self) {
        self.new.prepare();
    }

    /// As soon as all of the book was seen to be in force, what was left before is not needed any more.
    fn verify(&mut self, book: &Book, now: UnixTime) -> Verified {
        let mut verified = self.new.verify(book, now);
        if !self.left.is_empty() && verified.failed.is_empty() && verified.lost.is_empty() {
            verified.failed = self.remove_left();
        }
        verified
    }

    fn set_traffic(&mut self, traffic: Traffic) -> Result<(), Error> {
        self.new.set_traffic(traffic)
    }

    fn reconfigure(
        &mut self,
        config: &FirewallConfig,
        traffic: Traffic,
        book: &Book,
        now: UnixTime,
    ) -> Result<(), Error> {
        self.new.reconfigure(config, traffic, book, now)
    }

    fn shield(&mut self) -> Option<&mut dyn Shield> {
        self.new.shield()
    }

    fn packets(&mut self, net: &IpNet) -> Option<u64> {
        self.new.packets(net)
    }

    fn dropped(&mut self) -> Option<u64> {
        self.new.dropped()
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        let mut outcomes = vec![self.new.tear_down()];
        outcomes.extend(self.remove_left().into_iter().map(Err));
        super::filter::all_done(outcomes.into_iter())
    }

    fn holder(&self) -> Holder {
        self.new.holder()
    }

    fn describe(&self) -> String {
        self.new.describe()
    }
}
