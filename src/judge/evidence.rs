//! What is known of each source: failures, open challenges, trust.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use ipnet::IpNet;

use super::{Charge, Policy};
use crate::model::clock::{Now, UnixTime};
use crate::model::net::is_global_ipv6;
use crate::model::security::{Acl, Endpoint, Kind, SecurityEvent, Service};

/// Most sources of which evidence is held.
pub const MAX_SOURCES: usize = 16_384;

/// Most failures and open challenges held, of all sources together.
pub const MAX_ITEMS: usize = 65_536;

/// Most addresses whose login is remembered.
pub const MAX_TRUSTED: usize = 16_384;

/// Seconds between two logins of an address of which the second is not worth remembering beyond this process.
const TRUST_GRAIN: u64 = 3600;

/// Most addresses of this machine learned from events.
const MAX_OWN: usize = 64;

/// Evidence against all sources, and trust in some.
#[derive(Debug, Default)]
pub struct Evidence {
    records: HashMap<IpNet, Record>,
    items: usize,
    /// Addresses and when each last logged in with a password.
    trusted: BTreeMap<IpAddr, Login>,
    /// Those of them that are new, or worth telling again, since they were last asked for.
    newly_trusted: Vec<(IpAddr, UnixTime)>,
    /// Addresses Asterisk was reached under: those of its machine, also when that is not ours.
    own: BTreeSet<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Login {
    last: UnixTime,
    /// The last one that was told for remembering beyond this process.
    told: UnixTime,
}

/// What is held against one source.
#[derive(Debug, Default)]
pub struct Record {
    seen: Duration,
    failures: Vec<Failure>,
    challenges: Vec<Challenge>,
    authenticated: Option<Duration>,
    /// Session of a request that was counted already and of which a second event may come.
    twin: Option<u64>,
    /// Account named last.
    account: Box<[u8]>,
    /// Our side of the last challenge.
    local: Option<Endpoint>,
}

/// One failure.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    at: Duration,
    charge: Charge,
    account: u64,
}

#[derive(Clone, Copy, Debug)]
struct Challenge {
    at: Duration,
    session: u64,
    account: u64,
}

impl Evidence {
    /// Takes over what an earlier process knew: addresses and when each last logged in.
    pub fn restore_trust(&mut self, trusted: impl IntoIterator<Item = (IpAddr, UnixTime)>) {
        for (address, at) in trusted {
            self.trust(address, at);
        }
        self.newly_trusted.clear();
    }

    /// Logins to be remembered beyond this process, each once.
    pub fn take_newly_trusted(&mut self) -> Vec<(IpAddr, UnixTime)> {
        std::mem::take(&mut self.newly_trusted)
    }

    /// The wall clock was set: moves what is counted by it `seconds` into the future or the past.
    pub fn shift(&mut self, seconds: i64) {
        for login in self.trusted.values_mut() {
            for at in [&mut login.last, &mut login.told] {
                at.0 = at.0.saturating_add_signed(seconds);
            }
        }
    }

    /// Addresses and when each last logged in with a password.
    pub fn trusted(&self) -> impl Iterator<Item = (IpAddr, UnixTime)> + '_ {
        self.trusted.iter().map(|(address, login)| (*address, login.last))
    }

    /// When this address last logged in with a password, if that still counts.
    pub fn trusted_since(&self, policy: &Policy, address: IpAddr, now: UnixTime) -> Option<UnixTime> {
        self.trusted.get(&address).map(|login| login.last).filter(|at| now.since(*at) < policy.limits.trust_time)
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

    /// All sources of which evidence is held.
    pub fn sources(&self) -> impl Iterator<Item = &IpNet> {
        self.records.keys()
    }

    /// The account that this source named last, as sent.
    pub fn last_account(&self, source: &IpNet) -> &[u8] {
        self.records.get(source).map_or(b"", |record| &record.account)
    }

    /// Drops all evidence against a source: it is blocked now, or the administrator freed it.
    pub fn forget(&mut self, source: &IpNet) {
        if let Some(record) = self.records.remove(source) {
            self.items -= record.items().min(self.items);
        }
    }

    /// Drops evidence too old to count, and trust too old to matter.
    pub fn expire(&mut self, policy: &Policy, now: Now) {
        let keep = Duration::from_secs(policy.limits.window.max(policy.limits.flood_interval)) + super::GRACE;
        self.records.retain(|_, record| record.seen + keep > now.monotonic);
        self.trusted.retain(|_, login| now.wall.since(login.last) < policy.limits.trust_time);
        self.recount();
    }

    pub(super) fn trust(&mut self, address: IpAddr, at: UnixTime) {
        // A phone logs in every few minutes; to the next process its last login is known to within an hour.
        if let Some(login) = self.trusted.get_mut(&address) {
            login.last = login.last.max(at);
            if at.since(login.told) < TRUST_GRAIN {
                return;
            }
            login.told = at;
        } else {
            self.trusted.insert(address, Login { last: at, told: at });
        }
        self.newly_trusted.push((address, at));
        if self.trusted.len() > MAX_TRUSTED {
            let mut times: Vec<UnixTime> = self.trusted.values().map(|login| login.last).collect();
            let mut to_drop = MAX_TRUSTED / 8;
            let (_, oldest_kept, _) = times.select_nth_unstable(to_drop);
            let oldest_kept = *oldest_kept;
            self.trusted.retain(|_, login| {
                let keep = to_drop == 0 || login.last > oldest_kept;
                to_drop -= usize::from(!keep);
                keep
            });
        }
    }

    pub(super) fn trusts(&self, policy: &Policy, address: IpAddr, now: UnixTime) -> bool {
        self.trusted_since(policy, address, now).is_some()
    }

    pub(super) fn trusts_within(&self, policy: &Policy, net: &IpNet, now: UnixTime) -> bool {
        self.trusted_in(net).any(|(_, login)| now.since(login.last) < policy.limits.trust_time)
    }

    pub(super) fn has_trusted_within(&self, net: &IpNet) -> bool {
        self.trusted_in(net).next().is_some()
    }

    fn trusted_in(&self, net: &IpNet) -> impl Iterator<Item = (&IpAddr, &Login)> {
        self.trusted.range(net.network()..=net.broadcast())
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
        self.records.get(source)
    }

    pub(super) fn get_mut(&mut self, source: &IpNet) -> Option<&mut Record> {
        self.records.get_mut(source)
    }

    pub(super) fn record(&mut self, source: IpNet, now: Now) -> &mut Record {
        self.bound(now);
        let record = self.records.entry(source).or_default();
        record.seen = now.monotonic;
        self.items += 1;
        record
    }

    /// Sources with more than `count` open challenges.
    pub(super) fn challenged(&self, count: u32) -> impl Iterator<Item = IpNet> + '_ {
        self.records.iter().filter(move |(_, record)| record.open() > count).map(|(source, _)| *source)
    }

    /// Keeps room for one more of each: when too much is held, the quarter of the sources that has least evidence, and
    /// of equal ones the oldest, is dropped.
    fn bound(&mut self, now: Now) {
        if self.records.len() < MAX_SOURCES && self.items < MAX_ITEMS {
            return;
        }
        self.recount();
        if self.records.len() < MAX_SOURCES && self.items < MAX_ITEMS {
            return;
        }
        let rank = |record: &Record| (record.items(), u64::MAX - (now.monotonic - record.seen).as_millis() as u64);
        let mut ranks: Vec<_> = self.records.values().map(rank).collect();
        let quarter = ranks.len() / 4;
        let (_, least_kept, _) = ranks.select_nth_unstable(quarter);
        let least_kept = *least_kept;
        let mut to_drop = quarter.max(1);
        self.records.retain(|_, record| {
            let keep = to_drop == 0 || rank(record) > least_kept;
            to_drop -= usize::from(!keep);
            keep
        });
        self.recount();
    }

    /// `items` is an upper bound between two calls: what a record itself drops is not subtracted at once.
    fn recount(&mut self) {
        self.items = self.records.values().map(Record::items).sum();
    }
}

impl Failure {
    pub(super) fn new(charge: Charge, event: &SecurityEvent, now: Now) -> Failure {
        Failure { at: now.monotonic, charge, account: hash(&event.account) }
    }
}

impl Record {
    pub(super) fn fail(&mut self, failure: Failure, event: &SecurityEvent, window: Duration, now: Now) {
        self.failures.retain(|old| old.at + window > now.monotonic);
        self.failures.push(failure);
        self.account.clone_from(&event.account);
    }

    /// How many failures of this kind lie within `window`.
    pub(super) fn count(&self, charge: Charge, window: Duration, now: Now) -> u32 {
        let counts = |failure: &&Failure| failure.charge == charge && failure.at + window > now.monotonic;
        self.failures.iter().filter(counts).count() as u32
    }

    /// A login clears the failures of the same account.
    pub(super) fn forgive(&mut self, event: &SecurityEvent, now: Now) {
        let account = hash(&event.account);
        self.failures.retain(|failure| failure.account != account);
        self.authenticated = Some(now.monotonic);
    }

    pub(super) fn has_authenticated_within(&self, time: Duration, now: Now) -> bool {
        self.authenticated.is_some_and(|at| at + time > now.monotonic)
    }

    /// Of one request for an unknown account PJSIP tells twice: what it was refused for, then what it was answered.
    /// The second has the same Call-ID and the account `<unknown>`.
    pub(super) fn expect_twin(&mut self, event: &SecurityEvent) {
        let first = matches!(event.kind, Kind::InvalidAccountId | Kind::FailedAcl(Acl::Access));
        self.twin = (first && event.service == Service::Pjsip).then_some(event.session);
    }

    /// Whether this is the second event of a request that was counted already.
    pub(super) fn is_twin(&mut self, event: &SecurityEvent) -> bool {
        event.is_unidentified() && self.twin.take_if(|session| *session == event.session).is_some()
    }

    /// Where its challenges were sent from.
    pub(super) fn local(&self) -> Option<Endpoint> {
        self.local
    }

    pub(super) fn challenged(&mut self, event: &SecurityEvent, now: Now) {
        self.local = Some(event.local);
        self.challenges.push(Challenge { at: now.monotonic, session: event.session, account: hash(&event.account) });
    }

    /// A login answers the challenges of its session and account; where neither fits (chan_sip names an account in
    /// several ways), the oldest.
    pub(super) fn answered(&mut self, event: &SecurityEvent) {
        let (before, account) = (self.challenges.len(), hash(&event.account));
        self.challenges.retain(|open| open.session != event.session && open.account != account);
        if self.challenges.len() == before && before > 0 {
            self.challenges.remove(0);
        }
    }

    /// A wrong answer is an answer: it counts as a failure, not as silence.
    pub(super) fn answered_wrongly(&mut self, event: &SecurityEvent) {
        if let Some(at) = self.challenges.iter().position(|open| open.session == event.session) {
            self.challenges.remove(at);
        }
    }

    /// Open challenges whose age is between `from` and `to`.
    pub(super) fn open_challenges(&self, from: Duration, to: Duration, now: Now) -> u32 {
        let counts = |open: &&Challenge| open.at + from <= now.monotonic && open.at + to > now.monotonic;
        self.challenges.iter().filter(counts).count() as u32
    }

    pub(super) fn open(&self) -> u32 {
        self.challenges.len() as u32
    }

    pub(super) fn drop_challenges_before(&mut self, age: Duration, now: Now) {
        self.challenges.retain(|open| open.at + age > now.monotonic);
    }

    fn items(&self) -> usize {
        self.failures.len() + self.challenges.len()
    }
}

/// Accounts are compared, not kept: an attacker cannot make two of them equal, as the key is new in each process.
fn hash(account: &[u8]) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    HASHER.hash_one(account)
}
