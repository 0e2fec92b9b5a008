//! The shield: what strangers send too much of is dropped by the kernel, before anybody is blocked for it.
//!
//! It sees what Asterisk tells nobody: floods of OPTIONS or ACK, datagrams that are no SIP, guesses hidden from the
//! security events. What is counted are the UDP packets and bytes, and the new TCP connections, that a stranger sends to
//! the guarded ports; IPv6 strangers are counted by their /64. A stranger is who is not admitted: who is neither
//! protected nor lives here.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Error;

/// The time that `shield.shed` speaks of, in seconds.
pub const PERIOD: u64 = 10;

/// At most this many bytes has a signalling packet of ordinary length. A stranger may send `shield.shed` times as many.
pub(super) const PACKET_BYTES: u64 = 1_500;

/// At most 131,072 addresses and networks are admitted, in about 16 MB of the kernel's memory. Others are strangers.
pub const MOST_ADMITTED: usize = 131_072;

/// At most this many strangers of each address family are counted at once. Those who find no room share one limit, which
/// is [`CROWD`] times that of one stranger.
pub(super) const STRANGERS: u32 = 16_384;

/// How many times the limit of one stranger all those together have who find no room.
pub(super) const CROWD: u32 = 10;

/// At most this many strangers of each address family are listed as losing packets. The packets of others are dropped
/// all the same.
pub const MOST_LISTED: u32 = 4_096;

/// A stranger who loses packets now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// His address, or for IPv6 his /64.
    pub source: IpNet,
    /// How many of his packets were over the limit since he came over it.
    pub packets: u64,
}

/// What a backend that has a shield does with it.
pub trait Shield {
    /// Admits these too.
    ///
    /// # Errors
    /// If the kernel did not take them. The next [`Firewall::verify`](super::Firewall::verify) tries again.
    fn admit(&mut self, nets: &[IpNet]) -> Result<(), Error>;

    /// Admits these and nobody else. Only the differences are told to the kernel.
    ///
    /// # Errors
    /// As [`Shield::admit`].
    fn admit_only(&mut self, nets: BTreeSet<IpNet>) -> Result<(), Error>;

    /// Who was over the limit within the last [`PERIOD`], at most [`MOST_LISTED`] of each address family.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn shed(&mut self) -> Result<Vec<Shed>, Error>;
}
