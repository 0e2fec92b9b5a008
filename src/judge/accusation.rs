//! What a security event accuses its sender of.

use crate::config::Limits;
use crate::model::block::Reason;
use crate::model::security::{Acl, Kind, SecurityEvent, Service};

/// What a failure counts against at an address where nobody lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Charge {
    /// `limits.unknown_account`
    UnknownAccount,
    /// `limits.wrong_password`
    WrongPassword,
    /// `limits.acl`
    Acl,
    /// `limits.ami`
    Ami,
}

impl Charge {
    /// All of them, in the order of the configuration.
    pub const ALL: [Charge; 4] = [Charge::UnknownAccount, Charge::WrongPassword, Charge::Acl, Charge::Ami];

    /// The key of the limit.
    pub fn key(self) -> &'static str {
        match self {
            Charge::UnknownAccount => "unknown_account",
            Charge::WrongPassword => "wrong_password",
            Charge::Acl => "acl",
            Charge::Ami => "ami",
        }
    }

    /// How many pieces of this evidence block; 0 is never.
    pub fn limit(self, limits: &Limits) -> u32 {
        match self {
            Charge::UnknownAccount => limits.unknown_account,
            Charge::WrongPassword => limits.wrong_password,
            Charge::Acl => limits.acl,
            Charge::Ami => limits.ami,
        }
    }
}

/// What somebody is accused of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accusation {
    pub charge: Charge,
    pub reason: Reason,
    /// The account does not exist or its password was wrong: what also happens to everybody when the PBX has lost its
    /// database.
    pub refused: bool,
    /// It may be what an honest phone does that was set up wrongly. A broken event and a knock at the manager interface
    /// are not.
    pub may_be_a_phone: bool,
}

/// What an event accuses its sender of, if of anything.
pub(super) fn accusation(event: &SecurityEvent) -> Option<Accusation> {
    let (charge, reason) = match event.kind {
        Kind::InvalidAccountId => (Charge::UnknownAccount, Reason::InvalidAccount),
        Kind::ChallengeResponseFailed if event.is_unidentified() => (Charge::UnknownAccount, Reason::InvalidAccount),
        Kind::ChallengeResponseFailed => (Charge::WrongPassword, Reason::ChallengeFailed),
        Kind::InvalidPassword => (Charge::WrongPassword, Reason::InvalidPassword),
        Kind::FailedAcl(Acl::Access) => (Charge::Acl, Reason::FailedAcl),
        Kind::FailedAcl(Acl::Request) => (Charge::WrongPassword, Reason::FailedAcl),
        Kind::Tampered => (Charge::UnknownAccount, Reason::ProtocolMisuse),
        Kind::RequestNotSupported
        | Kind::RequestNotAllowed
        | Kind::RequestBadFormat
        | Kind::SessionLimit
        | Kind::InvalidTransport
        | Kind::UnexpectedAddress
        | Kind::AuthMethodNotAllowed => (Charge::WrongPassword, Reason::ProtocolMisuse),
        Kind::SuccessfulAuth { .. }
        | Kind::ChallengeSent
        | Kind::MemoryLimit
        | Kind::LoadAverageLimit
        | Kind::Other => return None,
    };
    let is_ami = event.service == Service::Ami;
    Some(Accusation {
        charge: if is_ami { Charge::Ami } else { charge },
        reason,
        refused: !is_ami
            && matches!(event.kind, Kind::InvalidAccountId | Kind::ChallengeResponseFailed | Kind::InvalidPassword),
        may_be_a_phone: !is_ami && event.kind != Kind::Tampered,
    })
}

/// Whether this is refused to phones that were rebooted or set up wrongly, or whose user dialled a wrong number: no attack
/// right after a login.
pub(super) fn is_excusable(event: &SecurityEvent) -> bool {
    matches!(event.kind, Kind::FailedAcl(Acl::Request) | Kind::RequestNotSupported)
}
