//! One block: whom, since when, until when, why.
//!
//! PURE: no clock, no I/O.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::model::clock::UnixTime;

/// What is known of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// When it began.
    pub since: UnixTime,
    /// When it ends.
    pub end: UnixTime,
    /// Why it was made.
    pub reason: Reason,
    /// How sure it is that the address is the attacker's own.
    pub proof: Proof,
}

impl Block {
    /// A block of which nothing more is known than its reason.
    pub fn new(since: UnixTime, end: UnixTime, reason: Reason) -> Block {
        Block { since, end, reason, proof: Proof::of(reason) }
    }
}

/// How sure it is that a blocked address is the attacker's own. Where there are more blocks than the kernel bears, the
/// least sure go first: else an attacker would free himself by forging more sources than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proof {
    /// It is a claim of a few datagrams, whose source anybody can forge.
    Claimed,
    /// It is a claim of [`MANY`] failures or more. To forge them costs as many times more.
    Repeated,
    /// It finished a handshake, which nobody does under another's address.
    Shaken,
    /// The administrator said so.
    Ordered,
}

/// At least this many failures are called many: as many wrong passwords as `limits.wrong_password` allows by default.
pub const MANY: u32 = 3;

impl Proof {
    /// All of them, the least sure first.
    pub const ALL: [Proof; 4] = [Proof::Claimed, Proof::Repeated, Proof::Shaken, Proof::Ordered];

    /// What the reason alone says.
    pub fn of(reason: Reason) -> Proof {
        if reason == Reason::Manual { Proof::Ordered } else { Proof::Claimed }
    }
}

/// One block, as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockLine {
    /// The blocked address (as a network of one) or network.
    pub net: IpNet,
    /// When it ends.
    pub end: UnixTime,
    /// Why it was made.
    pub reason: Reason,
    /// The other PBXs that say so; `None` for a block made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A local port that an attack was seen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// Over UDP.
    Udp(u16),
    /// Over TCP, TLS or WebSocket.
    Tcp(u16),
}

/// Why an address was blocked, as logged and listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Requests for an account that does not exist.
    InvalidAccount,
    /// Wrong passwords, as chan_sip and AMI report them.
    InvalidPassword,
    /// Wrong answers to a challenge, as PJSIP reports a wrong password.
    ChallengeFailed,
    /// Refused by an access list of Asterisk.
    FailedAcl,
    /// Too many challenges left unanswered.
    ChallengeSent,
    /// Requests that nobody honest makes.
    ProtocolMisuse,
    /// More packets than the shield lets pass, for too long.
    Flood,
    /// The administrator said so.
    Manual,
    /// Found in force at start, or restored from a dump: who blocked it is not known.
    Adopted,
}

impl Reason {
    /// All reasons, in the order of `top`.
    pub const ALL: [Reason; 9] = [
        Reason::InvalidAccount,
        Reason::InvalidPassword,
        Reason::ChallengeFailed,
        Reason::FailedAcl,
        Reason::ChallengeSent,
        Reason::ProtocolMisuse,
        Reason::Flood,
        Reason::Manual,
        Reason::Adopted,
    ];

    /// The text of the log and of the console.
    pub fn text(self) -> &'static str {
        match self {
            Reason::InvalidAccount => "Invalid Account",
            Reason::InvalidPassword => "Invalid Password",
            Reason::ChallengeFailed => "Challenge Failed",
            Reason::FailedAcl => "Failed ACL",
            Reason::ChallengeSent => "Challenge Sent",
            Reason::ProtocolMisuse => "Protocol Misuse",
            Reason::Flood => "Flood",
            Reason::Manual => "Manual block",
            Reason::Adopted => "Adopted",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromStr for Reason {
    type Err = ();
    fn from_str(text: &str) -> Result<Reason, ()> {
        Reason::ALL.into_iter().find(|reason| reason.text() == text).ok_or(())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}
