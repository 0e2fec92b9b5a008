//! What Asterisk says of who did what: a security event, as far as it has been read and is believed.
//!
//! PURE: no clock, no I/O. Names are those of Asterisk's `main/security_events.c`.

use std::net::IpAddr;

use crate::model::country::Country;

/// One security event that Asterisk is known to have sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEvent {
    /// What happened.
    pub kind: Kind,
    /// Which part of Asterisk says so.
    pub service: Service,
    /// Account named in the request, as sent (an attacker's own bytes), at most [`MAX_ACCOUNT`] of them.
    pub account: Box<[u8]>,
    /// Stands for the SessionID, the Call-ID on PJSIP: equal within one process if those are equal.
    pub session: u64,
    /// Our side.
    pub local: Endpoint,
    /// Who caused it.
    pub remote: Endpoint,
    /// Asterisk's own time of the event, milliseconds since 1970; `None` for a broken event.
    pub time: Option<i64>,
    /// The country that it came from, where that is known and was looked up.
    pub country: Option<Country>,
}

/// Bytes of an AccountID that are kept.
pub const MAX_ACCOUNT: usize = 128;

impl SecurityEvent {
    /// Whether PJSIP could not tell whose account is meant: it says `<unknown>` then.
    pub fn is_unidentified(&self) -> bool {
        &*self.account == b"<unknown>"
    }

    /// The attacker's or phone's address.
    pub fn source(&self) -> IpAddr {
        self.remote.address
    }
}

/// What a security event says (names as in Asterisk's `main/security_events.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Refused by an access list.
    FailedAcl(Acl),
    /// There is no such account.
    InvalidAccountId,
    /// Too many sessions or calls of one account.
    SessionLimit,
    /// Asterisk is short of memory.
    MemoryLimit,
    /// The machine is overloaded.
    LoadAverageLimit,
    /// The registrar has no use for the request.
    RequestNotSupported,
    /// Not permitted, or not before login.
    RequestNotAllowed,
    /// Login in a way that is not offered.
    AuthMethodNotAllowed,
    /// Nonsense.
    RequestBadFormat,
    /// Logged in.
    SuccessfulAuth {
        /// A password was proved, not only an address.
        using_password: bool,
    },
    /// A session came from another address than before.
    UnexpectedAddress,
    /// Wrong answer to a challenge: a wrong password.
    ChallengeResponseFailed,
    /// Wrong password.
    InvalidPassword,
    /// Asked for a password.
    ChallengeSent,
    /// Over a transport that the account may not use.
    InvalidTransport,
    /// Somebody wrote lines of his own into an event; what it was is not known for certain, who did it is.
    Tampered,
    /// An event that this version does not know.
    Other,
}

impl Kind {
    /// What Asterisk calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::FailedAcl(_) => "FailedACL",
            Kind::InvalidAccountId => "InvalidAccountID",
            Kind::SessionLimit => "SessionLimit",
            Kind::MemoryLimit => "MemoryLimit",
            Kind::LoadAverageLimit => "LoadAverageLimit",
            Kind::RequestNotSupported => "RequestNotSupported",
            Kind::RequestNotAllowed => "RequestNotAllowed",
            Kind::AuthMethodNotAllowed => "AuthMethodNotAllowed",
            Kind::RequestBadFormat => "RequestBadFormat",
            Kind::SuccessfulAuth { .. } => "SuccessfulAuth",
            Kind::UnexpectedAddress => "UnexpectedAddress",
            Kind::ChallengeResponseFailed => "ChallengeResponseFailed",
            Kind::InvalidPassword => "InvalidPassword",
            Kind::ChallengeSent => "ChallengeSent",
            Kind::InvalidTransport => "InvalidTransport",
            Kind::Tampered => "Tampered",
            Kind::Other => "Other",
        }
    }

    /// Whether somebody was refused.
    pub fn is_failure(self) -> bool {
        !matches!(
            self,
            Kind::SuccessfulAuth { .. }
                | Kind::ChallengeSent
                | Kind::MemoryLimit
                | Kind::LoadAverageLimit
                | Kind::Other
        )
    }
}

/// What a FailedACL was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acl {
    /// What was asked for, by somebody who may be honest: `registrar_...` of a phone that was rebooted, and
    /// `no_extension_match`, with which chan_sip answers everybody who dials a wrong number.
    Request,
    /// Who asked: he may not use this account or the manager interface.
    Access,
}

/// Which part of Asterisk sent an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// chan_pjsip.
    Pjsip,
    /// chan_sip.
    Sip,
    /// The manager interface.
    Ami,
    /// A third party's module.
    Other,
}

/// One side of the connection or datagram that caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address; an IPv4 address is never written in its IPv6-mapped form, and a scope (`%eth0`) is left out.
    pub address: IpAddr,
    /// UDP, or one of the transports over TCP.
    pub transport: Transport,
    /// Port.
    pub port: u16,
}

/// Transports as Asterisk names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// The only one whose source address can be forged.
    Udp,
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// Asterisk did not say, or named one that this version does not know.
    Unknown,
}

impl Transport {
    /// Whether a connection is set up first, by a handshake that nobody finishes under another's address.
    pub fn has_handshake(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss)
    }
}
