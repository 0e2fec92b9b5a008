//! All that the judge remembers, in bounded memory.
//!
//! `limits.memory` is shared out between the homes, which may take five eighths of it, and all the rest, which may
//! take what the homes leave. Nothing is reserved: a small PBX takes little. What things take is reckoned without what the
//! allocator adds and what a table takes that is just growing, so only two thirds are shared out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::account::Account;
use super::crowds::{self, Crowds};
use super::homes::{Homes, PAIR};
use super::offenders::{OFFENDER, Offenders};
use super::record::Record;
use super::source::neighbourhood;
use super::weather::{Front, MINUTE, RECENT, SIGNS, Weather};
use super::{GRACE, Policy, patience, room};
use crate::config::Limits;
use crate::model::clock::{Now, UnixTime};
use crate::model::memory::Memory;
use crate::model::net::is_global_ipv6;

/// Bytes that a source takes with its place in the table, and a piece of evidence against it.
const SOURCE: usize = 272;
const ITEM: usize = 24;

/// Most addresses of this machine learned from events.
const MAX_OWN: usize = 64;

/// What is known of all sources.
#[derive(Debug, Default)]
pub struct Evidence {
    pub(super) homes: Homes,
    pub(super) offenders: Offenders,
    /// Sources that failed for an account that does not live there.
    pub(super) pressure: Crowds<Account>,
    /// Sources of one neighbourhood that failed.
    pub(super) neighbours: Crowds<IpNet>,
    pub(super) weather: Weather,
    /// Failures that counted for nothing because of the weather.
    pub(super) spared: u64,
    /// Boxed, because a table that has just grown is largely empty.
    records: HashMap<IpNet, Box<Record>>,
    /// All sources with open challenges, and some that have none any more.
    challenged: HashSet<IpNet>,
    /// At least as many pieces as the records hold.
    items: usize,
    /// Addresses Asterisk was reached under: those of its machine, also when that is not ours.
    own: BTreeSet<IpAddr>,
}

impl Evidence {
    /// Takes over what an earlier process knew.
    pub fn restore(&mut self, memories: impl IntoIterator<Item = Memory>) {
        for memory in memories {
            match memory {
                Memory::Home(home) => self.homes.restore([home]),
                Memory::Offence(source, offence) => self.offenders.restore([(source, offence)]),
            }
        }
    }

    /// What is new and to be remembered beyond this process, each once.
    pub fn take_news(&mut self) -> Vec<Memory> {
        let homes = self.homes.take_news().into_iter().map(Memory::Home);
        homes
            .chain(self.offenders.take_news().into_iter().map(|(net, offence)| Memory::Offence(net, offence)))
            .collect()
    }

    /// All that is to be remembered beyond this process.
    pub fn memories(&self) -> impl Iterator<Item = Memory> + '_ {
        let offences = self.offenders.all().map(|(source, offence)| Memory::Offence(source, offence));
        self.homes.all().map(Memory::Home).chain(offences)
    }

    /// The wall clock was set: moves what is counted by it `seconds` into the future or the past.
    pub fn shift(&mut self, seconds: i64) {
        self.homes.shift(seconds);
        self.offenders.shift(seconds);
    }

    /// Whether this address must never be blocked.
    pub fn protects(&self, policy: &Policy, address: IpAddr) -> bool {
        address.is_loopback() || policy.protected.contains(address) || self.own.contains(&address)
    }

    /// Number of sources of which evidence is held.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is held against anybody.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Number of addresses where accounts live, and of pairs of an address and an account.
    pub fn homes(&self) -> (usize, usize) {
        (self.homes.places(), self.homes.len())
    }

    /// The addresses where accounts live.
    pub fn places(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.homes.all_places()
    }

    /// The last login of any account at this address.
    pub fn last_login_at(&self, place: &IpNet) -> Option<UnixTime> {
        self.homes.last_login_at(place)
    }

    /// Whether an account lives at this address, or somewhere in this network.
    pub fn lives_in(&self, net: &IpNet) -> bool {
        self.homes.tenants(net) > 0
            || net.prefix_len() < net.max_prefix_len() && self.places().any(|at| net.contains(&at))
    }

    /// All sources of which evidence is held.
    pub fn sources(&self) -> impl Iterator<Item = &IpNet> {
        self.records.keys()
    }

    /// The account that this source named last, as sent.
    pub fn last_account(&self, source: &IpNet) -> &[u8] {
        self.records.get(source).map_or(b"", |record| record.last_account())
    }

    /// Whether the PBX refuses its own phones now.
    pub fn refusing(&self) -> Option<Front> {
        self.weather.refusing()
    }

    /// How many failures counted for nothing because of it since last asked.
    pub fn take_spared(&mut self) -> u64 {
        std::mem::take(&mut self.spared)
    }

    /// Whether its phones leave it unanswered now.
    pub fn silent(&self) -> Option<Front> {
        self.weather.silent()
    }

    /// Drops all evidence against a source and what it was blocked for: the administrator freed it.
    pub fn forget(&mut self, source: &IpNet) {
        self.offenders.forget(source);
        if let Some(record) = self.records.remove(source) {
            self.items -= record.items().min(self.items);
        }
    }

    /// Drops what is too old to count.
    pub fn expire(&mut self, policy: &Policy, now: Now) {
        self.records.retain(|_, record| record.expire(patience(policy), now.monotonic));
        self.homes.expire(policy.limits.home_time, now.wall);
        self.offenders.expire(policy.lengths.longest, now.wall);
        self.pressure.expire(now.monotonic);
        self.neighbours.expire(now.monotonic);
        self.recount();
    }

    /// Looks at the weather. What was counted in bad weather is dropped when it has passed.
    pub(super) fn look_at_weather(&mut self, policy: &Policy, now: Duration) {
        let (limits, patience) = (&policy.limits, patience(policy));
        let Evidence { homes, records, weather, challenged, .. } = self;
        let is_late =
            |source: &IpNet| records.get(source).is_some_and(|record| record.overdue(GRACE, patience, now) > 0);
        let is_silent = |source: &&IpNet| homes.tenants(source) > 0 && is_late(source);
        let passed = weather
            .look(limits, now, homes.places(), most_signs(limits), || challenged.iter().filter(is_silent).copied());
        if passed.silence.is_some() {
            self.records.values_mut().for_each(|record| record.drop_challenges(GRACE, now));
        }
        if let Some(start) = passed.refusals {
            let start = start.saturating_sub(MINUTE);
            self.records.values_mut().for_each(|record| record.forget_since(start));
            self.pressure.forget_since(start, limits.pressure);
            self.neighbours.forget_since(start, limits.neighbours);
        }
    }

    /// Only Asterisk writes LocalAddress. A bind address such as `0.0.0.0` names nobody.
    pub(super) fn learn_own(&mut self, address: IpAddr) {
        if !address.is_unspecified() && self.own.len() < MAX_OWN && !self.own.contains(&address) {
            self.own.insert(address);
        }
    }

    pub(super) fn knows_own_ipv6(&self) -> bool {
        self.own.iter().any(is_global_ipv6)
    }

    pub(super) fn own_meets(&self, net: &IpNet) -> bool {
        self.own.range(net.network()..=net.broadcast()).next().is_some()
    }

    pub(super) fn get(&self, source: &IpNet) -> Option<&Record> {
        self.records.get(source).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, source: &IpNet) -> Option<&mut Record> {
        self.records.get_mut(source).map(Box::as_mut)
    }

    /// The record of a source, for one more piece of evidence.
    pub(super) fn record(&mut self, source: IpNet, limits: &Limits, now: Duration) -> &mut Record {
        self.bound(limits, now);
        let record = self.records.entry(source).or_default();
        record.seen = now;
        self.items += 8;
        record
    }

    /// A challenge was sent to this source.
    pub(super) fn note_challenge(&mut self, source: IpNet) {
        self.challenged.insert(source);
    }

    /// Sources with more than `count` open challenges.
    pub(super) fn challenged(&mut self, count: u32) -> Vec<IpNet> {
        let Evidence { challenged, records, .. } = self;
        let open = |source: &IpNet| records.get(source).map_or(0, |record| record.open());
        challenged.retain(|source| open(source) > 0);
        challenged.iter().filter(|source| open(source) > count).copied().collect()
    }

    /// Somebody logged in: his address is no attacker, nor are the accounts attacked that it failed for.
    pub(super) fn clear(&mut self, source: &IpNet, failed: &[Account], limits: &Limits) {
        for account in failed {
            self.pressure.leave(*account, source, limits.pressure);
        }
        self.neighbours.leave(neighbourhood(source), source, limits.neighbours);
    }

    /// A failure that others are warned by: of one neighbourhood, and those who fail for the same account, if it exists.
    pub(super) fn join_crowds(&mut self, source: IpNet, account: Option<Account>, limits: &Limits, now: Duration) {
        let most = self.free(limits) / 8;
        self.pressure.bound(most / crowds::bytes(limits.pressure));
        self.neighbours.bound(most / crowds::bytes(limits.neighbours));
        if let Some(account) = account {
            self.pressure.join(account, source, limits.pressure, now);
        }
        if self.homes.tenants(&source) == 0 {
            self.neighbours.join(neighbourhood(&source), source, limits.neighbours, now);
        }
    }

    /// A source is blocked; returns for how many seconds.
    pub(super) fn block(&mut self, source: IpNet, policy: &Policy, now: Now) -> u64 {
        self.offenders.bound(self.free(&policy.limits) / 8 / OFFENDER);
        let home = self.homes.tenants(&source) > 0;
        if let Some(record) = self.records.get_mut(&source) {
            record.settle();
        }
        self.offenders.block(source, home, &policy.lengths, now.wall)
    }

    /// A source is blocked that may be innocent, because its packets may be forged; returns for how many seconds. It is
    /// begun with as gently as where somebody lives, unless it was blocked for worse.
    pub(super) fn block_gently(&mut self, source: IpNet, policy: &Policy, now: Now) -> u64 {
        self.offenders.bound(self.free(&policy.limits) / 8 / OFFENDER);
        let gently = self.offenders.get(&source).is_none_or(|offence| offence.home);
        self.offenders.block(source, gently, &policy.lengths, now.wall)
    }

    /// An account logged in with a password.
    pub(super) fn settle(&mut self, place: IpNet, name: &[u8], limits: &Limits, now: Now) {
        self.homes.login(place, name, now.wall, limits.home_time);
        self.homes.bound(budget(limits) / 8 * 5 / PAIR);
        self.weather.admit(place, Account::of(name), most_signs(limits), now.monotonic);
    }

    /// An account was refused where it lives.
    pub(super) fn refuse(&mut self, place: IpNet, account: Account, limits: &Limits, now: Now) {
        let last = self.homes.last_login(&place, account);
        let is_sudden = last.is_some_and(|at| now.wall.since(at) < RECENT);
        self.weather.refuse(place, account, is_sudden, most_signs(limits), now.monotonic);
    }

    /// Bytes for all but the homes.
    fn free(&self, limits: &Limits) -> usize {
        let homes = self.homes.len() * PAIR + self.weather.len() * SIGNS;
        budget(limits).saturating_sub(homes).max(budget(limits) / 4)
    }

    /// Keeps room for one more piece: when too much is held, the quarter of the sources that has least evidence, and
    /// of equal ones the oldest, is dropped.
    fn bound(&mut self, limits: &Limits, now: Duration) {
        let most = self.free(limits) / 8 * 5;
        if self.records.len() * SOURCE + self.items * ITEM < most {
            return;
        }
        self.recount();
        if self.records.len() * SOURCE + self.items * ITEM < most / 4 * 3 {
            return;
        }
        let sources = self.records.len();
        room(&mut self.records, sources, |record| {
            (record.items(), u64::MAX - now.saturating_sub(record.seen).as_millis() as u64)
        });
        self.recount();
    }

    /// `items` is an upper bound between two calls: what a record itself drops is not subtracted at once.
    fn recount(&mut self) {
        self.items = self.records.values().map(|record| record.items()).sum();
    }
}

/// The part of `limits.memory` that is shared out, in bytes.
fn budget(limits: &Limits) -> usize {
    limits.memory / 3 * 2
}

/// Of how many addresses the weather is told at most.
pub(super) fn most_signs(limits: &Limits) -> usize {
    budget(limits) / 8 / SIGNS
}
