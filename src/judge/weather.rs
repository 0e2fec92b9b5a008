//! The weather: when many addresses where accounts live are refused at once, the PBX is at fault and not they. Its
//! database is away, or half of its configuration was lost. Likewise when many of them leave its challenges
//! unanswered: its way out is down, or it is overloaded.
//!
//! Only addresses where accounts live are looked at, so strangers cannot make it. An account that was refused for longer
//! than ten minutes before all the others, or had not logged in lately when that began, is a broken phone: such ones are a
//! sign of weather only where half of all addresses show it and nobody logs in there. One that has logged in again is no sign
//! any more.
//!
//! Forged: who knows a fifth of the addresses where accounts live, and an account of each, can make them look refused
//! until they log in again. Then strangers are spared what needs several tries, but not hammering. That lasts for
//! `limits.weather_time` in a day at most; nobody is blocked or freed by it.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use super::DAY;
use super::account::Account;
use crate::config::Limits;

/// How far back "at once" reaches.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// How long a refusal may have lasted before the others began.
const FRESH: Duration = Duration::from_secs(600);

/// Bytes that the signs of one address take, with their place in the table.
pub(super) const SIGNS: usize = 224;

/// Seconds since its last login in which an account that is refused was well until then.
pub(super) const RECENT: u64 = 7200;

/// From this part of the addresses that were heard on, and this part of all, in percent, even accounts that were refused for
/// long count, where nobody has logged in since that began. So it is when SIPban starts while the database is away.
const HALF: usize = 50;
const TENTH: usize = 10;

/// How often the share of the addresses is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Bad weather, as `status` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// When it was first seen (monotonic).
    pub since: Duration,
    /// How many addresses where accounts live are affected.
    pub affected: usize,
    /// Of how many that were heard in the last minute.
    pub heard: usize,
    /// Whether anybody is spared because of it: not when it has lasted longer than `limits.weather_time` in a day.
    pub spares: bool,
}

/// What the addresses where accounts live tell of the PBX.
#[derive(Debug, Default)]
pub(super) struct Weather {
    places: HashMap<IpNet, Signs>,
    refusing: Sky,
    silent: Sky,
    looked: Duration,
}

/// Since when somebody was spared for it, where that has just ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub refusals: Option<Duration>,
    pub silence: Option<Duration>,
}

/// What one address tells.
#[derive(Debug, Default)]
struct Signs {
    heard: Duration,
    /// When somebody last logged in.
    login: Option<Duration>,
    refusal: Option<Refusal>,
    /// One that had lasted for long when that began.
    broken: Option<Refusal>,
    /// When it was last seen to leave challenges unanswered; nobody has logged in since.
    silent: Option<Duration>,
}

#[derive(Debug)]
struct Refusal {
    account: Account,
    since: Duration,
    /// Whether the account had logged in lately when it began.
    is_sudden: bool,
    last: Duration,
}

/// One kind of weather over time.
#[derive(Debug, Default)]
struct Sky {
    front: Option<Front>,
    /// When the day began in which `spent` is counted.
    day: Duration,
    /// For how long somebody was spared in that day.
    spent: Duration,
}

impl Weather {
    /// An account that lives at this address was heard.
    pub(super) fn hear(&mut self, place: IpNet, most: usize, now: Duration) {
        if let Some(signs) = self.signs(place, most) {
            signs.heard = now;
        }
    }

    /// An account was refused at an address where it lives. `is_sudden` if it logged in there lately.
    pub(super) fn refuse(&mut self, place: IpNet, account: Account, is_sudden: bool, most: usize, now: Duration) {
        let start = self.refusing.front.map_or(now, |front| front.since);
        let Some(signs) = self.signs(place, most) else { return };
        signs.heard = now;
        if let Some(broken) = signs.broken.as_mut().filter(|broken| broken.account == account) {
            broken.last = now;
            return;
        }
        match &mut signs.refusal {
            // Of several accounts of one address, the first one stands for all.
            Some(refusal) if refusal.account == account || is_sudden && refusal.is_fresh(start) => refusal.last = now,
            Some(refusal) if refusal.is_fresh(start) => {}
            long => {
                signs.broken =
                    long.replace(Refusal { account, since: now, is_sudden, last: now }).or(signs.broken.take())
            }
        }
    }

    /// An account logged in at this address.
    pub(super) fn admit(&mut self, place: IpNet, account: Account, most: usize, now: Duration) {
        let Some(signs) = self.signs(place, most) else { return };
        signs.heard = now;
        signs.login = Some(now);
        signs.silent = None;
        signs.refusal.take_if(|refusal| refusal.account == account);
        signs.broken.take_if(|broken| broken.account == account);
    }

    /// Looks at the sky, if it is time to. `silent` are the addresses where accounts live that leave challenges unanswered,
    /// `places` is how many addresses there are where accounts live.
    pub(super) fn look<I: Iterator<Item = IpNet>>(
        &mut self,
        limits: &Limits,
        now: Duration,
        places: usize,
        most: usize,
        silent: impl FnOnce() -> I,
    ) -> Passed {
        if now < self.looked + LOOK && self.looked > Duration::ZERO {
            return Passed::default();
        }
        let passed = now.saturating_sub(self.looked).min(LOOK * 2);
        self.looked = now;
        for place in silent() {
            if let Some(signs) = self.signs(place, most) {
                signs.silent = Some(now);
            }
        }
        let lately = |at: Option<Duration>| at.is_some_and(|at| now < at + MINUTE);
        self.places.retain(|_, signs| {
            let refused = signs.refusal.iter().chain(&signs.broken).any(|refusal| now < refusal.last + FRESH);
            now < signs.heard + MINUTE || lately(signs.silent) || refused
        });
        let start = self.refusing.front.map_or(now, |front| front.since);
        let (mut heard, mut sudden, mut refused, mut unanswered) = (0, 0, 0, 0);
        for signs in self.places.values() {
            heard += usize::from(now < signs.heard + MINUTE);
            unanswered += usize::from(lately(signs.silent));
            if let Some(refusal) = signs.refusal.as_ref().filter(|refusal| now < refusal.last + MINUTE) {
                let nobody_logs_in = signs.login.is_none_or(|login| login < refusal.since);
                sudden += usize::from(refusal.is_fresh(start));
                refused += usize::from(refusal.is_fresh(start) || nobody_logs_in);
            }
        }
        let is_general = refused * 100 >= heard * HALF && refused * 100 >= places * TENTH;
        Passed {
            silence: self.silent.turn(limits, now, passed, unanswered, heard),
            refusals: self.refusing.turn(limits, now, passed, if is_general { refused } else { sudden }, heard),
        }
    }

    /// What an address tells. At most so many are heard: where there are more, a part of them tells the weather as well.
    fn signs(&mut self, place: IpNet, most: usize) -> Option<&mut Signs> {
        if self.places.len() < most {
            return Some(self.places.entry(place).or_default());
        }
        self.places.get_mut(&place)
    }

    /// Number of addresses of which signs are held.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The PBX refuses its own phones.
    pub(super) fn refusing(&self) -> Option<Front> {
        self.refusing.front
    }

    /// Its phones do not answer it.
    pub(super) fn silent(&self) -> Option<Front> {
        self.silent.front
    }
}

impl Refusal {
    fn is_fresh(&self, start: Duration) -> bool {
        self.is_sudden && start < self.since + FRESH
    }
}

impl Sky {
    /// Returns since when somebody was spared, if that has just ended.
    fn turn(
        &mut self,
        limits: &Limits,
        now: Duration,
        passed: Duration,
        affected: usize,
        heard: usize,
    ) -> Option<Duration> {
        if now >= self.day + DAY {
            (self.day, self.spent) = (now, Duration::ZERO);
        }
        let is_bad = limits.weather > 0
            && affected >= limits.weather as usize
            && affected * 100 >= heard * limits.weather_share as usize;
        let before = self.front.take();
        let spared = before.filter(|front| front.spares).map(|front| front.since);
        if spared.is_some() {
            self.spent += passed;
        }
        let spares = is_bad && self.spent < Duration::from_secs(limits.weather_time);
        if is_bad {
            self.front = Some(Front { since: before.map_or(now, |front| front.since), affected, heard, spares });
        }
        spared.filter(|_| !spares)
    }
}
