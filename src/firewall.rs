//! The kernel's packet filter, behind five operations.
//!
//! INVARIANT: rules of others are never touched; an entry that [`Firewall::apply`] does not name as refused
//! was seen to be taken by the kernel.

pub mod dry_run;
mod filter;
pub mod ipset;
pub mod iptables;
pub mod run;
pub mod scope;

pub use filter::{Rehearsal, rehearse};
use ipnet::IpNet;

use crate::config::FirewallConfig;
use crate::failure::Failure;
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// An entry found in force at set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Address or network.
    pub net: IpNet,
    /// Seconds until the kernel ends it by itself; `None` if the kernel does not know (rules of a chain).
    pub remaining: Option<u64>,
}

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

/// Local traffic that is led through the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
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
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::UNAVAILABLE, error)
    }
}

/// The packet filter. One implementation keeps a rule an address, one a kernel set, one touches nothing.
pub trait Firewall: Send {
    /// Creates chain, set and jump, or takes over what is there, and says what was in force before.
    /// What was in force stays so throughout.
    ///
    /// # Errors
    /// If rules cannot be made: no rights, no iptables, a name that is not ours to use. Nothing is left half done
    /// that a second call would not complete.
    fn set_up(&mut self, now: UnixTime) -> Result<Vec<Entry>, Error>;

    /// Makes the changes, in one transaction for each family where that succeeds; where it does not, divides it
    /// until the culprits are alone. `book` is what was in force before: adding what is there or removing what is
    /// not is no change, and what is named in both lists is in force afterwards. Returns what was refused.
    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Vec<Refused>;

    /// How many blocks it bears before looking them through costs more than they are worth.
    fn capacity(&self) -> usize {
        65_536
    }

    /// Does what makes the next change quick, such as starting a process ahead. For the moment after the outcome
    /// of a change was told, when nobody waits.
    fn prepare(&mut self) {}

    /// Compares the kernel with the book and repairs what is missing, in one transaction for each family.
    /// Returns what was wrong and is mended, in words, or `None`.
    ///
    /// # Errors
    /// If the kernel could not be read or mended.
    fn verify(&mut self, book: &Book, now: UnixTime) -> Result<Option<String>, Error>;

    /// Leads other traffic through the chain from now on.
    ///
    /// # Errors
    /// If the rules were refused; the old scope is then still in force.
    fn set_scope(&mut self, scope: Scope) -> Result<(), Error>;

    /// Follows a changed configuration: target, interface and scope hold from now on; `book` is what is in force.
    ///
    /// # Errors
    /// If the rules were refused; the old ones are then still in force.
    fn reconfigure(&mut self, config: &FirewallConfig, scope: Scope, book: &Book, now: UnixTime) -> Result<(), Error>;

    /// Packets dropped so far for this entry, where the kernel counts them.
    fn packets(&mut self, net: &IpNet) -> Option<u64>;

    /// Removes jump, chain and set: a clean stop with `state.on_stop = clear`.
    ///
    /// # Errors
    /// Says what could not be removed; the rest is gone.
    fn tear_down(&mut self) -> Result<(), Error>;

    /// One line for `status`: backend, variant, version.
    fn describe(&self) -> String;
}
