//! The lists of others in the kernel's packet filter, beside the blocks: each in sets of its own, which are exchanged as a
//! whole, so that a packet sees the list before or the one after and nothing between.
//!
//! Nothing here waits for the blocks, nor they for it: tables, chains and sets have other names, and a large list is
//! loaded in pieces.

use ipnet::IpNet;

use super::{Error, Traffic};
use crate::config::FirewallConfig;

/// At most this many addresses are handed to the kernel at once. The kernel then holds up those who block for some
/// hundredths of a second.
pub(super) const PIECE: usize = 10_000;

/// What a backend does with the lists of others.
pub trait Lists: Send {
    /// Makes what leads packets to the lists, and says which lists are in force from before. They stay so.
    ///
    /// # Errors
    /// If the rules cannot be made.
    fn set_up(&mut self) -> Result<Vec<String>, Error>;

    /// Puts a list in the place of the one of this name, if there is one. It has at most `most` networks, none of which
    /// meets another. A list of a name that is not there yet is in force from now on.
    ///
    /// # Errors
    /// If the kernel does not take it; the old one is then in force.
    fn put(&mut self, list: &str, nets: &mut dyn Iterator<Item = IpNet>, most: usize) -> Result<(), Error>;

    /// Changes a list that is in force; false if that takes a [`put`](Lists::put).
    ///
    /// # Errors
    /// If the kernel does not take it. What is in force then is not known, and the list is to be put.
    fn change(&mut self, list: &str, gone: &[IpNet], come: &[IpNet]) -> Result<bool, Error>;

    /// Removes a list, if it is there.
    ///
    /// # Errors
    /// If it is still in force.
    fn remove(&mut self, list: &str) -> Result<(), Error>;

    /// Looks whether all is in force, and mends it but for the lists that are not, which are to be put again.
    ///
    /// # Errors
    /// If it cannot be seen or mended.
    fn verify(&mut self) -> Result<Look, Error>;

    /// Target, interface and traffic are these from now on.
    ///
    /// # Errors
    /// If the rules were refused; the old ones are then still in force.
    fn follow(&mut self, config: &FirewallConfig, traffic: Traffic) -> Result<(), Error>;

    /// Removes all of it.
    ///
    /// # Errors
    /// Says what could not be removed.
    fn tear_down(&mut self) -> Result<(), Error>;

    /// What holds the lists, in words.
    fn describe(&self) -> String;
}

/// What a look at the lists in the kernel came to.
#[derive(Debug, Default)]
pub struct Look {
    /// What was wrong and is mended, in words.
    pub mended: Vec<String>,
    /// The names of the lists that are not in force any more.
    pub lost: Vec<String>,
}
