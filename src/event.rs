//! What the threads say to one another: [`Event`] is the whole vocabulary of the owner's inbox,
//! [`Request`] and [`Reply`] that of a console session.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Serialize, Serializer};

use crate::ami::security::SecurityEvent;
pub use crate::console::request::{AmiStatus, BlockLine, Counted, Reply, Request, Status, Top, Why};

/// Everything that can wake the owner.
#[derive(Debug)]
pub enum Event {
    /// Security events read from Asterisk in one piece, in order.
    Security(Vec<SecurityEvent>),
    /// The AMI connection changed its state.
    Ami(AmiState),
    /// So many more frames could not be read as events.
    Unread {
        /// Of a shape that no known version of Asterisk sends.
        strange: u64,
        /// Too long.
        overlong: u64,
    },
    /// Asterisk answered a Ping after so long.
    Pong(Duration),
    /// A console session asks; the answer goes to the sender, which never blocks the owner.
    Request(Request, Sender<Reply>),
    /// The addresses behind the host names of the white list, as resolved just now.
    Resolved(Vec<(String, Vec<IpAddr>)>),
    /// A second has passed (several at once are one).
    Tick,
    /// SIGHUP: read configuration and white list again, reopen the log.
    Reload,
    /// SIGTERM or SIGINT: stop cleanly.
    Shutdown,
}

/// A local port that an attack was seen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// Over UDP.
    Udp(u16),
    /// Over TCP, TLS or WebSocket.
    Tcp(u16),
}

/// State of the connection to Asterisk, told once for each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmiState {
    /// Logged in; the text is Asterisk's greeting, such as `Asterisk Call Manager/11.0.0`.
    Up {
        /// Asterisk's greeting line.
        greeting: String,
    },
    /// Connection lost or not to be had.
    Down {
        /// What happened, for the log.
        why: String,
        /// Time until the next try.
        retry: Duration,
    },
    /// Asterisk refused user or secret: a matter for the administrator, not of the network.
    Refused {
        /// Asterisk's message.
        why: String,
        /// Time until the next try.
        retry: Duration,
    },
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
    /// The administrator said so.
    Manual,
    /// Found in force at start, or restored from a dump: who blocked it is not known.
    Adopted,
}

impl Reason {
    /// All reasons, in the order of `top`.
    pub const ALL: [Reason; 8] = [
        Reason::InvalidAccount,
        Reason::InvalidPassword,
        Reason::ChallengeFailed,
        Reason::FailedAcl,
        Reason::ChallengeSent,
        Reason::ProtocolMisuse,
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
