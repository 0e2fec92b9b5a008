//! The weather, as its rules say it: what each address where accounts live tells of the PBX.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::Limits;

use super::model::{DAY, MINUTE, Name};

const LOOK: Duration = Duration::from_secs(5);
const FRESH: Duration = Duration::from_secs(600);

/// Bad weather, as the judge tells it: since when, how many addresses of how many that were heard, and whether it
/// spares anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sky {
    pub since: Duration,
    pub affected: usize,
    pub heard: usize,
    pub spares: bool,
}

#[derive(Default)]
pub struct Weather {
    places: BTreeMap<IpNet, Place>,
    looked: Option<Duration>,
    refusing: Turns,
    silent: Turns,
}

#[derive(Default)]
struct Place {
    heard: Option<Duration>,
    login: Option<Duration>,
    silent: Option<Duration>,
    refusal: Option<Refusal>,
    /// One that had lasted for long when that began.
    broken: Option<Refusal>,
}

/// Of several accounts of one address that are refused, the first one stands for all.
struct Refusal {
    account: Name,
    is_sudden: bool,
    since: Duration,
    last: Duration,
}

/// One kind of weather.
#[derive(Default)]
struct Turns {
    now: Option<Sky>,
    day: Duration,
    spent: Duration,
}

/// Since when somebody was spared for refusals and for silence, where that has just ended.
#[derive(Default)]
pub struct Passed {
    pub refusals: Option<Duration>,
    pub silence: Option<Duration>,
}

impl Weather {
    pub fn refusing(&self) -> Option<Sky> {
        self.refusing.now
    }

    pub fn silent(&self) -> Option<Sky> {
        self.silent.now
    }

    pub fn hear(&mut self, place: IpNet, now: Duration) {
        self.places.entry(place).or_default().heard = Some(now);
    }

    pub fn admit(&mut self, place: IpNet, account: &Name, now: Duration) {
        let place = self.places.entry(place).or_default();
        (place.heard, place.login, place.silent) = (Some(now), Some(now), None);
        place.refusal.take_if(|refusal| refusal.account == *account);
        place.broken.take_if(|refusal| refusal.account == *account);
    }

    pub fn refuse(&mut self, place: IpNet, account: &Name, is_sudden: bool, now: Duration) {
        let start = self.start(now);
        let place = self.places.entry(place).or_default();
        place.heard = Some(now);
        if let Some(broken) = place.broken.as_mut().filter(|broken| broken.account == *account) {
            broken.last = now;
            return;
        }
        match &mut place.refusal {
            Some(refusal) if refusal.account == *account => refusal.last = now,
            Some(refusal) if refusal.is_fresh(start) && is_sudden => refusal.last = now,
            Some(refusal) if refusal.is_fresh(start) => {}
            _ => {
                let refusal = Refusal { account: account.clone(), is_sudden, since: now, last: now };
                if let Some(old) = place.refusal.replace(refusal) {
                    place.broken = Some(old);
                }
            }
        }
    }

    pub fn is_due(&self, now: Duration) -> bool {
        self.looked.is_none_or(|looked| now >= looked + LOOK)
    }

    /// `silent` are the addresses that leave challenges unanswered now; `places` is how many there are where accounts live.
    pub fn look(&mut self, limits: &Limits, silent: &[IpNet], places: usize, now: Duration) -> Passed {
        let passed = (now - self.looked.unwrap_or_default()).min(LOOK * 2);
        self.looked = Some(now);
        for place in silent {
            self.places.entry(*place).or_default().silent = Some(now);
        }
        let within = |at: Option<Duration>, time: Duration| at.is_some_and(|at| now < at + time);
        self.places.retain(|_, place| {
            let mut refusals = place.refusal.iter().chain(&place.broken);
            let is_refused = refusals.any(|refusal| within(Some(refusal.last), FRESH));
            within(place.heard, MINUTE) || within(place.silent, MINUTE) || is_refused
        });
        let start = self.start(now);
        let count = |holds: &dyn Fn(&Place) -> bool| self.places.values().filter(|place| holds(place)).count();
        let refused = |place: &Place| place.refusal.as_ref().is_some_and(|refusal| within(Some(refusal.last), MINUTE));
        let fresh = |place: &Place| place.refusal.as_ref().is_some_and(|refusal| refusal.is_fresh(start));
        let deserted = |place: &Place| {
            place.refusal.as_ref().is_some_and(|refusal| place.login.is_none_or(|login| login < refusal.since))
        };
        let heard = count(&|place| within(place.heard, MINUTE));
        let silent = count(&|place| within(place.silent, MINUTE));
        let sudden = count(&|place| refused(place) && fresh(place));
        let all = count(&|place| refused(place) && (fresh(place) || deserted(place)));
        let refused = if all * 2 >= heard && all * 10 >= places { all } else { sudden };
        Passed {
            refusals: self.refusing.turn(limits, refused, heard, passed, now),
            silence: self.silent.turn(limits, silent, heard, passed, now),
        }
    }

    fn start(&self, now: Duration) -> Duration {
        self.refusing.now.map_or(now, |sky| sky.since)
    }
}

impl Refusal {
    fn is_fresh(&self, start: Duration) -> bool {
        self.is_sudden && start < self.since + FRESH
    }
}

impl Turns {
    fn turn(
        &mut self,
        limits: &Limits,
        affected: usize,
        heard: usize,
        passed: Duration,
        now: Duration,
    ) -> Option<Duration> {
        if now >= self.day + DAY {
            (self.day, self.spent) = (now, Duration::ZERO);
        }
        let last = self.now;
        let spared = last.filter(|sky| sky.spares).map(|sky| sky.since);
        if spared.is_some() {
            self.spent += passed;
        }
        let is_bad = limits.weather > 0
            && affected >= limits.weather as usize
            && affected * 100 >= heard * limits.weather_share as usize;
        let spares = self.spent < Duration::from_secs(limits.weather_time);
        self.now = is_bad.then_some(Sky { since: last.map_or(now, |sky| sky.since), affected, heard, spares });
        spared.filter(|_| !(is_bad && spares))
    }
}
