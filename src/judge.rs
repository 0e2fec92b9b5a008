//! Whom to block: evidence, counted for each source, against the limits of the configuration.
//!
//! PURE: no clock, no I/O, no log. Evidence is held for at most [`evidence::MAX_SOURCES`] sources and
//! [`evidence::MAX_ITEMS`] pieces of it, about 4 MiB; when a flood of sources exceeds that, the oldest and least goes.
//!
//! INVARIANT: no verdict names a source that holds a protected address, and evidence against an address counts only
//! from events that [`crate::ami::security`] vouches for.

pub mod evidence;
mod source;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::Limits;
use crate::model::allowlist::Allowlist;
use crate::model::block::Reason;
use crate::model::clock::Now;
use crate::model::security::{Acl, Endpoint, Kind, SecurityEvent, Service};
pub use evidence::Evidence;
use evidence::{Failure, Record};

/// Time a phone has to answer a challenge before it counts as unanswered.
const GRACE: Duration = Duration::from_secs(4);

/// With so many times the permitted number of challenges open at once, nobody waits for the grace to end. An office
/// whose power comes back has one for each of its phones.
const HUGE: u32 = 20;

/// How long a login counts as one that has just happened.
const JUST_AUTHENTICATED: Duration = Duration::from_secs(60);

/// What to measure evidence by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How much is too much.
    pub limits: Limits,
    /// Never blocked: white list, loopback, this machine, its gateways and name servers, the AMI host.
    pub protected: Allowlist,
    /// Whether this machine is known to have an IPv6 address of its own, which `protected` then holds.
    pub knows_own_ipv6: bool,
}

/// What an event comes to.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do.
    Pass,
    /// Block this address or network.
    Block {
        /// Address or, for IPv6, its /64.
        source: IpNet,
        /// Why.
        reason: Reason,
        /// What it attacked, where known.
        local: Option<Endpoint>,
        /// How many failures it is blocked for; 0 for challenges that were left unanswered.
        failures: u32,
    },
    /// A protected address did what others are blocked for.
    Protected {
        /// The address.
        address: IpAddr,
        /// What it did.
        reason: Reason,
    },
}

/// What a piece of evidence counts against.
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

/// Judges one event. Events of sources that are blocked already are not to be shown to it.
pub fn judge(evidence: &mut Evidence, policy: &Policy, now: Now, event: &SecurityEvent) -> Verdict {
    evidence.learn_own(event.local.address);
    let address = event.source();
    let accusation = accusation(event);
    if evidence.protects(policy, address) {
        return accusation.map_or(Verdict::Pass, |(_, reason)| Verdict::Protected { address, reason });
    }
    if event.kind == (Kind::SuccessfulAuth { using_password: true }) {
        evidence.trust(address, now.wall);
    }
    let source = source::of(evidence, policy, address);
    let trusted = evidence.trusts(policy, address, now.wall);
    match (event.kind, accusation) {
        (Kind::SuccessfulAuth { using_password }, _) => {
            let record = evidence.record(source, now);
            record.drop_challenges_before(interval(policy) + GRACE, now);
            record.answered(event);
            if using_password {
                record.forgive(event, now);
            }
            Verdict::Pass
        }
        (Kind::ChallengeSent, _) => {
            let record = evidence.record(source, now);
            if !record.is_twin(event) && policy.limits.flood_count > 0 {
                record.challenged(event, now);
            }
            flood(evidence, policy, now, source, trusted)
        }
        (_, Some((charge, reason))) => {
            let limit = effective(charge.limit(&policy.limits), policy, trusted);
            let record = evidence.record(source, now);
            record.answered_wrongly(event);
            if limit == 0 || record.is_twin(event) || is_excused(record, now, event) {
                return Verdict::Pass;
            }
            record.expect_twin(event);
            record.fail(Failure::new(charge, event, now), event, window(policy), now);
            let failures = record.count(charge, window(policy), now);
            if failures >= limit {
                evidence.forget(&source);
                return Verdict::Block { source, reason, local: Some(event.local), failures };
            }
            Verdict::Pass
        }
        (_, None) => Verdict::Pass,
    }
}

/// Whom to block for challenges that have by now gone unanswered; to be asked once a second.
#[must_use]
pub fn overdue(evidence: &mut Evidence, policy: &Policy, now: Now) -> Vec<Verdict> {
    let challenged: Vec<IpNet> = evidence.challenged(policy.limits.flood_count).collect();
    // Since it was challenged, it may have been protected, or somebody in the network have logged in.
    let is_still_one = |evidence: &Evidence, source: &IpNet| {
        source::of(evidence, policy, source.addr()) == *source && !evidence.protects(policy, source.addr())
    };
    let verdicts = challenged.into_iter().map(|source| {
        if !is_still_one(evidence, &source) {
            evidence.forget(&source);
            return Verdict::Pass;
        }
        let trusted = evidence.trusts_within(policy, &source, now.wall);
        flood(evidence, policy, now, source, trusted)
    });
    verdicts.filter(|verdict| *verdict != Verdict::Pass).collect()
}

/// How near a source is to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What counts, in the words of the configuration.
    pub what: &'static str,
    /// How much of it there is.
    pub count: u32,
    /// How much blocks.
    pub limit: u32,
    /// The limit if nothing were known in favour of the source.
    pub strict_limit: u32,
}

impl Standing {
    /// Whether one more would block, or would have blocked a source that nothing is known in favour of.
    pub fn is_near(&self) -> bool {
        self.strict_limit > 0 && self.count > 0 && self.count + 1 >= self.strict_limit
    }
}

/// All that counts against the source of an address now.
pub fn standing(evidence: &Evidence, policy: &Policy, now: Now, source: &IpNet) -> Vec<Standing> {
    let Some(record) = evidence.get(source) else { return Vec::new() };
    let trusted = evidence.trusts_within(policy, source, now.wall);
    let charges = Charge::ALL.into_iter().map(|charge| {
        let strict_limit = charge.limit(&policy.limits);
        let limit = effective(strict_limit, policy, trusted);
        Standing { what: charge.key(), count: record.count(charge, window(policy), now), limit, strict_limit }
    });
    let open = record.open_challenges(Duration::ZERO, interval(policy) + GRACE, now);
    let strict_limit = policy.limits.flood_count;
    let limit = effective(strict_limit, policy, trusted);
    charges.chain([Standing { what: "challenges unanswered", count: open, limit, strict_limit }]).collect()
}

/// What evidence against this address is counted under.
pub fn source(evidence: &Evidence, policy: &Policy, address: IpAddr) -> IpNet {
    source::of(evidence, policy, address)
}

/// Blocks a source that has left too many challenges unanswered.
fn flood(evidence: &mut Evidence, policy: &Policy, now: Now, source: IpNet, trusted: bool) -> Verdict {
    let limit = effective(policy.limits.flood_count, policy, trusted);
    if limit == 0 {
        return Verdict::Pass;
    }
    let Some(record) = evidence.get_mut(&source) else { return Verdict::Pass };
    record.drop_challenges_before(interval(policy) + GRACE, now);
    let overdue = record.open_challenges(GRACE, interval(policy) + GRACE, now);
    if overdue > limit || record.open() > limit.saturating_mul(HUGE) {
        let local = record.local();
        evidence.forget(&source);
        return Verdict::Block { source, reason: Reason::ChallengeSent, local, failures: 0 };
    }
    Verdict::Pass
}

/// What an event accuses its sender of, if of anything.
fn accusation(event: &SecurityEvent) -> Option<(Charge, Reason)> {
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
    Some(if event.service == Service::Ami { (Charge::Ami, reason) } else { (charge, reason) })
}

/// What is refused right after a login is asked for by a phone that was rebooted or set up wrongly, or by somebody who
/// dialled a wrong number: no attack.
fn is_excused(record: &Record, now: Now, event: &SecurityEvent) -> bool {
    matches!(event.kind, Kind::FailedAcl(Acl::Request) | Kind::RequestNotSupported)
        && record.has_authenticated_within(JUST_AUTHENTICATED, now)
}

/// A limit of 0 is switched off for everybody; to a trusted address the limit for trusted ones applies.
fn effective(limit: u32, policy: &Policy, trusted: bool) -> u32 {
    if limit > 0 && trusted { limit.max(policy.limits.trusted) } else { limit }
}

fn window(policy: &Policy) -> Duration {
    Duration::from_secs(policy.limits.window)
}

fn interval(policy: &Policy) -> Duration {
    Duration::from_secs(policy.limits.flood_interval)
}

#[cfg(test)]
mod tests;
