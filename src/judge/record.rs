//! What one source did within a day: its failures by account, and the challenges it has not answered.

use std::collections::VecDeque;
use std::time::Duration;

use super::account::{self, Account};
use super::accusation::Charge;
use super::weather::MINUTE;
use super::{DAY, GRACE, JUST_LOGGED_IN};
use crate::config::Limits;
use crate::model::security::{Acl, Endpoint, Kind, SecurityEvent, Service};

/// At most this many accounts whose failures are held for one source. One more replaces the one that failed least often.
const MAX_TALLIES: usize = 256;

/// At most this many attempts of one source are followed to their end. Hundreds of phones may be behind one address.
const MAX_TOLD: usize = 32;

/// At most this many open challenges are held for one source.
const MAX_CHALLENGES: usize = 4096;

/// All that is held of one source.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// When it was last heard.
    pub seen: Duration,
    /// When it last logged in with a password.
    logged_in: Option<Duration>,
    tallies: Vec<Tally>,
    challenges: Vec<Challenge>,
    /// What was told last of the attempts that were counted already, the oldest first.
    told: VecDeque<Told>,
    /// Account named last.
    account: Box<[u8]>,
    /// Our side of the last challenge.
    local: Option<Endpoint>,
}

/// The failures of one account.
#[derive(Debug)]
struct Tally {
    charge: Charge,
    account: Account,
    /// The latest ones, oldest first.
    times: VecDeque<Duration>,
    /// Since when they come faster than `limits.hammer` permits.
    hammering: Option<Duration>,
}

/// What PJSIP tells of one attempt for an unknown account: what the request was refused for; that it was challenged, as
/// `<unknown>`; what the answer to the challenge was refused for; and that again, as `<unknown>`. All have one Call-ID and
/// name one account. Whoever uses a Call-ID again has every other request for an account counted, and each account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Refusal(u64, Account),
    Challenge(u64, Account),
    Answer(u64),
}

#[derive(Debug)]
struct Challenge {
    at: Duration,
    session: u64,
    account: Account,
    /// The account's name where the answer will give another one, as that of an INVITE of chan_sip.
    name: Option<Box<[u8]>>,
}

impl Record {
    /// Counts a failure.
    pub(super) fn fail(&mut self, charge: Charge, name: &[u8], limits: &Limits, now: Duration) {
        let account = Account::of(name);
        self.account = name.into();
        self.drop_old(now);
        let known = self.tallies.iter().position(|tally| tally.charge == charge && tally.account == account);
        let at = known.unwrap_or_else(|| {
            if self.tallies.len() >= MAX_TALLIES {
                let rank = |at: &usize| (self.tallies[*at].times.len(), self.tallies[*at].times.back().copied());
                let least = (0..self.tallies.len()).min_by_key(rank);
                self.tallies.swap_remove(least.unwrap_or_default());
            }
            self.tallies.reserve_exact(1);
            self.tallies.push(Tally { charge, account, times: VecDeque::with_capacity(1), hammering: None });
            self.tallies.len() - 1
        });
        let tally = &mut self.tallies[at];
        if tally.times.len() >= limits.most_per_account() {
            tally.times.pop_front();
        }
        tally.times.push_back(now);
        if tally.count(HAMMERING, now) <= limits.hammer {
            tally.hammering = None;
        } else {
            tally.hammering.get_or_insert(now);
        }
    }

    /// How many failures of this kind lie within `window`.
    pub(super) fn count(&self, charge: Charge, window: Duration, now: Duration) -> u32 {
        self.tallies.iter().filter(|tally| tally.charge == charge).map(|tally| tally.count(window, now)).sum()
    }

    /// How many failures of any kind lie within `window`.
    pub(super) fn all(&self, window: Duration, now: Duration) -> u32 {
        self.tallies.iter().map(|tally| tally.count(window, now)).sum()
    }

    /// How many failures of this kind and account lie within `window`.
    pub(super) fn of(&self, charge: Charge, account: Account, window: Duration, now: Duration) -> u32 {
        let mut tallies = self.tallies.iter();
        let found = tallies.find(|tally| tally.charge == charge && tally.account == account);
        found.map_or(0, |tally| tally.count(window, now))
    }

    /// Whether the failures of this kind and account have come faster than `limits.hammer` permits for `time`.
    pub(super) fn hammers(&self, charge: Charge, account: Account, time: Duration, now: Duration) -> bool {
        let mut tallies = self.tallies.iter();
        let found = tallies.find(|tally| tally.charge == charge && tally.account == account);
        found.and_then(|tally| tally.hammering).is_some_and(|since| since + time <= now)
    }

    /// The most failures of one account within `window` for which `counts` holds.
    pub(super) fn most(&self, window: Duration, now: Duration, counts: impl Fn(Account) -> bool) -> u32 {
        let tallies = self.tallies.iter().filter(|tally| counts(tally.account));
        tallies.map(|tally| tally.count(window, now)).max().unwrap_or_default()
    }

    /// The accounts that failed within the last day, each once.
    pub(super) fn accounts(&self, now: Duration) -> Vec<Account> {
        let failed = self.tallies.iter().filter(|tally| tally.count(DAY, now) > 0);
        let mut accounts: Vec<Account> = failed.map(|tally| tally.account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        accounts
    }

    /// Somebody logged in with a password.
    pub(super) fn log_in(&mut self, now: Duration) {
        self.logged_in = Some(now);
    }

    /// Whether somebody logged in within `time`.
    pub(super) fn has_logged_in(&self, time: Duration, now: Duration) -> bool {
        self.logged_in.is_some_and(|at| now < at + time)
    }

    /// A login clears the failures of the same account.
    pub(super) fn forgive(&mut self, account: Account) {
        self.tallies.retain(|tally| tally.account != account);
    }

    /// Takes back the failures from this moment on.
    pub(super) fn forget_since(&mut self, start: Duration) {
        for tally in &mut self.tallies {
            tally.times.retain(|at| *at < start);
        }
        self.tallies.retain(|tally| !tally.times.is_empty());
    }

    /// The account named last, as sent.
    pub(super) fn last_account(&self) -> &[u8] {
        &self.account
    }

    /// A failure was counted: the rest of what is told of that attempt is not.
    pub(super) fn note(&mut self, event: &SecurityEvent) {
        if !is_refusal(event) || event.service != Service::Pjsip {
            return;
        }
        if self.told.len() >= MAX_TOLD {
            self.told.pop_front();
        }
        self.told.reserve_exact(1);
        self.told.push_back(Told::Refusal(event.session, Account::of(account::name(event))));
    }

    /// Whether this event belongs to an attempt that was counted already.
    pub(super) fn is_told(&mut self, event: &SecurityEvent) -> bool {
        let (session, account) = (event.session, Account::of(account::name(event)));
        let is_before = |told: &Told| match told {
            Told::Refusal(of, _) | Told::Answer(of) => *of == session && event.is_unidentified(),
            Told::Challenge(..) => *told == Told::Challenge(session, account) && is_refusal(event),
        };
        let Some(at) = self.told.iter().rposition(is_before) else { return false };
        match (self.told[at], event.kind) {
            (Told::Challenge(..), _) => self.told[at] = Told::Answer(session),
            (Told::Refusal(_, account), Kind::ChallengeSent) => self.told[at] = Told::Challenge(session, account),
            _ => drop(self.told.remove(at)),
        }
        true
    }

    /// A challenge was sent. What an address leaves open beyond [`MAX_CHALLENGES`] is not held.
    pub(super) fn challenge(&mut self, event: &SecurityEvent, now: Duration) {
        let name = account::name(event);
        self.local = Some(event.local);
        if self.challenges.len() >= MAX_CHALLENGES {
            return;
        }
        if self.challenges.is_empty() {
            self.challenges.reserve_exact(1);
        }
        self.challenges.push(Challenge {
            at: now,
            session: event.session,
            account: Account::of(name),
            name: (event.service == Service::Sip).then(|| name.into()),
        });
    }

    /// The account that an answer is about, as the challenge of the same session named it. chan_sip gives the dialled
    /// number as the account of an INVITE that was answered.
    pub(super) fn challenged_name(&self, event: &SecurityEvent) -> Option<&[u8]> {
        let challenge = self.challenges.iter().rev().find(|open| open.session == event.session)?;
        challenge.name.as_deref()
    }

    /// A login answers the challenges of its session and account; where neither fits, the oldest.
    pub(super) fn answered(&mut self, event: &SecurityEvent, account: Account) {
        let before = self.challenges.len();
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

    /// Number of challenges that were not answered.
    pub(super) fn open(&self) -> u32 {
        self.challenges.len() as u32
    }

    /// Those of them that are `grace` old, and not yet `patience`.
    pub(super) fn overdue(&self, grace: Duration, patience: Duration, now: Duration) -> u32 {
        let is_overdue = |open: &&Challenge| open.at + grace <= now && now < open.at + patience;
        self.challenges.iter().filter(is_overdue).count() as u32
    }

    /// Forgets the challenges that are `age` old.
    pub(super) fn drop_challenges(&mut self, age: Duration, now: Duration) {
        self.challenges.retain(|open| now < open.at + age);
    }

    /// Forgets all challenges, with the memory they took: the source is blocked.
    pub(super) fn settle(&mut self) {
        self.challenges = Vec::new();
    }

    /// Our side of the last challenge.
    pub(super) fn local(&self) -> Option<Endpoint> {
        self.local
    }

    /// Drops what is too old to count; whether anything is left.
    pub(super) fn expire(&mut self, patience: Duration, now: Duration) -> bool {
        self.drop_old(now);
        self.drop_challenges(patience, now);
        if now >= self.seen + GRACE {
            self.told = VecDeque::new();
        }
        self.logged_in.take_if(|at| now >= *at + JUST_LOGGED_IN);
        self.logged_in.is_some() || !self.tallies.is_empty() || !self.challenges.is_empty() || !self.told.is_empty()
    }

    /// Pieces of evidence, by which its memory is measured.
    pub(super) fn items(&self) -> usize {
        let name = |name: &[u8]| name.len() / 24;
        let challenges = self.challenges.iter().map(|open| 3 + open.name.as_deref().map_or(0, name));
        let tallies = self.tallies.iter().map(|tally| 7 + tally.times.len());
        self.told.len() + name(&self.account) + challenges.chain(tallies).sum::<usize>()
    }

    fn drop_old(&mut self, now: Duration) {
        for tally in &mut self.tallies {
            while tally.times.front().is_some_and(|at| now >= *at + DAY) {
                tally.times.pop_front();
            }
        }
        self.tallies.retain(|tally| !tally.times.is_empty());
    }
}

impl Tally {
    fn count(&self, window: Duration, now: Duration) -> u32 {
        self.times.iter().rev().take_while(|at| now < **at + window).count() as u32
    }
}

/// Whether an event says that a request was refused for its account.
fn is_refusal(event: &SecurityEvent) -> bool {
    matches!(event.kind, Kind::InvalidAccountId | Kind::FailedAcl(Acl::Access))
}

/// How long the failures of an account count as hammering.
pub(super) const HAMMERING: Duration = MINUTE;
