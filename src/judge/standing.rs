//! How near a source is to a block, and all else that speaks for or against it: for people who ask why.

use std::net::IpAddr;

use ipnet::IpNet;

use super::account::Account;
use super::accusation::Charge;
use super::record::HAMMERING;
use super::source::neighbourhood;
use super::{DAY, Evidence, Policy, flood_limit, source, strange, window};
use crate::model::clock::{Now, UnixTime};
use crate::model::memory::{Home, Offence};

/// One count, and how much of it blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What counts, in the words of the configuration.
    pub what: &'static str,
    /// How much of it there is.
    pub count: u32,
    /// How much blocks; 0 is never.
    pub limit: u32,
    /// The limit if nobody lived there.
    pub strict_limit: u32,
}

impl Standing {
    /// Whether one more would block, or would have blocked a source where nobody lives.
    pub fn is_near(&self) -> bool {
        self.strict_limit > 0 && self.count > 0 && self.count + 1 >= self.strict_limit
    }
}

/// All that is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dossier {
    /// What evidence against it is counted under.
    pub source: IpNet,
    /// The accounts that live there.
    pub homes: Vec<Home>,
    /// What counts against it.
    pub standing: Vec<Standing>,
    /// The account it named last, as sent, and how many addresses where it does not live failed for it within a day.
    pub account: Box<[u8]>,
    /// How many addresses failed for that account within a day where it does not live.
    pub pressure: u32,
    /// Whether that is or was more than the limit, and a first failure for it blocks.
    pub siege: bool,
    /// The network of its neighbours.
    pub neighbourhood: IpNet,
    /// How many of its neighbours failed within a day.
    pub neighbours: u32,
    /// What it was blocked for before.
    pub offence: Option<Offence>,
    /// How many seconds its next block lasts.
    pub next_block: u64,
}

/// All that is known of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountDossier {
    /// Where it lives, and its last login there.
    pub homes: Vec<(IpNet, UnixTime)>,
    /// The sources that failed for it within a day and where it does not live, the latest last; a bounded number.
    pub failed: Vec<IpNet>,
    /// Whether a first failure for it blocks an address where nobody lives.
    pub siege: bool,
}

/// All that counts against a source now.
pub fn standing(evidence: &Evidence, policy: &Policy, now: Now, source: &IpNet) -> Vec<Standing> {
    let Some(record) = evidence.get(source) else { return Vec::new() };
    let limits = &policy.limits;
    let is_home = evidence.homes.tenants(source) > 0;
    // What does not count where somebody lives.
    let at_home = |limit: u32| if is_home { 0 } else { limit };
    let row = |what, count, limit, strict_limit| Standing { what, count, limit, strict_limit };
    let mut rows: Vec<Standing> = Vec::new();
    for charge in Charge::ALL {
        let limit = charge.limit(limits);
        rows.push(row(charge.key(), record.count(charge, window(limits), now.monotonic), at_home(limit), limit));
    }
    let day = limits.day_guesses;
    rows.push(row("day_guesses", record.all(DAY, now.monotonic), at_home(day), day));
    if is_home {
        let is_guessed = |account| evidence.homes.lives(account) && !evidence.homes.lives_at(source, account);
        let hammer = record.most(HAMMERING, now.monotonic, |_| true);
        let guesses = record.most(DAY, now.monotonic, is_guessed);
        rows.push(row("hammer", hammer, limits.hammer, 0));
        rows.push(row("home_guesses", guesses, limits.home_guesses, 0));
        rows.push(row("strange", strange(evidence, source, now), limits.strange, 0));
    }
    let limit = flood_limit(limits, evidence.homes.tenants(source));
    rows.push(row("challenges unanswered", record.open(), limit, limits.flood_count));
    rows
}

impl Evidence {
    /// All that is known of an address.
    pub fn dossier(&self, policy: &Policy, now: Now, address: IpAddr) -> Dossier {
        let source = source(self, policy, address);
        let account: Box<[u8]> = self.last_account(&source).into();
        let key = Account::of(&account);
        let is_home = self.homes.tenants(&source) > 0;
        let mut homes: Vec<Home> = self.homes.at(&source).collect();
        homes.sort_unstable_by(|one, other| one.account.cmp(&other.account));
        Dossier {
            homes,
            standing: standing(self, policy, now, &source),
            pressure: self.pressure.count(key, now.monotonic),
            siege: self.pressure.is_siege(key, now.monotonic),
            neighbourhood: neighbourhood(&source),
            neighbours: self.neighbours.count(neighbourhood(&source), now.monotonic),
            offence: self.offenders.get(&source).copied(),
            next_block: self.offenders.next(&source, is_home, &policy.lengths),
            account,
            source,
        }
    }

    /// All that is known of an account of this name.
    pub fn account(&self, name: &[u8], now: Now) -> AccountDossier {
        let account = Account::of(name);
        AccountDossier {
            homes: self.homes.of(account),
            failed: self.pressure.members(account, now.monotonic).collect(),
            siege: self.pressure.is_siege(account, now.monotonic),
        }
    }
}
