//! Whom to block.
//!
//! PURE: no clock, no I/O, no log.
//!
//! # The table
//! A failure is judged by who failed and where. An account lives at an address if it logged in there with a password
//! (`homes`).
//!
//! | the failing account | at an address where nobody lives | at an address where somebody lives |
//! | --- | --- | --- |
//! | lives here | | a broken phone: never blocks by itself, unless it hammers, more than `limits.hammer` failures in 60 s |
//! | lives elsewhere | a guess | a guess: `limits.home_guesses` in a day for one account, and it is strange, unless all of its address has moved here |
//! | lives nowhere, or does not exist | a guess; one that does not exist blocks at `limits.unknown_account` | a phone set up wrongly: strange |
//! | strange accounts in a day | | more than `limits.strange` different ones; each of them counts once, however often it fails |
//!
//! Where nobody lives, guesses block at the limit of their kind within `limits.window`, at `limits.day_guesses` within
//! a day, at the first from a country that is not one of `limits.countries`, at the first for an account under pressure (more than `limits.pressure` addresses where it does not live
//! failed for it), and at the first out of a neighbourhood from which more than `limits.neighbours` addresses failed.
//! One whose block ended within the last day, and that goes on, is stopped at the first. How long a block lasts is said in
//! `offenders`.
//!
//! While the PBX refuses its own phones ([`weather`]), nobody is blocked for an account that does not exist or a wrong
//! password but for hammering, of one account or, twice as much, of many; and accounts are not blocked for that where
//! they live.
//!
//! # Forgery
//! UDP sources can be forged and account names chosen, so anybody can make failures of any account from any address.
//! Logins cannot be forged. The worst that forged failures do:
//! - an address where nobody lives is blocked, as if it had made them;
//! - an address where somebody lives is blocked for `timer.home` at first, if they hammer, name many strange
//!   accounts, or many times one that lives elsewhere;
//! - an account comes under pressure, or a neighbourhood into disrepute: then a stranger's first mistake blocks him;
//!   those who live somewhere notice nothing;
//! - the memory of a day is crowded, and the patient get more time: the sources with least evidence go first.
//!
//! They free nobody, make no home, and hold the weather for `limits.weather_time` in a day at most.
//!
//! INVARIANT: no verdict names a source that holds a protected address, and evidence against an address counts only
//! from events that [`crate::ami::security`] vouches for.

mod account;
mod accusation;
mod crowds;
pub mod evidence;
mod homes;
mod offenders;
mod record;
mod source;
mod standing;
pub mod weather;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Lengths, Limits};
use crate::model::allowlist::Allowlist;
use crate::model::block::Reason;
use crate::model::clock::Now;
use crate::model::country::is_elsewhere;
use crate::model::security::{Endpoint, Kind, SecurityEvent, Service};
use account::Account;
use accusation::{Accusation, Charge, accusation, is_excusable};
pub use evidence::Evidence;
use evidence::most_signs;
use record::HAMMERING;
pub use standing::{AccountDossier, Dossier, Standing, standing};

/// How long failures are remembered.
const DAY: Duration = Duration::from_secs(86_400);

/// Time a phone has to answer a challenge before it counts as unanswered: where nobody lives, and where somebody lives.
/// There it is longer, so that bad weather is seen first.
const GRACE: Duration = Duration::from_secs(4);
const HOME_GRACE: Duration = Duration::from_secs(30);

/// How long an account must hammer where it lives.
const HOLD: Duration = Duration::from_secs(10);

/// With this many times the permitted number of challenges open at once, nobody waits for the grace to end where nobody
/// lives. An office whose power comes back for the first time has one for each of its phones.
const HUGE: u32 = 20;

/// How long a login counts as one that has just happened.
const JUST_LOGGED_IN: Duration = Duration::from_secs(60);

/// What to measure evidence by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How much is too much.
    pub limits: Limits,
    /// How long a block lasts.
    pub lengths: Lengths,
    /// Never blocked: white list, loopback, this machine, its gateways and name servers, the AMI host, the
    /// server of the fleet.
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
        /// For how many seconds.
        seconds: u64,
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

/// Judges one event. Events of sources that are blocked already are not to be shown to it.
pub fn judge(evidence: &mut Evidence, policy: &Policy, now: Now, event: &SecurityEvent) -> Verdict {
    evidence.learn_own(event.local.address);
    let address = event.source();
    let accusation = accusation(event);
    if evidence.protects(policy, address) {
        witness(evidence, policy, now, event, accusation);
        return accusation.map_or(Verdict::Pass, |Accusation { reason, .. }| Verdict::Protected { address, reason });
    }
    let source = source::of(evidence, policy, address);
    match (event.kind, accusation) {
        (Kind::SuccessfulAuth { using_password }, _) => {
            log_in(evidence, policy, now, event, source, using_password);
            Verdict::Pass
        }
        (Kind::ChallengeSent, _) => challenge(evidence, policy, now, event, source),
        (_, Some(accusation)) => fail(evidence, policy, now, event, source, accusation),
        (_, None) => Verdict::Pass,
    }
}

/// Whom to block for challenges that have by now gone unanswered; to be asked once a second. Looks at the weather.
#[must_use]
pub fn overdue(evidence: &mut Evidence, policy: &Policy, now: Now) -> Vec<Verdict> {
    evidence.look_at_weather(policy, now.monotonic);
    let challenged = evidence.challenged(policy.limits.flood_count);
    // Since it was challenged, it may have been protected, or be counted under another network.
    let is_still_one = |evidence: &Evidence, source: &IpNet| {
        source::of(evidence, policy, source.addr()) == *source && !evidence.protects(policy, source.addr())
    };
    let verdicts = challenged.into_iter().map(|source| {
        if !is_still_one(evidence, &source) {
            evidence.forget(&source);
            return Verdict::Pass;
        }
        flood(evidence, policy, now, source)
    });
    verdicts.filter(|verdict| *verdict != Verdict::Pass).collect()
}

/// A stranger has sent so much for so long that he is to be blocked for it. His packets may be forged.
pub fn drowned(evidence: &mut Evidence, policy: &Policy, now: Now, source: IpNet) -> Verdict {
    if evidence.lives_in(&source) {
        return Verdict::Pass;
    }
    let seconds = evidence.block_gently(source, policy, now);
    Verdict::Block { source, reason: Reason::Flood, seconds, local: None, failures: 0 }
}

/// What evidence against this address is counted under.
pub fn source(evidence: &Evidence, policy: &Policy, address: IpAddr) -> IpNet {
    source::of(evidence, policy, address)
}

/// Accounts live at protected addresses too. Those are never judged, but they tell what the weather is like.
fn witness(evidence: &mut Evidence, policy: &Policy, now: Now, event: &SecurityEvent, accusation: Option<Accusation>) {
    let (source, account) = (IpNet::from(event.source()), Account::of(account::name(event)));
    if event.kind == (Kind::SuccessfulAuth { using_password: true }) {
        // The answer to an INVITE of chan_sip names the number that was dialled, the other events the account.
        let is_sure = event.service == Service::Pjsip || evidence.homes.lives_at(&source, account);
        if is_sure {
            evidence.settle(source, account::name(event), &policy.limits, now);
        }
    } else if accusation.is_some_and(|accusation| accusation.refused) && evidence.homes.lives_at(&source, account) {
        evidence.refuse(source, account, &policy.limits, now);
    }
}

fn log_in(
    evidence: &mut Evidence,
    policy: &Policy,
    now: Now,
    event: &SecurityEvent,
    source: IpNet,
    using_password: bool,
) {
    let record = evidence.record(source, &policy.limits, now.monotonic);
    record.drop_challenges(patience(policy), now.monotonic);
    let challenged = record.challenged_name(event).map(Box::<[u8]>::from);
    let name = challenged.as_deref().unwrap_or(account::name(event));
    let account = Account::of(name);
    record.answered(event, account);
    if !using_password {
        return;
    }
    record.log_in(now.monotonic);
    let failed = record.accounts(now.monotonic);
    record.forgive(account);
    evidence.clear(&source, &failed, &policy.limits);
    // Without its challenge, an answer of chan_sip may be that to an INVITE, which names the number that was dialled.
    let names_account =
        event.service != Service::Sip || challenged.is_some() || evidence.homes.lives_at(&source, account);
    if names_account && event.service != Service::Ami {
        evidence.settle(source, name, &policy.limits, now);
    }
}

fn challenge(evidence: &mut Evidence, policy: &Policy, now: Now, event: &SecurityEvent, source: IpNet) -> Verdict {
    let record = evidence.record(source, &policy.limits, now.monotonic);
    if !record.is_told(event) {
        let is_first = record.open() == 0;
        record.challenge(event, now.monotonic);
        if is_first {
            evidence.note_challenge(source);
        }
    }
    if evidence.homes.lives_at(&source, Account::of(account::name(event))) {
        evidence.weather.hear(source, most_signs(&policy.limits), now.monotonic);
    }
    flood(evidence, policy, now, source)
}

fn fail(
    evidence: &mut Evidence,
    policy: &Policy,
    now: Now,
    event: &SecurityEvent,
    source: IpNet,
    accusation: Accusation,
) -> Verdict {
    let limits = &policy.limits;
    let record = evidence.record(source, limits, now.monotonic);
    record.drop_challenges(patience(policy), now.monotonic);
    let name: Box<[u8]> = record.challenged_name(event).unwrap_or(account::name(event)).into();
    record.answered_wrongly(event);
    let is_excused = is_excusable(event) && record.has_logged_in(JUST_LOGGED_IN, now.monotonic);
    if record.is_told(event) || is_excused {
        return Verdict::Pass;
    }
    record.note(event);
    let is_home = evidence.homes.tenants(&source) > 0;
    // Where somebody lives, nobody's account is no phone's.
    if is_home && event.is_unidentified() {
        return Verdict::Pass;
    }

    let account = Account::of(&name);
    let lives_here = accusation.may_be_a_phone && evidence.homes.lives_at(&source, account);
    let lives = evidence.homes.lives(account);
    // An account that lives somewhere exists, or did until just now.
    let charge = match accusation.charge {
        Charge::UnknownAccount if lives && accusation.may_be_a_phone => Charge::WrongPassword,
        charge => charge,
    };
    if charge.limit(limits) == 0 {
        return Verdict::Pass;
    }
    if accusation.refused && lives_here {
        evidence.refuse(source, account, limits, now);
    }
    let is_spared = accusation.refused && evidence.refusing().is_some_and(|front| front.spares);
    evidence.record(source, limits, now.monotonic).fail(charge, &name, limits, now.monotonic);

    let failure = Failure {
        source,
        account,
        charge,
        lives_here,
        lives_elsewhere: lives || !accusation.may_be_a_phone,
        is_foreign: is_elsewhere(event.country, &limits.countries),
    };
    let is_guilty = if is_spared {
        !lives_here && (failure.hammers(evidence, limits, now) || failure.hammers_at_many(evidence, limits, now))
    } else if is_home {
        failure.blocks_home(evidence, limits, now)
    } else {
        failure.blocks_stranger(evidence, limits, now)
    };
    if !is_spared && !lives_here {
        evidence.join_crowds(source, (charge == Charge::WrongPassword).then_some(account), limits, now.monotonic);
    }
    if !is_guilty {
        evidence.spared += u64::from(is_spared);
        return Verdict::Pass;
    }
    let failures = evidence.get(&source).map_or(0, |record| record.all(DAY, now.monotonic));
    let seconds = evidence.block(source, policy, now);
    Verdict::Block { source, reason: accusation.reason, seconds, local: Some(event.local), failures }
}

/// A failure that was counted, as the table sees it.
struct Failure {
    source: IpNet,
    account: Account,
    charge: Charge,
    lives_here: bool,
    lives_elsewhere: bool,
    is_foreign: bool,
}

impl Failure {
    /// The column of those who live at the address.
    fn blocks_home(&self, evidence: &Evidence, limits: &Limits, now: Now) -> bool {
        let hammers = self.hammers(evidence, limits, now);
        if self.lives_here || hammers {
            return hammers;
        }
        let Some(record) = evidence.get(&self.source) else { return false };
        let guesses = record.of(self.charge, self.account, DAY, now.monotonic);
        let guesses_at_others = self.lives_elsewhere && limits.home_guesses > 0 && guesses >= limits.home_guesses;
        // A phone that was set up wrongly and tries again is no news.
        let is_news = self.lives_elsewhere || guesses == 1;
        let is_too_strange = is_news && limits.strange > 0 && strange(evidence, &self.source, now) > limits.strange;
        (guesses_at_others || is_too_strange) && !evidence.homes.has_moved_here(&self.source, self.account)
    }

    /// The column of the addresses where nobody lives.
    fn blocks_stranger(&self, evidence: &Evidence, limits: &Limits, now: Now) -> bool {
        let Some(record) = evidence.get(&self.source) else { return false };
        let neighbours = evidence.neighbours.count(source::neighbourhood(&self.source), now.monotonic);
        self.is_foreign
            || record.count(self.charge, window(limits), now.monotonic) >= self.charge.limit(limits)
            || limits.day_guesses > 0 && record.all(DAY, now.monotonic) >= limits.day_guesses
            || limits.pressure > 0 && evidence.pressure.is_siege(self.account, now.monotonic)
            || limits.neighbours > 0 && neighbours > limits.neighbours
            || evidence.offenders.get(&self.source).is_some_and(|offence| now.wall.since(offence.end) < DAY.as_secs())
    }

    /// Hammers at many accounts: twice as often as at one, because a new office may start just then.
    fn hammers_at_many(&self, evidence: &Evidence, limits: &Limits, now: Now) -> bool {
        let failed = |record: &record::Record| record.all(HAMMERING, now.monotonic);
        let is_stranger = evidence.homes.tenants(&self.source) == 0;
        is_stranger && limits.hammer > 0 && evidence.get(&self.source).map_or(0, failed) > 2 * limits.hammer
    }

    /// The strictest sign: a phone tries again after seconds, not several times in one. Where the account lives it must last,
    /// so that bad weather is seen first: a trunk may be refused for each of 50 calls a second.
    fn hammers(&self, evidence: &Evidence, limits: &Limits, now: Now) -> bool {
        let lasting = if self.lives_here { HOLD } else { Duration::ZERO };
        let Some(record) = evidence.get(&self.source) else { return false };
        limits.hammer > 0 && record.hammers(self.charge, self.account, lasting, now.monotonic)
    }
}

/// How many different accounts that do not live at this address failed there within a day.
fn strange(evidence: &Evidence, source: &IpNet, now: Now) -> u32 {
    let accounts = evidence.get(source).map(|record| record.accounts(now.monotonic)).unwrap_or_default();
    accounts.into_iter().filter(|account| !evidence.homes.lives_at(source, *account)).count() as u32
}

/// Blocks a source that has left too many challenges unanswered.
fn flood(evidence: &mut Evidence, policy: &Policy, now: Now, source: IpNet) -> Verdict {
    let tenants = evidence.homes.tenants(&source);
    let (limit, is_home) = (flood_limit(&policy.limits, tenants), tenants > 0);
    let grace = if is_home { HOME_GRACE } else { GRACE };
    let is_spared = evidence.silent().is_some_and(|front| front.spares);
    let Some(record) = evidence.get_mut(&source).filter(|_| limit > 0) else { return Verdict::Pass };
    record.drop_challenges(patience(policy), now.monotonic);
    let window = interval(&policy.limits) + grace;
    let is_late = !is_spared && record.overdue(grace, window, now.monotonic) > limit;
    let is_huge = !is_home && record.overdue(Duration::ZERO, window, now.monotonic) > limit.saturating_mul(HUGE);
    if !is_late && !is_huge {
        return Verdict::Pass;
    }
    let local = record.local();
    let seconds = evidence.block(source, policy, now);
    Verdict::Block { source, reason: Reason::ChallengeSent, seconds, local, failures: 0 }
}

/// How many challenges may stay unanswered where so many accounts live.
fn flood_limit(limits: &Limits, tenants: usize) -> u32 {
    if limits.flood_count == 0 {
        return 0;
    }
    let tenants = u32::try_from(tenants).unwrap_or(u32::MAX);
    limits.flood_count.max(limits.home_challenges.saturating_mul(tenants))
}

fn window(limits: &Limits) -> Duration {
    Duration::from_secs(limits.window)
}

fn interval(limits: &Limits) -> Duration {
    Duration::from_secs(limits.flood_interval)
}

/// How long a challenge counts at all.
fn patience(policy: &Policy) -> Duration {
    interval(&policy.limits) + HOME_GRACE
}

/// Keeps room for one more entry of at most `most`: when there is none, a quarter of them goes, those of the lowest rank.
fn room<K: Hash + Eq, V, R: Ord + Copy>(map: &mut HashMap<K, V>, most: usize, rank: impl Fn(&V) -> R) {
    if map.len() < most || map.is_empty() {
        return;
    }
    let mut ranks: Vec<R> = map.values().map(&rank).collect();
    let mut going = (ranks.len() / 4).max(1);
    let (_, least_kept, _) = ranks.select_nth_unstable(going - 1);
    let least_kept = *least_kept;
    map.retain(|_, value| {
        let keep = going == 0 || rank(value) > least_kept;
        going -= usize::from(!keep);
        keep
    });
}

#[cfg(test)]
mod tests;
