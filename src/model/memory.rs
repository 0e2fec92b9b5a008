//! What the judge remembers for weeks, beyond a restart.
//!
//! PURE: no clock, no I/O.

use ipnet::IpNet;

use crate::model::clock::UnixTime;

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// An account lives at an address.
    Home(Home),
    /// A source was blocked.
    Offence(IpNet, Offence),
}

/// An account that lives at an address, because it logged in there with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The address, or for IPv6 the network that counts as one source.
    pub place: IpNet,
    /// The account's name; empty where it is not known, which journals of SIPban 2.0 do not tell.
    pub account: Box<[u8]>,
    /// Its last login there.
    pub last: UnixTime,
}

/// What is remembered of a source's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offence {
    /// How many blocks it had.
    pub blocks: u32,
    /// Seconds the last one lasts.
    pub seconds: u64,
    /// When that one ends.
    pub end: UnixTime,
    /// Whether somebody lived there when it began.
    pub home: bool,
}
