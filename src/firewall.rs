//! The kernel's packet filter, behind one seam: set it up, change it, look after it, take it down.
//!
//! INVARIANT: rules of others are never touched; an entry that [`Firewall::apply`] does not name as refused
//! was taken by the kernel, as far as the kernel's own program tells. [`Firewall::verify`] sees whether it is there.

mod body;
mod change;
pub mod choice;
pub mod dry_run;
mod family;
mod filter;
pub mod ipset;
pub mod iptables;
pub mod lists;
pub mod neighbours;
pub mod nft;
pub mod run;
pub mod scope;
pub mod shield;
mod succession;

pub use change::{Change, Refused};
pub use filter::Rehearsal;
use ipnet::IpNet;
use shield::Shield;

use crate::config::FirewallConfig;
use crate::failure::Failure;
use crate::model::book::Book;
use crate::model::clock::UnixTime;
use crate::model::target::Holder;

/// A block found in force at set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// Address or network.
    pub net: IpNet,
    /// Seconds until the kernel ends it by itself; `None` if the kernel does not know (rules of a chain).
    pub remaining: Option<u64>,
}

/// What became of a change.
#[derive(Debug, Default)]
pub struct Applied {
    /// What the kernel did not take.
    pub refused: Vec<Refused>,
    /// What was found missing meanwhile and is mended, in words.
    pub mended: Vec<String>,
}

/// What a look at the kernel came to.
#[derive(Debug, Default)]
pub struct Verified {
    /// What was wrong and is mended, in words.
    pub mended: Vec<String>,
    /// Blocks of the book that were seen not to be in force, and that could not be brought back.
    pub lost: Vec<Refused>,
    /// What could not be read or mended; the rest was.
    pub failed: Vec<Error>,
}

/// Local traffic that is led through the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// All of it.
    All,
    /// A match in iptables' own words, such as `-p udp --dport 5060`, split into arguments.
    Match(Vec<String>),
    /// UDP and TCP destination ports, as inclusive ranges, sorted and disjoint. Grows with the attacks seen.
    Ports {
        /// UDP ports.
        udp: Vec<(u16, u16)>,
        /// TCP ports.
        tcp: Vec<(u16, u16)>,
    },
}

/// What went wrong with the packet filter: what was being done, to what, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::UNAVAILABLE, error)
    }
}

/// The packet filter. Each backend keeps the blocks in its own way, and one touches nothing.
pub trait Firewall: Send {
    /// Creates chain, set and jump, or takes over what is there, and says what was in force before.
    /// What was in force stays so throughout.
    ///
    /// # Errors
    /// If rules cannot be made: no rights, no iptables, a name that is not ours to use. Nothing is left half done
    /// that a second call would not complete.
    fn set_up(&mut self, now: UnixTime) -> Result<Vec<FoundBlock>, Error>;

    /// Makes the changes, in one transaction for each family where that succeeds; where it does not, divides it
    /// until the culprits are alone. `book` is what was in force before: adding what is there or removing what is
    /// not is no change, and what is named in both lists is in force afterwards.
    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Applied;

    /// How many blocks it bears before looking them through costs more than they are worth.
    fn capacity(&self) -> usize {
        65_536
    }

    /// Does what makes the next change quick, such as starting a process ahead. For the moment after the outcome
    /// of a change was told, when nobody waits.
    fn prepare(&mut self) {}

    /// Compares the kernel with the book and repairs what is missing, in one transaction for each family. Sees by a
    /// second look that what was repaired is there.
    fn verify(&mut self, book: &Book, now: UnixTime) -> Verified;

    /// Leads other traffic through the chain from now on.
    ///
    /// # Errors
    /// If the rules were refused; those there are then still in force.
    fn set_traffic(&mut self, traffic: Traffic) -> Result<(), Error>;

    /// Follows a changed configuration: target, interface and traffic hold from now on; `book` is what is in force.
    ///
    /// # Errors
    /// If the rules were refused; the old ones are then still in force.
    fn reconfigure(
        &mut self,
        config: &FirewallConfig,
        traffic: Traffic,
        book: &Book,
        now: UnixTime,
    ) -> Result<(), Error>;

    /// The shield, where the backend has one and the configuration asks for it.
    fn shield(&mut self) -> Option<&mut dyn Shield> {
        None
    }

    /// Packets dropped so far for this entry, where the kernel counts them.
    fn packets(&mut self, net: &IpNet) -> Option<u64>;

    /// Packets dropped so far because of blocks, all together, where one counter of the kernel has them: no blocks are
    /// listed for it. It begins anew with the rules.
    fn dropped(&mut self) -> Option<u64> {
        None
    }

    /// Removes jump, chain and set: a clean stop with `state.on_stop = clear`.
    ///
    /// # Errors
    /// Says what could not be removed; the rest is gone.
    fn tear_down(&mut self) -> Result<(), Error>;

    /// What holds the blocks.
    fn holder(&self) -> Holder;

    /// One line for `status`: backend, variant, version.
    fn describe(&self) -> String;
}

impl Verified {
    /// All was as it should be.
    pub fn is_sound(&self) -> bool {
        self.mended.is_empty() && self.lost.is_empty() && self.failed.is_empty()
    }

    /// Takes in what another look came to.
    fn join(&mut self, other: Verified) {
        self.mended.extend(other.mended);
        self.lost.extend(other.lost);
        self.failed.extend(other.failed);
    }

    /// A look that could not be finished; nothing is known of the blocks.
    fn failed(error: Error) -> Verified {
        Verified { failed: vec![error], ..Verified::default() }
    }
}
