//! Bad weather over a town of homes, and who is about in it.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use sipban::config::{Config, Limits};
use sipban::model::security::{Kind, SecurityEvent, Service};

use super::court::{Court, MINUTE, SECOND, Time};
use super::model::LOGIN;
use super::traffic::event;

/// Homes of one to three phones each, some of which have a broken one, and strangers who guess.
#[derive(Clone, Debug)]
struct Town {
    homes: Vec<Home>,
    strangers: Vec<Stranger>,
    storms: Vec<Storm>,
}

#[derive(Clone, Debug)]
struct Home {
    phones: u64,
    /// Milliseconds between two registrations, and of the first one.
    every: Time,
    start: Time,
    /// When its last phone broke; it tries every 20 s.
    broken: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Stranger {
    kind: Kind,
    every: Time,
    start: Time,
    /// Whose account it wants.
    victim: usize,
}

#[derive(Clone, Copy, Debug)]
struct Storm {
    start: Time,
    length: Time,
    /// Of ten homes, how many are hit.
    share: usize,
    is_silent: bool,
}

/// How long a town lives.
const LIFE: Time = 40 * MINUTE;

impl Town {
    fn events(&self) -> Vec<(Time, SecurityEvent)> {
        let mut events = Vec::new();
        for (n, home) in self.homes.iter().enumerate() {
            for phone in 0..home.phones {
                let mut time = home.start + phone * 700;
                while time < LIFE {
                    self.request(&mut events, n, phone, time);
                    let is_broken = phone + 1 == home.phones && home.broken.is_some_and(|broken| time > broken);
                    time += if is_broken { 20 * SECOND } else { home.every };
                }
            }
        }
        for (n, stranger) in (0..).zip(&self.strangers) {
            for turn in 0..60 {
                let time = stranger.start + turn * stranger.every;
                let account = account(stranger.victim % self.homes.len(), 0);
                let session = 900_000 + u64::from(n) * 1000 + turn;
                events.push((time, event(far(200 + n), Service::Pjsip, stranger.kind, account.as_bytes(), session)));
            }
        }
        events.retain(|(time, _)| *time < LIFE);
        events.sort_by_key(|(time, _)| *time);
        events
    }

    /// A phone registers, and what the PBX makes of it.
    fn request(&self, events: &mut Vec<(Time, SecurityEvent)>, home: usize, phone: u64, time: Time) {
        let account = account(home, phone);
        let session = home as u64 * 10_000_000 + phone * 1_000_000 + time / 100;
        let mut add = |after: Time, kind: Kind, account: &str| {
            let event = event(far(home as u8), Service::Pjsip, kind, account.as_bytes(), session);
            events.push((time + after, event));
        };
        let hits =
            |storm: &&Storm| (storm.start..storm.start + storm.length).contains(&time) && home % 10 < storm.share;
        let Home { phones, broken, .. } = self.homes[home];
        match self.storms.iter().find(hits) {
            Some(storm) if storm.is_silent => add(0, Kind::ChallengeSent, &account),
            Some(_) => {
                add(0, Kind::InvalidAccountId, &account);
                add(0, Kind::ChallengeSent, "<unknown>");
                add(50, Kind::InvalidAccountId, &account);
                add(50, Kind::ChallengeResponseFailed, "<unknown>");
            }
            None => {
                let is_broken = phone + 1 == phones && broken.is_some_and(|broken| time > broken);
                add(0, Kind::ChallengeSent, &account);
                add(50, if is_broken { Kind::ChallengeResponseFailed } else { LOGIN }, &account);
            }
        }
    }
}

fn account(home: usize, phone: u64) -> String {
    format!("1{home:02}{phone}")
}

/// An address in a neighbourhood of its own.
fn far(n: u8) -> IpAddr {
    IpAddr::from([11, 0, n, 7])
}

fn town() -> impl Strategy<Value = Town> {
    let broken = prop_oneof![4 => Just(None), 1 => (3 * MINUTE..LIFE).prop_map(Some)];
    let home = (1u64..4, 15 * SECOND..90 * SECOND, 0..MINUTE, broken).prop_map(|(phones, every, start, broken)| Home {
        phones,
        every,
        start,
        broken,
    });
    let kind = prop_oneof![
        Just(Kind::InvalidAccountId),
        Just(Kind::ChallengeResponseFailed),
        Just(Kind::ChallengeSent),
        Just(Kind::InvalidPassword)
    ];
    let stranger = (kind, prop_oneof![200..2 * SECOND, 10 * SECOND..5 * MINUTE], 0..LIFE, 0..100usize)
        .prop_map(|(kind, every, start, victim)| Stranger { kind, every, start, victim });
    let storm = (3 * MINUTE..LIFE, 5 * SECOND..8 * MINUTE, 1..11usize, any::<bool>())
        .prop_map(|(start, length, share, is_silent)| Storm { start, length, share, is_silent });
    (vec(home, 2..14), vec(stranger, 0..4), vec(storm, 0..3)).prop_map(|(homes, strangers, storms)| Town {
        homes,
        strangers,
        storms,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_home_is_blocked_in_any_weather(town in town(), weather_time in prop_oneof![Just(3600u64), Just(120)]) {
        let Config { limits, lengths, .. } = Config::default();
        let mut court = Court::new(Limits { weather_time, ..limits }, lengths);
        town.events().iter().for_each(|(time, event)| court.hear(*time, event));
        court.pass_until(LIFE + 3 * MINUTE);
        let homes: Vec<IpAddr> = (0..town.homes.len()).map(|home| far(home as u8)).collect();
        for (time, (net, reason, _)) in &court.sentences {
            prop_assert!(!homes.contains(&net.addr()), "{} at {} ms: {:?}", net, time, reason);
        }
        prop_assert!(court.evidence.refusing().is_none() && court.evidence.silent().is_none());
    }
}
