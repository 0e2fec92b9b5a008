//! The shield: what strangers send too much of is dropped by the kernel, before anybody is blocked for it.
//!
//! It sees what Asterisk tells nobody: floods of OPTIONS or ACK, datagrams that are no SIP, guesses hidden from the
//! security events. What is counted are the UDP packets and bytes, and the new TCP connections, that a stranger sends to
//! the guarded ports; IPv6 strangers are counted by their /64. A stranger is who is not admitted: who is neither
//! protected nor lives here.

pub(super) mod scanners;

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Error;
use crate::listener::sockets::{self, Socket};

/// The time that `shield.shed` speaks of, in seconds.
pub const PERIOD: u64 = 10;

/// At most this many bytes has a signalling packet of ordinary length. A stranger may send `shield.shed` times as many.
pub(super) const PACKET_BYTES: u64 = 1_500;

/// At most 131,072 addresses and networks are admitted, in about 16 MB of the kernel's memory. Others are strangers.
pub const MOST_ADMITTED: usize = 131_072;

/// At most 256 where each is a rule that a packet is compared with.
pub const MOST_RULES: usize = 256;

/// At most this many strangers of each address family are counted at once with nft. Those who find no room share one limit,
/// which is [`CROWD`] times that of one stranger. With iptables there is room for more, and they lose all; nothing while the
/// shield only counts.
pub(super) const STRANGERS: u32 = 16_384;

/// How many times the limit of one stranger all those together have who find no room.
pub(super) const CROWD: u32 = 10;

/// At most this many strangers of each address family are listed as losing packets. The packets of others are dropped
/// all the same.
pub const MOST_LISTED: u32 = 4_096;

/// Why a shield does not tell scanners.
pub const NO_SEARCH: &str =
    "the rules of nft cannot search a packet, and those of iptables only with the kernel's xt_string";

/// What a stranger sends too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Excess {
    /// UDP packets, or bytes in them.
    Datagrams,
    /// First packets of TCP connections. They may be forged, as long as no connection comes of them.
    Connections,
}

/// A stranger who loses packets now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// His address, or for IPv6 his /64.
    pub source: IpNet,
    /// What he loses. Who loses both is listed twice.
    pub excess: Excess,
    /// How many of his packets were over the limit since he came over it.
    pub packets: u64,
}

/// What a backend that has a shield does with it.
pub trait Shield {
    /// How many addresses and networks can be admitted.
    fn room(&self) -> usize {
        MOST_ADMITTED
    }

    /// Whether it sheds what scanners send, which takes rules that search a packet.
    fn tells_scanners(&self) -> bool {
        false
    }

    /// Admits these too, as far as there is room.
    ///
    /// # Errors
    /// If the kernel did not take them. The next [`Firewall::verify`](super::Firewall::verify) tries again.
    fn admit(&mut self, nets: &[IpNet]) -> Result<(), Error>;

    /// Admits these and nobody else, as far as there is room: the first of them first.
    ///
    /// # Errors
    /// As [`Shield::admit`].
    fn admit_only(&mut self, nets: &[IpNet]) -> Result<(), Error>;

    /// Which of these have a connection to a local port that is `guarded`: the kernel has seen his answer to its own, so it is
    /// his address.
    ///
    /// # Errors
    /// If the kernel's tables of sockets cannot be read.
    fn connected(&mut self, sources: &HashSet<IpNet>, guarded: &dyn Fn(u16) -> bool) -> Result<HashSet<IpNet>, Error> {
        let mut connected = HashSet::new();
        let note = |socket: Socket| {
            let source = source_of(socket.remote.ip());
            if socket.is_connected() && guarded(socket.local.port()) && sources.contains(&source) {
                connected.insert(source);
            }
            None::<()>
        };
        sockets::find("tcp", note).map_err(|error| Error(format!("cannot see who is connected: {error}")))?;
        Ok(connected)
    }

    /// Who was over the limit within the last [`PERIOD`], at most [`MOST_LISTED`] of each address family.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn shed(&mut self) -> Result<Vec<Shed>, Error>;
}

/// What a stranger with this address is known by.
fn source_of(address: IpAddr) -> IpNet {
    let bits = if address.is_ipv4() { 32 } else { 64 };
    IpNet::new_assert(address, bits).trunc()
}
